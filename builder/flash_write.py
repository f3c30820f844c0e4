"""Writing an image so that a half-written disk never looks whole.

The order: the beginning and the end of the disk are wiped, so that neither its old partition table
nor that table's backup is left. Then everything is written but the three sectors that make the new
table valid: the protective MBR, the GPT header and the header's backup (UEFI specification, chapter 5).
All of it is flushed and read back, and only then come these three. Whatever ends the work before, even
the plug pulled out, leaves a disk without a table.

Reading back reads the medium: on a disk with O_DIRECT, past the page cache; on a plain file after
fsync and POSIX_FADV_DONTNEED. Not for: opening the disk (flash_target.py), or the table's contents.
"""

import contextlib
import errno
import mmap
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.errors import AetherError
from builder.flash_disks import SECTOR
from builder.flash_target import Target

EDGE = 1 << 20  # bytes at the beginning and at the end that hold the table and its backup
CHUNK = 4 << 20
HEAD_SEAL = 2 * SECTOR  # protective MBR and GPT header
MB = 1_000_000

Progress = Callable[[int, int, str], None]  # done, total, unit: as progress.Step.progress


class DiskFailed(AetherError):
    """The disk could not be written or read, or gave back other bytes than were written to it."""

    exit_status = 1


@dataclass(frozen=True)
class Content:
    """What a disk of `size` bytes shall hold.

    Its beginning and its end are `head` and `tail`, which hold the partition table for a disk of this
    size; between them the image's bytes as far as its last partition's end, `data_end`, then zeros to
    `body_end`, where the image's own backup table was. What lies between that and the tail is left as
    it is.
    """

    image: Path
    size: int
    head: bytes
    tail: bytes
    data_end: int
    body_end: int

    def __post_init__(self) -> None:
        assert len(self.head) == EDGE <= self.data_end <= self.body_end <= self.size - len(self.tail)
        assert not (self.size % SECTOR or self.data_end % SECTOR or len(self.tail) % SECTOR)

    @property
    def total(self) -> int:
        """Bytes that are written."""
        return self.body_end + len(self.tail)


@dataclass(frozen=True)
class Written:
    """What was done: bytes, and seconds for writing and for reading back."""

    size: int
    write_seconds: float
    verify_seconds: float


class Writer:
    """One image on its way to one target.

    `begun` once its first write has succeeded, `sealing` once the table is being made valid.

    Every method raises DiskFailed for a fault of the disk.
    """

    def __init__(self, target: Target, content: Content) -> None:
        self.target, self.content = target, content
        self.begun = self.sealing = False
        # Buffers of whole pages, because O_DIRECT wants that.
        self._give, self._back = mmap.mmap(-1, CHUNK), mmap.mmap(-1, CHUNK)

    def close(self) -> None:
        """Let go of the buffers."""
        self._give.close()
        self._back.close()

    def wipe(self) -> None:
        """Take away the table and its backup, and flush."""
        size = self.target.size
        for offset in (0, max(size - EDGE, 0)):
            self._put(offset, bytes(min(EDGE, size)))
            self.begun = True
        self._flush()

    def write(self, progress: Progress) -> float:
        """Write everything but the sectors that make the table valid, and flush; seconds."""
        begun = time.monotonic()
        with self.content.image.open("rb", buffering=0) as image:
            for done, offset, data in self._pieces(image.fileno()):
                if not (self.target.reads_zero and data == bytes(len(data))):
                    self._put(offset, data)
                _tell(progress, done, self.content.total, begun)
        self._flush()
        return time.monotonic() - begun

    def verify(self, progress: Progress) -> float:
        """Read everything back; seconds. DiskFailed at the first difference."""
        begun = time.monotonic()
        if not self.target.is_disk:
            os.posix_fadvise(self.target.fd, 0, 0, os.POSIX_FADV_DONTNEED)
        with self.content.image.open("rb", buffering=0) as image:
            for done, offset, data in self._pieces(image.fileno()):
                self._compare(offset, data)
                _tell(progress, done, self.content.total, begun)
        return time.monotonic() - begun

    def seal(self) -> None:
        """Make the table valid: first the backup's header, then the protective MBR and the header."""
        self.sealing = True
        last = self.content.size - SECTOR
        self._put(last, self.content.tail[-SECTOR:])
        self._flush()
        self._put(0, self.content.head[:HEAD_SEAL])
        self._flush()
        if not self.target.is_disk:
            os.posix_fadvise(self.target.fd, 0, 0, os.POSIX_FADV_DONTNEED)
        self._compare(0, self.content.head)
        self._compare(self.content.size - len(self.content.tail), self.content.tail)

    def _pieces(self, image: int) -> Iterator[tuple[int, int, bytes]]:
        """Bytes done with this piece, its offset, and what belongs there before the table is valid."""
        content, done = self.content, 0
        head = bytes(HEAD_SEAL) + content.head[HEAD_SEAL:]
        tail = content.tail[:-SECTOR] + bytes(SECTOR)
        yield (done := EDGE), 0, head
        for offset in range(EDGE, content.body_end, CHUNK):
            length = min(CHUNK, content.body_end - offset)
            data = _read(image, content.image, offset, min(length, max(content.data_end - offset, 0)))
            done += length
            yield done, offset, data + bytes(length - len(data))
        yield content.total, content.size - len(tail), tail

    def _flush(self) -> None:
        with _faults(self.target.path):
            os.fsync(self.target.fd)

    def _put(self, offset: int, data: bytes) -> None:
        self._give[: len(data)] = data
        done = 0
        while done < len(data):
            with memoryview(self._give) as whole, whole[done : len(data)] as view, _faults(self.target.path):
                done += _moved(os.pwritev(self.target.fd, [view], offset + done))

    def _compare(self, offset: int, wanted: bytes) -> None:
        done = 0
        while done < len(wanted):
            with (
                memoryview(self._back) as whole,
                whole[done : len(wanted)] as view,
                _faults(self.target.path),
            ):
                done += _moved(os.preadv(self.target.fd, [view], offset + done))
        found = self._back[: len(wanted)]
        if found != wanted:
            first = next(index for index in range(len(wanted)) if found[index] != wanted[index])
            raise DiskFailed(
                f"{self.target.path} gives back other bytes than were written, at byte {offset + first}",
                hint="the medium is bad, or has less room than it says: take another one",
            )


def _read(image: int, path: Path, offset: int, length: int) -> bytes:
    """Bytes of the image; a fault here is not the disk's."""
    try:
        data = os.pread(image, length, offset)
    except OSError as error:
        raise AetherError(
            f"the image {path} cannot be read: {error.strerror}", hint="build it again"
        ) from None
    if len(data) != length:
        raise AetherError(f"the image {path} ends too early", hint="build it again")
    return data


@contextlib.contextmanager
def _faults(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # A full file system below a plain file is not the cache's, which the command has words for.
        what = "no room is left" if error.errno == errno.ENOSPC else os.strerror(error.errno or errno.EIO)
        raise DiskFailed(f"{path}: {what}", hint="is it still plugged in, is it broken?") from None


def _moved(count: int) -> int:
    """A count of bytes that must not be 0: the disk ended before its size."""
    if count == 0:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    return count


def _tell(progress: Progress, done: int, total: int, begun: float) -> None:
    speed = done / MB / max(time.monotonic() - begun, 1e-3)
    progress(done // MB, total // MB, f"MB, {speed:.1f} MB/s")
