"""Forgetting for good: a memory, a passage or something said, with every copy that agentd has made of it.

It is shown first (preview) and done with the token of what was shown. Removed are: what the model read of
it, and if asked the turns that it came from and the answers that rest on it; the line in every version of
its note, then in the note itself; the rows of the index; the saved states of the model. The note comes last
of what can be found again, so whoever is interrupted can say it again; a marker has what only cleans up done
at the next start. What a disk keeps in blocks that no file has any more is not agentd's to remove.

An answer under way may have read what is to be forgotten, and would store it with its end (its text, its
sources, its prompt, the summary of its session, the model's state): forgetting waits for it, no question
begins meanwhile (exclusion.py), and what it has stored is then forgotten like everything else.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from agentd.call import Watch
from agentd.errors import InvalidMemory, NoSuchMemory, PreviewExpired, StoreUnavailable
from agentd.memory import note
from agentd.memory.items import Item
from agentd.memory.memories import Memories
from agentd.memory.note import NoteError
from agentd.memory.shelf import item_path
from agentd.memory.vault import Missing
from agentd.session import TurnRow
from agentd.tools import kept
from agentd.worker import WorkerError

# Seconds that a preview holds.
PREVIEW_TIME = 300.0
MOST_PREVIEWS = 100
# Seconds that forgetting waits for answers under way, whoever asked: what is shared is read for all people.
WAITING = 60.0
# What a query may find for certain; more is no query but a cleaning.
MOST_ITEMS = 50
# A text shorter than this is not looked for as a copy: it would be found everywhere.
_SHORTEST_COPY = 12


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How much went: items, saved states of the model, and out of how many old versions of notes."""

    items: int
    states: int
    rewritten: int


@dataclass(frozen=True, slots=True)
class _Preview:
    person: str
    made: float
    items: tuple[Item, ...]
    turns: bool
    # The first turn that was not finished when it was made: from there on nothing could be shown.
    since: int


class Forgetting:
    """Previews and what becomes of them."""

    def __init__(self, memories: Memories, states_gone: Callable[[], None]) -> None:
        """`states_gone` is called whenever the model's saved states were removed."""
        self._memories = memories
        self._states_gone = states_gone
        self._marker = memories.state / "forgetting"
        self._previews: dict[str, _Preview] = {}
        self._lock = threading.Lock()

    def preview(
        self, person: str, watch: Watch, *, id: str | None, query: str | None, turns: bool
    ) -> tuple[str, list[Item]]:
        """A token, and what it would remove: an item and what it superseded, or all with a query's words.

        With `turns` also what was said that it came from, and the answers that rest on any of it.
        Raises NoSuchMemory, InvalidMemory.
        """
        if (id is None) == (query is None):
            raise InvalidMemory("give an id or a query")
        since = self._memories.conversations.unsettled()
        if id is not None:
            found = [self._memories.item(id, person)]
        else:
            search = self._memories.search(query or "", person, MOST_ITEMS, watch=watch, archived=True)
            words = {word for word in (query or "").casefold().split() if len(word) > 2}
            # Meant is what says it, not what is near to it.
            found = [
                hit.item
                for hit in search.recalled.hits
                if words and all(word in hit.item.text.casefold() for word in words)
            ]
        for item in found:
            if item.person != person:
                raise InvalidMemory(f"{item.id} is {item.person}'s")
        items = self._with_relatives(found, person, turns)
        token = secrets.token_urlsafe(12)
        with self._lock:
            self._previews[token] = _Preview(person, time.monotonic(), tuple(items), turns, since)
            while len(self._previews) > MOST_PREVIEWS:
                self._previews.pop(next(iter(self._previews)))
        return token, items

    def forget(self, token: str, person: str) -> Forgotten:
        """Remove what a preview showed.

        Raises PreviewExpired, VaultConflict, and Busy while an answer is being written: the preview stays.
        """
        self._known(token, person)
        with self._memories.conversations.exclusion.forgetting(WAITING):
            preview = self._known(token, person)
            with self._lock:
                self._previews.pop(token, None)
            return self._forget(preview)

    def _known(self, token: str, person: str) -> _Preview:
        with self._lock:
            preview = self._previews.get(token)
        if preview is None or preview.person != person:
            raise PreviewExpired("there is no such preview, or it was used already")
        if time.monotonic() - preview.made > PREVIEW_TIME:
            raise PreviewExpired("the preview is older than five minutes")
        return preview

    def _forget(self, preview: _Preview) -> Forgotten:
        for item in preview.items:
            with suppress(NoSuchMemory):
                if self._memories.item(item.id, preview.person).text != item.text:
                    raise PreviewExpired(f"{item.id} has changed since it was shown")
        self._begin()
        with self._memories.indexing.lock:
            self._from_turns(preview)
            rewritten = self._from_vault([item for item in preview.items if item.type != "turn"])
        return Forgotten(len(preview.items), self.finish(), rewritten)

    def delete_session(self, session: str, person: str) -> tuple[int, list[str]]:
        """Remove a session and everything said in it; how many turns, and the forks that keep copies.

        Raises NoSuchSession, and Busy while an answer is being written.
        """
        conversations = self._memories.conversations
        conversations.session(session, person)
        with conversations.exclusion.forgetting(WAITING):
            forks = [fork.id for fork in conversations.forks(session, person)]
            rows = conversations.delete(session, person)
            self._begin()
            self._memories.indexing.removed_turns(rows)
            self.finish()
        return len(rows), forks

    def _begin(self) -> None:
        """Leave the marker. Raises StoreUnavailable."""
        try:
            self._marker.touch(0o600)
        except OSError as error:
            raise StoreUnavailable(f"forgetting cannot begin: {error.strerror}") from error

    def finish(self) -> int:
        """Clean what could hold a copy, if forgetting was begun: free pages, the words of the index, saved
        states of the model; how many states."""
        if not self._marker.exists():
            return 0
        self._memories.index.vacuum()
        self._memories.conversations.scrub()
        states = self.forget_states()
        self._marker.unlink(missing_ok=True)
        self._states_gone()
        return states

    def forget_states(self) -> int:
        """Remove every saved state of the model, also while the worker does not answer; how many."""
        try:
            return self._memories.worker.forget(None, Watch())
        except WorkerError:
            return self._memories.remove_states()

    def _with_relatives(self, found: Sequence[Item], person: str, turns: bool) -> list[Item]:
        """The items, what they superseded, and with `turns` what was said that they came from, and the
        answers that rest on any of it."""
        items = {item.id: item for item in found}
        mine = self._memories.everywhere(person)
        waiting = [item for item in found if item.type == "memory"]
        for item in waiting:
            memory = self._memories.shelf.get(item)
            if turns and (turn := self._memories.turn_of(memory)) is not None and turn.person == person:
                for said in self._exchange(turn, person):
                    items.setdefault(said.id, said)
            for _, older in mine:
                if older.superseded_by == item.id and older.id not in items:
                    items[older.id] = self._memories.item(older.id, person)
                    waiting.append(items[older.id])
        if turns:
            for row in self._memories.conversations.answers_from(items):
                for said in self._said(row, person):
                    items.setdefault(said.id, said)
        return list(items.values())

    def _exchange(self, turn: TurnRow, person: str) -> Iterator[Item]:
        """A question and its answer, which repeats what was said."""
        near = self._memories.conversations.turns_near(turn.row, turn.session, 1)
        for said in near:
            if said.row == turn.row or (said.row > turn.row and said.role == "agent"):
                with suppress(NoSuchMemory):
                    yield self._memories.item(said.id, person)

    def _said(self, row: int, person: str) -> Iterator[Item]:
        """A turn of this person's as the index has it."""
        turn = self._memories.conversations.turn(row)
        if turn is not None and turn.person == person:
            with suppress(NoSuchMemory):
                yield self._memories.item(turn.id, person)

    def _from_vault(self, items: Sequence[Item]) -> int:
        """Take memories and passages out of every version of their notes, and out of the notes."""
        if not items:
            return 0
        ids: dict[str, list[str]] = {}
        passages: dict[str, list[str]] = {}
        for item in items:
            ids.setdefault(item_path(item), []).append(item.id)
            if item.type == "passage" and len(item.text) >= _SHORTEST_COPY:
                passages.setdefault(item_path(item), []).append(item.text)
        memories = [item.id for item in items if item.type == "memory"]

        def rewrite(path: str, content: bytes) -> bytes:
            text = content.decode("utf-8", "surrogateescape")
            # A memory may have been in other notes before; a passage has its id by its note.
            cleaned = _without(text, [*memories, *ids.get(path, ())], path)
            for copy in passages.get(path, ()):
                cleaned = cleaned.replace(copy, "")
            return cleaned.encode("utf-8", "surrogateescape")

        rewritten = self._memories.history.purge(rewrite)
        texts: dict[str, str | None] = {}
        for path, gone in ids.items():
            with suppress(Missing):
                texts[path] = _without(self._memories.vault.read(path), gone, path)
        self._memories.shelf.rewrite(texts, "Forget")
        for path in ids:
            kept.forget(self._memories.vault.folder, path)
        # What could be taken back of a note would bring it back.
        copies = [str(self._memories.vault.folder / path) for path in ids]
        copies += [item.text for item in items if len(item.text) >= _SHORTEST_COPY]
        self._memories.conversations.erase_copies(copies)
        return rewritten

    def _from_turns(self, preview: _Preview) -> None:
        """Empty turns, and take what is forgotten out of what the model read and what answers rest on."""
        conversations = self._memories.conversations
        ids = [item.id for item in preview.items]
        rows = [item.position for item in preview.items if item.type == "turn"]
        if preview.turns:
            rows += conversations.answers_from(ids)
            # Nobody has seen what was answered since, and it may repeat what it read of the session.
            rows += conversations.answers_beside(rows, preview.since)
        conversations.erase_sources(ids)
        if rows:
            self._memories.indexing.removed_turns(conversations.erase_turns(rows))


def _without(text: str, ids: Iterable[str], path: str) -> str:
    """A note's text without these memories and passages, as far as they are in it.

    Of a note that cannot be read as one, the lines with an id go.
    """
    for id in ids:
        try:
            text = note.remove(text, id, path=path)
        except NoteError:
            if id in text:
                text = "".join(line for line in text.splitlines(keepends=True) if id not in line)
    return text
