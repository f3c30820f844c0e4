"""Either answers are given or something is forgotten, never both at a time.

An answer is made of what was read before: sessions, memories, summaries, the model's states. Were
something forgotten meanwhile, the answer's end would store it again. So forgetting waits for the answers
under way, and questions that come while it waits or works wait for it. Not for: who may use the model
(admission.py).
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from agentd.call import AbandonedError, Watch
from agentd.errors import Busy

# Seconds between two looks at a waiting client.
_LOOK = 0.5


class Exclusion:
    """Any number of answers, or one who forgets."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._answers = 0
        # Whether somebody forgets, or waits for the answers under way to do so.
        self._forgetting = False

    @contextmanager
    def answering(self, watch: Watch) -> Iterator[None]:
        """Nothing is forgotten within the block. Raises Busy if the client leaves or agentd stops first."""
        with self._changed:
            while not self._changed.wait_for(lambda: not self._forgetting, _LOOK):
                try:
                    watch.wait(0)
                except AbandonedError as abandoned:
                    raise Busy(f"something is being forgotten, and {abandoned}") from abandoned
            self._answers += 1
        try:
            yield
        finally:
            with self._changed:
                self._answers -= 1
                self._changed.notify_all()

    @contextmanager
    def forgetting(self, seconds: float) -> Iterator[None]:
        """No answer is under way within the block. Raises Busy when there still is one after `seconds`."""
        deadline = time.monotonic() + seconds
        with self._changed:
            if not self._changed.wait_for(lambda: not self._forgetting, seconds):
                raise Busy("something else is being forgotten; nothing was removed")
            self._forgetting = True
        try:
            with self._changed:
                if not self._changed.wait_for(lambda: not self._answers, deadline - time.monotonic()):
                    raise Busy("an answer is being written; nothing was removed. Stop it, or wait for it")
            yield
        finally:
            with self._changed:
                self._forgetting = False
                self._changed.notify_all()
