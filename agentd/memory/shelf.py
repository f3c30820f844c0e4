"""The notes that agentd itself writes memories to: one note a person, and an archive for each year.

A change of several notes is written in an order in which a power cut loses nothing: what is archived is in
the archive before it leaves the note. One that fails half-way (a full disk) is taken back. Not for: what is
remembered why (memories.py), or how a note is written (note.py).
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from agentd.errors import InvalidMemory, NoSuchMemory, Refusal, StoreUnavailable, VaultConflict
from agentd.memory import ids, note
from agentd.memory.indexing import Indexing
from agentd.memory.items import Item
from agentd.memory.memory import OWNER, Memory
from agentd.memory.note import NoteError
from agentd.memory.vault import MISSING, Conflict, FileState, Kept, Missing, Vault, VaultError, digest

_TRIES = 5


def path_of(person: str) -> str:
    """The note that a person's memories are written to."""
    return "MEMORY.md" if person == OWNER else f"people/{person}/MEMORY.md"


def archive_of(person: str, created: str) -> str:
    """The note that a superseded memory of that time goes to."""
    folder = "" if person == OWNER else f"people/{person}/"
    return f"{folder}archive/{created[:4] or 'undated'}.md"


class Shelf:
    """Memories in their notes. Every method may raise StoreUnavailable, and VaultConflict."""

    def __init__(self, vault: Vault, indexing: Indexing) -> None:
        self._vault = vault
        self._indexing = indexing
        self._lock = indexing.lock
        self._last_id = ""

    def new_id(self, newest: str) -> str:
        """An id above `newest`, the newest there is, and above every one given out."""
        with self._lock:
            self._last_id = ids.new_id(max(newest, self._last_id))
            return self._last_id

    def of(self, person: str) -> tuple[Memory, ...]:
        """The memories in a person's own note."""
        return self.within(path_of(person))

    def within(self, path: str) -> tuple[Memory, ...]:
        """The memories in a note; none if there is no such note."""
        with _explained(path):
            return note.parse(self._vault.find(path) or "", path=path).memories

    def get(self, item: Item) -> Memory:
        """The memory that the index has found, as its note has it now. Raises NoSuchMemory."""
        for memory in self.within(item_path(item)):
            if memory.id == item.id:
                return memory
        raise NoSuchMemory(item.id)

    def put(self, memory: Memory, superseded: Sequence[tuple[str, Memory]], message: str) -> list[Memory]:
        """Add a memory and archive others, each with the note that it is in; the archived ones."""
        with self._lock:
            archived = [
                dataclasses.replace(old, superseded_by=memory.id, reason=memory.source)
                for _, old in superseded
            ]
            changes: dict[str, list[tuple[str, Memory]]] = {}
            for old in archived:
                changes.setdefault(archive_of(old.person, old.created), []).append(("add", old))
            for path, old in superseded:
                changes.setdefault(path, []).append(("remove", old))
            changes.setdefault(path_of(memory.person), []).append(("add", memory))
            self._change(changes.items(), message)
        return archived

    def replace(self, path: str, memory: Memory, message: str) -> None:
        """Write a memory in the place of the one with its id."""
        with self._lock:
            self._change([(path, [("replace", memory)])], message)

    def rewrite(self, texts: dict[str, str | None], message: str) -> None:
        """Write whole notes, None for one that goes."""
        with self._lock:
            states: dict[str, FileState] = {}
            with self._taking_back() as before:
                for path, text in texts.items():
                    with _explained(path):
                        if text is None:
                            with suppress(Missing):
                                self._vault.remove(path, keep=before)
                        else:
                            states[path] = self._vault.write(path, text, keep=before)
                self._indexing.written(texts, states, message)

    def change(self, steps: Iterable[tuple[str, Sequence[tuple[str, Memory]]]], message: str) -> None:
        """Do steps in their order, as one commit: each a note, and what is done in it.

        That is "add" (also where an old copy of it is), "replace" or "remove", each with a memory.
        """
        with self._lock:
            self._change(steps, message)

    def _change(self, steps: Iterable[tuple[str, Sequence[tuple[str, Memory]]]], message: str) -> None:
        texts: dict[str, str | None] = {}
        states: dict[str, FileState] = {}
        with self._taking_back() as before:
            for path, edits in steps:
                texts[path], states[path] = self._edit(path, edits, before)
            self._indexing.written(texts, states, message)

    @contextmanager
    def _taking_back(self) -> Iterator[list[Kept]]:
        """What the notes were before, which they become again if not all can be written and indexed."""
        before: list[Kept] = []
        try:
            yield before
        except Refusal:
            for kept in reversed(before):
                # One that a person has saved since stays theirs.
                with suppress(StoreUnavailable, VaultError):
                    self._vault.put_back(kept)
            raise
        finally:
            for kept in before:
                with suppress(StoreUnavailable, VaultError):  # the next start tidies it away
                    self._vault.let_go(kept)

    def _edit(
        self, path: str, edits: Sequence[tuple[str, Memory]], keep: list[Kept]
    ) -> tuple[str, FileState]:
        """Change a note, again if a person saved it meanwhile."""
        for attempt in range(_TRIES):
            with _explained(path):
                before = self._vault.find(path)
                text = before or ""
                for verb, memory in edits:
                    text = _edited(text, verb, memory)
                try:
                    expect = MISSING if before is None else digest(before)
                    state = self._vault.write(path, text, expect=expect, keep=keep)
                except Conflict:
                    if attempt == _TRIES - 1:
                        raise
                    continue
                return text, state
        raise AssertionError("unreachable")


def item_path(item: Item) -> str:
    """The path of the note that an item of the index is in."""
    return item.file.decode("utf-8", "surrogateescape")


def _edited(text: str, verb: str, memory: Memory) -> str:
    if verb == "add":
        # What a power cut left in the archive already is written over.
        with suppress(NoteError):
            text = note.remove(text, memory.id)
        return note.add(text, memory)
    return note.replace(text, memory) if verb == "replace" else note.remove(text, memory.id)


class _explained:  # noqa: N801
    """Turns what is wrong with a note into the errors of io.aetheros.Memory."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, VaultError):
            raise VaultConflict(self._path, f"{error.why}; nothing was written") from error
        if isinstance(error, NoteError):
            if error.line:
                raise VaultConflict(self._path, f"{error.message}; nothing was written") from error
            raise InvalidMemory(error.message) from error
