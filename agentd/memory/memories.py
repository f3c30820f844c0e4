"""What the agent remembers for a person: adding, correcting, finding, showing.

A memory is a line in a note of the vault (shelf.py); what was said is a turn of a session. Both are found
through the index, which follows them (indexing.py). Forgetting is forgetting.py's concern, files that come
and go transfer.py's. Every method may raise StoreUnavailable.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentd.call import Watch
from agentd.errors import InvalidMemory, NoSuchMemory, VaultConflict
from agentd.memory import distil, note, recall
from agentd.memory.history import History
from agentd.memory.index import Index
from agentd.memory.indexing import Indexing
from agentd.memory.items import Item, Scope
from agentd.memory.memory import KINDS, OWNER, Memory
from agentd.memory.note import NoteError
from agentd.memory.recall import Recalled
from agentd.memory.shelf import Shelf, archive_of, item_path, path_of
from agentd.memory.vault import Vault, VaultError
from agentd.session import Conversations, TurnRow, utc_now
from agentd.worker import ModelWorker, WorkerError

LONGEST = 4000
# Things said before and after a turn that Show gives.
_AROUND = 2
_ALL = 1 << 30
_SHORTEST_REVISION = 4
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}:\d{2}Z)?")
# The path of a note that something is wrong with, empty if it is no note, and what to say of it.
_Line = tuple[str, str]
_TURN_SOURCE = re.compile(r"turn:t?(\d+)$")


@dataclass(frozen=True, slots=True)
class Search:
    """What was found; `semantic` is whether meanings could be compared, `confident` whether an answer is
    likely to be among the hits."""

    recalled: Recalled
    semantic: bool
    confident: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """One item of the index, the memory if it is one, and the turns around it or that it came from."""

    item: Item
    memory: Memory | None
    around: tuple[TurnRow, ...]


class Memories:
    """The memories of all people of this machine; each method is for one of them."""

    def __init__(self, state: Path, conversations: Conversations, worker: ModelWorker) -> None:
        """`state` is agentd's folder; the vault in it is made if there is none."""
        self.state = state
        self.conversations = conversations
        self.vault = Vault(state / "vault")
        self.history = History(state / "vault")
        self.index = Index(state / "index.db")
        self.indexing = Indexing(self.index, self.vault, self.history, conversations)
        self.shelf = Shelf(self.vault, self.indexing)
        self.worker = worker

    def close(self) -> None:
        """Close what is open."""
        self.index.close()

    def remove_states(self) -> int:
        """Remove the files of the model's saved states, for a worker that does not answer; how many."""
        removed = 0
        for file in (self.state / "kv").glob("*"):
            file.unlink(missing_ok=True)
            removed += 1
        return removed

    # ---- changing

    def add(
        self,
        text: str,
        person: str,
        *,
        kind: str | None = None,
        expires: str = "",
        shared: bool = False,
        source: str = "person",
        trust: str = "owner",
    ) -> tuple[Memory, list[Memory]]:
        """Remember a text; what it makes untrue is archived, and returned as the second.

        The same text again is only seen again. Raises InvalidMemory, VaultConflict.
        """
        text = _checked(text)
        if kind is not None and kind not in KINDS:
            raise InvalidMemory(f"there is no kind '{kind}'; there are {', '.join(KINDS)}")
        if expires and not _DATE.fullmatch(expires):
            raise InvalidMemory(f"'{expires}' is no date; write 2027-01-31 or 2027-01-31T18:00:00Z")
        with self.indexing.lock:
            now = utc_now()
            slot = distil.slot(text)
            mine = self.shelf.of(person)
            for known in mine:
                if _same_text(known.text, text) and not known.superseded_by:
                    seen = dataclasses.replace(
                        known,
                        seen=now,
                        shared=known.shared or shared,
                        expires=expires or known.expires,
                        kind=kind or known.kind,
                    )
                    self.shelf.replace(path_of(person), seen, f"Seen again: {seen.id}")
                    return seen, []
            memory = Memory(
                id=self.shelf.new_id(max((known.id for known in mine), default="")),
                text=text,
                kind=kind or distil.kind(text),
                created=now,
                seen=now,
                source=source,
                trust=trust,
                person=person,
                shared=shared,
                expires=expires,
                slot=slot,
            )
            old = [known for known in mine if slot and known.slot == slot and not known.superseded_by]
            if old:
                memory = dataclasses.replace(memory, supersedes=old[-1].id)
            place = path_of(person)
            archived = self.shelf.put(memory, [(place, one) for one in old], f"Remember {memory.id}")
            return memory, archived

    def correct(self, id: str, text: str, person: str) -> tuple[Memory, list[Memory]]:
        """Put a memory with another text in the place of one, which goes to the archive.

        Raises NoSuchMemory, InvalidMemory, VaultConflict.
        """
        with self.indexing.lock:
            item = self.item(id, person)
            old = self._own_memory(item, person)
            if old.superseded_by:
                raise InvalidMemory(f"{id} has been replaced by {old.superseded_by}: correct that one")
            now = utc_now()
            memory = dataclasses.replace(
                old,
                id=self.shelf.new_id(max([old.id, *(known.id for known in self.shelf.of(person))])),
                text=_checked(text),
                created=now,
                seen=now,
                source="person",
                trust="owner" if person == OWNER else old.trust,
                slot=distil.slot(text) or old.slot,
                supersedes=old.id,
            )
            archived = self.shelf.put(memory, [(item_path(item), old)], f"Correct {old.id}")
            return memory, archived

    def share(self, id: str, shared: bool, person: str) -> Memory:
        """Share a memory with everybody on this machine, or no longer."""
        with self.indexing.lock:
            item = self.item(id, person)
            memory = dataclasses.replace(self._own_memory(item, person), shared=shared)
            self.shelf.replace(item_path(item), memory, f"{'Share' if shared else 'Do not share'} {id}")
            return memory

    # ---- finding

    def search(
        self,
        question: str,
        person: str,
        k: int,
        *,
        watch: Watch,
        archived: bool = False,
        without: tuple[str, int] | None = None,
    ) -> Search:
        """The `k` best of everything that `person` may see, said a moment ago or years."""
        self.indexing.turns()
        query = recall.understand(self.index, question)
        embedding = self._embedding(query.text, watch)
        scope = Scope(person, utc_now(), archived=archived, without=without)
        found = recall.recall(self.index, query, embedding, scope, k)
        least = recall.THRESHOLD_OF_WORDS if embedding is None else recall.THRESHOLD
        return Search(found, embedding is not None, bool(found.hits) and found.confidence >= least)

    def _embedding(self, text: str, watch: Watch) -> Sequence[float] | None:
        if not text.strip():
            return None
        try:
            return self.worker.embed([text], watch)[0]
        except WorkerError:
            return None

    def listed(self, person: str, *, kind: str | None, archived: bool) -> list[tuple[Item, Memory]]:
        """The person's memories and those that are shared, newest first."""
        scope = Scope(person, utc_now(), types=("memory",), archived=archived)
        notes: dict[str, dict[str, Memory]] = {}
        found = []
        for item in self.index.all_items(scope):
            if kind is None or item.kind == kind:
                path = item_path(item)
                if path not in notes:
                    notes[path] = {memory.id: memory for memory in self.shelf.within(path)}
                # One that is not there: the note has just changed, and is being indexed.
                if memory := notes[path].get(item.id):
                    found.append((item, memory))
        return found

    def item(self, id: str, person: str) -> Item:
        """What the index has under an id, as far as `person` may see it. Raises NoSuchMemory."""
        self.indexing.turns()
        found = self.index.item(id, Scope(person, utc_now(), archived=True))
        if found is None:
            raise NoSuchMemory(id)
        return found

    def show(self, id: str, person: str) -> Shown:
        """An item and what is around it. Raises NoSuchMemory, VaultConflict."""
        item = self.item(id, person)
        if item.type == "turn":
            return Shown(item, None, self._around(item.position, item.session))
        if item.type == "passage":
            return Shown(item, None, ())
        memory = self.shelf.get(item)
        turn = self.turn_of(memory)
        around = self._around(turn.row, turn.session) if turn is not None and turn.person == person else ()
        return Shown(item, memory, around)

    def turn_of(self, memory: Memory) -> TurnRow | None:
        """The turn that a memory came from, if it came from one that is still there."""
        named = _TURN_SOURCE.match(memory.source)
        return self.conversations.turn(int(named[1])) if named else None

    def everywhere(self, person: str) -> list[tuple[str, Memory]]:
        """A person's memories, archived ones too, each with the path of its note.

        Without those of notes that cannot be read.
        """
        scope = Scope(person, utc_now(), types=("memory",), archived=True)
        found: list[tuple[str, Memory]] = []
        for path in sorted({item_path(item) for item in self.index.all_items(scope)}):
            with suppress(InvalidMemory, VaultConflict):
                found += [(path, memory) for memory in self.shelf.within(path) if memory.person == person]
        return found

    def restore(self, revision: str, id: str | None) -> list[str]:
        """Bring back a memory, or all that a commit changed, as it was before it; the notes that changed.

        What has taken the place of the memory goes to the archive. Raises InvalidMemory, VaultConflict, and
        InvalidQuestion for a revision that is none.
        """
        with self.indexing.lock:
            known = self.history.log(limit=_ALL)
            index = next((n for n, one in enumerate(known) if one.revision.startswith(revision)), None)
            if index is None or len(revision) < _SHORTEST_REVISION:
                raise InvalidMemory(f"there is no change '{revision}'")
            change = known[index]
            before = known[index + 1].revision if index + 1 < len(known) else None
            texts: dict[str, str | None] = {}
            for path in change.paths:
                data = self.history.file_at(before, path) if before else None
                texts[path] = None if data is None else data.decode("utf-8", "replace")
            message = f"Restore {id or 'what was'} before {change.revision[:12]}"
            if id is None:
                self.shelf.rewrite(texts, message)
                return sorted(texts)
            path, memory = _memory_in(texts, id, change.revision)
            steps = self._restoring(path, memory)
            self.shelf.change(steps, message)
            return sorted({path for path, _ in steps})

    def _restoring(self, path: str, memory: Memory) -> list[tuple[str, list[tuple[str, Memory]]]]:
        """How `memory` comes back to its note at `path`, for Shelf.change().

        After a power cut between two steps `check` puts right what is in two notes, or another restore does.
        """
        there = self.everywhere(memory.person)
        notes: dict[str, list[tuple[str, Memory]]] = {}
        steps = []
        successor = None if memory.superseded_by else _successor(there, memory.id)
        if successor is not None:
            place, old = successor
            # What it superseded is what comes back.
            old = dataclasses.replace(old, supersedes="", superseded_by=memory.id, reason="person")
            steps.append((archive_of(old.person, old.created), [("add", old)]))
            notes[place] = [("remove", old)]
        copies = {place for place, one in there if one.id == memory.id}
        notes.setdefault(path, []).append(("replace" if path in copies else "add", memory))
        return [*steps, *notes.items(), *((copy, [("remove", memory)]) for copy in sorted(copies - {path}))]

    # ---- the whole

    def stats(self, person: str) -> dict[str, Any]:
        """How much there is; the fields are those of io.aetheros.Memory.Stats."""
        self.indexing.turns()
        counts = self.index.counts()
        sessions, turns = self.conversations.counts()
        mine = self.index.all_items(Scope(person, utc_now(), types=("memory",), archived=True))
        active = self.index.all_items(Scope(person, utc_now(), types=("memory",)))
        size = sum(file.stat().st_size for file in self.state.rglob("*") if file.is_file())
        return {
            "memories": len(active),
            "archived": len(mine) - len(active),
            "passages": counts.passages,
            "turns": turns,
            "sessions": sessions,
            "files": counts.files,
            "indexed": counts.turns + counts.memories + counts.passages,
            "pending": counts.pending,
            "bytes": size,
            "embedder": self.worker.status().embedder or "none",
            "problems": _told_to(person, self._problems()),
        }

    def _problems(self) -> list[_Line]:
        """What a person should look at: notes that cannot be read, a history that cannot be used."""
        shown = [(path, f"{path!r}: {why}") for path, why in sorted(self.indexing.problems.items())]
        history = self.history.problem()
        return shown + ([("", history)] if history else [])

    def check(self, person: str, *, repair: bool) -> tuple[list[str], list[str]]:
        """What is wrong and what was put right, a line each. Nobody's text is changed.

        Of notes only the person's own are named; to the owner, all.
        """
        with self.indexing.lock:
            found, repaired = self._check(repair)
        return _told_to(person, found), _told_to(person, repaired)

    def _check(self, repair: bool) -> tuple[list[_Line], list[_Line]]:
        self.indexing.turns()
        self.indexing.files()
        repaired: list[_Line] = []
        found = self.indexing.check()
        if found and repair:
            self.indexing.rebuild()
            repaired = [(path, f"the index was made anew: {line}") for path, line in found]
            found = self.indexing.check()
        history = [("", line) for line in self.history.check()]
        twice = self._twice()
        if twice and repair:
            for id, path in twice.items():
                self.shelf.rewrite({path: note.remove(self.vault.find(path) or "", id)}, f"Repair {id}")
                repaired.append((path, f"{id} was in two notes; it is no longer in {path}"))
            twice = {}
        doubled = [(path, f"{id} is in two notes, one of them {path}") for id, path in twice.items()]
        return found + history + doubled + self._problems(), repaired

    def _twice(self) -> dict[str, str]:
        """Memories that a power cut left in the archive and outside of it, and the note that is wrong."""
        places: dict[str, list[tuple[str, bool]]] = {}
        for state in self.vault.scan().files:
            try:
                for memory in note.parse(self.vault.find(state.path) or "", path=state.path).memories:
                    places.setdefault(memory.id, []).append((state.path, bool(memory.superseded_by)))
            except (NoteError, VaultError):
                continue  # told by _problems()
        successors = {id for id, found in places.items() if any(not archived for _, archived in found)}
        wrong: dict[str, str] = {}
        for id, found in places.items():
            archived = [path for path, is_archived in found if is_archived]
            others = [path for path, is_archived in found if not is_archived]
            if archived and others:
                replaced = any(
                    one.id == id and one.superseded_by in successors
                    for one in note.parse(self.vault.find(archived[0]) or "", path=archived[0]).memories
                )
                wrong[id] = others[0] if replaced else archived[0]
        return wrong

    def _around(self, row: int, session: str) -> tuple[TurnRow, ...]:
        near = self.conversations.turns_near(row, session, _AROUND)
        return tuple(turn for turn in near if turn.text)

    def _own_memory(self, item: Item, person: str) -> Memory:
        """The memory that an item is. Raises InvalidMemory for one that is not theirs, or is none."""
        if item.type != "memory":
            what = "something said" if item.type == "turn" else "a passage of a note"
            raise InvalidMemory(f"{item.id} is {what}, not a memory")
        if item.person != person:
            raise InvalidMemory(f"{item.id} is {item.person}'s")
        return self.shelf.get(item)


def _memory_in(texts: Mapping[str, str | None], id: str, revision: str) -> tuple[str, Memory]:
    """The memory `id` in one of these notes, and its path; not its archived copy if it was in two of them.

    Raises InvalidMemory.
    """
    try:
        found = [
            (path, one)
            for path, text in texts.items()
            for one in note.parse(text or "", path=path).memories
            if one.id == id
        ]
    except NoteError as error:
        raise InvalidMemory(error.message) from error
    if not found:
        raise InvalidMemory(f"{id} was not in what the change {revision[:12]} changed")
    return min(found, key=lambda one: bool(one[1].superseded_by))


def _successor(there: Sequence[tuple[str, Memory]], id: str) -> tuple[str, Memory] | None:
    """What is active in the place of the memory `id`, which it superseded at once or one after the other."""
    seen = {id}
    while True:
        next_id = next((one.superseded_by for _, one in there if one.id == id and one.superseded_by), "")
        found = [(path, one) for path, one in there if one.id == next_id]
        for path, one in found:
            if not one.superseded_by:
                return path, one
        if not found or next_id in seen:
            return None
        seen.add(next_id)
        id = next_id


def _told_to(person: str, lines: Sequence[_Line]) -> list[str]:
    """The lines that a person may see: a path tells what somebody writes about."""
    return [line for path, line in lines if not path or person == OWNER or note.person_of(path) == person]


def _checked(text: str) -> str:
    text = text.strip()
    if not text:
        raise InvalidMemory("the text is empty")
    if len(text) > LONGEST:
        raise InvalidMemory(
            f"the text has {len(text)} characters; the limit is {LONGEST}: keep it as a note"
        )
    return text


def _same_text(one: str, other: str) -> bool:
    def plain(text: str) -> str:
        return " ".join(text.casefold().split()).rstrip(".!")

    return plain(one) == plain(other)
