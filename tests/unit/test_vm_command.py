"""The QEMU command line: what a machine's description becomes."""

import json
from pathlib import Path
from uuid import UUID

import pytest

from builder.errors import AetherError
from builder.qemu_command import (
    Channels,
    Files,
    MachineSpec,
    memory_bytes,
    qemu_argv,
    visible_files,
    vsock_cid,
    without_missing_devices,
)

FOLDER = Path("/state/m")
FILES = Files(FOLDER / "serial-1.log", FOLDER / "qemu.log", FOLDER / "OVMF_VARS.fd")
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


def test_a_direct_boot_has_no_firmware_and_a_uefi_boot_no_kernel() -> None:
    direct = words(
        MachineSpec("m", FOLDER, firmware="direct", kernel=Path("/k/bz"), command_line="ro quiet")
    )
    assert value_of(direct, "-kernel") == ["/k/bz"]
    assert value_of(direct, "-append") == ["ro quiet"]
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
        "type=11,value=io.systemd.stub.kernel-cmdline-extra=quiet p=1,,2",
    ]


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
