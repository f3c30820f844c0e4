"""Which approvals were used, on the disk: none is good twice, also not after a restart or a power cut.

A line of the file is a boot's id, the moment after which the approval is no good any more (seconds of
CLOCK_BOOTTIME), and its nonce. Lines of other boots and of moments that passed are dropped when the file is
read: such an approval is refused for its boot or its age.
"""

import errno
import os
import re
import threading
from pathlib import Path

from agentd.approval import LIFETIME, boot, now
from agentd.memory.repository import write_file

FILE = "used"
_NONCE = re.compile(r"[0-9a-f]{32}")
_LINE = re.compile(r"([0-9a-f-]{36}) (\d+) ([0-9a-f]{32})")


class Nonces:
    """The nonces that were used, in a file in `folder`. Any thread may use it."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read before the first use: with a broken disk the broker is there to say so."""
        self._path = folder / FILE
        self._used: set[str] | None = None
        self._lock = threading.Lock()

    def use(self, nonce: str) -> None:
        """Mark as used; it is on the disk when this returns.

        Raises ValueError if it was used or is no nonce, and OSError if the disk cannot be read or written.
        """
        if not _NONCE.fullmatch(nonce):
            raise ValueError("it has no proper nonce")
        with self._lock:
            if self._used is None:
                self._used = self._read()
            if nonce in self._used:
                raise ValueError("it was used already")
            # No token is good for longer; one second more, because a line has whole ones.
            self._append(f"{boot()} {int(now() + LIFETIME) + 1} {nonce}")
            self._used.add(nonce)

    def _read(self) -> set[str]:
        this_boot = boot()
        try:
            lines = self._path.read_text(encoding="ascii", errors="replace").splitlines()
        except FileNotFoundError:
            lines = []
        # What is no line was cut off when it was written: nothing was done upon it.
        found = ((line, _LINE.fullmatch(line)) for line in lines)
        kept = [line for line, match in found if match and match[1] == this_boot and int(match[2]) > now()]
        write_file(self._path, "".join(f"{line}\n" for line in kept).encode())
        return {line.rpartition(" ")[2] for line in kept}

    def _append(self, line: str) -> None:
        # It begins with the end of the line before: what a full disk cut off there does not spoil this one.
        data = f"\n{line}".encode()
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if os.write(descriptor, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
