"""The QEMU command line: what a machine's description becomes."""

import json
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from builder.errors import AetherError
from builder.profile import REPOSITORY
from builder.qemu_command import (
    SERIAL_CREDENTIAL,
    Channels,
    Files,
    MachineSpec,
    memory_bytes,
    qemu_argv,
    tpm_argv,
    visible_files,
    vsock_cid,
    without_missing_devices,
)
from builder.qemu_devices import DISKS, MACHINES, MachineType, mistake

FOLDER = Path("/state/m")
FILES = Files(FOLDER / "serial-1.log", FOLDER / "qemu.log", FOLDER / "OVMF_VARS.fd", FOLDER / "tpm")
CHANNELS = Channels(qmp=10, ready=11, guest_agent=12)


def words(spec: MachineSpec, channels: Channels = CHANNELS, accel: str = "tcg") -> list[str]:
    return qemu_argv(spec, accel, FILES, channels)


def value_of(argv: list[str], option: str) -> list[str]:
    return [argv[index + 1] for index, word in enumerate(argv) if word == option]


def test_nothing_comes_from_qemus_defaults_and_the_machine_starts_paused() -> None:
    argv = words(MachineSpec("m", FOLDER))
    assert {"-nodefaults", "-no-user-config", "-S"} <= set(argv)


def test_a_network_card_leads_nowhere_unless_the_network_is_asked_for() -> None:
    assert value_of(words(MachineSpec("m", FOLDER)), "-netdev") == ["user,id=net,restrict=on"]
    assert value_of(words(MachineSpec("m", FOLDER, network=True)), "-netdev") == ["user,id=net"]
    assert value_of(words(MachineSpec("m", FOLDER, devices=("disk",))), "-netdev") == []


def test_counted_instructions_need_one_processor_and_no_kvm() -> None:
    argv = words(MachineSpec("m", FOLDER, icount=True, cpus=4))
    assert value_of(argv, "-accel") == ["tcg,thread=single"]
    assert value_of(argv, "-icount") == ["shift=0,sleep=on"]
    assert value_of(argv, "-smp") == ["1"]
    with pytest.raises(AetherError, match="KVM"):
        MachineSpec("m", FOLDER, icount=True, accel="kvm")


def test_a_disk_path_with_commas_and_quotes_survives() -> None:
    disk = FOLDER / 'a,"b".raw'
    nodes = [json.loads(text) for text in value_of(words(MachineSpec("m", FOLDER, disk=disk)), "-blockdev")]
    assert [node.get("filename") for node in nodes] == [str(disk), None]
    assert nodes[1]["driver"] == "raw"


def test_with_a_write_log_every_write_passes_through_it() -> None:
    spec = MachineSpec("m", FOLDER, disk=FOLDER / "d.raw", write_log=FOLDER / "log")
    nodes = [json.loads(text) for text in value_of(words(spec), "-blockdev")]
    assert nodes[-1]["driver"] == "blklogwrites"
    assert nodes[-1]["node-name"] == "disk"  # the one that the virtio disk shows


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", DISKS)
def test_the_machines_disk_is_carried_by_the_device_that_is_named(name: str, machine: MachineType) -> None:
    argv = words(MachineSpec("m", FOLDER, disk=FOLDER / "d.raw", machine=machine, devices=(name,)))
    [carrier] = [text for text in value_of(argv, "-device") if "drive=disk" in text]
    assert carrier.endswith(",bootindex=0")
    bus = [part.removeprefix("bus=") for part in carrier.split(",") if part.startswith("bus=")]
    there = [
        part for text in value_of(argv, "-device") for part in text.split(",") if part.startswith("id=")
    ]
    for one in bus:
        assert f"id={one.removesuffix('.0')}" in there or (machine, one) == ("q35", "ide.0")


@pytest.mark.parametrize("devices", [(), ("net",), ("disk", "nvme")])
def test_one_device_and_no_more_carries_the_disk(devices: tuple[str, ...]) -> None:
    with pytest.raises(AetherError, match="to carry the machine's disk"):
        MachineSpec("m", FOLDER, disk=FOLDER / "d.raw", devices=devices)


def test_devices_on_usb_share_one_controller_that_is_there_before_them() -> None:
    spec = MachineSpec(
        "m", FOLDER, disk=FOLDER / "d", devices=("usb-kbd", "usb-storage", "xhci", "usb-tablet")
    )
    argv = value_of(words(spec), "-device")
    places = [number for number, text in enumerate(argv) if text.startswith("qemu-xhci")]
    assert len(places) == 1
    assert all(number > places[0] for number, text in enumerate(argv) if text.startswith("usb-"))


def test_without_virtio_ports_the_guest_is_spoken_to_on_serial_lines_and_told_so() -> None:
    argv = words(MachineSpec("m", FOLDER, devices=("vga",)))
    assert [text for text in value_of(argv, "-device") if "serial" in text] == [
        "isa-serial,chardev=serial,index=0",
        "isa-serial,chardev=ready,index=2,irq=5",
        "isa-serial,chardev=agent,index=1",
    ]
    assert f"type=11,value=io.systemd.credential:{SERIAL_CREDENTIAL}=yes" in value_of(argv, "-smbios")


def test_with_virtio_ports_no_serial_line_but_the_first_is_there_and_nothing_is_said_of_them() -> None:
    argv = words(MachineSpec("m", FOLDER, devices=("console",)))
    assert sum("isa-serial" in text for text in value_of(argv, "-device")) == 1
    assert sum("virtserialport" in text for text in value_of(argv, "-device")) == 2
    assert not any(SERIAL_CREDENTIAL in word for word in argv)


def test_the_units_of_the_image_look_for_the_credential_that_the_host_gives() -> None:
    folder = REPOSITORY / "image/files/usr/lib/systemd/system"
    units = list(folder.glob("aetheros-*-serial.service"))
    assert len(units) == 2
    assert all(f"\nConditionCredential={SERIAL_CREDENTIAL}\n" in one.read_text() for one in units)


def test_a_tpm_is_a_process_of_its_own_on_an_inherited_socket() -> None:
    spec = MachineSpec("m", FOLDER, devices=("tpm-crb",))
    argv = words(spec, replace(CHANNELS, tpm=13))
    assert "socket,id=tpm,fd=13" in value_of(argv, "-chardev")
    assert value_of(tpm_argv(FILES, 14), "--ctrl") == ["type=unixio,clientfd=14"]
    assert "--terminate" in tpm_argv(FILES, 14)
    by_hand = words(spec, Channels())
    assert by_hand[:2] == ["sh", "-c"]
    assert by_hand[2].startswith("swtpm socket")
    assert by_hand[4] == "qemu-system-x86_64"


def test_a_guest_may_go_on_after_a_panic_only_when_it_is_told_to() -> None:
    assert value_of(words(MachineSpec("m", FOLDER)), "-action") == []
    assert value_of(words(MachineSpec("m", FOLDER, on_panic="reboot")), "-action") == ["panic=none"]


def test_a_machine_has_one_tpm() -> None:
    assert mistake(("disk", "tpm-crb")) is None
    found = mistake(("disk", "tpm-crb", "tpm-tis"))
    assert found is not None
    assert "one TPM" in found[0]


def test_a_direct_boot_has_no_firmware_and_a_uefi_boot_no_kernel() -> None:
    direct = words(
        MachineSpec("m", FOLDER, firmware="direct", kernel=Path("/k/bz"), command_line="ro quiet")
    )
    assert value_of(direct, "-kernel") == ["/k/bz"]
    assert value_of(direct, "-append") == ["ro quiet no_timer_check"]
    assert not any("pflash" in word for word in direct)
    uefi = words(MachineSpec("m", FOLDER, kernel=Path("/k/bz")))
    assert "-kernel" not in uefi
    assert sum("pflash" in word for word in uefi) == 2


def test_a_direct_boot_without_a_kernel_is_a_mistake() -> None:
    with pytest.raises(AetherError, match="needs a kernel"):
        MachineSpec("m", FOLDER, firmware="direct")


def test_an_unknown_device_is_a_mistake_that_names_the_known_ones() -> None:
    with pytest.raises(AetherError, match="'floppy'") as found:
        MachineSpec("m", FOLDER, devices=("floppy",))
    assert "balloon" in found.value.hint


def test_credentials_and_kernel_words_reach_the_guest_by_smbios_with_commas_doubled() -> None:
    spec = MachineSpec("m", FOLDER, credentials=(("a.b", "x,y"),), extra_kernel_words=("quiet", "p=1,2"))
    assert value_of(words(spec), "-smbios") == [
        "type=11,value=io.systemd.credential:a.b=x,,y",
        "type=11,value=io.systemd.stub.kernel-cmdline-extra=quiet p=1,,2 no_timer_check",
        "type=11,value=io.systemd.boot.kernel-cmdline-extra=quiet p=1,,2 no_timer_check",
    ]
    assert value_of(words(spec, accel="kvm"), "-smbios")[1].endswith("extra=quiet p=1,,2")


def test_the_command_to_repeat_a_run_by_hand_needs_no_inherited_sockets() -> None:
    argv = words(MachineSpec("m", FOLDER), Channels())
    assert not any("fd=" in word for word in argv)
    assert "-S" not in argv
    assert value_of(argv, "-serial") == ["mon:stdio"]


def test_extra_words_come_last_and_their_files_are_visible(tmp_path: Path) -> None:
    iso = tmp_path / "tools.iso"
    iso.write_bytes(b"")
    spec = MachineSpec("m", FOLDER, extra=("-drive", f"file={iso},format=raw"))
    assert words(spec)[-2:] == ["-drive", f"file={iso},format=raw"]
    assert iso in visible_files(spec, FILES)[1]


def test_a_device_this_host_cannot_give_is_left_out_with_a_line() -> None:
    kept, lines = without_missing_devices(("disk", "vsock"))
    if Path("/dev/vhost-vsock").exists():
        assert (kept, lines) == (("disk", "vsock"), [])
    else:
        assert kept == ("disk",)
        assert "vhost_vsock" in lines[0]


def test_two_machines_have_two_vsock_addresses_none_of_them_reserved() -> None:
    one = MachineSpec("a", FOLDER, uuid=UUID(int=5))
    two = MachineSpec("b", FOLDER, uuid=UUID(int=2**127 + 6))
    assert 2 < vsock_cid(one) != vsock_cid(two)
    assert vsock_cid(two) < 2**32


@pytest.mark.parametrize(
    ("text", "size"),
    [("2G", 2 << 30), ("512M", 512 << 20), ("1.5g", 3 << 29), ("64KiB", 1 << 16), ("4096", 4096)],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert memory_bytes(text) == size


def test_a_size_that_is_none_is_a_mistake() -> None:
    with pytest.raises(AetherError, match="'lots'"):
        memory_bytes("lots")


def test_secure_boot_has_its_own_firmware_that_the_guest_cannot_change() -> None:
    said = words(MachineSpec("m", FOLDER, secure_boot=True))
    assert value_of(said, "-machine") == ["q35,hpet=off,smm=on"]
    assert "driver=cfi.pflash01,property=secure,value=on" in value_of(said, "-global")
    assert any(word.endswith("OVMF_CODE_4M.secboot.fd") for word in value_of(said, "-drive"))
    with pytest.raises(AetherError, match="Secure Boot needs UEFI firmware and q35"):
        MachineSpec("m", FOLDER, machine="pc", secure_boot=True)
