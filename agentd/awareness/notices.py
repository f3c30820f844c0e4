"""Events come in here from every source, and notices go out: folded, bounded, and never in anybody's way.

take() counts an event in memory and returns; one thread writes what is due, a second after the last time
at the earliest. Whoever reads has everything written first. Who watches gets what was written, and in quiet
hours no notice but the critical; the others come when the hours are over. On a full disk what cannot be
written stays in memory, and is told from there.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from agentd import log
from agentd.awareness.event import Event, Severity
from agentd.awareness.folding import Fold, Folding
from agentd.awareness.quiet import QuietHours, parse
from agentd.awareness.store import Notice, Record, Store, unwritten
from agentd.errors import StoreUnavailable

# Seconds between two writes, and between looks for what is old.
GAP = 1.0
EXPIRY = 3600.0
# Nothing is dropped for its age until the clock has stood still for a day: a wrong one would drop it all.
STEADY = 86400.0
# What waits for one who watches and does not read; older ones are dropped, and counted.
MOST_WAITING = 200
MOST_WATCHING = 32
QUIET = "awareness.quiet"

Told = Record | Notice


class Stream:
    """What one who watches is told; `descriptor` is readable when there is something."""

    def __init__(self) -> None:
        self.descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._waiting: deque[Told] = deque()
        self._missed = 0
        self._lock = threading.Lock()

    def put(self, told: Sequence[Told]) -> None:
        """Tell; never waits."""
        with self._lock:
            self._waiting.extend(told)
            while len(self._waiting) > MOST_WAITING:
                self._waiting.popleft()
                self._missed += 1
            os.eventfd_write(self.descriptor, 1)

    def taken(self) -> tuple[list[Told], int]:
        """Everything that waits, and how much was dropped since the last call."""
        with self._lock:
            with suppress(BlockingIOError):
                os.eventfd_read(self.descriptor)
            found, missed = list(self._waiting), self._missed
            self._waiting.clear()
            self._missed = 0
        return found, missed


class Notices:
    """The way from events to notices. Any thread may use it."""

    def __init__(
        self,
        store: Store,
        marks: Callable[[], dict[str, str]] = dict,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`marks` are set in the database with every write."""
        self.store = store
        self._marks = marks
        self._now = now
        self._folding = Folding()
        self._changed = threading.Condition()
        self._is_due = False
        self._stopping = False
        self._steady = time.monotonic()
        self._expired = time.monotonic()
        # One write at a time; held without the other lock, so that take() never waits for the disk.
        self._writing = threading.Lock()
        self._failed = ""
        self._streams: set[Stream] = set()
        self._held: dict[int, Notice] = {}
        self._quiet: QuietHours | None = None
        self._thread = threading.Thread(target=self._run, name="notices", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Write what there is, and end."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(seconds)
        self.flush(everything=True)

    def take(self, event: Event) -> None:
        """Something happened. Costs some microseconds, whatever happens how often."""
        with self._changed:
            if event.kind == "clock.changed":
                self._steady = time.monotonic()
            if self._folding.take(event, time.monotonic()) and not self._is_due:
                self._is_due = True
                self._changed.notify()

    def flush(self, *, everything: bool = True) -> None:
        """Write what is due, or everything; on a disk that takes nothing it stays, which is logged once."""
        with self._writing:
            with self._changed:
                folds = self._folding.due(time.monotonic(), everything=everything)
                counts = [fold.count for fold in folds]
                self._is_due = False
            if folds:
                self._write(folds, counts)

    def _write(self, folds: list[Fold], counts: list[int]) -> None:
        # As they are now: events go on being counted meanwhile.
        copies = [replace(fold, count=count) for fold, count in zip(folds, counts, strict=True)]
        try:
            records, notices = self.store.write(copies, self._marks())
        except StoreUnavailable as refusal:
            why = str(refusal.parameters.get("detail", refusal))
            if why != self._failed:
                log.error(f"what happens on the machine cannot be kept: {why}")
            self._failed = why
            return
        self._failed = ""
        with self._changed:
            for fold, count, record in zip(folds, counts, records, strict=True):
                fold.row, fold.written = record.id, count
            self._folding.close(time.monotonic())
        self._tell(records, notices)

    # ---- reading

    def notices(self, *, all: bool = False, since: float | None = None) -> list[Notice]:
        """The open notices, or all that are kept; newest first. Raises StoreUnavailable."""
        self.flush()
        found = self.store.notices(all=all, since=since)
        with self._changed:
            left = self._folding.due(time.monotonic(), everything=True) if self._failed else []
        return [one for fold in left if (one := unwritten(fold)) is not None] + found

    def events(self, limit: int, kinds: tuple[str, ...] = (), since: float | None = None) -> list[Record]:
        """The last events, newest first. Raises StoreUnavailable."""
        self.flush()
        return self.store.events(limit, kinds=kinds, since=since)

    def acknowledge(self, id: int) -> Notice | None:
        """Have a notice acknowledged; None if none is open under this id. Raises StoreUnavailable."""
        self.flush()
        with self._changed:
            self._held.pop(id, None)
        return self.store.acknowledge(id, self._now())

    # ---- quiet hours

    @property
    def quiet(self) -> QuietHours:
        """The quiet hours as they are set. Raises StoreUnavailable."""
        if self._quiet is None:
            try:
                self._quiet = parse(self.store.mark(QUIET))
            except ValueError:
                self._quiet = QuietHours()
        return self._quiet

    def set_quiet(self, hours: QuietHours) -> None:
        """Set them. Raises StoreUnavailable."""
        self.store.set_mark(QUIET, str(hours))
        self._quiet = hours
        self._tell([], [])

    # ---- watching

    @contextmanager
    def watching(self) -> Iterator[Stream]:
        """A stream of what happens from now on. Raises RuntimeError when too many watch."""
        stream = Stream()
        try:
            with self._changed:
                if len(self._streams) >= MOST_WATCHING:
                    raise RuntimeError(f"{MOST_WATCHING} watch already")
                self._streams.add(stream)
            yield stream
        finally:
            with self._changed:
                self._streams.discard(stream)
            os.close(stream.descriptor)

    def _tell(self, records: list[Record], notices: list[Notice]) -> None:
        is_quiet = self._is_quiet()
        with self._changed:
            for notice in notices:
                if not is_quiet or notice.severity is Severity.CRITICAL:
                    continue
                # What ended while it was held is no news any more.
                self._held.pop(notice.id, None)
                if notice.state == "open":
                    self._held[notice.id] = notice
                if len(self._held) > MOST_WAITING:
                    del self._held[next(iter(self._held))]
            told: list[Told] = [*records]
            told += [one for one in notices if not is_quiet or one.severity is Severity.CRITICAL]
            if not is_quiet:
                told = [*self._held.values(), *told]
                self._held.clear()
            for stream in self._streams if told else ():
                stream.put(told)

    def _is_quiet(self) -> bool:
        try:
            return self.quiet.holds(self._now())
        except StoreUnavailable:
            return False

    # ---- the thread

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_due or self._stopping, self._patience())
                if self._stopping:
                    return
            try:
                self.flush(everything=False)
                self._now_and_then()
            except Exception as error:  # of any kind: what happens on the machine must go on being kept
                log.error(f"notices: {type(error).__name__}: {error}")
            with self._changed:
                if self._changed.wait_for(lambda: self._stopping, GAP):
                    return

    def _patience(self) -> float:
        """Seconds until something has to be done though nothing happens."""
        end = self._folding.next_end()
        until = EXPIRY if end is None else max(GAP, end - time.monotonic())
        # A minute is exact enough for the end of quiet hours.
        return min(until, 60.0) if self._held else until

    def _now_and_then(self) -> None:
        with self._changed:
            self._folding.close(time.monotonic())
            held = bool(self._held)
        if held:
            self._tell([], [])
        now = time.monotonic()
        if now - self._expired >= EXPIRY and now - self._steady >= STEADY:
            self._expired = now
            with suppress(StoreUnavailable):
                self.store.expire(self._now())
