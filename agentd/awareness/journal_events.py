"""Errors in the journal, as they are written: `journalctl --follow` as a child, bounded in lines and bytes.

A boot is followed from its beginning; the cursor of the last record (sd_journal_get_cursor(3)) is where it
goes on after journald, the child or agentd ended. journald itself limits what one service may write
(RateLimitBurst= of journald.conf(5)); what comes through all the same is read in full only up to a limit,
and counted beyond it. Every text is untrusted. Not for: what is asked of the journal (tools/journal.py).
"""

import os
import re
import select
import shutil
import subprocess
import time
from collections.abc import Callable

from agentd.awareness.event import Event, Severity
from agentd.tools import journal
from agentd.tools.journal import Entry
from agentd.tools.tool import Lacking

# In one second: records that are read in full, and bytes after which nothing more is read.
MOST_LINES = 50
MOST_BYTES = 4 << 20
LONGEST_LINE = 64 << 10
_STOP_TIME = 2.0
# Inside of a text its quotes would be escaped.
_CURSOR = re.compile(rb'"__CURSOR" ?: ?"([^"\\]{1,500})"')
_SEVERITIES = (Severity.CRITICAL, Severity.CRITICAL, Severity.WARNING, Severity.INFO)


class JournalEvents:
    """The follower. A source of watching.py."""

    name = "the journal"

    def __init__(self, sink: Callable[[Event], None], boot: str, cursor: str = "") -> None:
        """`boot` is this boot's id, `cursor` the last record's that was seen, in any boot."""
        self._sink = sink
        # A cursor of another boot leads nowhere on a machine whose clock or journal began anew.
        self._cursor = cursor if boot and f";b={boot.replace('-', '')};" in cursor else ""
        self._second, self._lines, self._bytes = 0.0, 0, 0

    @property
    def cursor(self) -> str:
        """That of the last record."""
        return self._cursor

    def run(self, stop_fd: int) -> None:
        """Follow until `stop_fd` is readable. Raises Lacking when it cannot go on."""
        program = shutil.which(journal.PROGRAM)
        if program is None:
            raise Lacking("there is no journal here: journalctl is not installed")
        with subprocess.Popen(
            # Of an agentd that is killed it notices the closed pipe, and ends (journalctl(1), --follow).
            [program, *arguments(self._cursor)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0"},
            cwd="/",
        ) as child:
            assert child.stdout is not None
            try:
                over = self._follow(child.stdout.fileno(), stop_fd)
            finally:
                child.terminate()
                try:
                    child.wait(_STOP_TIME)
                except subprocess.TimeoutExpired:
                    child.kill()
        if over:
            raise Lacking(over)

    def _follow(self, descriptor: int, stop_fd: int) -> str:
        """Read records; why it ended, "" if it was told to."""
        line, is_cut = bytearray(), False
        while True:
            ready, _, _ = select.select([stop_fd, descriptor], [], [])
            if stop_fd in ready:
                return ""
            piece = os.read(descriptor, 1 << 16)
            if not piece:
                return "journalctl ended"
            if time.monotonic() - self._second >= 1.0:
                self._second, self._lines, self._bytes = time.monotonic(), 0, 0
            self._bytes += len(piece)
            *whole, rest = piece.split(b"\n")
            for end in whole:
                self._take(b"" if is_cut else bytes(line + end))
                line.clear()
                is_cut = False
            is_cut = is_cut or len(line) + len(rest) > LONGEST_LINE
            line = bytearray() if is_cut else line + rest
            if self._bytes > MOST_BYTES:
                # journalctl waits meanwhile: nothing is lost, and nobody else is kept from working.
                left = 1.0 - (time.monotonic() - self._second)
                if select.select([stop_fd], [], [], max(0.0, left))[0]:
                    return ""

    def _take(self, line: bytes) -> None:
        self._lines += 1
        if self._lines > MOST_LINES:
            words = "more errors at once than are read one by one"
            self._sink(Event("error", "journal", words, Severity.WARNING, source="journal"))
            self._remember(line)
            return
        entry = journal._record(line)
        if entry is None:
            return
        self._cursor = entry.cursor or self._cursor
        # What agentd says of its own trouble must not make more of it.
        if entry.pid != os.getpid():
            self._sink(_event(entry))

    def _remember(self, line: bytes) -> None:
        """Keep the cursor of a record that is not read, without reading it."""
        if found := _CURSOR.search(line):
            self._cursor = found[1].decode("ascii", "replace")


def arguments(cursor: str) -> list[str]:
    """journalctl's arguments: what comes after a cursor, or all of this boot."""
    fields = f"--output-fields={','.join(journal.FIELDS)}"
    since = f"--after-cursor={cursor}" if cursor else "--boot=0"
    return [
        *("--follow", "--no-tail", "--output=json", fields, "--no-pager", "--quiet"),
        *(f"--priority={journal.ERROR}", since),
    ]


def _event(entry: Entry) -> Event:
    return Event(
        "error",
        entry.unit,
        entry.message.removeprefix(f"{entry.unit}: "),
        _SEVERITIES[min(entry.priority, journal.ERROR)],
        time=entry.seconds,
        source="journal",
        trust="untrusted",
        facts={"priority": journal.PRIORITIES[entry.priority]},
    )
