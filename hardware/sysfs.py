"""Reading what the kernel shows in /sys and /proc, without root where possible.

Every file is read through one `Tree`, which can lie elsewhere (tests) and remembers what it was not
allowed to read. Not for: knowing what the files mean.
"""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from hardware.report import Unread

MOST = 1 << 20  # bytes of one file; /proc/cpuinfo of a large server has 800 kB


class Tree:
    """The files of a running kernel below `root`; `unread` grows with what could not be read."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root
        self._unread: dict[str, str] = {}

    @property
    def unread(self) -> tuple[Unread, ...]:
        """What could not be read, and why, in the order it was met."""
        return tuple(Unread(what, reason) for what, reason in self._unread.items())

    def note(self, what: str, reason: str) -> None:
        """Note something that the report lacks."""
        self._unread.setdefault(what, reason)

    def path(self, place: str | Path) -> Path:
        """Where a file of /sys or /proc is in this tree."""
        return self.root / str(place).lstrip("/")

    def bytes(self, place: str | Path, what: str = "") -> bytes | None:
        """A file's content; None if it is not there or cannot be read, which is noted as `what`."""
        try:
            with self.path(place).open("rb") as file:
                return file.read(MOST)
        except OSError as error:
            # ENODEV, EIO, EINVAL ...: the driver behind the file has nothing to say.
            if error.errno in (errno.EACCES, errno.EPERM):
                self.note(what or f"/{str(place).lstrip('/')}", "only root may read it")
            elif what:
                self.note(what, f"/{str(place).lstrip('/')}: {error.strerror}")
            return None

    def text(self, place: str | Path, what: str = "") -> str:
        """A file's text without the white space around it; "" where `bytes` has None."""
        return (self.bytes(place, what) or b"").decode("utf-8", "replace").strip().strip("\0")

    def number(self, place: str | Path) -> int | None:
        """A file's whole number, decimal or with 0x."""
        try:
            return int(self.text(place), 0)
        except ValueError:
            return None

    def names(self, place: str | Path) -> list[str]:
        """The names in a folder, sorted; [] if it is not there."""
        try:
            return sorted(os.listdir(self.path(place)))  # noqa: PTH208 - names alone, hundreds of times
        except OSError:
            return []

    def has(self, place: str | Path) -> bool:
        """Whether a file or folder is there."""
        return self.path(place).exists()

    def target(self, place: str | Path) -> str:
        """The last part of what a link leads to; "" for no link."""
        try:
            return os.readlink(self.path(place)).rpartition("/")[2]  # noqa: PTH115 - as above
        except OSError:
            return ""

    def real(self, place: str | Path) -> str:
        """A folder's own place, all links followed, as `/sys/...`; "" if it leads nowhere in the tree."""
        try:
            found = os.path.realpath(self.path(place), strict=True)
        except OSError:
            return ""
        root = os.path.realpath(self.root).rstrip("/")
        return found.removeprefix(root) if found.startswith(f"{root}/sys/") else ""


def above(place: str) -> Iterator[str]:
    """A device's folder and those above it, up to /sys/devices."""
    while place.startswith("/sys/devices/"):
        yield place
        place = place.rpartition("/")[0]
