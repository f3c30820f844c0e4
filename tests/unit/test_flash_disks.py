"""Which disks may be written: what lsblk says of a host, and each reason to refuse."""

from pathlib import Path
from typing import Any

import pytest

from builder.errors import AetherError
from builder.flash_disks import Facts, candidates, numbered, read_facts

GB = 10**9


def node(name: str, number: str, kind: str = "disk", **more: Any) -> dict[str, Any]:
    """A device as lsblk writes it."""
    known = {"kname": name, "path": f"/dev/{name}", "type": kind, "size": 32 * GB, "maj:min": number}
    plain = {"rm": False, "hotplug": False, "ro": False, "log-sec": 512, "mountpoints": [None]}
    return {**known, **plain, **more}


def stick(name: str = "sdb", number: str = "8:16", **more: Any) -> dict[str, Any]:
    words = {"model": "Ultra Fit", "vendor": "SanDisk ", "tran": "usb", "rm": True, "hotplug": True}
    return node(name, number, **{**words, **more})


def part(name: str, number: str, **more: Any) -> dict[str, Any]:
    return node(name, number, "part", **more)


# A laptop: its disk has an encrypted volume group that holds / and the swap.
LAPTOP = node(
    "nvme0n1",
    "259:0",
    size=512 * GB,
    model="SAMSUNG MZVL2512",
    tran="nvme",
    pttype="gpt",
    children=[
        part("nvme0n1p1", "259:1", fstype="vfat", mountpoints=["/boot/efi"]),
        part(
            "nvme0n1p2",
            "259:2",
            fstype="crypto_LUKS",
            children=[
                node(
                    "dm-0",
                    "253:0",
                    "crypt",
                    path="/dev/mapper/luks",
                    children=[
                        node("dm-1", "253:1", "lvm", path="/dev/mapper/vg-root", mountpoints=["/"]),
                        node("dm-2", "253:2", "lvm", path="/dev/mapper/vg-swap", mountpoints=["[SWAP]"]),
                    ],
                )
            ],
        ),
    ],
)


def refusal(device: dict[str, Any], sysfs: Path = Path("/none"), needed: int = 0) -> str:
    disk = numbered(Facts([LAPTOP, device], sysfs), device["maj:min"], needed=needed)
    assert bool(disk.refusal) == bool(disk.hint)
    return disk.refusal


def test_a_free_stick_may_be_written_and_is_described() -> None:
    systems = [part("sdb1", "8:17", fstype="exfat", label="HOLIDAY"), part("sdb2", "8:18", fstype="vfat")]
    device = stick(pttype="dos", children=systems)
    disk = numbered(Facts([LAPTOP, device]), "8:16", needed=8 * GB)
    assert (disk.refusal, disk.removable, disk.transport) == ("", True, "usb")
    assert disk.model == "SanDisk Ultra Fit"
    assert disk.holds == "dos, 2 partitions: exfat HOLIDAY, vfat"
    assert disk.described() == "/dev/sdb (SanDisk Ultra Fit, 32.0 GB, usb)"


def test_the_disk_that_the_host_runs_from_is_refused_through_every_layer() -> None:
    assert refusal(LAPTOP) == "this host runs from it (/, /boot/efi)"


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        (stick(mountpoints=["/media/me"]), "it is mounted at /media/me"),
        (stick(children=[part("sdb1", "8:17", mountpoints=[None, "/mnt"])]), "it is mounted at /mnt"),
        (stick(children=[part("sdb1", "8:17", mountpoints=["/home"])]), "this host runs from it (/home)"),
        (stick(children=[part("sdb1", "8:17", mountpoints=["[SWAP]"])]), "this host swaps to it"),
        (
            stick(children=[part("sdb1", "8:17", children=[node("md0", "9:0", "raid1")])]),
            "/dev/md0 is made of it",
        ),
        (stick(children=[node("dm-9", "253:9", "lvm")]), "/dev/dm-9 is made of it"),
        (stick(ro=True), "it is read-only"),
        (stick(size=0), "no medium is in it"),
        ({**stick(), "log-sec": 4096}, "it has sectors of 4096 bytes, the image is for 512"),
        (node("sr0", "11:0", "rom"), "it is no disk (rom)"),
        (node("md1", "9:1", "raid1"), "it is no disk (raid1)"),
    ],
)
def test_a_disk_that_is_in_use_or_no_use_is_refused(device: dict[str, Any], reason: str) -> None:
    assert refusal(device) == reason


def test_a_disk_too_small_is_refused() -> None:
    assert refusal(stick(size=4 * GB), needed=4 * GB) == ""
    assert refusal(stick(size=4 * GB - 512), needed=4 * GB).startswith("it is too small: 4.0 GB, the image")


def test_every_member_of_a_mounted_btrfs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fs/btrfs/an-id/devices/sdb2").mkdir(parents=True)
    device = stick(children=[part("sdb2", "8:18", fstype="btrfs")])
    assert refusal(device, tmp_path) == "it is part of a mounted btrfs file system"
    assert refusal(stick(children=[part("sdb1", "8:17", fstype="btrfs")]), tmp_path) == ""


def test_a_partition_is_refused_with_the_disk_that_it_is_on() -> None:
    device = stick(children=[part("sdb1", "8:17")])
    disk = numbered(Facts([LAPTOP, device]), "8:17")
    assert disk.refusal == "it is a partition of /dev/sdb"
    assert disk.hint == "an image needs the whole disk: /dev/sdb"


def test_what_is_made_of_disks_is_refused() -> None:
    assert numbered(Facts([LAPTOP]), "253:1").refusal == "it is made of another disk (lvm)"


def test_a_device_that_lsblk_does_not_list_is_refused() -> None:
    with pytest.raises(AetherError, match="does not know the block device 1:0"):
        numbered(Facts([LAPTOP]), "1:0")


def test_another_card_in_the_same_reader_is_another_disk(tmp_path: Path) -> None:
    sequence = tmp_path / "dev/block/8:16/diskseq"
    sequence.parent.mkdir(parents=True)
    sequence.write_text("9\n")
    before = numbered(Facts([stick()], tmp_path), "8:16")
    assert numbered(Facts([stick()], tmp_path), "8:16") == before
    sequence.write_text("10\n")
    assert numbered(Facts([stick()], tmp_path), "8:16") != before


def test_the_list_begins_with_what_may_be_written_and_leaves_out_what_is_no_disk() -> None:
    others = [node("zram0", "253:0"), node("loop0", "7:0", "loop"), node("sr0", "11:0", "rom")]
    internal = node("sda", "8:0", model="WDC", vendor="ATA     ", tran="sata")
    found = candidates(Facts([LAPTOP, *others, internal, stick()]))
    assert [str(disk.path) for disk in found] == ["/dev/sdb", "/dev/sda", "/dev/nvme0n1"]
    assert [bool(disk.refusal) for disk in found] == [False, False, True]
    assert found[1].model == "WDC"


def test_this_hosts_own_disks_can_be_read() -> None:
    for disk in candidates(read_facts()):
        assert disk.path.is_absolute()
        assert disk.size >= 0
