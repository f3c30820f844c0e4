"""Keeping the index true to the turns and to the vault, whoever changed them.

What is new is told by turn ids and by the state of files; so an index that was deleted, or an agentd that
was off while a person edited, are the same case: what differs is read again. A person's edit is a commit
of the owner's. A file that cannot be read as a note is a problem to be told, and what was known of it stays
findable.
"""

import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping

from agentd import log
from agentd.database import is_not_writable
from agentd.errors import InvalidQuestion, StoreUnavailable
from agentd.memory import note
from agentd.memory.history import Author, History
from agentd.memory.index import Index
from agentd.memory.items import FileItem, IndexedFile, TurnItem
from agentd.memory.note import NoteError
from agentd.memory.vault import FileState, Missing, Vault, VaultError, digest
from agentd.session import Conversations, TurnRow, utc_now

# A search waits for the transaction that these are written in.
_TURNS_AT_ONCE = 2000
# And whoever remembers or asks for these: a fraction of a second. Then they have a moment to come in.
_FILES_AT_ONCE = 200
_BYTES_AT_ONCE = 8 << 20
_MOMENT = 0.01
_DAY = re.compile(r"(\d{4}-\d{2}-\d{2})(?!\d)")


def speaker_of(turn: TurnRow) -> str:
    """Who said a turn: by name, or "you" and "agent"."""
    return turn.speaker or ("agent" if turn.role == "agent" else "you")


def turn_item(turn: TurnRow) -> TurnItem:
    """A turn as the index has it."""
    return TurnItem(turn.id, turn.row, turn.session, turn.person, speaker_of(turn), turn.time, turn.text)


def items_of(path: str, text: str) -> list[FileItem]:
    """What the note at `path` holds for the index. Raises NoteError."""
    parsed = note.parse(text, path=path)
    day = _DAY.search(path)
    person = note.person_of(path)
    items = [FileItem.of_memory(memory) for memory in parsed.memories]
    time = day[1] if day else ""
    return items + [FileItem.of_passage(passage, person, time) for passage in parsed.passages]


class Indexing:
    """The index and what it is made of. May be used by several threads."""

    def __init__(self, index: Index, vault: Vault, history: History, conversations: Conversations) -> None:
        self._index = index
        self._vault = vault
        self._history = history
        self._conversations = conversations
        # Whoever holds it is the only one to write notes and to index them: a note that agentd wrote must be
        # indexed before anybody looks whether it was edited.
        self.lock = threading.RLock()
        # Why a file is not indexed as it is, by path.
        self.problems: dict[str, str] = {}

    def turns(self) -> None:
        """Index what was said since the last call. On a full disk that is for later: all else is found."""
        with self.lock:
            while found := self._conversations.turns_after(
                int(self._index.mark("turns") or 0), _TURNS_AT_ONCE
            ):
                try:
                    self._index.add_turns(map(turn_item, found), up_to=found[-1].row)
                except StoreUnavailable as refusal:
                    if not is_not_writable(refusal):
                        raise
                    log.error(f"what was said cannot be indexed: {refusal.parameters['detail']}")
                    return

    def files(self) -> int:
        """Look at every note, and index what was changed by others; how many files. They become commits.

        Many are taken some at a time, and others do their work in between. Raises StoreUnavailable.
        """
        with self.lock:
            scan = self._vault.scan()
            known = self._index.files()
            unknown = [problem.path for problem in scan.problems]
            there = {state.path: state for state in scan.files}
            changed = [
                path
                for path, state in there.items()
                if not _same(state, known.get(path)) or path in self.problems
            ]
            # What was wrong with a note is told until it is read again.
            self.problems = {path: why for path, why in self.problems.items() if path in there}
            self.problems |= {problem.path: problem.why for problem in scan.problems}
            gone = [
                path
                for path in known.keys() - there.keys()
                # What lies below a folder that cannot be read is unknown, not gone.
                if not any(path == place or path.startswith(f"{place}/") for place in unknown)
            ]
        indexed = 0
        for batch in _batches(there, changed, gone):
            indexed += self._index_some(batch, there, known)
            time.sleep(_MOMENT)
        return indexed

    def _index_some(
        self, paths: Iterable[str], there: Mapping[str, FileState], known: Mapping[str, IndexedFile]
    ) -> int:
        """Index notes that differ from what is known of them, and commit them; how many were changed."""
        changes: dict[str, bytes | None] = {}
        with self.lock:
            for path in paths:
                if (state := there.get(path)) is not None:
                    if (text := self._take(state, known.get(path))) is not None:
                        changes[path] = text.encode()
                elif self._is_gone(path):
                    self._index.remove_file(path)
                    changes[path] = None
            if changes:
                self._commit(changes, "Edited by hand", "owner")
        return len(changes)

    def written(self, texts: dict[str, str | None], states: dict[str, FileState], message: str) -> None:
        """Index notes as agentd has just written them (None: removed), and commit them as its own."""
        with self.lock:
            for path, text in texts.items():
                if text is None:
                    self._index.remove_file(path)
                    continue
                self.problems.pop(path, None)
                try:
                    self._index.replace_file(states[path], digest(text), items_of(path, text))
                except NoteError as error:
                    self.problems[path] = error.message
            changes = {path: None if text is None else text.encode() for path, text in texts.items()}
            self._commit(changes, message, "agent")

    def removed_turns(self, rows: Iterable[int]) -> None:
        """Take turns out of the index."""
        with self.lock:
            self._index.remove_turns(rows)

    def check(self) -> list[tuple[str, str]]:
        """What in the index is not as turns and vault say: the path of a note, if it is one, and a line."""
        with self.lock:
            mark = int(self._index.mark("turns") or 0)
            lines = self._index.check(turn_item(turn) for turn in self._all_turns(mark))
            problems = [("", line) for line in lines]
            known = self._index.files()
            for state in self._vault.scan().files:
                if not _same(state, known.pop(state.path, None)) and state.path not in self.problems:
                    problems.append((state.path, f"{state.path} is not indexed as it is"))
            problems += [
                (path, f"{path} is indexed and gone") for path in known if path not in self.problems
            ]
        return problems

    def rebuild(self) -> None:
        """Make the index anew from turns and vault."""
        with self.lock:
            self._index.clear()
            self.turns()
            self.files()

    def _all_turns(self, upto: int) -> Iterable[TurnRow]:
        after = 0
        while found := self._conversations.turns_after(after, _TURNS_AT_ONCE):
            yield from (turn for turn in found if turn.row <= upto)
            after = found[-1].row

    def _take(self, state: FileState, known: IndexedFile | None) -> str | None:
        """Index a file that differs from what was known of it; its text if that is new."""
        try:
            if self._vault.state(state.path) != state:
                return None  # changed or gone since it was listed: whoever did it makes us look again
            text = self._vault.read(state.path)
            if known is not None and known.digest == digest(text):
                # Touched, or saved without a change: only its state is new.
                self._index.replace_file(state, known.digest, items_of(state.path, text))
                self.problems.pop(state.path, None)
                return None
            self._index.replace_file(state, digest(text), items_of(state.path, text))
            self.problems.pop(state.path, None)
        except Missing:
            return None  # gone since
        except (VaultError, NoteError) as error:
            why = error.why if isinstance(error, VaultError) else error.message
            if self.problems.get(state.path) != why:
                log.warning("a note of the vault cannot be read; see: agent memory check")
            self.problems[state.path] = why
            return None
        return text

    def _is_gone(self, path: str) -> bool:
        try:
            return self._vault.state(path) is None
        except VaultError:
            return False  # the next look tells what is there instead

    def _commit(self, changes: dict[str, bytes | None], message: str, author: Author) -> None:
        try:
            self._history.commit(changes, message, author, utc_now())
        except (StoreUnavailable, InvalidQuestion, ValueError) as error:
            # The vault itself is written: history is what can be done without.
            log.error(f"the change could not be recorded in the history: {type(error).__name__}")


def _batches(
    there: Mapping[str, FileState], changed: Iterable[str], gone: Iterable[str]
) -> Iterator[list[str]]:
    """All paths, as many at once as others may wait for."""
    batch: list[str] = []
    size = 0
    for path in (*changed, *gone):
        batch.append(path)
        size += there[path].size if path in there else 0
        if len(batch) >= _FILES_AT_ONCE or size >= _BYTES_AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _same(state: FileState, known: IndexedFile | None) -> bool:
    return known is not None and (state.size, state.mtime_ns, state.inode) == (
        known.size,
        known.mtime_ns,
        known.inode,
    )
