"""What memory does by itself: it opens, follows the vault and the turns, embeds and distils.

One thread. It wakes when a note or a turn changes, works in small steps, and steps back as soon as a
question is being answered. Whatever goes wrong in it is a log line, and tried again later.
"""

import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress

from agentd import log, prompt
from agentd.call import AbandonedError, Watch
from agentd.database import Database
from agentd.errors import Refusal, StoreUnavailable
from agentd.memory.distilling import Distilling
from agentd.memory.forgetting import Forgetting
from agentd.memory.memories import Memories
from agentd.memory.watch import Watcher
from agentd.worker import ContextExceededError, WorkerError

# Texts embedded in one call: a question that comes meanwhile waits for at most this many.
_EMBEDDED_AT_ONCE = 16
# Seconds: between looks at everything where folders cannot be watched, between looks whether the model has
# come, between attempts after a failure, and for a person's editor to finish saving.
_LOOK = 30.0
_LOADING = 3.0
_RETRY = 10.0
_SETTLE = 0.2
# How long a caller waits for memory that is being opened.
_OPENING_TIME = 60.0
# What the state of the beginning of every prompt is kept as.
_PREFIX = "prefix"


class Background:
    """The thread, and the memories once they are open."""

    def __init__(
        self,
        make: Callable[[], Memories],
        database: Database,
        is_idle: Callable[[], bool],
        opened: Callable[[Memories], None],
    ) -> None:
        """`make` opens the memories, on the thread; `database` has the turns that they follow.

        `is_idle` is whether no question is being answered. `opened` is called once the vault has been looked
        at, and again after a failure.
        """
        self._make = make
        self._database = database
        self._is_idle = is_idle
        self._when_open = opened
        self._memories: Memories | None = None
        self._forgetting: Forgetting | None = None
        self._distilling: Distilling | None = None
        self._problem = "memory is being opened"
        self._opened = threading.Condition()
        self._begun = False
        self._prefixed = False
        self._stopping = False
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)

    def start(self) -> None:
        """Begin to open the memories."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """End the thread, within `seconds` if it can, and close the memories."""
        self._stopping = True
        os.eventfd_write(self._stop, 1)
        self._thread.join(seconds)
        if not self._thread.is_alive() and self._memories is not None:
            self._memories.close()

    def wake(self) -> None:
        """Something was said or written: look at it when there is time."""
        with suppress(BlockingIOError):
            os.eventfd_write(self._wake, 1)

    @property
    def memories(self) -> Memories:
        """The open memories; waits while they are being opened. Raises StoreUnavailable."""
        with self._opened:
            self._opened.wait_for(lambda: self._memories is not None, _OPENING_TIME)
            if self._memories is None:
                raise StoreUnavailable(self._problem)
            return self._memories

    @property
    def forgetting(self) -> Forgetting:
        """Forgetting, once the memories are open. Raises StoreUnavailable."""
        memories = self.memories
        with self._opened:
            assert self._forgetting is not None, memories
            return self._forgetting

    @property
    def distilling(self) -> Distilling:
        """Distilling, once the memories are open. Raises StoreUnavailable."""
        memories = self.memories
        with self._opened:
            assert self._distilling is not None, memories
            return self._distilling

    @property
    def introduced(self) -> Memories:
        """The memories, once what a new machine writes into them at its first start is there.

        Raises StoreUnavailable.
        """
        memories = self.memories
        with self._opened:
            self._opened.wait_for(lambda: self._begun, _OPENING_TIME)
        return memories

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._follow(self._open())
            except AbandonedError:
                return
            except Refusal as refusal:
                self._failed(str(refusal.parameters.get("detail", refusal)))
            except Exception as error:
                self._failed(f"{type(error).__name__}: {error}")
            select.select([self._stop], [], [], _RETRY)

    def _failed(self, why: str) -> None:
        log.error(f"memory: {why}; tried again in {_RETRY:g} s")
        with self._opened:
            self._problem = why

    def _open(self) -> Memories:
        if self._memories is not None:
            return self._memories
        memories = self._make()
        memories.vault.tidy()
        with self._opened:
            self._memories = memories
            self._forgetting = Forgetting(memories, self._states_gone)
            self._distilling = Distilling(memories, self._database)
            self._opened.notify_all()
        return memories

    def _follow(self, memories: Memories) -> None:
        """Follow the vault and the turns until agentd stops."""
        watcher = Watcher(memories.vault.folder)
        try:
            memories.indexing.files()
            self.forgetting.finish()
            self._when_open(memories)
            with self._opened:
                self._begun = True
                self._opened.notify_all()
            while not self._stopping:
                self._catch_up(memories)
                waiting = memories.indexing.problems or memories.index.counts().pending
                wait = _LOOK if waiting or not watcher.complete else None
                if not self._prefixed:
                    wait = _LOADING  # nobody says when the model has come
                waited: list[Watcher | int] = [watcher, self._wake, self._stop]
                ready, _, _ = select.select(waited, [], [], wait)
                if self._stop in ready:
                    return
                with suppress(BlockingIOError):
                    os.eventfd_read(self._wake)
                if watcher in ready or not ready:
                    select.select([self._stop], [], [], _SETTLE)
                    if watcher.changed() != set():
                        memories.indexing.files()
        finally:
            watcher.close()

    def _catch_up(self, memories: Memories) -> None:
        """Index, distil and embed what there is, a step at a time."""
        memories.indexing.turns()
        while not self._stopping and self.distilling.step():
            pass
        if not self._prefixed and self._is_idle():
            # Before the reading: what is forgotten while it lasts takes it back.
            self._prefixed = True
            if not self._read_prefix(memories):
                self._prefixed = False
        while not self._stopping:
            if not self._is_idle():
                select.select([self._stop], [], [], 1.0)
                continue
            if not self._embed(memories):
                return
            memories.indexing.turns()

    def _states_gone(self) -> None:
        """The model's saved states were removed: what every prompt begins with is to be read again."""
        self._prefixed = False
        self.wake()

    def _read_prefix(self, memories: Memories) -> bool:
        """Have the model read what every prompt begins with, or load it; whether it is done."""
        watch = Watch(None, self._stop)
        if memories.worker.status(watch=watch).state != "ready":
            return False
        try:
            read = memories.worker.prefix(prompt.prefix(), _PREFIX, watch)
        except (WorkerError, ContextExceededError):
            return True  # it is only ever a matter of speed
        if read:
            log.info(f"the model has read the {read} tokens that every prompt begins with")
        return True

    def _embed(self, memories: Memories) -> bool:
        """Embed some texts; whether there may be more."""
        pending = memories.index.pending_vectors(_EMBEDDED_AT_ONCE)
        if not pending:
            return False
        watch = Watch(None, self._stop)
        status = memories.worker.status(watch=watch)
        if status.embedder != "ready":
            # Without one, words are compared alone; the next look sees whether it has come.
            return False
        if memories.index.use_encoder(status.embedder_name):
            return True
        try:
            vectors = memories.worker.embed([text for _, text in pending], watch, background=True)
        except WorkerError:
            return False
        memories.index.put_vectors(zip((row for row, _ in pending), vectors, strict=True))
        return True
