"""Disks: how full, and what they say of their health. On real and on laid out /proc and /sys."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dbus_fast.message import Message
from dbus_fast.signature import Variant
from private_bus import DAEMON, PrivateBus, Service

from agentd.tools import disk_health, disks
from agentd.tools.bus import Bus
from agentd.tools.tool import Answer, Context, Lacking
from hardware.sysfs import Tree

needs_bus = pytest.mark.skipif(DAEMON is None, reason="there is no dbus-daemon here")


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    bus = Bus(f"unix:path={tmp_path}/no-bus")
    yield Context(bus, "ada")
    bus.close()


def fit_for_json(answer: Answer) -> Answer:
    json.dumps(answer.facts)
    assert answer.sources
    assert all(line.isprintable() for line in answer.text.splitlines())
    return answer


# agentd's own view in the image: its unit binds parts of the data partition and makes everything read-only.
VIEW = """\
22 1 253:1 / / ro,relatime shared:1 - erofs /dev/vda2 ro
23 22 0:21 / /proc rw,nosuid shared:2 - proc proc rw
24 22 253:3 / /var ro,nosuid,nodev,noatime - ext4 /dev/vda3 rw
25 24 253:3 /lib/agentd /var/lib/agentd rw,nosuid - ext4 /dev/vda3 rw
26 22 253:3 /tmp/b\\040c /t rw - ext4 /dev/vda3 rw
27 22 0:40 / /tmp rw - tmpfs tmpfs rw
28 22 253:4 / /usr/lib/aetheros/models ro - erofs /dev/vda4 ro
29 22 253:0 / /efi ro - vfat /dev/vda1 ro
30 22 7:0 / /snap/x ro - squashfs /dev/loop0 ro
31 22 0:50 /@home /home\\040two rw - btrfs /dev/sdb1 rw
"""
NAMES = {
    "253:0": "aetheros-esp",
    "253:1": "aetheros-system",
    "253:3": "aetheros-data",
    "253:4": "aetheros-models",
}


def lay(root: Path, files: dict[str, str]) -> Tree:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Tree(root)


def image(root: Path, view: str = VIEW) -> Tree:
    uevents = {
        f"sys/dev/block/{device}/uevent": f"DEVNAME=x\nPARTNAME={name}\n" for device, name in NAMES.items()
    }
    return lay(root, {"proc/self/mountinfo": view, **uevents})


def space(total: float, free: float) -> os.statvfs_result:
    blocks, left = int(total / 4096), int(free / 4096)
    return os.statvfs_result((4096, 4096, blocks, left, left, 0, 0, 0, 0, 255))


def test_each_file_system_is_told_once_and_the_data_partition_by_name(
    context: Context, tmp_path: Path
) -> None:
    answer = fit_for_json(disks.show(context, {}, image(tmp_path), lambda place: space(100e9, 40e9)))
    assert (
        answer.text.splitlines()[0]
        == "40.0 GB of 100 GB are free on the data partition; 2 more file systems below."
    )
    assert [one["place"] for one in answer.facts] == [
        *("/", "/efi", "/home two", "/usr/lib/aetheros/models", "/var"),
    ]
    (data,) = (one for one in answer.facts if one["name"] == "data partition")
    assert data["place"] == "/var"
    assert data["full"] == pytest.approx(0.6)
    assert not data["read_only"]  # agentd's view of it is; the file system is not
    assert "/var                      data partition (ext4)" in answer.text
    assert "system partition (erofs), read-only" in answer.text


def test_a_full_disk_is_told_first(context: Context, tmp_path: Path) -> None:
    def statvfs(place: str) -> os.statvfs_result:
        return space(100e9, 3e9 if place == "/var" else 90e9)

    answer = disks.show(context, {}, image(tmp_path), statvfs)
    assert answer.text.splitlines()[0] == "Nearly full: /var (3.0 GB free)."


def test_a_place_that_is_gone_meanwhile_is_left_out(context: Context, tmp_path: Path) -> None:
    def statvfs(place: str) -> os.statvfs_result:
        if place == "/efi":
            raise FileNotFoundError
        return space(1e9, 1e8)

    assert "/efi" not in disks.show(context, {}, image(tmp_path), statvfs).text


@pytest.mark.parametrize("view", ["", "garbage\n1 2 3 - \n", "23 22 0:21 / /proc rw - proc proc rw\n"])
def test_no_disk_is_one_line(context: Context, tmp_path: Path, view: str) -> None:
    with pytest.raises(Lacking):
        disks.show(context, {}, image(tmp_path, view))


def test_this_hosts_disks_are_measured(context: Context) -> None:
    try:
        answer = fit_for_json(disks.show(context, {}))
    except Lacking:
        pytest.skip("no disk is mounted here")
    assert all(one["size_bytes"] > 0 for one in answer.facts)


def health(context: Context, root: Path, files: dict[str, str], view: str = VIEW) -> Answer:
    lay(root, files)
    return fit_for_json(disk_health.show(context, {}, image(root, view)))


def test_a_disk_that_tells_nothing_is_said_to(context: Context, tmp_path: Path) -> None:
    answer = health(context, tmp_path, {"sys/block/vda/size": "2000000\n"})
    assert answer.text == (
        "Nothing here tells of the health of the disks.\n"
        "vda (1.0 GB): this disk tells nothing of its health."
    )


def test_what_the_kernel_counts_is_told(context: Context, tmp_path: Path) -> None:
    answer = health(
        context,
        tmp_path,
        {
            "sys/block/sda/size": "1000215216",
            "sys/block/sda/device/model": "Disk \x1b[5m One",
            "sys/block/sda/device/ioerr_cnt": "0x2c",
            "sys/block/nvme0n1/size": "1000215216",
            "sys/block/nvme0n1/device/state": "dead",
            "sys/block/mmcblk0/size": "1000000",
            "sys/block/mmcblk0/device/life_time": "0x02 0x0b",
            "sys/block/mmcblk0/device/pre_eol_info": "0x02",
            "sys/block/mmcblk0boot0/size": "8192",
            "sys/block/loop0/size": "8192",
            "sys/block/md0/size": "1000000",
            "sys/block/md0/md/degraded": "1",
            "sys/fs/ext4/vda3/errors_count": "3",
            "sys/fs/ext4/vda3/last_error_time": "1700000000",
            "sys/fs/ext4/features/lazy_itable_init": "supported",
            "sys/fs/btrfs/0123-4567/devinfo/1/error_stats": "write_errs 0\nread_errs 7\n",
        },
        VIEW.replace("ext4 /dev/vda3 rw", "ext4 /dev/vda3 ro,errors=remount-ro"),
    )
    bad = {
        (one["about"], one["words"].partition(" since")[0]) for one in answer.facts["remarks"] if one["bad"]
    }
    assert bad == {
        ("sda", "44 requests ended with an error"),
        ("nvme0n1", "the controller is dead"),
        ("mmcblk0", "its life is used up"),
        ("mmcblk0", "most spare blocks are used up"),
        ("md0", "the array lacks 1 disk"),
        ("ext4 on vda3", "3 errors in the file system"),
        ("btrfs 0123-456", "errors of disk 1: read_errs 7"),
        ("/var", "the file system is read-only: after an error, or mounted so"),
    }
    assert answer.text.startswith("Something is wrong with ")
    # The kernel's counts are not the disk's own word; a memory card's wear is.
    assert answer.facts["silent"] == ["nvme0n1", "sda"]


def test_sound_disks_are_told_to_be(context: Context, tmp_path: Path) -> None:
    answer = health(
        context,
        tmp_path,
        {
            "sys/block/mmcblk0/size": "1000000",
            "sys/block/mmcblk0/device/life_time": "0x01 0x03",
            "sys/block/mmcblk0/device/pre_eol_info": "0x01",
            "sys/fs/ext4/vda3/errors_count": "0",
        },
    )
    assert answer.text.startswith("Nothing is known to be wrong with this disk.\n")
    assert "up to 30 % of its life is used" in answer.text
    assert answer.facts["silent"] == []


def test_a_machine_without_disks_is_one_line(context: Context, tmp_path: Path) -> None:
    with pytest.raises(Lacking, match="this machine shows no disks"):
        disk_health.show(context, {}, image(tmp_path, "23 22 0:21 / /proc rw - proc proc rw\n"))


@needs_bus
def test_udisks_tells_what_smart_says(tmp_path: Path) -> None:
    drive, name = "/org/freedesktop/UDisks2/drives/One", "org.freedesktop.UDisks2"
    objects = {
        drive: {
            f"{name}.Drive.Ata": {
                "SmartEnabled": Variant("b", True),
                "SmartUpdated": Variant("t", 1700000000),
                "SmartFailing": Variant("b", True),
                "SmartNumBadSectors": Variant("x", 12),
            }
        },
        f"{drive}2": {
            f"{name}.NVMe.Controller": {
                "SmartUpdated": Variant("t", 1700000000),
                "SmartCriticalWarning": Variant("as", []),
            }
        },
    }
    for disk, path in (("sda", drive), ("nvme0n1", f"{drive}2")):
        block = {"Device": Variant("ay", f"/dev/{disk}\0".encode()), "Drive": Variant("o", path)}
        objects[f"/org/freedesktop/UDisks2/block_devices/{disk}"] = {f"{name}.Block": block}

    def answer(message: Message) -> tuple[str, list[Any]]:
        assert message.member == "GetManagedObjects"
        return "a{oa{sa{sv}}}", [objects]

    private = PrivateBus(tmp_path)
    private.start()
    service, bus = Service(private.address, name, answer), Bus(private.address)
    lay(tmp_path, {"sys/block/sda/size": "1000000", "sys/block/nvme0n1/size": "1000000"})
    found = fit_for_json(disk_health.show(Context(bus, "ada"), {}, image(tmp_path)))
    told = {one["about"]: (one["words"], one["bad"]) for one in found.facts["remarks"]}
    assert told == {
        "sda": ("SMART: it is about to fail, 12 bad sectors", True),
        "nvme0n1": ("NVMe: no warning", False),
    }
    assert found.facts["silent"] == []
    bus.close()
    service.close()
    private.stop()


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ('{"smart_status": {"passed": true}}', ["SMART: in order"]),
        ('{"smart_status": {"passed": false}}', ["SMART: it is about to fail"]),
        ('{"smartctl": {"exit_status": 2}}', []),
        ("[]", []),
        ("", []),
    ],
)
def test_smartctl_is_asked_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, words: list[str]
) -> None:
    program = tmp_path / "smartctl"
    program.write_text(f"#!/bin/sh\nprintf '%s ' \"$@\" >{tmp_path}/arguments\necho '{output}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert [remark.words for remark in disk_health.of_smartctl("null")] == words
    assert (tmp_path / "arguments").read_text() == "--json --health --nocheck=standby /dev/null "
    assert list(disk_health.of_smartctl("no-such-disk")) == []
