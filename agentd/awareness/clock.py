"""That the clock was set: by comparing it with the one that nobody can set.

timerfd_create(2) with TFD_TIMER_CANCEL_ON_SET would tell at once, but Python has it from 3.13 on. Slewing
(adjtimex(2), at most 500 ppm) is far below what is noticed here.
"""

import time
from collections.abc import Callable, Iterator

from agentd.awareness.event import Event, Severity
from agentd.tools.render import span, utc

LEAST = 2.0


def since_boot() -> float:
    """Seconds since the machine started, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Clock:
    """The clock as it was at the last look."""

    def __init__(
        self, now: Callable[[], float] = time.time, steady: Callable[[], float] = since_boot
    ) -> None:
        self._now, self._steady = now, steady
        self._offset = now() - steady()

    def look(self) -> Iterator[Event]:
        """An event if it was set by more than LEAST seconds since the last look."""
        now = self._now()
        offset = now - self._steady()
        jump, self._offset = offset - self._offset, offset
        if abs(jump) > LEAST:
            yield Event(
                "clock.changed",
                "clock",
                f"set {'forward' if jump > 0 else 'back'} by {span(abs(jump))}, from {utc(now - jump)}",
                Severity.INFO,
                time=now,
                source="clock",
                facts={"seconds": round(jump, 3), "before": utc(now - jump), "after": utc(now)},
            )
