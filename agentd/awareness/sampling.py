"""What has to be looked at now and then: the clock, power, disk space, and pressure.

One thread, woken by the kernel's triggers and every ten seconds. A look costs well below a millisecond.
"""

import select
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

from agentd import log
from agentd.awareness.event import Event
from agentd.awareness.pressure import Pressure
from agentd.tools.tool import Lacking

EVERY = 10.0


class Sample(Protocol):
    """Something that is looked at."""

    def look(self) -> Iterable[Event]:
        """What has changed since the last look. May raise Lacking, OSError."""


class Sampling:
    """The samples by name, and pressure, whose triggers wake it. A source of watching.py."""

    name = "samples"

    def __init__(
        self,
        samples: Mapping[str, Sample],
        pressure: Pressure,
        sink: Callable[[Event], None],
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        """`tick` is called at each look, for what else has to be done now and then."""
        self._samples = {**samples, "pressure": pressure}
        self._pressure = pressure
        self._sink = sink
        self._tick = tick
        # What was said of each sample that failed.
        self._told: dict[str, str] = {}

    def run(self, stop_fd: int) -> None:
        """Look until `stop_fd` is readable."""
        poll = select.poll()
        poll.register(stop_fd, select.POLLIN)
        try:
            for descriptor in self._pressure.open():
                poll.register(descriptor, select.POLLPRI)
            due = time.monotonic()
            while True:
                left = due - time.monotonic()
                if left <= 0:
                    self.look()
                    due = time.monotonic() + EVERY
                    continue
                for descriptor, what in poll.poll(left * 1000):
                    if descriptor == stop_fd:
                        return
                    if what & select.POLLERR:  # the trigger is gone
                        poll.unregister(descriptor)
                        continue
                    self._send(self._pressure.triggered(descriptor))
        finally:
            self._pressure.close()

    def look(self) -> None:
        """Look at everything once; what fails is told once, and the others are looked at."""
        for name, sample in self._samples.items():
            try:
                self._send(sample.look())
            except (Lacking, OSError) as error:
                why = error.message if isinstance(error, Lacking) else str(error)
                if self._told.get(name) != why:
                    log.warning(f"awareness of {name}: {why}")
                self._told[name] = why
            else:
                self._told.pop(name, None)
        self._tick()

    def _send(self, events: Iterable[Event] | Iterator[Event]) -> None:
        for event in events:
            self._sink(event)
