"""Memory pressure: the kernel's word that programs wait for memory, and how much is to be given back then.

The kernel tells it (PSI, https://docs.kernel.org/accounting/psi.html) of each cgroup and of the machine. The
machine's is watched: a cgroup's own pressure is how long its own processes waited, and a worker that sleeps
on its memory waits for nothing while others starve. A service manager may name something else to watch, by
systemd's protocol (https://systemd.io/MEMORY_PRESSURE/). Not for: giving memory back (engine.py, llama.py).
"""

import base64
import os
import re
import select
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from agentd import log

MACHINE = "/proc/pressure/memory"
# Some program waited for memory for 0.2 s of 2 s: systemd's threshold (MemoryPressureThresholdSec=), and the
# shortest window that a process without privileges may watch. An event comes for each such window.
TRIGGER = b"some 200000 2000000\0"
# Seconds without an event after which pressure is over.
CALM = 5.0
# Which event in a row asks for what; they are two seconds apart.
MODEL_AT = 2
ANSWER_AT = 5
# Memory is scarce when less than this part of the machine's could be had, and less than so many bytes.
SPARE = 8
MOST_SPARE = 256 << 20
MEMINFO = Path("/proc/meminfo")


class Relief(IntEnum):
    """What is to be given back; each includes the one before."""

    CONTEXT = 1  # what was read and the buffers, unless something is computed
    MODEL = 2  # the model, unless something is computed
    ANSWER = 3  # the model, in the middle of an answer too


@dataclass(frozen=True)
class Memory:
    """The machine's memory in bytes; `available` is what programs could get without swapping
    (proc_meminfo(5))."""

    total: int
    available: int

    @property
    def reserve(self) -> int:
        """What is to stay available."""
        return min(self.total // SPARE, MOST_SPARE)

    @property
    def scarce(self) -> bool:
        """Whether pressure comes from the machine's memory. If not, a unit may be at its own limit, which
        nothing that is given back here would help."""
        return self.available < self.reserve


@dataclass(frozen=True)
class Source:
    """A file descriptor on which poll(2) reports `events` under pressure."""

    fd: int
    events: int


def memory() -> Memory | None:
    """The machine's memory now, None where the machine does not tell (ProcSubset=pid)."""
    try:
        found = dict(re.findall(r"^(MemTotal|MemAvailable): +(\d+) kB$", MEMINFO.read_text(), re.MULTILINE))
        return Memory(int(found["MemTotal"]) << 10, int(found["MemAvailable"]) << 10)
    except (OSError, KeyError):
        return None


def open_source(environment: Mapping[str, str]) -> Source | None:
    """What $MEMORY_PRESSURE_WATCH names, a PSI file (armed with $MEMORY_PRESSURE_WRITE) or a FIFO; without
    the variables, the machine's pressure. None, and a line in the log, where nothing can be watched."""
    path = environment.get("MEMORY_PRESSURE_WATCH", MACHINE)
    try:
        written = environment.get("MEMORY_PRESSURE_WRITE")
        trigger = TRIGGER if written is None else base64.b64decode(written, validate=True)
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            kind = os.fstat(fd).st_mode
            if stat.S_ISFIFO(kind):
                # It is opened for writing too, so that it never ends.
                return Source(fd, select.POLLIN)
            if not stat.S_ISREG(kind):
                # systemd says /dev/null to turn it off.
                raise ValueError("it is no file to be watched")
            os.write(fd, trigger)
        except BaseException:
            os.close(fd)
            raise
        return Source(fd, select.POLLPRI)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        log.info(f"memory pressure is not watched: {path}: {reason}")
        return None


class Course:
    """How far pressure has gone, from the events that tell of it."""

    def __init__(self) -> None:
        self._events = 0
        self._last = 0.0

    def event(self, now: float) -> Relief:
        """What an event at `now` (seconds, monotonic) asks for."""
        self._events = self._events + 1 if now - self._last <= CALM else 1
        self._last = now
        if self._events >= ANSWER_AT:
            return Relief.ANSWER
        return Relief.MODEL if self._events >= MODEL_AT else Relief.CONTEXT


def watch(
    source: Source, relieve: Callable[[Relief], None], look: Callable[[], Memory | None] = memory
) -> None:
    """Call `relieve` for each event of `source`, until that ends. An answer is asked for only while memory
    is scarce."""
    course = Course()
    poll = select.poll()
    poll.register(source.fd, source.events)
    while True:
        ((_, events),) = poll.poll()
        if not events & source.events:
            log.warning("memory pressure is not watched any more")
            return
        if source.events == select.POLLIN:
            os.read(source.fd, 1 << 12)
        relief = course.event(time.monotonic())
        found = look()
        if relief is Relief.ANSWER and not (found and found.scarce):
            relief = Relief.MODEL
        relieve(relief)
