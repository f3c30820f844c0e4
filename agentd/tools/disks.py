"""The file systems on this machine's disks: how large, how full.

From /proc/self/mountinfo, statvfs(3) and the partitions' names in /sys. agentd's unit has its own view with
many bind mounts: each file system is told once, by where its root is mounted. Not for: whether a disk is
sound (disk_health.py).
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agentd.tools.render import count, percent, size, table, visible
from agentd.tools.tool import Answer, Arguments, Context, Lacking
from hardware.sysfs import Tree

MOUNTINFO = "proc/self/mountinfo"
# What AetherOS's partitions are for, by their GPT names (image/repart).
PARTITIONS = {
    "aetheros-data": "data partition",
    "aetheros-system": "system partition",
    "aetheros-models": "models",
    "aetheros-esp": "boot partition",
}
# Made once and full for ever: used space says nothing about them.
ALWAYS_FULL = ("erofs", "squashfs", "iso9660", "udf", "cramfs")
# Packages that mount themselves (snap) are no disks.
_LOOP = "7"
# Kinds whose device number is none of a disk; their source is.
_WITHOUT_DEVICE = ("btrfs", "bcachefs", "zfs")
# From this share on a file system is nearly full.
NEARLY_FULL = 0.9


@dataclass(frozen=True, slots=True)
class Mounted:
    """A file system of a disk: where, what, by which device, and whether it may be written as a whole."""

    place: str
    kind: str
    source: str
    device: str  # "253:1"
    is_read_only: bool  # the file system itself, not this view of it
    options: tuple[str, ...]  # of the file system
    name: str  # what the partition is for, or ""


def mounted(tree: Tree) -> list[Mounted]:
    """The file systems on disks, by place. Raises Lacking without /proc/self/mountinfo."""
    lines = tree.text(MOUNTINFO).splitlines()
    if not lines:
        raise Lacking(f"the kernel shows no /{MOUNTINFO} here")
    found: dict[str, Mounted] = {}
    for line in lines:
        one = _mount(tree, line)
        # The root of a file system stands nearer to the top than what is bound from it.
        if one is not None and (one.device not in found or len(one.place) < len(found[one.device].place)):
            found[one.device] = one
    return sorted(found.values(), key=lambda one: one.place)


def _mount(tree: Tree, line: str) -> Mounted | None:
    """A line of mountinfo (proc_pid_mountinfo(5)); None if it is of no disk, or of a part of one."""
    before, _, after = line.partition(" - ")
    head, tail = before.split(" "), after.split(" ")
    if len(head) < 6 or len(tail) < 3:
        return None
    device, root, place = head[2], _unescape(head[3]), _unescape(head[4])
    kind, source, options = tail[0], _unescape(tail[1]), tuple(tail[2].split(","))
    major = device.partition(":")[0]
    is_disk = major not in ("0", _LOOP) or kind in _WITHOUT_DEVICE
    # A subvolume's root is its path in the file system.
    if not is_disk or (root != "/" and kind not in _WITHOUT_DEVICE):
        return None
    name = PARTITIONS.get(_partition_name(tree, device), "")
    return Mounted(place, kind, source, device, "ro" in options, options, name)


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _partition_name(tree: Tree, device: str) -> str:
    lines = tree.text(f"sys/dev/block/{device}/uevent").splitlines()
    return next((line.partition("=")[2] for line in lines if line.startswith("PARTNAME=")), "")


def show(
    context: Context,
    arguments: Arguments,
    tree: Tree | None = None,
    statvfs: Callable[[str], os.statvfs_result] = os.statvfs,
) -> Answer:
    """Space used and free on each disk."""
    facts, rows = [], []
    for one in mounted(tree or Tree()):
        try:
            space = statvfs(one.place)
        except OSError:
            continue  # unmounted meanwhile, or not agentd's to enter
        total, free = space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize
        used = total - space.f_bfree * space.f_frsize
        if total:
            facts.append(_facts(one, total, used, free))
            rows.append(_row(facts[-1]))
    if not facts:
        raise Lacking("no file system of a disk is mounted here")
    # What is left for root alone counts as neither used nor free, as df(1) has it.
    text = table(("Place", "What", "Size", "Used", "Free", "Full"), rows)
    return Answer(f"{_sentence(facts)}\n{text}", facts, (f"/{MOUNTINFO}", "statvfs"))


def _facts(one: Mounted, total: int, used: int, free: int) -> dict[str, Any]:
    return {
        "place": visible(one.place, 60),
        "name": one.name,
        "kind": one.kind,
        "device": visible(one.source, 60),
        "size_bytes": total,
        "used_bytes": used,
        "free_bytes": free,
        "full": round(used / (used + free), 3) if used + free else 1.0,
        "read_only": one.is_read_only,
        "made_full": one.kind in ALWAYS_FULL,
    }


def _row(one: dict[str, Any]) -> tuple[object, ...]:
    what = f"{one['name']} ({one['kind']})" if one["name"] else one["kind"]
    what += ", read-only" if one["read_only"] else ""
    if one["made_full"]:
        return one["place"], what, size(one["size_bytes"]), "-", "-", "-"
    used, free = one["used_bytes"], one["free_bytes"]
    return one["place"], what, size(one["size_bytes"]), size(used), size(free), percent(used, used + free)


def _sentence(facts: list[dict[str, Any]]) -> str:
    written = [one for one in facts if not one["made_full"]]
    if not written:
        return "Nothing that is mounted here can be written."
    tight = [one for one in written if one["full"] >= NEARLY_FULL]
    if tight:
        words = ", ".join(f"{one['place']} ({size(one['free_bytes'])} free)" for one in tight)
        return f"Nearly full: {words}."
    # The data partition is what fills up on an AetherOS; elsewhere the largest is most likely to be meant.
    data = [one for one in written if one["name"] == PARTITIONS["aetheros-data"]]
    chosen = data[0] if data else max(written, key=lambda one: int(one["size_bytes"]))
    name = f"the {chosen['name']}" if chosen["name"] else chosen["place"]
    others = len(written) - 1
    more = f"; {count(others, 'more file system')} below" if others else ""
    return f"{size(chosen['free_bytes'])} of {size(chosen['size_bytes'])} are free on {name}{more}."
