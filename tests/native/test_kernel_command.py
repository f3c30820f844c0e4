"""`aether kernel` over the real kernel tree: explained, compared and listed, without compiling."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from kbuild_names import linked

from builder import (
    build,
    cli,
    driver_choice,
    driver_database,
    driver_rules,
    drivers,
    kconfig,
    kernel_source,
    kernel_subject,
    profile,
    report_file,
)
from builder.drivers import Named
from builder.kbuild_symbols import module_name
from builder.kernel_source import Source
from builder.toolchain import Toolchain

pytestmark = pytest.mark.native

REPORTS = Path(__file__).parent.parent / "data" / "hardware"
LAPTOP = REPORTS / "framework-laptop-13-amd-ryzen-7040series.json"


@pytest.fixture(scope="module")
def tree(tools: Toolchain) -> Source:
    return kernel_source.ensure(tools)


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AETHER_MACHINES", str(tmp_path))
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert cli.main(["kernel", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_selected_symbol_is_explained_up_to_the_fragment_behind_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    values = told(capsys, "qemu-x86_64", "--explain", "CONFIG_JBD2")
    assert (values["value"], values["layer"], values["reason"]) == ("y", "kconfig", "selected by EXT4_FS")
    assert values["defined"].startswith("fs/jbd2/Kconfig:")
    assert values["because"][0]["layer"] == "base"
    assert Path(values["because"][0]["file"]).name == "base.config"


def test_a_symbol_that_is_off_is_followed_to_what_can_be_set_and_that_is_enough(
    capsys: pytest.CaptureFixture[str], machines: Path
) -> None:
    values = told(capsys, "qemu-x86_64", "--explain", "USB_STORAGE")
    assert values["value"] == "n" and not values["switched_off"]
    assert {"USB", "SCSI"} <= {one["expression"] for one in values["in_the_way"]}
    config = "".join(f"    {one.replace('=', ': ')}\n" for one in values["to_have_it"])
    (machines / "usb.yaml").write_text(f"name: usb\nextends: qemu-x86_64\nkernel:\n  config:\n{config}")
    after = told(capsys, "usb", "--explain", "USB_STORAGE")
    assert (after["value"], after["layer"], after["in_the_way"]) == ("y", "kernel.config", [])


def test_what_a_fragment_switches_off_says_where_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    values = told(capsys, "qemu-x86_64", "--explain", "MODULES")
    assert values["switched_off"] and values["layer"] == "base" and values["line"] > 0
    needs = told(capsys, "qemu-x86_64", "--explain", "MODULE_SIG")
    assert "switched off in" in needs["in_the_way"][0]["why"]


def test_an_unknown_symbol_ends_in_two_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["kernel", "qemu-x86_64", "--explain", "VIRTIO_BLOCK"]) == 2
    error, hint = capsys.readouterr().err.splitlines()[-2:]
    assert error.startswith("error: 'VIRTIO_BLOCK' is no symbol of linux-source-6.12")
    assert "VIRTIO_BLK" in hint


def test_layers_that_disagree_are_shown_with_both_reasons_and_the_later_one_wins(
    capsys: pytest.CaptureFixture[str], machines: Path
) -> None:
    (machines / "lab.yaml").write_text(
        "name: lab\nextends: qemu-x86_64\nkernel:\n  config:\n"
        "    HZ_1000: {value: y, reason: games}\n    PANIC_TIMEOUT: 30\n"
    )
    values = told(capsys, "lab")
    found = {one["won"]["symbol"]: one for one in values["contradictions"]}
    assert found.keys() == {"HZ_1000", "PANIC_TIMEOUT"}
    assert (found["HZ_1000"]["lost"][0]["symbol"], found["HZ_1000"]["lost"][0]["layer"]) == ("HZ_100", "vm")
    assert (values["symbols"]["HZ"]["value"], values["symbols"]["PANIC_TIMEOUT"]["value"]) == ("1000", "30")
    assert cli.main(["kernel", "lab"]) == 0
    text = capsys.readouterr().out
    assert "layers disagree on 2; the later one won:" in text
    assert "HZ_1000=y  kernel.config, " in text and "instead of HZ_100=y  vm, " in text


def test_every_symbol_of_a_detected_machine_is_listed_with_value_layer_and_reason(
    capsys: pytest.CaptureFixture[str], machines: Path
) -> None:
    assert cli.main(["detect", "--report", str(LAPTOP), "--profile", "lab"]) == 0
    capsys.readouterr()
    started = time.monotonic()
    values = told(capsys, "lab")
    assert time.monotonic() - started < 20
    assert "laptop" in values["fragments"]
    symbols = values["symbols"]
    text = Path(values["config"]).read_text()
    on = {line.partition("=")[0].removeprefix("CONFIG_") for line in text.splitlines() if "=" in line}
    assert on == {name for name, one in symbols.items() if one["value"] != "n"}
    assert [name for name, one in symbols.items() if not (one["layer"] and one["reason"])] == []
    assert symbols["BLK_DEV_NVME"]["layer"] == "detected"
    assert symbols["BLK_DEV_NVME"]["file"] == str(machines / "lab.yaml")
    assert symbols["ACPI_BATTERY"]["layer"] == "laptop"
    assert symbols["NVME_CORE"]["reason"] == "selected by BLK_DEV_NVME"
    assert symbols["X86_AMD_PSTATE"]["layer"] == "kernel.config"
    assert symbols["DEVMEM"]["value"] == "n"


def test_a_machine_is_compared_with_debians_own_kernel(capsys: pytest.CaptureFixture[str]) -> None:
    values = told(capsys, "qemu-x86_64", "--diff", "debian")
    here = {one["symbol"]: one for one in values["only_here"]}
    there = {one["symbol"]: one for one in values["only_there"]}
    assert here["HZ_100"]["here"]["layer"] == "vm"
    assert there["MODULES"]["here"]["layer"] == "base", "off here on purpose"
    assert there["DRM_I915"]["there"]["value"] == "m"
    assert values["counts"]["only_there"] == len(there) > 4_000
    [ext4] = [one for one in values["different"] if one["symbol"] == "EXT4_FS"]
    assert (ext4["here"]["value"], ext4["here"]["layer"], ext4["there"]["value"]) == ("y", "base", "m")


def test_debians_own_kernel_is_shown_and_explained_and_never_compiled(
    capsys: pytest.CaptureFixture[str], machines: Path
) -> None:
    (machines / "stock.yaml").write_text(
        "name: stock\narch: x86_64\ncpu: {march: x86-64, threads: 1}\nmemory: 2G\n"
        "kernel: {stock: true}\nagent: {model: smollm2-135m}\n"
    )
    values = told(capsys, "stock")
    assert values["stock"] and values["symbols_m"] > 3_000
    assert values["symbols"]["EXT4_FS"] | {"line": 0, "file": ""} == {
        "symbol": "EXT4_FS",
        "value": "m",
        "layer": "debian",
        "reason": "Debian's kernel has it so",
        "file": "",
        "line": 0,
    }
    nvme = told(capsys, "stock", "--explain", "NVME_CORE")
    assert nvme["value"] == "m" and nvme["selected_by"][0]["holds"]
    assert told(capsys, "stock", "--diff", "debian")["counts"]["different"] == 0
    assert cli.main(["kernel", "stock", "--build"]) == 2
    assert "there is nothing to compile" in capsys.readouterr().err


def test_kconfig_sees_debians_configuration_as_debian_has_it() -> None:
    """Or an explanation of it would be of another kernel."""
    debian = kernel_subject.debian()
    seen = debian.configuration.values
    different = {name for name in {*debian.values, *seen} if debian.values.get(name) != seen.get(name)}
    assert different <= {"CC_VERSION_TEXT", "BUILD_SALT", "SYSTEM_TRUSTED_KEYS", "MODULE_SIG_KEY"}


def test_every_driver_of_the_real_machines_is_linked_under_the_name_that_the_proof_looks_for(
    tools: Toolchain, tree: Source, tmp_path: Path
) -> None:
    """All drivers of all reports in one kernel, and kbuild's own names of what it would link."""
    database, book = driver_database.ensure(tools, tree), driver_rules.load()
    names: dict[str, None] = {}
    for path in sorted(REPORTS.glob("*.json")):
        report = report_file.load(str(path))
        names |= dict.fromkeys(driver_choice.modules(driver_choice.choose(report, database, book)))
        names |= dict.fromkeys(one for one in report.file_systems if database.module(one))
    named = [Named(name, Path("all.yaml"), line) for line, name in enumerate(names, 1)]
    assert len(named) > 100
    below = build.wanted(profile.load("pc"))
    resolution = drivers.wanted(named, database, kconfig.configure(tools, tree, below).symbols, below)
    assert resolution.mistakes == ()
    configuration = kconfig.configure(tools, tree, drivers.between(below, resolution.wanted))
    there = {module_name(one) for one in linked(tools, tree, configuration.config, tmp_path)}
    assert [one.name for one in named if module_name(one.name) not in there] == []
