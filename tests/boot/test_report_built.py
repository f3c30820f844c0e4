"""`aether report` over the really built machine, with boots that are kept of it. Boots nothing."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from builder import boot_record, cli, machine_report
from builder.boot_record import Record
from builder.build import BuiltImage

MACHINE = "qemu-x86_64"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AETHER_STATE", str(tmp_path))
    return tmp_path


def test_the_report_weighs_what_was_built(built: BuiltImage, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", MACHINE, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    figures = {
        key: {one["key"]: one["machine"] for one in section["figures"]}
        for key, section in told["sections"].items()
    }
    kernel, image = figures["kernel"], figures["image"]
    assert kernel["kernel"] == built.kernel.stat().st_size
    assert (kernel["modules"] or 0, kernel["symbols_m"]) == (0, 0)
    assert kernel["symbols_y"] == built.given.record["kernel"]["symbols"]
    assert kernel["hardening"] == built.given.record["hardening"]["passed"]
    assert image["boot"] > kernel["kernel"]
    assert image["files"] > image["system"] > 30e6
    assert image["model"] == built.model.stat().st_size
    # Every byte of the system belongs to a package, or to the line of those that belong to none.
    assert {"systemd", "udev", "libc6"} <= set(figures["packages"])
    assert sum(size or 0 for size in figures["packages"].values()) < image["files"]
    assert told["sections"]["boot"]["note"] == f"not measured: aether report {MACHINE} --measure"
    picture = Path(told["picture"])
    assert picture == built.folder / "report.svg"
    ElementTree.parse(picture)


def test_a_kept_boot_is_in_the_table(built: BuiltImage, capsys: pytest.CaptureFixture[str]) -> None:
    found = Record(
        machine=MACHINE,
        image=built.key,
        kernel=built.given.kernel_version,
        hardware=machine_report.hardware_of(built),
        accelerator="tcg",
        first=False,
        at="2026-11-22T20:15:03Z",
        seconds={"ready": 12.34, "kernel": 1.25},
    )
    boot_record.add(boot_record.place(MACHINE), found)
    assert cli.main(["report", MACHINE]) == 0
    lines = capsys.readouterr().out.splitlines()
    [ready] = [line for line in lines if "power-on to agent-ready" in line]
    assert "12.34" in ready.split()
    assert lines[-1].endswith("report.svg")


def test_a_report_of_a_machine_in_the_cache_answers_soon(built: BuiltImage) -> None:
    words = [sys.executable, "-m", "builder.cli", "report", MACHINE]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
