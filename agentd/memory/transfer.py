"""Export and import: everything that a person is remembered by, out of this machine and into it.

An import is checked as a whole before anything is written. What is then written is the same however often it
is done, and the file is kept until it is: after a power cut it is done again at the next start.

An archive brings what was said and what came of it. So before an export everything said has been looked at
(distilling.py), and what an import restores counts as looked at.
"""

import dataclasses
import json
import os
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from agentd import __version__, turns_archive
from agentd.database import Database
from agentd.errors import AgentError, BadImport, Busy, InvalidMemory, StoreUnavailable, VaultConflict
from agentd.machine_key import MachineKey
from agentd.memory import archive, conversation_exports, note
from agentd.memory.archive import Archive
from agentd.memory.background import Background
from agentd.memory.conversation_exports import Read
from agentd.memory.memories import Memories
from agentd.memory.memory import OWNER
from agentd.memory.note import NoteError
from agentd.memory.repository import write_file
from agentd.memory.vault import MAX_BYTES, BadPath, Missing, VaultError
from agentd.session import utc_now
from agentd.turns_import import import_sessions

# Bytes of a file. It is read as a whole: years of talk; it takes six times as much memory.
LARGEST = 64 << 20
# An archive is read piece by piece: a life of talk, and what the disk of a small machine may hold twice.
LARGEST_ARCHIVE = 1 << 30
# Characters of notes that are written, and recorded in the history, at once.
_WRITTEN_AT_ONCE = 16 << 20
# Uploads that are begun and not finished, and seconds after which one is given up.
MOST_UPLOADS = 4
UPLOAD_TIME = 3600.0
READERS: dict[str, Callable[[bytes], Read]] = {
    "jsonl": conversation_exports.read_jsonl,
    "chatgpt": conversation_exports.read_chatgpt,
    "claude": conversation_exports.read_claude,
}
FORMATS = (*READERS, "markdown", "archive")
# Notes that a new machine writes itself: an archive's take their place if nobody has changed them.
_OWN = ("IDENTITY.md", "OWNER.md")
_TOO_LARGE = f"it is larger than {MAX_BYTES >> 20} MiB"


@dataclass(slots=True)
class Counts:
    """What is new, what was `known` already, and a line for each record that was left out."""

    sessions: int = 0
    turns: int = 0
    memories: int = 0
    files: int = 0
    known: int = 0
    bad: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Upload:
    person: str
    path: Path
    touched: float
    # All of it is there, and being imported.
    whole: bool = False


class Transfer:
    """Exports, and imports under way."""

    def __init__(
        self, state: Path, database: Database, memory: Background, key: MachineKey, machine: str
    ) -> None:
        self._folder = state / "imports"
        self._database = database
        self._memory = memory
        self._key = key
        self._machine = machine
        self._uploads: dict[str, _Upload] = {}
        self._lock = threading.Lock()
        # One at a time: they are large, and they write the same notes.
        self._importing = threading.Lock()

    # ---- out

    def export(self, person: str) -> BinaryIO:
        """An archive as an open file without a name. Raises StoreUnavailable, VaultConflict."""
        memories = self._memory.memories
        memories.indexing.files()
        upto = self._memory.distilling.catch_up()
        try:
            file = self._nameless()
            with self._nameless() as turns:
                for line in turns_archive.dump(self._database, person, upto):
                    turns.write(line)
                about = {
                    "agentd": __version__,
                    "machine": self._machine,
                    "person": person,
                    "created": utc_now(),
                }
                archive.write(file, _notes(memories, person), turns, about, self._key)
        except OSError as error:
            raise StoreUnavailable(f"the archive cannot be written: {error.strerror}") from error
        except AgentError as error:
            raise StoreUnavailable(error.message) from error
        file.seek(0)
        return file

    def _nameless(self) -> BinaryIO:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        return tempfile.TemporaryFile(dir=self._folder)

    # ---- in

    def take(self, person: str, upload: str | None, piece: bytes, format: str) -> str:
        """Keep a piece of a file; the name of the upload. Raises InvalidMemory, Busy, StoreUnavailable.

        `format` may be empty as long as there are more pieces to come.
        """
        with self._lock:
            self._give_up_old()
            if upload is None:
                if len(self._uploads) >= MOST_UPLOADS:
                    raise Busy("too many imports are under way")
                upload = secrets.token_hex(8)
                self._uploads[upload] = _Upload(person, self._folder / f"{upload}.part", time.monotonic())
            begun = self._begun(person, upload)
            begun.touched = time.monotonic()
            try:
                self._folder.mkdir(mode=0o700, exist_ok=True)
                with begun.path.open("ab") as file:
                    file.write(piece)
                    size = file.tell()
            except OSError as error:
                self._give_up(upload)
                raise StoreUnavailable(f"the upload cannot be kept: {error.strerror}") from error
            largest = LARGEST_ARCHIVE if format in ("archive", "") else LARGEST
            if size > largest:
                self._give_up(upload)
                raise InvalidMemory(f"the file is larger than {largest >> 20} MiB")
        return upload

    def finish(self, person: str, upload: str, format: str, source: str, *, skip: bool) -> Counts:
        """Import what was taken. Raises BadImport, InvalidMemory, VaultConflict, StoreUnavailable."""
        with self._lock:
            begun = self._begun(person, upload)
            begun.whole = True
        try:
            if format not in FORMATS:
                raise InvalidMemory(f"there is no format '{format}'; there are {', '.join(FORMATS)}")
            if source and (
                not source.isprintable() or len(source) > 80 or "/" in source or source[0] == "."
            ):
                raise InvalidMemory("a source is a short name without slashes")
            order = {"person": person, "format": format, "source": source or format, "skip": skip}
            with self._importing:
                return self._do(begun.path, order)
        finally:
            with self._lock:
                self._give_up(upload)

    def resume(self) -> None:
        """At the start: do again what a power cut ended, and remove what was only begun."""
        if not self._folder.is_dir():
            return
        with self._importing:
            for order in self._left(".json"):
                path = order.with_suffix(".part")
                with suppress(BadImport, ValueError, OSError):
                    self._do(path, json.loads(order.read_bytes()))
                order.unlink(missing_ok=True)
                path.unlink(missing_ok=True)
            for left in self._left(""):
                left.unlink(missing_ok=True)

    def _left(self, suffix: str) -> list[Path]:
        """Files from before the start: somebody may have begun already."""
        with self._lock:
            return sorted(file for file in self._folder.glob(f"*{suffix}") if file.stem not in self._uploads)

    def _do(self, path: Path, order: dict[str, Any]) -> Counts:
        """Check all, then note that it will be done, then do it."""

        def begin() -> None:
            try:
                with path.open("rb") as taken:
                    os.fsync(taken.fileno())
                write_file(path.with_suffix(".json"), json.dumps(order).encode())
            except OSError as error:
                raise StoreUnavailable(f"the import cannot begin: {error.strerror}") from error

        person, source, skip = order["person"], order["source"], bool(order["skip"])
        match order["format"]:
            case "archive":
                with path.open("rb") as file:
                    return self._archive(file, person, begin)
            case "markdown":
                with path.open("rb") as file:
                    return self._markdown(file, person, source, skip, begin)
            case format:
                return self._conversations(path.read_bytes(), format, person, source, skip)

    def _conversations(self, data: bytes, format: str, person: str, source: str, skip: bool) -> Counts:
        try:
            read = READERS[format](data)
        except ValueError as error:
            raise BadImport(str(error)) from error
        if read.bad and not skip:
            raise BadImport(f"{len(read.bad)} records cannot be used", read.bad[:100], skippable=True)
        # One transaction: nothing needs to be done again.
        done = import_sessions(
            self._database, person, f"import:{source}", read.sessions, skip_conflicts=skip
        )
        if done.conflicts and not skip:
            differ = f"{len(done.conflicts)} records differ from what is there"
            raise BadImport(differ, done.conflicts[:100], skippable=True)
        self._memory.memories.indexing.turns()
        return Counts(done.sessions, done.turns, known=done.known, bad=read.bad + done.conflicts)

    def _markdown(
        self, file: BinaryIO, person: str, source: str, skip: bool, begin: Callable[[], None]
    ) -> Counts:
        """A folder of notes, which goes to notes/SOURCE/ as it is."""
        counts = Counts()
        memories = self._memory.memories
        root = "notes/" if person == OWNER else f"people/{person}/notes/"
        texts: dict[str, str | None] = {}
        members = archive.members_of(file)
        if not members:
            raise BadImport("there is no note in it")
        for name, data in members.items():
            path = f"{root}{source}/{name.removeprefix('./')}"
            try:
                text = _note_text(path, data)
                there = memories.vault.find(path)
            except (VaultError, NoteError, UnicodeDecodeError, ValueError) as error:
                counts.bad.append(f"{name}: {_why(error)}")
                continue
            if there is None:
                texts[path] = text
                counts.files += 1
            elif there == text:
                counts.known += 1
            else:
                counts.bad.append(f"{name}: it is there already, with another text")
        if counts.bad and not skip:
            raise BadImport(f"{len(counts.bad)} notes cannot be taken", counts.bad[:100], skippable=True)
        if texts:
            begin()
            memories.shelf.rewrite(texts, f"Import {len(texts)} notes")
        return counts

    def _archive(self, file: BinaryIO, person: str, begin: Callable[[], None]) -> Counts:
        memories, distilling = self._memory.memories, self._memory.distilling
        found = archive.read(file)
        if str(found.manifest.get("person", OWNER)) != person and person != OWNER:
            raise BadImport("the archive is of another person")
        # Nobody else writes a note between the look at them and the last of the archive's.
        with memories.indexing.lock:
            while True:
                # What was said here is looked at first: the mark passes over all that there is.
                distilling.catch_up()
                counts, changed = self._compared(memories, found, person)
                begin()
                with self._database.writing() as connection:
                    if distilling.is_behind(connection):
                        continue  # somebody has said something since
                    done = turns_archive.restore(connection, person, found.turns())
                    distilling.pass_over(connection)
                break
            self._write(memories, found, changed, done.moved)
        memories.indexing.turns()
        counts.sessions, counts.turns, counts.known = done.sessions, done.turns, counts.known + done.known
        return counts

    def _compared(self, memories: Memories, found: Archive, person: str) -> tuple[Counts, list[str]]:
        """What an archive's notes would change, and the paths of those that would be written.

        Raises BadImport if one cannot be taken.
        """
        counts = Counts()
        changed: list[str] = []
        bad: list[str] = []
        for path, size in found.notes():
            if not _is_of(path, person):
                bad.append(f"{path}: it is not where {person}'s notes are")
                continue
            if size > MAX_BYTES:
                bad.append(f"{path}: {_TOO_LARGE}")
                continue
            try:
                there, merged = self._with_archive(memories, found, path)
            except (VaultError, NoteError, UnicodeDecodeError) as error:
                bad.append(f"{path}: {_why(error)}")
                continue
            if merged == there:
                counts.known += 1
            else:
                changed.append(path)
                counts.files += 1
                counts.memories += _memories_in(merged, path) - _memories_in(there or "", path)
        if bad:
            raise BadImport(f"{len(bad)} notes cannot be taken", sorted(bad)[:100])
        return counts, changed

    def _write(self, memories: Memories, found: Archive, changed: list[str], moved: dict[int, int]) -> None:
        """Write the notes at these paths with what the archive's have more. Raises VaultConflict."""
        texts: dict[str, str | None] = {}
        size = 0
        for path in changed:
            try:
                _, text = self._with_archive(memories, found, path)
            except (VaultError, NoteError) as error:
                # A person has saved it since it was looked at. Imported again, the rest is known.
                raise VaultConflict(path, _why(error)) from error
            texts[path] = _moved(text, path, moved) if moved else text
            size += len(text)
            if size > _WRITTEN_AT_ONCE or path == changed[-1]:
                memories.shelf.rewrite(texts, f"Import {len(texts)} notes of an archive")
                texts, size = {}, 0

    def _with_archive(self, memories: Memories, found: Archive, path: str) -> tuple[str | None, str]:
        """A note as it is here, and with what an archive's has more. Raises VaultError, NoteError."""
        there = memories.vault.find(path)
        text = found.note(path).decode()
        return there, text if there is None else self._merged(memories, path, there, text)

    def _merged(self, memories: Memories, path: str, there: str, text: str) -> str:
        """A note with what the archive's has more. Raises NoteError if both were written by a person."""
        if there == text:
            return there
        if path in _OWN and len(memories.history.log(path, limit=2)) <= 1:
            return text
        ours, theirs = note.parse(there, path=path), note.parse(text, path=path)
        known = {memory.id for memory in ours.memories}
        if theirs.passages and {one.text for one in theirs.passages} - {one.text for one in ours.passages}:
            raise NoteError("it is there already, with another text")
        for memory in theirs.memories:
            if memory.id not in known:
                there = note.add(there, memory)
        return there

    # ---- uploads

    def _begun(self, person: str, name: str) -> _Upload:
        begun = self._uploads.get(name)
        if begun is None or begun.person != person or begun.whole:
            raise InvalidMemory("there is no such upload; it may have taken longer than an hour")
        return begun

    def _give_up_old(self) -> None:
        now = time.monotonic()
        for name, one in list(self._uploads.items()):
            if now - one.touched > UPLOAD_TIME and not one.whole:
                self._give_up(name)

    def _give_up(self, name: str) -> None:
        path = self._uploads.pop(name).path
        path.unlink(missing_ok=True)
        path.with_suffix(".json").unlink(missing_ok=True)


def _notes(memories: Memories, person: str) -> Iterator[tuple[str, bytes]]:
    """A person's notes by path; one that cannot be read is an error: no archive lacks it in silence."""
    for state in memories.vault.scan().files:
        if _is_of(state.path, person):
            try:
                yield state.path, memories.vault.read(state.path).encode()
            except Missing:
                continue
            except VaultError as error:
                raise StoreUnavailable(f"the note {error.message}; repair or move it first") from error


def _is_of(path: str, person: str) -> bool:
    """Whether a note lies where a person's own do."""
    return path.startswith(f"people/{person}/") if person != OWNER else not path.startswith("people/")


def _note_text(path: str, data: bytes) -> str:
    if not path.endswith(".md"):
        raise BadPath(path, "it is no Markdown file")
    if len(data) > MAX_BYTES:
        raise ValueError(_TOO_LARGE)
    text = data.decode()
    note.parse(text, path=path)
    return text


def _why(error: Exception) -> str:
    if isinstance(error, VaultError):
        return error.why
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)


def _memories_in(text: str, path: str) -> int:
    return len(note.parse(text, path=path).memories)


def _moved(text: str, path: str, moved: dict[int, int]) -> str:
    """A note whose memories point to the turns' new rows."""
    for memory in note.parse(text, path=path).memories:
        kind, _, row = memory.source.partition(":")
        if kind == "turn" and row.isdigit() and int(row) in moved:
            text = note.replace(text, dataclasses.replace(memory, source=f"turn:{moved[int(row)]}"))
    return text
