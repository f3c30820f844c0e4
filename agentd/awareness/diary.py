"""Notices as memories: a line in the vault's journal for each, so that "when did the disk fill up?" is
answered as any question over memory is.

A line is a memory of kind event with its trust: "system", or "untrusted" where the words are a log's or a
device's. It is written once, when the notice is new, by a look every half minute, which is one commit; at
most so many in a day. What is not a notice (a login at the console, a link that comes up) is no memory, nor
is a machine that was busy: the events themselves are in the database. A source of watching.py.
"""

import select
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from agentd.awareness.rules import PRIVATE
from agentd.awareness.store import Notice, Store
from agentd.errors import VaultConflict
from agentd.memory.memories import Memories
from agentd.memory.memory import Memory

EVERY = 30.0
MOST_A_DAY = 50
# Room that is left for what is more than information.
_FOR_SEVERE = 15
SOURCE = "event:"
LONGEST = 300
KEPT_DAYS = 400
_AT_ONCE = 200
_FORGOTTEN = ("pressure.cpu", "pressure.io")


def path_of(seconds: float) -> str:
    """The note of a day, in local time."""
    return time.strftime("journal/%Y-%m-%d.md", time.localtime(seconds))


class Diary:
    """Writes what is new; `memories` opens them, and may wait and raise StoreUnavailable for that."""

    name = "the journal of the vault"

    def __init__(self, store: Store, memories: Callable[[], Memories], wake: Callable[[], None]) -> None:
        """`wake` is called when there is something to embed."""
        self._store = store
        self._memories = memories
        self._wake = wake

    def run(self, stop_fd: int) -> None:
        """Look now and then until `stop_fd` is readable. Raises Refusal."""
        while not select.select([stop_fd], [], [], EVERY)[0]:
            self.look()

    def look(self) -> int:
        """Write the notices that are not in the vault yet; how many were. Raises Refusal."""
        waiting = self._store.to_note(_AT_ONCE)
        if not waiting:
            return 0
        days: dict[str, list[Notice]] = {}
        for notice in waiting:
            days.setdefault(path_of(notice.first), []).append(notice)
        memories = self._memories()
        written, problem = 0, None
        for path, notices in days.items():
            try:
                written += self._write(memories, path, notices)
            except VaultConflict as conflict:
                # A note that a person has to mend must not keep the other days from being written.
                problem = conflict
            else:
                self._store.noted([notice.id for notice in notices])
        if written:
            self._wake()
        if problem is not None:
            raise problem
        return written

    def _write(self, memories: Memories, path: str, notices: Sequence[Notice]) -> int:
        # The index must know a note that agentd wrote before anybody looks whether it was edited.
        with memories.indexing.lock:
            there = memories.shelf.within(path)
            mine = [memory for memory in there if memory.source.startswith(SOURCE)]
            known = {memory.text for memory in mine}
            newest = max((memory.id for memory in there), default="")
            count, added = len(mine), []
            for notice in notices:
                text = _text(notice)
                is_severe = notice.severity.rank > 0
                room = MOST_A_DAY if is_severe else MOST_A_DAY - _FOR_SEVERE
                # One that is there was written before a power cut.
                if text in known or count >= room or notice.kind in _FORGOTTEN:
                    continue
                count += 1
                newest = memories.shelf.new_id(newest)
                added.append(_memory(newest, text, notice))
            if added:
                steps = [(path, [("add", memory) for memory in added])]
                memories.shelf.change(steps, f"What happened on {path[8:18]}")
            return len(added)


def _text(notice: Notice) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(notice.first))
    text = f"{when}: {notice.text}"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _memory(id: str, text: str, notice: Notice) -> Memory:
    when = datetime.fromtimestamp(notice.first, UTC)
    return Memory(
        id=id,
        text=text,
        kind="event",
        created=when.strftime("%Y-%m-%dT%H:%M:%SZ"),
        source=f"{SOURCE}{notice.kind}",
        trust=notice.trust,
        # What anybody may ask the machine, all may be reminded of.
        shared=notice.kind not in PRIVATE,
        expires=(when + timedelta(days=KEPT_DAYS)).strftime("%Y-%m-%d"),
    )
