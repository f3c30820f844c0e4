"""How the vault became what it is: every change is a commit in the git repository inside it.

A person can read it with any git, and commit with it too: agentd notices what is new. The line of changes
is that of first parents, in the order of commits and never of clocks; what a person merged is one change.

A damaged repository never stops agentd: a commit moves it aside to .git-damaged-N and begins anew. How it
lies on the disk is repository.py's concern, removing text from all of it history_purge.py's.
"""

import os
import re
import stat
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from agentd import log
from agentd.errors import InvalidQuestion, StoreUnavailable
from agentd.memory import history_purge
from agentd.memory.repository import Damage, Repository, is_submodule, write_file

if TYPE_CHECKING:
    from dulwich.objects import Commit, ShaFile

Author = Literal["agent", "owner"]
IDENTITIES: dict[Author, bytes] = {
    "agent": b"agentd <agentd@localhost>",
    "owner": b"owner <owner@localhost>",
}

_FILE = 0o100644
# The last second of the year 9999: later ones have no ISO time.
_LAST_TIME = 253402300799

# What a commit does to a folder: a file's new content, None for no file, or what happens in a folder there.
_Changes = dict[bytes, "bytes | _Changes | None"]


@dataclass(frozen=True, slots=True)
class Change:
    """One commit: `revision` is 40 hex digits, `time` UTC in ISO 8601, `author` agent, owner or a name.

    `paths` are the files that it changed, created or removed, sorted.
    """

    revision: str
    time: str
    author: str
    message: str
    paths: tuple[str, ...]


class History:
    """The history of the vault in `folder`. All but problem() and check() may raise StoreUnavailable.

    Revisions are given with 4 to 40 hex digits; InvalidQuestion if they name no commit, or several.
    Paths are relative to the vault with `/`; a path that leads outside or into .git is a ValueError.
    """

    def __init__(self, folder: Path) -> None:
        """Open or create the repository and finish a purge that a power cut ended; never raises OSError."""
        self._repository = Repository(folder)
        self._lock = threading.RLock()
        try:
            with self._translated():
                self._repository.clear_locks()
                self._prepare()
        except StoreUnavailable as error:
            log.error(str(error.parameters["detail"]))

    def problem(self) -> str | None:
        """Why the history cannot be used now, else None; it reads only the newest commit."""
        try:
            with self._using() as repository:
                _, head = repository.head()
                if head is not None:
                    repository.tree(repository.commit(head).tree)
        except StoreUnavailable as error:
            return str(error.parameters["detail"])
        return None

    def check(self) -> list[str]:
        """Read every object of the whole history; a line for each that is damaged or missing."""
        try:
            with self._using() as repository:
                refs, broken = repository.refs()
                problems = [f"{name} names no object" for name in broken]
                repository.reachable(refs.values(), problems)
                return problems
        except StoreUnavailable as error:
            return [str(error.parameters["detail"])]

    def commit(
        self, changes: Mapping[str, bytes | None], message: str, author: Author, when: str
    ) -> str | None:
        """Record what the files now are, None for one that is gone; the new revision, on the disk.

        `when` is an ISO time. Files not named stay as they were recorded. None if nothing changed. After
        damage the history begins anew with these changes: paths() then tells what it does not know.
        """
        nested = _nested(changes)
        with self._lock, self._translated():
            for attempt in range(3):
                try:
                    self._prepare()
                    return self._commit(nested, message, IDENTITIES[author], _seconds(when))
                except Damage as damage:
                    # The first time a git of the owner may just have been tidying up: look again.
                    if attempt == 1:
                        aside = self._repository.set_aside()
                        log.error(f"the history begins anew, the old one is in {aside}: {damage}")
                    elif attempt == 2:
                        raise
        raise AssertionError("unreachable")

    def head(self) -> str | None:
        """The newest revision, None before the first."""
        with self._using() as repository:
            _, head = repository.head()
            return None if head is None else head.decode()

    def paths(self) -> list[str]:
        """The files of the newest revision."""
        with self._using() as repository:
            _, head = repository.head()
            files = [] if head is None else repository.files(repository.commit(head).tree)
            return [os.fsdecode(path) for path, _, _ in files]

    def log(self, path: str | None = None, contains: str | None = None, limit: int = 50) -> list[Change]:
        """The newest `limit` changes, newest first; with `path` only those of a file or folder.

        `contains` is a memory's id: a change counts if a bullet with it came, went or reads differently.
        """
        found: list[Change] = []
        with self._using():
            for commit, before in self._line():
                if len(found) >= limit:
                    break
                differences = list(self._differences(before, commit.tree, _beneath(path)))
                if path is not None and not differences:
                    continue
                if contains is None or any(
                    _bullets(self._content(old), contains) != _bullets(self._content(new), contains)
                    for _, old, new in differences
                ):
                    found.append(_change(commit, differences))
        return found

    def versions(self, path: str, limit: int = 50) -> list[tuple[Change, bytes | None]]:
        """The changes of one file, newest first, each with what it then was; None if it was removed."""
        return [(change, self.file_at(change.revision, path)) for change in self.log(path, limit=limit)]

    def diff(self, revision: str, path: str | None = None) -> str:
        """What a commit changed, or what of it is at `path`, as a unified diff."""
        with self._using() as repository:
            commit = repository.commit(self._resolve(revision))
            before = repository.commit(commit.parents[0]).tree if commit.parents else None
            return "".join(
                _unified(os.fsdecode(name), self._content(old), self._content(new))
                for name, old, new in self._differences(before, commit.tree, _beneath(path))
            )

    def file_at(self, revision: str, path: str) -> bytes | None:
        """A file as it was in `revision`, None if it was not there."""
        with self._using() as repository:
            entry = repository.entry(repository.commit(self._resolve(revision)).tree, _encoded(path))
            if entry is None or stat.S_ISDIR(entry[0]) or is_submodule(entry[0]):
                return None
            return repository.blob(entry[1])

    def refresh_index(self) -> bool:
        """Write git's index, so that `git status` starts from the newest revision; False while git has it.

        agentd itself needs no index. Times and sizes are zero, so that git compares each file's content.
        """
        import struct
        from hashlib import sha1

        with self._using() as repository:
            lock = repository.git / "index.lock"
            try:
                lock.touch(0o600, exist_ok=False)
            except FileExistsError:
                return False
            try:
                _, head = repository.head()
                entries = []
                for path, mode, name in (
                    [] if head is None else repository.files(repository.commit(head).tree)
                ):
                    # gitformat-index(5), version 2: a record is padded with 1 to 8 NULs to a multiple of 8.
                    length = min(len(path), 0xFFF)
                    record = struct.pack(">24xL12x20sH", mode, bytes.fromhex(name.decode()), length) + path
                    entries.append(record + b"\0" * (8 - len(record) % 8))
                index = struct.pack(">4sLL", b"DIRC", 2, len(entries)) + b"".join(entries)
                write_file(repository.git / "index", index + sha1(index).digest(), temporary=lock)
            except BaseException:
                lock.unlink(missing_ok=True)
                raise
        return True

    def purge(
        self,
        rewrite: Callable[[str, bytes], bytes | None],
        rewrite_message: Callable[[str], str] = lambda message: message,
    ) -> int:
        """Let every version of every file and every message become what the callables make of them.

        `rewrite` gets path and content; None takes the file out of that commit. What was there before is in
        no file beneath .git when this returns, and all .git-damaged-N are gone. Returns how many versions
        and messages were changed. After an error or a power cut: call it again, the same text may be left.
        """
        with self._lock, self._translated():
            try:
                self._prepare()
            except Damage as damage:
                # Nothing of it can be read by a revision; the purge deletes it with all that was set aside.
                log.error(f"the history begins anew: {damage}")
                self._repository.set_aside()
                self._prepare()
            changed = history_purge.purge(self._repository, rewrite, rewrite_message)
            self.refresh_index()
        return changed

    @contextmanager
    def _using(self) -> Iterator[Repository]:
        """The repository, whole as far as its files tell, for one thread."""
        with self._lock, self._translated():
            self._prepare()
            yield self._repository

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except Damage as damage:
            raise StoreUnavailable(f"the history in {self._repository.git} is damaged: {damage}") from damage
        except OSError as error:
            raise StoreUnavailable(f"the history cannot be used: {error}") from error

    def _prepare(self) -> None:
        self._repository.create()
        if history_purge.is_unfinished(self._repository):
            history_purge.finish(self._repository)

    def _commit(self, changes: _Changes, message: str, identity: bytes, seconds: int) -> str | None:
        from dulwich.objects import Commit, Tree

        repository = self._repository
        # Another try if a git of the owner moved the branch in between.
        for _ in range(10):
            branch, head = repository.head()
            before = None if head is None else repository.commit(head).tree
            new: list[ShaFile] = []
            tree = self._changed(before, changes, new)
            if tree is None:
                if before is None:
                    return None
                new.append(Tree())
                tree = new[-1].id
            if tree == before:
                return None
            commit = Commit()
            commit.tree = tree
            commit.parents = [] if head is None else [head]
            commit.author = commit.committer = identity
            commit.author_time = commit.commit_time = seconds
            commit.author_timezone = commit.commit_timezone = 0
            commit.message = message.replace("\0", "").strip("\n").encode("utf-8", "replace") + b"\n"
            repository.add([*new, commit])
            if repository.move(branch, head, commit.id):
                return str(commit.id.decode())
        raise StoreUnavailable(f"another git keeps changing {repository.git}")

    def _changed(self, before: bytes | None, changes: _Changes, new: "list[ShaFile]") -> bytes | None:
        """The tree `before` with `changes`, None if it is empty; objects to be stored are added to `new`."""
        from dulwich.objects import Blob, ShaFile, Tree

        tree = Tree() if before is None else self._repository.tree(before)
        for name, change in changes.items():
            mode, old = tree[name] if name in tree else (0, None)  # noqa: SIM401 - a Tree has no get()
            if isinstance(change, dict):
                child = self._changed(old if stat.S_ISDIR(mode) else None, change, new)
                entry = None if child is None else (stat.S_IFDIR, child)
                if entry is None and not stat.S_ISDIR(mode):
                    continue
            elif change is None:
                entry = None
            else:
                blob = ShaFile.from_raw_string(Blob.type_num, change)
                entry = (_FILE, blob.id)
                if entry != (mode, old):
                    new.append(blob)
            if entry is None:
                if name in tree:
                    del tree[name]
            elif entry != (mode, old):
                tree[name] = entry
        if not len(tree):
            return None
        if tree.id != before:
            new.append(tree)
        return bytes(tree.id)

    def _resolve(self, revision: str) -> bytes:
        from dulwich.objects import Commit

        repository = self._repository
        names = repository.named(revision.lower())
        found = [name for name in names if repository.raw(name)[0] == Commit.type_num]
        if len(found) != 1:
            raise InvalidQuestion(
                f"{'several revisions begin' if found else 'no revision begins'} with {revision}"
            )
        return found[0]

    def _line(self) -> "Iterator[tuple[Commit, bytes | None]]":
        """The commits from HEAD through first parents, each with the tree before it."""
        repository = self._repository
        _, head = repository.head()
        commit = None if head is None else repository.commit(head)
        while commit is not None:
            parent = repository.commit(commit.parents[0]) if commit.parents else None
            yield commit, None if parent is None else parent.tree
            commit = parent

    def _differences(
        self, old: bytes | None, new: bytes | None, where: bytes, prefix: bytes = b""
    ) -> Iterator[tuple[bytes, bytes | None, bytes | None]]:
        """Path and both blobs of each file that differs between two trees; `where` as _beneath() says."""
        sides = [set() if tree is None else set(self._repository.entries(tree)) for tree in (old, new)]
        changed = [{entry[0]: entry[1:] for entry in mine - other} for mine, other in (sides, sides[::-1])]
        for name in sorted(changed[0].keys() | changed[1].keys()):
            here = prefix + name
            if not ((here + b"/").startswith(where) or where.startswith(here + b"/")):
                continue
            pair = [side.get(name, (0, None)) for side in changed]
            folders = [found if stat.S_ISDIR(mode) else None for mode, found in pair]
            files = [None if stat.S_ISDIR(mode) or is_submodule(mode) else found for mode, found in pair]
            if files != [None, None]:
                yield here, files[0], files[1]
            if folders != [None, None]:
                yield from self._differences(folders[0], folders[1], where, here + b"/")

    def _content(self, blob: bytes | None) -> bytes | None:
        return None if blob is None else self._repository.blob(blob)


def _encoded(path: str) -> bytes:
    """A path as git stores it. Raises ValueError for one that is not inside the vault."""
    parts = path.split("/")
    if "\0" in path or any(part in ("", ".", "..") or part.lower() == ".git" for part in parts):
        raise ValueError(f"not a path inside the vault: {path!r}")
    return os.fsencode(path)


def _beneath(path: str | None) -> bytes:
    """What the paths of a file, or of all files in a folder, begin with, when a slash is put after them."""
    return b"" if path is None else _encoded(path) + b"/"


def _nested(changes: Mapping[str, bytes | None]) -> _Changes:
    """Changes by path as changes by folder."""
    nested: _Changes = {}
    # In this order a path comes before what it holds as a folder.
    for path in sorted(changes, key=lambda path: path.split("/")):
        *folders, name = _encoded(path).split(b"/")
        inside = nested
        for folder in folders:
            deeper = inside.get(folder)
            if isinstance(deeper, bytes):
                # The folder became a file; that it holds nothing any more is all that can be said.
                if changes[path] is not None:
                    raise ValueError(f"{path!r} is in a file")
                break
            if deeper is None:
                deeper = inside[folder] = {}
            inside = deeper
        else:
            inside[name] = changes[path]
    return nested


def _seconds(when: str) -> int:
    from datetime import UTC, datetime

    moment = datetime.fromisoformat(when)
    # Git knows no time before 1970, a clock without a battery may.
    return max(0, int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()))


def _change(commit: "Commit", differences: Sequence[tuple[bytes, bytes | None, bytes | None]]) -> Change:
    import time

    known = {identity: author for author, identity in IDENTITIES.items()}
    moment = time.gmtime(min(max(0, commit.commit_time), _LAST_TIME))
    name = commit.author.split(b" <")[0].decode("utf-8", "replace")
    return Change(
        revision=commit.id.decode(),
        time=time.strftime("%Y-%m-%dT%H:%M:%SZ", moment),
        author=known.get(commit.author, name),
        message=(commit.message or b"").decode("utf-8", "replace").rstrip("\n"),
        paths=tuple(os.fsdecode(path) for path, _, _ in differences),
    )


def _bullets(content: bytes | None, word: str) -> list[bytes]:
    """The lines that hold `word`, each with its continuation: the indented lines around the word's."""
    needle = word.encode()
    if content is None or needle not in content:
        return []
    return [
        found for found in re.findall(rb"^.*(?:\n[ \t]+\S.*)*", content, re.MULTILINE) if needle in found
    ]


def _unified(path: str, old: bytes | None, new: bytes | None) -> str:
    import difflib

    if b"\0" in (old or b"") + (new or b""):
        return f"Binary file {path} differs\n"
    lines = [(content or b"").decode("utf-8", "replace").split("\n") for content in (old, new)]
    # Like git: each line with its end, and a note where the last one has none.
    ended = [
        [f"{line}\n" for line in side[:-1]]
        + ([f"{side[-1]}\n\\ No newline at end of file\n"] if side[-1] else [])
        for side in lines
    ]
    names = ("/dev/null" if old is None else f"a/{path}", "/dev/null" if new is None else f"b/{path}")
    return "".join(difflib.unified_diff(ended[0], ended[1], *names))
