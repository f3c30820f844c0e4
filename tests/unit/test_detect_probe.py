"""The probe over a fake /sys with secrets in it, and over this host's own."""

import contextlib
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import fake_sysfs
import pytest

from hardware import clean, report_json
from hardware.probe import probe
from hardware.report import Device, Report

SHAPES = {
    "MAC address": r"(?<![0-9A-Fa-f:-])[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}(?![0-9A-Fa-f:-])",
    "UUID": r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}",
    "interface named for its address": r"(?:enx|wlx)[0-9a-f]{12}",
    "world wide name": r"eui\.[0-9a-f]{16}",
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Report:
    root = tmp_path_factory.mktemp("laptop")
    fake_sysfs.laptop(root)
    return probe(root)


def device(report: Report, modalias: str) -> Device:
    [only] = [one for one in report.devices if one.modalias.startswith(modalias)]
    return only


def test_no_secret_of_the_machine_is_in_its_report(tmp_path: Path) -> None:
    secrets = fake_sysfs.laptop(tmp_path)
    assert len(secrets) >= 15
    text = report_json.dumps(probe(tmp_path))
    assert [secret for secret in secrets if secret.lower() in text.lower()] == []
    assert [name for name, shape in SHAPES.items() if re.search(shape, text)] == []


def test_the_machine_is_named_as_its_owner_would(found: Report) -> None:
    assert (found.name, found.kind, found.virtualisation) == ("LENOVO ThinkPad T480", "laptop", "none")
    assert (found.board.bios_version, found.board.bios_date) == ("N24ET50W (1.25 )", "05/07/2019")
    assert found.memory_bytes == 16224192 * 1024
    assert (found.architecture, found.kernel) == ("x86_64", "6.12.94+deb13-amd64")
    assert found.file_systems == ("ext4", "vfat")
    assert (found.consoles, found.serial_ports) == (("tty0",), ("ttyS0",))


def test_the_processor_has_numbers_a_level_and_cores(found: Report) -> None:
    cpu = found.cpu
    assert (cpu.vendor, cpu.family, cpu.model, cpu.stepping) == ("GenuineIntel", 6, 142, 10)
    assert (cpu.level, cpu.cores, cpu.threads) == ("x86-64-v3", 1, 2)


def test_firmware_secure_boot_and_tpm_are_told(found: Report) -> None:
    firmware = found.firmware
    assert (firmware.kind, firmware.bits, firmware.secure_boot, firmware.tpm) == ("uefi", 64, "on", "2.0")


def test_a_device_has_its_driver_module_parent_and_kind(found: Report) -> None:
    nvme = device(found, "pci:v0000144Dd0000A808")
    assert (nvme.driver, nvme.modules, nvme.address) == ("nvme", ("nvme",), "0000:05:00.0")
    assert (nvme.kind, nvme.parent, nvme.chain) == ("storage_controller", "pci/0000:00:1d.0", ("pcieport",))
    stick = device(found, "usb:v0781p5581")
    assert (stick.driver, stick.modules, stick.chain) == ("usb-storage", ("usb_storage",), ("xhci_hcd",))
    assert device(found, "pci:v00008086d00009D71").driver == ""  # the sound card that nobody drives


def test_an_acpi_node_is_driven_as_the_device_it_describes(found: Report) -> None:
    nodes = {one.bus: one for one in found.devices if one.modalias == "acpi:MSFT0101:MSFT0101:"}
    assert nodes["acpi"].driver == nodes["platform"].driver == "tpm_crb"


def test_the_board_and_the_processor_come_along_because_modules_match_them(found: Report) -> None:
    assert {one.bus for one in found.devices} >= {"cpu", "dmi", "wmi", "i2c"}


def test_disks_have_kind_size_model_and_the_drivers_down_to_the_bus(found: Report) -> None:
    nvme, stick = found.blocks
    assert (nvme.kind, nvme.size_bytes, nvme.model) == (
        "nvme",
        1000215216 * 512,
        "SAMSUNG MZVLB512HAJQ-000L7",
    )
    assert (nvme.rotational, nvme.removable, nvme.chain) == (False, False, ("nvme", "pcieport"))
    assert (stick.kind, stick.model, stick.removable) == ("usb", "SanDisk Ultra", True)
    assert stick.chain == ("sd", "usb-storage", "xhci_hcd")
    assert stick.modalias.startswith("usb:v0781p5581")


def test_interfaces_graphics_and_inputs_are_told_without_their_names(found: Report) -> None:
    [ethernet] = found.networks
    assert (ethernet.kind, ethernet.driver) == ("ethernet", "e1000e")
    assert [card.driver for card in found.graphics] == ["i915"]
    inputs = {entry.bus: entry for entry in found.inputs}
    assert (inputs["i8042"].kind, inputs["i8042"].name) == ("keyboard", "AT Translated Set 2 keyboard")
    assert (inputs["i2c"].kind, inputs["i2c"].driver) == ("touchpad", "i2c_hid_acpi")
    assert (inputs["virtual"].kind, inputs["virtual"].name) == ("mouse", "")
    assert inputs["usb"].name == f"{clean.LEFT_OUT} remote of {clean.LEFT_OUT}"


def test_modaliases_made_of_uuids_survive_the_file_but_look_like_none_in_it(found: Report) -> None:
    alias = "wmi:51F5230E-9677-46CD-A1CF-C0B23EE34DB7"
    assert device(found, "wmi:").modalias == alias
    text = report_json.dumps(found)
    assert "wmi:~51F5230E967746CDA1CFC0B23EE34DB7" in text
    assert alias not in text
    assert report_json.from_values(json.loads(text)) == found


def test_what_only_root_may_read_is_listed_and_not_the_end(tmp_path: Path) -> None:
    fake_sysfs.laptop(tmp_path)
    variables = tmp_path / "sys/firmware/efi/efivars"
    for path in variables.iterdir():
        path.unlink()
    found = probe(tmp_path)
    assert found.firmware.secure_boot == "unknown"
    [unread] = found.unread
    assert unread.what == "Secure Boot"
    assert "efivars" in unread.reason


def test_a_file_that_may_not_be_read_is_named_with_the_reason() -> None:
    with tempfile.TemporaryDirectory() as folder:
        # Laid out first: the project itself may lie where only its owner can read.
        fake_sysfs.laptop(Path(folder) / "laptop")
        (Path(folder) / "laptop/sys/class/dmi/id/board_name").chmod(0)
        Path(folder).chmod(0o755)
        with as_nobody():
            found = probe(Path(folder) / "laptop")
    assert [(one.what, one.reason) for one in found.unread] == [
        ("/sys/class/dmi/id/board_name", "only root may read it")
    ]


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's right to read everything, for as long as it lasts."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_a_machine_that_shows_nothing_gives_a_report_that_says_so(tmp_path: Path) -> None:
    found = probe(tmp_path)
    assert found.devices == ()
    assert {one.what for one in found.unread} >= {"devices", "CPU", "memory", "board (SMBIOS)"}


@pytest.mark.parametrize(
    ("vendor", "clock", "hypervisor"),
    [
        ("QEMU", "kvm-clock tsc", "kvm"),
        ("QEMU", "tsc", "qemu"),
        ("VMware, Inc.", "tsc", "vmware"),
        ("innotek GmbH", "tsc", "oracle"),
        ("Xen", "xen tsc", "xen"),
    ],
)
def test_a_virtual_machine_names_its_hypervisor(
    tmp_path: Path, vendor: str, clock: str, hypervisor: str
) -> None:
    fake_sysfs.laptop(tmp_path)
    (tmp_path / "sys/class/dmi/id/sys_vendor").write_text(vendor)
    clocks = tmp_path / "sys/devices/system/clocksource/clocksource0/available_clocksource"
    clocks.write_text(clock)
    found = probe(tmp_path)
    assert (found.kind, found.virtualisation) == ("vm", hypervisor)


@pytest.mark.parametrize(
    ("variables", "state"), [(("00", "00"), "off"), (("00", "01"), "setup"), (("01", "00"), "on")]
)
def test_secure_boot_is_on_off_or_in_setup(tmp_path: Path, variables: tuple[str, str], state: str) -> None:
    fake_sysfs.laptop(tmp_path)
    for name, value in zip(("SecureBoot", "SetupMode"), variables, strict=True):
        [path] = (tmp_path / "sys/firmware/efi/efivars").glob(f"{name}-*")
        path.write_bytes(bytes.fromhex("06000000" + value))
    assert probe(tmp_path).firmware.secure_boot == state


def test_a_kernel_without_uefi_still_tells_what_booted_it(tmp_path: Path) -> None:
    place = tmp_path / "sys/kernel/boot_params/data"
    place.parent.mkdir(parents=True)
    parameters = bytearray(4096)
    place.write_bytes(parameters)
    assert probe(tmp_path).firmware.kind == "bios"
    parameters[0x1C0:0x1C4], parameters[0x1EC] = b"EL64", 3
    place.write_bytes(parameters)
    firmware = probe(tmp_path).firmware
    assert (firmware.kind, firmware.bits, firmware.secure_boot) == ("uefi", 64, "on")


def test_this_machine_is_probed_in_two_seconds_and_keeps_its_secrets() -> None:
    began = time.monotonic()
    found = probe()
    assert time.monotonic() - began < 2
    assert found.architecture == os.uname().machine
    assert found.cpu.threads
    assert found.memory_bytes
    assert found.devices
    text = report_json.dumps(found)
    assert report_json.from_values(json.loads(text)) == found
    assert [name for name, shape in SHAPES.items() if re.search(shape, text)] == []
    addresses = [path.read_text().strip() for path in Path("/sys/class/net").glob("*/address")]
    assert [one for one in addresses if one.strip("0:") and one in text] == []
    quoted = {os.uname().nodename, os.uname().nodename.partition(".")[0]}
    assert not quoted & set(re.findall(r'"([^"]*)"', text.partition('"devices"')[2]))
