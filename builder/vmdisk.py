"""The disk of a person's virtual machine: it outlives builds, as the disk of a real machine does.

The image in the cache never changes. `aether run` boots a copy of it that lies in the machine's state
folder and is larger, so that the machine can grow its data partition. After a rebuild the copy gets the
image's new partitions in place and keeps its data partition, as an update of a real machine would.
Not for: what is in an image (image.py), or running the machine (vm.py).
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.cache import lock, write_atomically
from builder.errors import AetherError
from builder.powercut import copy_sparse
from builder.progress import step

DATA_LABEL = "aetheros-data"
CHUNK = 4 << 20  # bytes


@dataclass(frozen=True)
class Partition:
    """One partition of a disk; offset and size in bytes."""

    label: str
    offset: int
    size: int
    uuid: str = ""  # the kernel finds its root by it


def state_dir(machine: str) -> Path:
    """The state folder of a machine: below `$AETHER_STATE`, `$XDG_STATE_HOME/aetheros` or ~/.local/state."""
    if place := os.environ.get("AETHER_STATE"):
        return Path(place).absolute() / machine
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
    return home / "aetheros" / machine


def prepare(image: Path, layout: Mapping[str, Any], folder: Path, size: int, *, new: bool = False) -> Path:
    """The machine's disk in `folder`, holding the image that `layout` (its image.json) describes.

    Made from the image and grown to `size` bytes (sparse) if there is none, or if `new` asks for it: the
    old disk is then kept beside it. A disk of an older image with the same partitions gets the new
    contents of all but the data partition. AetherError if the partitions differ.
    """
    disk, side = folder / "disk.raw", folder / "disk.json"
    partitions = read_layout(layout)
    busy = f"{disk} is in use by a running machine"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)  # the serial log and the failure folders hold conversations too
    with lock(disk.with_name("disk.raw.lock"), wait=False, busy=busy):
        if new and disk.exists():
            keep = folder / f"disk-{time.strftime('%Y%m%d-%H%M%S')}.raw"
            disk.rename(keep)
            side.unlink(missing_ok=True)
            print(f"The old disk is kept as {keep}", file=sys.stderr)
        if not disk.exists():
            _create(image, disk, size, lambda: _write_side(side, layout, complete=True))
            return disk
        if not side.exists():
            raise AetherError(
                f"{disk} has no {side.name} beside it, so its partitions are unknown",
                hint="start with a new disk: --new-disk (the old one is kept)",
            )
        had = json.loads(side.read_text())
        if had["key"] == layout["key"] and had["complete"]:
            return disk
        _check_same(disk, read_layout(had), partitions)
        _write_side(side, had, complete=False)  # an interrupted copy is repeated
        with step("Update the machine's disk, its data kept", f"update {folder.name}'s disk"):
            for part in partitions:
                if part.label != DATA_LABEL:
                    copy_range(image, disk, part.offset, part.size)
        _write_side(side, layout, complete=True)
    return disk


def read_layout(layout: Mapping[str, Any]) -> tuple[Partition, ...]:
    """The partitions of an image.json, in order; the data partition must be the last."""
    try:
        found = tuple(
            Partition(str(part["label"]), int(part["offset"]), int(part["size"]), str(part.get("uuid", "")))
            for part in layout["partitions"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise AetherError(f"the image's layout cannot be read: {error!r}", hint="build it again") from None
    if not found or found[-1].label != DATA_LABEL:
        raise AetherError(f"the image's last partition is not {DATA_LABEL}", hint="build it again")
    return found


def _create(image: Path, disk: Path, size: int, describe: Callable[[], None]) -> None:
    with step(f"Make the machine's disk, {size / 2**30:.0f} GiB at most"):
        scratch = disk.with_name(f".{disk.name}.partial")
        try:
            copy_sparse(image, scratch)
            scratch.chmod(0o600)  # it will hold what the agent knows about a person
            os.truncate(scratch, max(size, image.stat().st_size))
            sync(scratch)
            describe()  # first: a disk without its description could never be updated
            scratch.rename(disk)
        except BaseException:
            scratch.unlink(missing_ok=True)  # a full disk wants its space back
            raise


def _check_same(disk: Path, had: Sequence[Partition], wanted: Sequence[Partition]) -> None:
    """The data partition grows, so only its place counts; everything else must be equal."""
    same = len(had) == len(wanted) and all(
        (a.label, a.offset) == (b.label, b.offset)
        and ((a.size, a.uuid) == (b.size, b.uuid) or a.label == DATA_LABEL)
        for a, b in zip(had, wanted, strict=True)
    )
    if not same:
        raise AetherError(
            f"the new image divides the disk differently from {disk}, which holds the machine's data",
            hint="start with a new disk: --new-disk (the old one is kept beside it)",
        )


def _write_side(side: Path, layout: Mapping[str, Any], *, complete: bool) -> None:
    known = {"key": layout["key"], "partitions": layout["partitions"], "complete": complete}
    write_atomically(side, json.dumps(known, indent=1) + "\n")


def copy_range(source: Path, target: Path, offset: int, size: int) -> None:
    """Copy `size` bytes at `offset` from one file into the same place of another, and flush them.

    Equal blocks are not written, so that the target stays as sparse as it was.
    """
    with source.open("rb") as give, target.open("r+b") as take:
        give.seek(offset)
        take.seek(offset)
        left = size
        while left > 0:
            new = give.read(min(CHUNK, left))
            if not new:
                raise AetherError(f"{source} ends inside a partition", hint="build the image again")
            if take.read(len(new)) != new:
                take.seek(-len(new), os.SEEK_CUR)
                take.write(new)
            left -= len(new)
        take.flush()
        os.fsync(take.fileno())


def sync(path: Path) -> None:
    """Flush a file to the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
