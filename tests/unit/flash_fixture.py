"""A small image and a disk for the tests of flashing, and a process that dies at a given write.

The table's headers are their signature alone ("EFI PART"): without it no reader takes a table for valid.
"""

import os
import signal
from pathlib import Path
from typing import Any

from builder import flash
from builder.flash_target import open_file
from builder.flash_write import EDGE, Content

MIB = 1 << 20
SIGNATURE = b"EFI PART"
DISK, DATA_END, IMAGE_END = 8 * MIB, 3 * MIB, 4 * MIB
CHUNK = MIB
WRITES_BEFORE_SEAL = 2 + 1 + 3 + 1  # wipe; head, 2 MiB of partitions and 1 of zeros in pieces; tail


def sealed(fill: bytes) -> tuple[bytes, bytes]:
    """The first and the last MiB of a disk with a table, everything else in them `fill`."""
    header = SIGNATURE.ljust(512, fill)
    return fill * 512 + header + fill * (EDGE - 1024), fill * (EDGE - 512) + header


def content(folder: Path, size: int = DISK) -> Content:
    """An image of 4 MiB in `folder`, for a disk of `size` bytes."""
    image = folder / "image.raw"
    if not image.exists():
        image.write_bytes(os.urandom(DATA_END) + b"backup" * 10)
        os.truncate(image, IMAGE_END)
    head, tail = sealed(b"N")
    return Content(image, size, head, tail, DATA_END, IMAGE_END)


def old_disk(path: Path, size: int = DISK) -> Path:
    """A disk with another system on it and a table with its backup."""
    head, tail = sealed(b"O")
    path.write_bytes(head + b"O" * (size - 2 * EDGE) + tail)
    return path


def expected(given: Content) -> bytes:
    """The whole disk after flashing, where `old_disk` was before."""
    data = given.image.read_bytes()[EDGE:DATA_END] + bytes(IMAGE_END - DATA_END)
    return given.head + data + b"O" * (DISK - IMAGE_END - EDGE) + given.tail


def headers(disk: Path) -> tuple[bool, bool]:
    """Whether the disk has a valid header of a table, and of its backup."""
    data = disk.read_bytes()
    return data[512:520] == SIGNATURE, data[-512:][:8] == SIGNATURE


def killed_at(folder: Path, number: int) -> int:
    """Flash `folder`/disk in another process that is killed just before write `number`; its exit code."""
    child = os.fork()
    if child == 0:
        real, count = os.pwritev, 0

        def counting(*words: Any) -> int:
            nonlocal count
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*words)

        os.pwritev = counting
        try:
            with open_file(folder / "disk", IMAGE_END) as target:
                flash.write(target, content(folder))
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
