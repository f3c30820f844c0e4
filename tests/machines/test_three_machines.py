"""Each of three machines, booted by the generic image, gets a kernel that fits it and nothing more."""

from collections import Counter

from three_machines import THREE, Hardware, Way

from builder import driver_choice, driver_database, driver_rules, kernel_source
from builder.driver_database import Database
from builder.kbuild_symbols import module_name
from hardware.report import Device

LARGEST = 5_000_000  # bytes of bzImage
MOST_SYMBOLS = 1400
# Buses whose devices are hardware that a driver of its own drives; the rest is the kernel's own furniture.
HARDWARE_BUSES = {"pci", "usb", "virtio", "hdaudio", "hid", "scsi", "i2c", "serio", "pnp"}
# Made by the kernel's own code and there only as long as that wants them: no parts of the machine.
FURNITURE = {
    "platform:reg-dummy",  # of the regulators' core
    "platform:efi-framebuffer",  # the firmware's screen, until the graphics card's own driver takes it
}


def database(way: Way) -> Database:
    return driver_database.ensure(way.built.toolchain, kernel_source.ensure(way.built.toolchain))


def identity(device: Device) -> tuple[str, str, str]:
    return device.bus, device.modalias, device.name


def test_every_device_that_debians_kernel_drove_is_driven_by_the_machines_own(way: Way) -> None:
    bound = Counter(identity(one) for one in way.tuned_report.devices if one.driver)
    generic = Counter(identity(one) for one in way.report.devices if one.driver)
    judged = driver_choice.choose(way.report, database(way), driver_rules.load())
    needless = {identity(one.device) for one in judged if not one.modules}
    lost = [one for one in generic - bound if one not in needless and one[1] not in FURNITURE]
    assert lost == []


def test_no_device_is_without_a_driver_but_those_that_need_none(way: Way) -> None:
    judged = driver_choice.choose(way.tuned_report, database(way), driver_rules.load())
    without = [one for one in judged if not one.device.driver and one.device.bus in HARDWARE_BUSES]
    assert [(one.device.bus, one.device.modalias, one.reason) for one in without if one.kind != "core"] == []


def test_what_the_machine_is_for_is_there(way: Way) -> None:
    """Its disk carries the system, its network card is an interface, its agent answers."""
    assert way.tuned_report.blocks
    assert len(way.tuned_report.networks) == len(way.report.networks) == 1
    assert way.answer.status == 0
    assert way.answer.text.strip()
    assert way.failed_units == ""


def test_the_kernel_is_small(way: Way) -> None:
    assert way.kernel["size_bytes"] <= LARGEST
    assert way.kernel["symbols_y"] <= MOST_SYMBOLS


def test_the_kernel_has_the_machines_drivers_and_none_of_the_others(way: Way, hardware: Hardware) -> None:
    known, config = database(way), way.config

    def carried(module: str) -> bool:
        found = known.module(module)
        assert found is not None, module
        return any(symbol in config for symbol in found.symbols)

    registered = {module_name(one) for one in way.drivers}
    assert [one for one in hardware.own if not carried(one)] == []
    others = {module for one in THREE if one is not hardware for module in one.own} - set(hardware.own)
    assert [one for one in others if carried(one)] == []
    assert others & registered == set()


def test_the_profile_shows_the_machine_as_what_it_is(way: Way, hardware: Hardware) -> None:
    shown = way.built.machine.qemu
    assert shown.machine == hardware.machine
    assert set(shown.devices) & set(hardware.devices) >= {hardware.devices[0], hardware.devices[1]}


def test_the_machines_own_kernel_runs_and_not_the_fallback(way: Way) -> None:
    assert "deb13" in way.report.kernel
    assert "deb13" not in way.tuned_report.kernel
    [kernel] = way.kernels
    assert "+" not in kernel  # no tries are counted any more: the boot was good
