"""The drivers of the real kernel: its database, its rules, and profiles of real machines proven against it.

Which drivers are chosen is checked for all 49 reports of real machines; four of them are configured.
"""

import json
import time
from pathlib import Path

import pytest

from builder import (
    build,
    cli,
    detected_profile,
    driver_choice,
    driver_database,
    driver_rules,
    kconfig,
    kernel,
    kernel_source,
    profile,
    report_file,
)
from builder.driver_database import Database
from builder.errors import Mistakes
from builder.kernel_source import Source
from builder.toolchain import Toolchain

pytestmark = pytest.mark.native

REPORTS = Path(__file__).parent.parent / "data" / "hardware"
NAMES = sorted(path.stem for path in REPORTS.glob("*.json"))

# Two laptops, a server and a virtual machine.
CONFIGURED = {
    "lenovo-20l6s6ru00-thinkpad-t480": 2_500,
    "framework-laptop-13-amd-ryzen-7040series": 2_500,
    "dell-inc-poweredge-r760": 2_500,
    "qemu-standard-pc-i440fx-piix-1996": 1_500,
}


@pytest.fixture(scope="module")
def tree(tools: Toolchain) -> Source:
    return kernel_source.ensure(tools)


@pytest.fixture(scope="module")
def database(tools: Toolchain, tree: Source) -> Database:
    return driver_database.ensure(tools, tree)


def test_every_module_of_debians_kernel_has_a_symbol(database: Database) -> None:
    stock = [one for one in database.modules.values() if one.stock == "m"]
    assert len(stock) > 4_000
    assert [one.name for one in stock if not (one.symbols or one.inside)] == []


def test_the_symbols_of_a_module_are_on_in_debians_own_configuration(database: Database) -> None:
    """The Makefiles are read right: what Debian built is what its configuration has on."""
    text = database.stock_config.read_text()
    on = {line.partition("=")[0].removeprefix("CONFIG_") for line in text.splitlines() if "=" in line}
    stock = [one for one in database.modules.values() if one.stock == "m"]
    assert [one.name for one in stock if one.symbols and not on & set(one.symbols)] == []
    assert [(one.name, one.inside) for one in stock if not on.issuperset(one.inside)] == []


@pytest.mark.parametrize(
    "modalias, module, symbol",
    [
        ("pci:v00008086d00005917sv000017AAsd0000225Dbc03sc00i00", "i915", "DRM_I915"),
        ("pci:v00008086d000015D7sv000017AAsd0000225Dbc02sc00i00", "e1000e", "E1000E"),
        ("usb:v046DpC52Bd1201dc00dsc00dp00ic03isc01ip01in00", "usbhid", "USB_HID"),
        ("virtio:d00000001v00001AF4", "virtio_net", "VIRTIO_NET"),
        ("hdaudio:v10EC0295r00100002a01", "snd_hda_codec_realtek", "SND_HDA_CODEC_REALTEK"),
        ("acpi:PNP0C0A:", "battery", "ACPI_BATTERY"),
    ],
)
def test_a_modalias_leads_to_the_module_and_its_symbol(
    database: Database, modalias: str, module: str, symbol: str
) -> None:
    assert module in [one.module for one in database.aliases.matches(modalias)]
    assert database.modules[module].symbols == (symbol,)


@pytest.mark.parametrize(
    "driver, bus, module",
    [
        ("pcieport", "pci", "pcieportdrv"),
        ("hub", "usb", "usbcore"),
        ("xhci_hcd", "pci", "xhci_pci"),
        ("serial", "pci", "8250_pci"),
        ("i801_smbus", "pci", "i2c_i801"),
        ("sd", "scsi", "sd_mod"),
    ],
)
def test_a_drivers_name_leads_to_its_module_also_where_debian_builds_it_in(
    database: Database, driver: str, bus: str, module: str
) -> None:
    assert database.of_driver(driver, bus) == [module]


def test_every_symbol_and_driver_that_the_rules_name_exists(
    tools: Toolchain, tree: Source, database: Database
) -> None:
    rules = driver_rules.load().rules
    symbols = kconfig.configure(tools, tree, build.wanted(profile.load("pc"))).symbols
    wanted = {symbol for rule in rules.companions for symbol in rule.want}
    wanted |= {symbol for rule in rules.machines for symbol in rule.want}
    assert sorted(wanted - symbols.keys()) == []
    assert sorted(symbol for symbol in wanted if not symbols[symbol].prompts) == []
    drivers = {name for rule in rules.devices for name in rule.drivers}
    drivers |= {name for rule in rules.machines for name in rule.drivers}
    assert sorted(name for name in drivers if database.module(name) is None) == []


def test_a_whole_machine_is_looked_up_in_less_than_a_second(database: Database) -> None:
    report = report_file.load(str(REPORTS / "dell-inc-poweredge-r760.json"))
    started = time.monotonic()
    verdicts = driver_choice.choose(report, database, driver_rules.load())
    assert time.monotonic() - started < 1
    assert len(verdicts) >= len(report.devices) == 318


@pytest.mark.parametrize("name", NAMES)
def test_the_drivers_that_ran_on_a_real_machine_are_chosen_for_it(name: str, database: Database) -> None:
    """Of the bound drivers that this kernel's source has; each device without a driver has a reason."""
    report = report_file.load(str(REPORTS / f"{name}.json"))
    verdicts = driver_choice.choose(report, database, driver_rules.load())
    chosen = set(driver_choice.modules(verdicts))
    for device in report.devices:
        for module in device.modules:
            if device.driver and database.module(module):
                assert database.modules[module.replace("-", "_")].name in chosen
    assert all(one.modules or len(one.reason) > 10 for one in verdicts)


@pytest.mark.parametrize("name", CONFIGURED)
def test_a_real_machines_profile_loads_and_its_kernel_is_proven_within_the_limits(
    name: str, tools: Toolchain, tree: Source, tmp_path: Path
) -> None:
    found = detected_profile.make(name, report_file.load(str(REPORTS / f"{name}.json")), tools, tree)
    path = tmp_path / f"{name}.yaml"
    path.write_text(found.text)
    machine = profile.load(str(path))
    configuration = kernel.configured(tools, tree, build.wanted_with_drivers(machine, tools, tree))
    assert configuration.symbols_y <= CONFIGURED[name]
    assert found.counts.get("kconfig", 0) == 0, [one for one in found.verdicts if one.kind == "kconfig"]
    values = configuration.values
    database = driver_database.ensure(tools, tree)
    for driver in machine.kernel.drivers:
        module = database.module(driver)
        assert module is not None
        assert any(values.get(symbol) == "y" for symbol in (module.symbols or module.inside)), driver


def test_every_driver_of_a_profile_that_cannot_be_is_told_with_its_line(
    tools: Toolchain, tree: Source, tmp_path: Path
) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(
        "name: m\nextends: pc\nkernel:\n  drivers:\n    - nvme\n    - nvmee\n    - pcieport\n    - btrfs\n"
        "  config:\n    BTRFS_FS: {value: n, reason: no disk has one}\n"
    )
    with pytest.raises(Mistakes) as caught:
        build.wanted_with_drivers(profile.load(str(path)), tools, tree)
    told = {one.line: (one.message, one.hint) for one in caught.value.mistakes}
    assert told.keys() == {6, 7, 8}
    assert told[6][0].startswith("no driver nvmee in Linux 6.12.") and "nvme" in told[6][1]
    assert told[7][1] == "drivers are named by their module: pcieportdrv"
    assert told[8][0].endswith("BTRFS_FS is off on purpose: m.yaml:10: no disk has one")


def test_the_command_writes_a_profile_once_and_says_what_became_of_every_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AETHER_MACHINES", str(tmp_path))
    report = str(REPORTS / "qemu-standard-pc-i440fx-piix-1996.json")
    words = ["detect", "--report", report, "--profile", "vm", "--json"]
    assert cli.main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["profile"] == str(tmp_path / "vm.yaml")
    assert len(told["devices"]) >= len(report_file.load(report).devices)
    assert all(one["verdict"] and one["reason"] for one in told["devices"])
    assert "virtio_scsi" in profile.load("vm").kernel.drivers

    written = (tmp_path / "vm.yaml").read_text()
    assert cli.main(words[:-1]) == 2
    assert "vm.yaml is there; a profile is never overwritten" in capsys.readouterr().err
    assert (tmp_path / "vm.yaml").read_text() == written
