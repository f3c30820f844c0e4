"""That memory, processors or disks are short: PSI (https://docs.kernel.org/accounting/psi.html).

Of memory, where the kernel lets us, a trigger tells at once: a descriptor that poll(2) finds with POLLPRI.
For users without privilege its window is a multiple of two seconds, since Linux 6.5. Else, and for the end
of it, averages over ten seconds are read: a processor or a disk that is busy for a moment is no news. Not
for: giving memory back (the worker's concern).
"""

import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path

from agentd.awareness.event import Event, Severity

FOLDER = Path("/proc/pressure")
# Percent of ten seconds in which something waited: from which on it is told, below which it is over.
LIMITS = {"memory": (15.0, 3.0), "cpu": (80.0, 40.0), "io": (60.0, 15.0)}
# Percent of time in which nothing at all went on, for memory: the kernel may soon have to kill.
CRITICAL = 20.0
WINDOW = 2_000_000
TRIGGERED = ("memory",)
# Seconds that it takes the averages to know what a trigger told.
_HOLD = 20.0


class Pressure:
    """The three resources; `short` are those that an open notice is about."""

    def __init__(
        self,
        folder: Path = FOLDER,
        *,
        short: Collection[str] = (),
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._now = folder, now
        # Since when each is short.
        self._since = {name: now() for name in short if name in LIMITS}
        self._triggers: dict[int, str] = {}

    def open(self) -> list[int]:
        """Descriptors to poll for POLLPRI; none where the kernel has no triggers for us."""
        for name in TRIGGERED:
            trigger = f"some {round(LIMITS[name][0] / 100 * WINDOW)} {WINDOW}\0"
            try:
                descriptor = os.open(self._folder / name, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                os.write(descriptor, trigger.encode())
            except OSError:
                os.close(descriptor)
                continue
            self._triggers[descriptor] = name
        return list(self._triggers)

    def close(self) -> None:
        """Give the triggers back."""
        for descriptor in self._triggers:
            os.close(descriptor)
        self._triggers.clear()

    def triggered(self, descriptor: int) -> Iterator[Event]:
        """What the kernel says by a trigger."""
        name = self._triggers[descriptor]
        was_short = name in self._since
        self._since[name] = self._now()
        if not was_short:
            yield self._event(name, self._averages(name))

    def look(self) -> Iterator[Event]:
        """What the averages say that was not said yet."""
        for name, (start, stop) in LIMITS.items():
            averages = self._averages(name)
            if averages is None:
                continue
            since = self._since.get(name)
            if since is None and averages[0] >= start:
                self._since[name] = self._now()
                yield self._event(name, averages)
            elif since is not None and averages[0] < stop and self._now() - since > _HOLD:
                del self._since[name]
                yield Event("pressure.over", name, source="pressure", facts={"some": averages[0]})

    def _event(self, name: str, averages: tuple[float, float] | None) -> Event:
        some, full = averages or (0.0, 0.0)
        severity = Severity.INFO
        if name == "memory":
            severity = Severity.CRITICAL if full >= CRITICAL else Severity.WARNING
        least = max(some, LIMITS[name][0])
        words = f"something waited for it at least {least:.0f} % of the time"
        facts = {"some": some, "full": full}
        return Event(f"pressure.{name}", name, words, severity, source="pressure", facts=facts)

    def _averages(self, name: str) -> tuple[float, float] | None:
        """avg10 of "some" and of "full"; None where the kernel tells nothing."""
        found = {}
        with suppress(OSError, ValueError, IndexError):
            for line in (self._folder / name).read_text().splitlines():
                words = line.split()
                found[words[0]] = float(words[1].partition("=")[2])
        return (found["some"], found.get("full", 0.0)) if "some" in found else None
