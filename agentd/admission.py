"""Who may use the model now: one question at a time, a bounded number waiting, first come first served."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from agentd.call import Watch
from agentd.errors import Busy

# Seconds between two looks at a waiting client; somebody who leaves the queue early costs this much.
_LOOK = 0.5


class Place:
    """A place in the queue."""

    def __init__(self, admission: "Admission") -> None:
        self._admission = admission

    def ahead(self) -> int:
        """How many come first."""
        return self._admission.position(self)

    def wait(self, watch: Watch) -> None:
        """Return when it is this one's turn. Raises AbandonedError."""
        while not self._admission.wait_for_head(self, _LOOK):
            watch.wait(0)


class Admission:
    """The queue before the model; `waiting` is how many may wait behind the one being answered."""

    def __init__(self, waiting: int) -> None:
        self._waiting = waiting
        self._queue: deque[Place] = deque()
        self._moved = threading.Condition()

    @contextmanager
    def place(self) -> Iterator[Place]:
        """A place in the queue, given back when the block is left. Raises Busy."""
        mine = Place(self)
        with self._moved:
            if len(self._queue) > self._waiting:
                raise Busy(f"{len(self._queue)} questions are waiting already")
            self._queue.append(mine)
        try:
            yield mine
        finally:
            with self._moved:
                self._queue.remove(mine)
                self._moved.notify_all()

    def position(self, place: Place) -> int:
        """The index of `place` in the queue: 0 is the one being answered."""
        with self._moved:
            return self._queue.index(place)

    def wait_for_head(self, place: Place, seconds: float) -> bool:
        """Whether `place` came to the head within `seconds`."""
        with self._moved:
            return self._moved.wait_for(lambda: self._queue[0] is place, seconds)

    def busy(self) -> int:
        """How many questions are being answered or wait."""
        with self._moved:
            return len(self._queue)

    def wait_idle(self, seconds: float) -> bool:
        """Whether nobody is left within `seconds`."""
        with self._moved:
            return self._moved.wait_for(lambda: not self._queue, seconds)
