"""An honest power cut: the disk loses every write that was not flushed.

Killing QEMU loses nothing that the guest wrote: the host's page cache has it. So a machine whose power
is to be cut writes through QEMU's `blklogwrites`, which logs every write and flush in the format of
the kernel's dm-log-writes (Documentation/admin-guide/device-mapper/log-writes.rst). After the cut, the
disk is put together again: as it was at the start, plus the writes up to the last flush. Not for
ordinary runs.
"""

import os
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from builder.errors import AetherError

MAGIC = 0x6A736677736872
SUPER = struct.Struct("<QQQI")  # magic, version, entries, bytes a sector
ENTRY = struct.Struct("<QQQQ")  # sector, sectors, flags, bytes of data (a mark's text)
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8


@dataclass(frozen=True)
class Write:
    """One entry of a write log; offsets and sizes in bytes, `data_at` in the log file."""

    offset: int
    size: int
    flags: int
    data_at: int


def before(disk: Path) -> Path:
    """Where the disk's contents at the machine's start are kept."""
    return disk.with_name(f"{disk.name}.before")


def begin(disk: Path, log: Path) -> None:
    """Keep the disk as it is now, as a sparse copy, and empty the log."""
    copy_sparse(disk, before(disk))
    log.write_bytes(b"")


def copy_sparse(source: Path, target: Path) -> None:
    """Copy a file with its holes; GNU cp asks the file system to share the blocks where it can."""
    words = ["cp", "--sparse=always", "--reflink=auto", "--", str(source), str(target)]
    environment = {**os.environ, "LC_ALL": "C"}  # "No space left on device" is looked for in the message
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise AetherError(f"copying {source} failed: {done.stderr.strip()}", hint="is there space left?")


def read_log(log: Path) -> list[Write]:
    """The entries of a write log up to and including the last flush."""
    writes: list[Write] = []
    with log.open("rb") as file:
        head = file.read(SUPER.size)
        if len(head) < SUPER.size:
            return []  # nothing was ever flushed
        magic, version, entries, sector = SUPER.unpack(head)
        if magic != MAGIC or version != 1:
            raise AetherError(f"{log} is not a write log")
        place = sector
        flushed = 0
        for _ in range(entries):
            file.seek(place)
            at, count, flags, _length = ENTRY.unpack(file.read(ENTRY.size))
            place += sector
            writes.append(Write(at * sector, count * sector, flags, place))
            if not flags & DISCARD:
                place += count * sector
            if flags & (FLUSH | FUA):
                flushed = len(writes)
    return writes[:flushed]


def lose_unflushed(disk: Path, log: Path) -> int:
    """Make `disk` what it was at the start plus the writes up to the last flush; how many those were.

    Discarded blocks read as zeroes afterwards.
    """
    writes = read_log(log)
    scratch = disk.with_name(f"{disk.name}.cut")
    copy_sparse(before(disk), scratch)
    with scratch.open("r+b") as target, log.open("rb") as source:
        for write in writes:
            if write.flags & DISCARD:
                _punch(target.fileno(), write.offset, write.size)
            elif write.size:
                source.seek(write.data_at)
                target.seek(write.offset)
                target.write(source.read(write.size))
        target.flush()
        os.fsync(target.fileno())
    shutil.copystat(disk, scratch)
    scratch.rename(disk)
    return len(writes)


def _punch(fd: int, offset: int, size: int) -> None:
    """Zeroes, a megabyte at a time; the next sparse copy makes holes of them."""
    empty = bytes(1 << 20)
    while size > 0:
        done = os.pwrite(fd, empty[: min(size, len(empty))], offset)
        offset, size = offset + done, size - done
