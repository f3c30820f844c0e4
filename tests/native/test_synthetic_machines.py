"""Machines that do not exist, of drivers from all over the kernel: through the commands, in every format.

Each names hundreds of Debian's modules at once, by what a device says of itself, by the driver that was
bound, or by both. Every one of them is in the proven configuration, or the profile says why it cannot be.
"""

import json
import random
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from machine_coverage import is_made

from builder import (
    build,
    cli,
    detected_profile,
    driver_choice,
    driver_database,
    driver_rules,
    drivers,
    kernel_source,
    profile,
)
from builder.driver_database import Database
from builder.driver_proof import Trial
from builder.kernel_source import Source
from builder.toolchain import Toolchain
from hardware.report import Cpu, Device, Report

sys.path.append(str(Path(__file__).parent.parent / "unit"))
from synthetic_reports import FORMATS

pytestmark = pytest.mark.native

# What Kconfig offers as a module alone: these cannot be built in by anybody.
MODULE_ONLY = "needs m"


@pytest.fixture(scope="module")
def tree(tools: Toolchain) -> Source:
    return kernel_source.ensure(tools)


@pytest.fixture(scope="module")
def database(tools: Toolchain, tree: Source) -> Database:
    return driver_database.ensure(tools, tree)


@pytest.fixture(scope="module")
def patterns(database: Database) -> dict[str, list[str]]:
    """The patterns of every module that Debian's kernel package has."""
    record = json.loads((database.stock_config.with_name("drivers.json")).read_text())
    found: dict[str, list[str]] = {}
    for pattern, module in record["aliases"]:
        if module in database.modules:
            found.setdefault(module, []).append(pattern)
    return found


def example(pattern: str) -> str:
    """A modalias that a pattern matches."""
    return re.sub(r"\[(.)[^]]*\]", r"\1", pattern).replace("*", "0").replace("?", "0")


def sample(
    patterns: Mapping[str, list[str]],
    database: Database,
    seed: int,
    count: int,
    *,
    bound: bool | None = None,
) -> list[Device]:
    """Devices of that many modules; `bound`: all of them, none, or (None) some as a report would have it."""
    rng = random.Random(seed)
    names: dict[str, dict[str, str]] = {}
    for driver, known in database.drivers.items():
        for bus, module in known:
            names.setdefault(module, {}).setdefault(bus, driver)
    devices = []
    for module in rng.sample(sorted(patterns), count):
        pattern = rng.choice(patterns[module])
        bus = pattern.partition(":")[0].rstrip("*")
        has_driver = rng.random() < 0.7 if bound is None else bound
        driver = names.get(module, {}).get(bus, module) if has_driver else ""
        told = (module,) if driver and rng.random() < 0.5 else ()
        alias = "" if driver and rng.random() < 0.3 else example(pattern)
        devices.append(Device(bus=bus, modalias=alias, driver=driver, modules=told, name=f"the {module}"))
    return devices


@pytest.mark.parametrize("seed", range(3))
def test_every_driver_that_was_bound_is_in_the_kernel_or_is_refused_with_the_reason(
    seed: int, tools: Toolchain, tree: Source, database: Database, patterns: dict[str, list[str]]
) -> None:
    devices = sample(patterns, database, seed, 300, bound=True)
    cpu = Cpu(vendor="GenuineIntel", threads=8)
    report = Report("reduced", kind="server", virtualisation="none", cpu=cpu, devices=tuple(devices))
    found = detected_profile.make("synthetic", report, tools, tree)
    values = found.configuration.values
    left = []
    for one in found.verdicts:
        module = one.device.name.removeprefix("the ")
        if module in database.modules and not is_made(module, database, values):
            left.append((module, one.kind, one.reason))
    assert [one for one in left if one[1] != "kconfig" or MODULE_ONLY not in one[2]] == []
    assert len(left) <= 3


def test_of_devices_without_a_driver_nearly_all_get_the_one_whose_pattern_it_is(
    database: Database, patterns: dict[str, list[str]]
) -> None:
    """All of Debian's modules; the others are those that rules pass over, each with the rule."""
    book = driver_rules.load()
    passed_over = []
    for module, known in sorted(patterns.items()):
        verdict = driver_choice.judge(Device(bus="?", modalias=example(known[0])), database, book)
        if module not in verdict.modules:
            passed_over.append(module)
            assert verdict.also or verdict.reason.startswith("without "), (module, verdict)
    assert len(patterns) > 2_000
    assert len(passed_over) < len(patterns) / 20


@pytest.mark.parametrize("name, seed", [(name, seed) for seed, name in enumerate(FORMATS, 50)])
def test_a_machine_of_many_drivers_goes_from_its_report_to_a_proven_kernel(
    name: str,
    seed: int,
    database: Database,
    patterns: dict[str, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    machines = tmp_path / "machines"
    machines.mkdir()
    monkeypatch.setenv("AETHER_MACHINES", str(machines))
    report = tmp_path / "report"
    report.write_text(FORMATS[name](sample(patterns, database, seed, 120)))
    assert cli.main(["detect", "--report", str(report), "--profile", "synthetic", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert all(one["modules"] or len(one["reason"]) > 10 for one in told["devices"])
    assert cli.main(["kernel", "synthetic", "--json"]) == 0
    kernel = json.loads(capsys.readouterr().out)
    assert kernel["symbols_y"] == told["symbols_y"]
    assert sum(bool(one["modules"]) for one in told["devices"]) > 100


@pytest.mark.parametrize(
    "lines, said",
    [
        ("kernel:\n  drivers: [nvme, no_such_driver]\n", "no driver no_such_driver in Linux"),
        ("cpu: {march: x86-64-v9}\n", "x86-64-v9"),
        ("kernel:\n  config:\n    NO_SUCH: y\n", "CONFIG_NO_SUCH does not exist"),
        ("kernel:\n  config:\n    BPF: n\n", "CONFIG_BPF=n was lost"),
        ("kernel:\n  config:\n    MISC_FILESYSTEMS: n\n", "CONFIG_EROFS_FS=y was lost"),
        ("kernel:\n  drivers: [btrfs]\n  config:\n    BTRFS_FS: n\n", "BTRFS_FS is off on purpose"),
    ],
)
def test_a_mistake_in_a_profile_is_told_with_its_line_and_status_2(
    lines: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "m.yaml").write_text(f"name: m\nextends: pc\n{lines}")
    monkeypatch.setenv("AETHER_MACHINES", str(tmp_path))
    assert cli.main(["kernel", "m"]) == 2
    out, err = capsys.readouterr()
    lines_told = [line for line in err.splitlines() if not line.startswith(("‣", "  done in"))]
    assert out == ""
    assert lines_told[0].startswith("error: ") and "Traceback" not in err
    assert any(said in line and re.search(r"\.(yaml|config):\d+: ", line) for line in lines_told), err
    assert any("hint: " in line for line in lines_told)


def test_a_driver_with_which_a_fragments_symbol_is_lost_is_found_among_the_others(
    tools: Toolchain, tree: Source, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pwm-crc depends on INTEL_SOC_PMIC or COMPILE_TEST; with the latter the traps of UBSAN are gone."""
    decided = build.wanted(profile.load("pc"))
    trial = Trial(tools, tree, database, driver_rules.load(), decided, Path("m.yaml"))
    names = ["nvme", "e1000e", "pwm_crc", "r8169", "igb"]
    assert trial.prove(names).refused == {}

    monkeypatch.setattr(drivers, "NEVER", {})
    proven = trial.prove(names)
    assert proven.refused.keys() == {"pwm_crc"}
    assert proven.refused["pwm_crc"].startswith("with it CONFIG_UBSAN_TRAP=y was lost")
    assert all(proven.configuration.values[symbol] == "y" for symbol in ("E1000E", "R8169", "IGB"))
