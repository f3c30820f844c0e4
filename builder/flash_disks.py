"""The host's disks as `aether flash` sees them: what each one is, what is on it, why it must not be written.

Facts come from lsblk(8) of util-linux and from sysfs; nothing is opened and nothing is changed. The
last word is the kernel's, when the disk is opened for this program alone (flash_target.py): it also
knows of mounts in other namespaces and of users that no list names. Not for: plain files, or writing.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.errors import AetherError

COLUMNS = (
    "KNAME,PATH,TYPE,SIZE,MODEL,VENDOR,TRAN,RM,HOTPLUG,RO,LOG-SEC,MOUNTPOINTS,FSTYPE,LABEL,PTTYPE,MAJ:MIN"
)
SECTOR = 512  # bytes; what the image's partition table counts in
# What the host itself runs from; any other mount is somebody's stick or second disk.
SYSTEM_MOUNTS = ("/", "/boot", "/boot/efi", "/boot/firmware", "/efi", "/usr", "/var", "/home")
NO_DISKS = ("ram", "zram", "fd")  # memory that looks like a disk, and floppies

Node = Mapping[str, Any]  # a device in lsblk's JSON, with what is made of it as `children`


@dataclass(frozen=True)
class Facts:
    """What the host says of its block devices."""

    devices: Sequence[Node]
    sysfs: Path = Path("/sys")

    def btrfs_members(self) -> frozenset[str]:
        """Kernel names of the devices of mounted btrfs file systems; only one of them shows as mounted."""
        return frozenset(path.name for path in self.sysfs.glob("fs/btrfs/*/devices/*"))

    def identity(self, node: Node) -> str:
        """Changes when another disk, or another card in the reader, gets the same name."""
        number = str(node.get("maj:min"))
        try:
            sequence = (self.sysfs / "dev/block" / number / "diskseq").read_text().strip()
        except OSError:  # before Linux 5.15
            sequence = "?"
        return f"{number} {sequence} {node.get('size')}"


@dataclass(frozen=True)
class Disk:
    """A block device of the host. `refusal` says why it must not be written, "" if it may be."""

    path: Path
    size: int  # bytes
    model: str  # vendor and model, "" if it has none
    transport: str  # usb, sata, nvme, mmc ..., "" if unknown
    removable: bool
    holds: str  # its partition table and file systems, "" if none is recognised
    identity: str
    refusal: str = ""
    hint: str = ""

    def described(self) -> str:
        """The disk in a few words for a person."""
        words = (self.model or "no model", size_text(self.size), self.transport)
        return f"{self.path} ({', '.join(word for word in words if word)})"


def size_text(size: int) -> str:
    """A size as disks are sold: `32.0 GB`, `470.8 MB`."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def read_facts() -> Facts:
    """The facts of this host, now."""
    argv = ["lsblk", "--json", "--bytes", "--all", "--output", COLUMNS]
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"}
        )
        return Facts(json.loads(done.stdout)["blockdevices"])
    except FileNotFoundError:
        raise AetherError(
            "lsblk is missing, so disks cannot be told apart", hint="apt install util-linux"
        ) from None
    except subprocess.CalledProcessError as error:
        raise AetherError(f"lsblk failed: {error.stderr.strip()}") from None


def candidates(facts: Facts, *, needed: int = 0) -> list[Disk]:
    """Every disk of the host, those that may be written first, removable ones before the others."""
    found = [
        _disk(node, facts, needed)
        for node in facts.devices
        if node.get("type") == "disk" and not str(node["kname"]).startswith(NO_DISKS)
    ]
    return sorted(found, key=lambda disk: (bool(disk.refusal), not disk.removable, str(disk.path)))


def numbered(facts: Facts, number: str, *, needed: int = 0) -> Disk:
    """The block device of a number (MAJOR:MINOR), whatever it is; its `refusal` says if it may be written.

    `needed` is the image's size in bytes. AetherError if the host does not know the device.
    """
    for top in facts.devices:
        for node in _below(top):
            if node.get("maj:min") != number:
                continue
            if node is top:
                return _disk(node, facts, needed)
            if node.get("type") == "part":
                refusal = f"it is a partition of {top['path']}"
                return _refused(node, facts, refusal, f"an image needs the whole disk: {top['path']}")
            return _refused(node, facts, f"it is made of another disk ({node.get('type')})", "name a disk")
    raise AetherError(
        f"lsblk does not know the block device {number}", hint="aether flash MACHINE lists the disks"
    )


def _disk(node: Node, facts: Facts, needed: int) -> Disk:
    return _refused(node, facts, *_refusal(node, facts, needed))


def _refused(node: Node, facts: Facts, refusal: str, hint: str) -> Disk:
    # Some buses put their own name, or a number, where the maker's should be.
    vendor = re.sub(r"^(ATA|0x[0-9a-f]+)$", "", str(node.get("vendor") or "").strip())
    words = f"{vendor} {node.get('model') or ''}".split()
    return Disk(
        path=Path(str(node["path"])),
        size=int(node.get("size") or 0),
        model=" ".join(words),
        transport=str(node.get("tran") or ""),
        removable=bool(node.get("rm") or node.get("hotplug")),
        holds=_holds(node),
        identity=facts.identity(node),
        refusal=refusal,
        hint=hint,
    )


def _refusal(node: Node, facts: Facts, needed: int) -> tuple[str, str]:
    """Why a device must not be written and what to do about it; the most serious reason first."""
    path, size, sector = node["path"], int(node.get("size") or 0), int(node.get("log-sec") or SECTOR)
    mounts = sorted({str(place) for one in _below(node) for place in one.get("mountpoints") or () if place})
    system = [place for place in mounts if place in SYSTEM_MOUNTS]
    made = [str(one["path"]) for one in _below(node) if one is not node and one.get("type") != "part"]
    if node.get("type") not in ("disk", "loop"):
        return f"it is no disk ({node.get('type')})", "name a disk"
    if system:
        return f"this host runs from it ({', '.join(system)})", "choose another disk"
    if "[SWAP]" in mounts:
        return "this host swaps to it", f"swapoff it first: swapon --show lists what of {path} is in use"
    if mounts:
        return f"it is mounted at {', '.join(mounts)}", f"unmount it first: umount {' '.join(mounts)}"
    if made:
        return f"{', '.join(made)} is made of it", "stop that first (dmsetup, vgchange, mdadm, cryptsetup)"
    if {str(one["kname"]) for one in _below(node)} & facts.btrfs_members():
        return "it is part of a mounted btrfs file system", "unmount that first"
    if not size:
        return "no medium is in it", "put one in"
    if node.get("ro"):
        return "it is read-only", "a card or stick may have a switch; blockdev --setrw lets the kernel write"
    if sector != SECTOR:
        # The table would lie where firmware and kernel do not look for it.
        return f"it has sectors of {sector} bytes, the image is for {SECTOR}", "choose another disk"
    if size < needed:
        return (
            f"it is too small: {size_text(size)}, the image has {size_text(needed)}",
            "choose a larger one",
        )
    return "", ""


def _below(node: Node) -> Iterator[Node]:
    """A device and everything that is made of it."""
    yield node
    for child in node.get("children") or ():
        yield from _below(child)


def _holds(node: Node) -> str:
    systems = []
    for one in _below(node):
        if one.get("fstype") and (one.get("type") in ("part", "crypt", "lvm") or one is node):
            systems.append(" ".join(str(one[key]) for key in ("fstype", "label") if one.get(key)))
    parts = sum(one.get("type") == "part" for one in _below(node))
    table = f"{node.get('pttype') or 'table'}, {parts} partition{'s' * (parts != 1)}" if parts else ""
    if not parts and node.get("pttype"):
        table = f"{node['pttype']}, empty"
    return ": ".join(text for text in (table, ", ".join(systems)) if text)
