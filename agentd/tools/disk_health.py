"""What the disks say of their health, as far as agentd may hear it without root.

The kernel tells of errors (ext4's and btrfs's counters, a SCSI disk's errors, an NVMe controller's state, a
memory card's wear, arrays that lack a disk, file systems that turned read-only); udisks2 tells what SMART
says where it runs, and smartctl where it is installed and agentd may open the disk. Most machines have
neither: what tells nothing of its health is said to tell nothing. Not for: space (disks.py).
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentd.tools.bus import Bus
from agentd.tools.disks import ALWAYS_FULL, MOUNTINFO, PARTITIONS, mounted
from agentd.tools.render import count, moment, size, table, visible
from agentd.tools.tool import Answer, Arguments, Context, Lacking
from hardware.sysfs import Tree

UDISKS, UDISKS_PATH = "org.freedesktop.UDisks2", "/org/freedesktop/UDisks2"
# Block devices that are no disks of their own.
_NO_DISKS = ("loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd")
_SMARTCTL_SECONDS = 10.0
_SECTOR = 512  # bytes; /sys/block/*/size counts in these, whatever the disk's own are
# Health in JEDEC's eMMC 5.0 (JESD84-B50): wear in steps of 10 %, and whether the spare blocks run out.
_WEAR = "/life_time"
_WEAR_USED_UP = 0x0B
_SPARE = {1: "", 2: "most spare blocks are used up", 3: "the spare blocks are used up"}


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing that is said of a disk or a file system."""

    about: str
    words: str
    is_bad: bool
    source: str


def show(context: Context, arguments: Arguments, tree: Tree | None = None) -> Answer:
    """What the disks say of their health."""
    tree = tree or Tree()
    found_disks = disk_names(tree)
    remarks = list(of_the_kernel(tree))
    smart = list(of_udisks(context.bus))
    told = {remark.about for remark in smart}
    smart += [one for disk in found_disks if disk not in told for one in of_smartctl(disk)]
    remarks += smart
    if not found_disks and not remarks:
        raise Lacking("this machine shows no disks")
    # The kernel's count of errors is not the disk's own word.
    own = {one.about for one in remarks if one.source in (UDISKS, "smartctl") or one.source.endswith(_WEAR)}
    silent = [disk for disk in found_disks if disk not in own]
    facts = {
        "disks": [
            {"disk": disk, "model": model, "size_bytes": length}
            for disk, (model, length) in found_disks.items()
        ],
        "remarks": [
            {"about": one.about, "words": one.words, "bad": one.is_bad, "source": one.source}
            for one in remarks
        ],
        "silent": silent,
    }
    lines = [_sentence(remarks, len(found_disks))]
    if remarks:
        rows = [(one.about, "bad" if one.is_bad else "good", one.words) for one in remarks]
        lines.append(table(("Of", "State", "What is said"), rows))
    for disk in silent:
        model, length = found_disks[disk]
        described = ", ".join(part for part in (model, size(length) if length else "") if part)
        lines.append(
            f"{disk}{f' ({described})' if described else ''}: this disk tells nothing of its health."
        )
    return Answer(
        "\n".join(lines), facts, tuple(dict.fromkeys(("/sys/block", *(r.source for r in remarks))))
    )


def disk_names(tree: Tree) -> dict[str, tuple[str, int]]:
    """The disks by their kernel names, with model and bytes."""
    found = {}
    for name in tree.names("sys/block"):
        length = (tree.number(f"sys/block/{name}/size") or 0) * _SECTOR
        if length and not name.startswith(_NO_DISKS) and "boot" not in name:
            found[name] = (visible(tree.text(f"sys/block/{name}/device/model"), 40), length)
    return found


def of_the_kernel(tree: Tree) -> Iterator[Remark]:
    """What /sys and /proc say of disks and file systems."""
    for name in disk_names(tree):
        yield from _disk(tree, f"sys/block/{name}/device", name)
    for name in tree.names("sys/block"):
        lacking = tree.number(f"sys/block/{name}/md/degraded")
        if lacking is not None:
            words = f"the array lacks {count(lacking, 'disk')}" if lacking else "the array is complete"
            yield Remark(name, words, lacking > 0, f"/sys/block/{name}/md/degraded")
    for name in tree.names("sys/fs/ext4"):
        yield from _ext4(tree, name)
    for name in tree.names("sys/fs/btrfs"):
        yield from _btrfs(tree, name)
    for one in mounted(tree):
        # It was to be written: ext4's errors=remount-ro, or a check that failed at boot.
        if one.is_read_only and one.kind not in ALWAYS_FULL and one.name != PARTITIONS["aetheros-esp"]:
            words = "the file system is read-only: after an error, or mounted so"
            yield Remark(one.place, words, True, f"/{MOUNTINFO}")


def _disk(tree: Tree, device: str, name: str) -> Iterator[Remark]:
    state = tree.text(f"{device}/state")
    if state and name.startswith("nvme"):
        is_bad = state not in ("live", "new", "resetting", "connecting")
        yield Remark(name, f"the controller is {visible(state, 20)}", is_bad, f"/{device}/state")
    errors = tree.number(f"{device}/ioerr_cnt")
    if errors is not None:
        # Disks answer some of the kernel's questions at boot with an error: a handful is no damage.
        words = f"{count(errors, 'request')} ended with an error since the boot"
        yield Remark(name, words, errors > 10, f"/{device}/ioerr_cnt")
    steps = re.findall(r"0x[0-9a-fA-F]{2}\b", tree.text(f"{device}{_WEAR}"))
    worst = max((int(step, 16) for step in steps), default=0)
    if worst:
        is_used_up = worst >= _WEAR_USED_UP
        words = "its life is used up" if is_used_up else f"up to {10 * worst} % of its life is used"
        yield Remark(name, words, worst >= _WEAR_USED_UP - 1, f"/{device}{_WEAR}")
    spare = _SPARE.get(tree.number(f"{device}/pre_eol_info") or 1, "")
    if spare:
        yield Remark(name, spare, True, f"/{device}/pre_eol_info")


def _ext4(tree: Tree, name: str) -> Iterator[Remark]:
    errors = tree.number(f"sys/fs/ext4/{name}/errors_count")
    if errors is None:
        return
    words = "no errors in the file system"
    if errors:
        last = tree.number(f"sys/fs/ext4/{name}/last_error_time")
        when = f", the last at {moment(last)}" if last else ""
        words = f"{count(errors, 'error')} in the file system since its last check{when}"
    yield Remark(f"ext4 on {name}", words, errors > 0, f"/sys/fs/ext4/{name}/errors_count")


def _btrfs(tree: Tree, name: str) -> Iterator[Remark]:
    for number in tree.names(f"sys/fs/btrfs/{name}/devinfo"):
        place = f"sys/fs/btrfs/{name}/devinfo/{number}/error_stats"
        lines = [line.split() for line in tree.text(place).splitlines()]
        errors = {line[0]: int(line[1]) for line in lines if len(line) == 2 and line[1].isdecimal()}
        if errors:
            told = ", ".join(f"{visible(kind, 20)} {times}" for kind, times in errors.items() if times)
            words = f"errors of disk {number}: {told}" if told else f"no errors of disk {number}"
            yield Remark(f"btrfs {name[:8]}", words, bool(told), f"/{place}")


def of_udisks(bus: Bus) -> Iterator[Remark]:
    """What udisks2 knows of SMART (its Drive.Ata and NVMe.Controller); nothing where it does not run."""
    try:
        objects = bus.call(UDISKS, UDISKS_PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")[0]
    except Lacking:
        return
    names = _names_of_drives(objects)
    for path, interfaces in objects.items():
        about = names.get(path, "")
        ata = interfaces.get(f"{UDISKS}.Drive.Ata", {})
        # Without SmartUpdated nothing was asked yet, and SmartFailing says nothing.
        if about and ata.get("SmartEnabled") and ata.get("SmartUpdated"):
            is_bad, bad_sectors = bool(ata.get("SmartFailing")), ata.get("SmartNumBadSectors", -1)
            sectors = f", {count(bad_sectors, 'bad sector')}" if bad_sectors > 0 else ""
            words = f"SMART: {'it is about to fail' if is_bad else 'in order'}{sectors}"
            yield Remark(about, words, is_bad or bad_sectors > 0, UDISKS)
        nvme = interfaces.get(f"{UDISKS}.NVMe.Controller", {})
        if about and nvme.get("SmartUpdated"):
            warnings = [visible(str(one), 40) for one in nvme.get("SmartCriticalWarning", [])]
            words = f"NVMe: {', '.join(warnings)}" if warnings else "NVMe: no warning"
            yield Remark(about, words, bool(warnings), UDISKS)


def _names_of_drives(objects: dict[str, dict[str, dict[str, Any]]]) -> dict[str, str]:
    """The kernel's names of disks by the object paths of their drives."""
    found: dict[str, str] = {}
    for interfaces in objects.values():
        block = interfaces.get(f"{UDISKS}.Block", {})
        device = bytes(block.get("Device", b"")).rstrip(b"\0").decode("utf-8", "replace")
        if device and f"{UDISKS}.Partition" not in interfaces:
            found.setdefault(str(block.get("Drive", "/")), visible(device.removeprefix("/dev/"), 40))
    found.pop("/", None)
    return found


def of_smartctl(disk: str) -> Iterator[Remark]:
    """What smartctl(8) says of a disk; nothing without smartctl, or where agentd may not open the disk."""
    program, device = shutil.which("smartctl"), Path("/dev") / disk
    if program is None or not os.access(device, os.R_OK):
        return
    # A disk that sleeps is let sleep.
    command = [program, "--json", "--health", "--nocheck=standby", str(device)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SMARTCTL_SECONDS, check=False
        )
        passed = json.loads(done.stdout).get("smart_status", {}).get("passed")
    except (OSError, ValueError, AttributeError, subprocess.TimeoutExpired):
        return
    if isinstance(passed, bool):
        yield Remark(
            disk, f"SMART: {'in order' if passed else 'it is about to fail'}", not passed, "smartctl"
        )


def _sentence(remarks: list[Remark], disks: int) -> str:
    bad = [remark for remark in remarks if remark.is_bad]
    if bad:
        about = ", ".join(dict.fromkeys(remark.about for remark in bad))
        return f"Something is wrong with {about}: keep copies of what matters."
    if remarks:
        return f"Nothing is known to be wrong with {'this disk' if disks == 1 else 'these disks'}."
    return "Nothing here tells of the health of the disks."
