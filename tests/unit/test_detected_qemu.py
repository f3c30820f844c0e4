"""The virtual machine that a detected machine is shown as."""

from collections.abc import Iterable

import pytest
from ruamel.yaml import YAML

from builder import detected_qemu, qemu_devices
from hardware.report import Block, Board, Report

LAPTOP = Report(
    source="probe", name="LENOVO ThinkPad T480", blocks=(Block("nvme", driver="nvme", chain=("nvme",)),)
)


def devices(modules: Iterable[str], report: Report = LAPTOP) -> list[str]:
    return detected_qemu.devices(report, set(modules).__contains__)


def test_a_laptop_has_its_kind_of_disk_its_network_card_a_screen_and_a_keyboard() -> None:
    known = ["ahci", "nvme", "e1000e", "xhci_pci", "usbhid", "usb_storage", "snd_hda_intel"]
    assert devices(known) == ["nvme", "e1000e", "vga", "usb-kbd", "usb-tablet"]


def test_a_disk_of_another_kind_takes_the_place_of_one_that_qemu_does_not_have() -> None:
    card = Report(source="probe", blocks=(Block("mmc", driver="mmcblk", chain=("mmcblk", "sdhci_pci")),))
    assert devices(["xhci_pci", "usb_storage", "mmc_block"], card)[0] == "usb-storage"


def test_a_virtual_machine_is_shown_as_what_it_is() -> None:
    report = Report(
        source="probe",
        board=Board(vendor="QEMU", product="Standard PC (i440FX + PIIX, 1996)"),
        blocks=(Block("scsi", driver="sd", chain=("sd", "virtio_scsi", "virtio-pci")),),
    )
    modules = ["virtio_blk", "virtio_scsi", "virtio_net", "virtio_console"]
    assert devices(modules, report) == ["virtio-scsi", "net", "vga", "console"]
    assert detected_qemu.machine_type(report) == "pc"
    assert detected_qemu.machine_type(LAPTOP) == "q35"


def test_a_kernel_that_drives_no_disk_of_qemu_gets_no_virtual_machine_and_the_profile_says_so() -> None:
    lines = detected_qemu.section(LAPTOP, {"megaraid_sas", "e1000e"}.__contains__)
    assert "drives none of QEMU's disks" in "\n".join(lines)
    assert not any(line.startswith("qemu:") for line in lines)


@pytest.mark.parametrize("disk", qemu_devices.DISKS)
def test_what_is_written_is_a_machine_that_qemu_command_takes(disk: str) -> None:
    known = set(qemu_devices.DEVICES[disk].drivers)
    text = "\n".join(detected_qemu.section(LAPTOP, known.__contains__))
    said = YAML(typ="safe").load(text)["qemu"]
    assert said["devices"][0] == disk
    assert qemu_devices.mistake(said["devices"]) is None
