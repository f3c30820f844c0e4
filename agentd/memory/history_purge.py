"""Taking text out of the whole history, so that no file beneath .git holds it any more.

The new history is built beside the old one and written as one pack. Only when that is on the disk, a marker
says which refs move where; then they move, and all but the pack is deleted. A power cut before the marker
leaves the old history, one after it is made good by finish() at the next use. HEAD always leads to a whole
history. What a file system keeps of deleted files, and copies elsewhere, are out of reach here.

Objects that cannot be read are left out of the new history. An annotated tag becomes a plain one, and
signatures of commits that change are dropped.
"""

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from agentd import log
from agentd.memory.repository import (
    BRANCH,
    Damage,
    Repository,
    is_submodule,
    make_folder,
    sync_folder,
    write_file,
)

if TYPE_CHECKING:
    from dulwich.objects import Commit, ShaFile

MARKER = "aetheros-purge"
# All that is left in .git; among what goes are reflogs, the index and unsent commit messages.
KEPT = {"HEAD", "config", "description", "hooks", "info", "objects", "refs", MARKER}
# New objects are stored whenever they have so many bytes.
BATCH_BYTES = 8 << 20
_KEPT_FIELDS = (
    *("author", "author_time", "author_timezone"),
    *("committer", "commit_time", "commit_timezone"),
    "encoding",
)
_NONE = b"-"


def purge(
    repository: Repository,
    rewrite: Callable[[str, bytes], bytes | None],
    rewrite_message: Callable[[str], str],
) -> int:
    """Rewrite all refs' history; how many versions and messages changed. See History.purge."""
    refs, broken = repository.refs()
    rewriting = _Rewriting(repository, rewrite, rewrite_message)
    moves = {name: (old, rewriting.history(old)) for name, old in refs.items()}
    rewriting.store()
    if rewriting.unreadable or broken:
        count = rewriting.unreadable + len(broken)
        log.warning(f"{count} damaged objects and refs are left out of the purged history")
    pack = _pack(repository, [new for _, new in moves.values() if new is not None])
    lines = [b" ".join([old, new or _NONE, os.fsencode(name)]) for name, (old, new) in moves.items()]
    lines += [b" ".join([_NONE, _NONE, os.fsencode(name)]) for name in broken]
    write_file(repository.git / MARKER, b"".join(line + b"\n" for line in lines))
    finish(repository, pack)
    return rewriting.changed


def is_unfinished(repository: Repository) -> bool:
    """Whether a purge got as far as its marker and no further."""
    return (repository.git / MARKER).exists()


def finish(repository: Repository, pack: str | None = None) -> None:
    """Move the refs as the marker says and delete all that none leads to. Can be interrupted and repeated.

    `pack` holds all that the moved refs lead to; without it one is written.
    """
    marker = repository.git / MARKER
    repository.unpack_refs()
    whole, broken = repository.refs()
    for line in marker.read_bytes().splitlines():
        old, new, name = line.split(b" ", 2)
        ref, target = os.fsdecode(name), None if new == _NONE else new
        if ref in broken if old == _NONE else whole.get(ref) == old:
            _set(repository, ref, target)
        elif old != _NONE and whole.get(ref) != target:
            # A person's git was faster than the next start of agentd.
            pack = None
            log.warning("a purge was interrupted and the history changed since: what is new was not purged")
    if pack is None:
        pack = _pack(repository, repository.refs()[0].values())
    # An open pack would keep its content on the disk.
    repository.close()
    _delete(repository, pack)
    marker.unlink()
    sync_folder(repository.git)


def _set(repository: Repository, name: str, target: bytes | None) -> None:
    path = repository.git / name
    if path.is_dir():
        _remove(path)
    if target is not None:
        write_file(path, target + b"\n")
    elif name == "HEAD":
        # It was broken, or detached and has no commit left.
        write_file(path, f"ref: {BRANCH}\n".encode())
    else:
        path.unlink(missing_ok=True)
        sync_folder(path.parent)


def _pack(repository: Repository, starts: Iterable[bytes]) -> str:
    """Write all that commits lead to as one pack; its name, "" if there is nothing."""
    from dulwich.objects import ShaFile

    names = repository.reachable(starts)
    objects = (ShaFile.from_raw_string(*repository.raw(name), name) for name in names)
    return repository.pack(len(names), objects) if names else ""


def _delete(repository: Repository, pack: str) -> None:
    """Delete every file of .git that may hold an object or a text, but for the one pack."""
    git, objects = repository.git, repository.git / "objects"
    make_folder(objects / "pack")
    for path in git.iterdir():
        if path.name not in KEPT:
            _remove(path)
    for path in objects.iterdir():
        if path.name != "pack":
            _remove(path)
    for path in (objects / "pack").iterdir():
        if path.name not in (f"{pack}.pack", f"{pack}.idx"):
            _remove(path)
    for path in repository.folder.glob(".git-damaged-*"):
        _remove(path)
        log.warning(f"{path} is deleted: a damaged history cannot be purged")
    for folder in (objects / "pack", objects, git, repository.folder):
        sync_folder(folder)


def _remove(path: Path) -> None:
    import shutil

    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


class _Rewriting:
    """Old objects become new ones, each but once."""

    def __init__(
        self,
        repository: Repository,
        rewrite: Callable[[str, bytes], bytes | None],
        rewrite_message: Callable[[str], str],
    ) -> None:
        self.changed = 0
        self.unreadable = 0
        self._repository = repository
        self._rewrite = rewrite
        self._rewrite_message = rewrite_message
        # By (path, old object), for folders with a slash at the end.
        self._known: dict[tuple[bytes, bytes], bytes | None] = {}
        # Entries of a folder that stay what they are: most are the same in every version.
        self._clean: dict[bytes, set[tuple[bytes, int, bytes]]] = {}
        self._commits: dict[bytes, bytes | None] = {}
        self._trees: dict[bytes, bytes] = {}
        self._pending: list[ShaFile] = []
        self._bytes = 0

    def history(self, head: bytes) -> bytes | None:
        """The new commit for the commit or tag `head`, all before it included; None if nothing is left."""
        try:
            head = self._repository.tagged(head)
        except Damage:
            self.unreadable += 1
            return None
        for name, commit in self._oldest_first(head):
            self._commits[name] = self._commit(name, commit)
        return self._commits[head]

    def store(self) -> None:
        """Store the new objects."""
        self._repository.add(self._pending)
        self._pending, self._bytes = [], 0

    def _oldest_first(self, head: bytes) -> "Iterator[tuple[bytes, Commit]]":
        pending: list[tuple[bytes, Commit | None]] = [(head, None)]
        while pending:
            name, commit = pending.pop()
            if commit is not None:
                yield name, commit
            elif name not in self._commits:
                # For now, so that no other child visits it too.
                self._commits[name] = None
                try:
                    commit = self._repository.commit(name)
                except Damage:
                    self.unreadable += 1
                    continue
                pending.append((name, commit))
                pending += [(parent, None) for parent in commit.parents]

    def _commit(self, name: bytes, commit: "Commit") -> bytes | None:
        """The new commit, or its new parent if it has become empty."""
        from dulwich.objects import Commit, Tree

        self._trees[name] = commit.tree
        known = [self._commits[parent] for parent in commit.parents]
        parents = list(dict.fromkeys(parent for parent in known if parent is not None))
        tree = self._tree(b"", commit.tree) or self._keep(Tree())
        was_empty = bool(commit.parents) and self._trees.get(commit.parents[0]) == commit.tree
        if len(parents) == 1 and self._trees[parents[0]] == tree and not was_empty:
            return parents[0]
        if not parents and tree == Tree().id and tree != commit.tree:
            return None
        text = (commit.message or b"").decode("utf-8", "surrogateescape")
        message = self._rewrite_message(text).encode("utf-8", "surrogateescape")
        if (tree, parents, message) == (commit.tree, commit.parents, commit.message or b""):
            return name
        self.changed += message != (commit.message or b"")
        # Made from nothing: a signature would be wrong, other headers may hold any text.
        new = Commit()
        new.tree, new.parents, new.message = tree, parents, message
        for field in _KEPT_FIELDS:
            setattr(new, field, getattr(commit, field))
        self._trees[new.id] = tree
        return self._keep(new)

    def _tree(self, prefix: bytes, name: bytes) -> bytes | None:
        """The new tree for the one that was at `prefix`; None if it has become empty or cannot be read."""
        if (prefix, name) in self._known:
            return self._known[prefix, name]
        clean = self._clean.setdefault(prefix, set())
        try:
            entries = set(self._repository.entries(name))
        except Damage:
            self.unreadable += 1
            return self._known.setdefault((prefix, name))
        changed: dict[bytes, tuple[int, bytes] | None] = {}
        for entry in entries - clean:
            file, mode, old = entry
            new: bytes | None = old
            if stat.S_ISDIR(mode):
                new = self._tree(prefix + file + b"/", old)
            elif not is_submodule(mode):
                new = self._blob(prefix + file, old)
            if new == old:
                clean.add(entry)
            else:
                changed[file] = None if new is None else (mode, new)
        outcome: bytes | None = name
        if changed:
            tree = self._repository.tree(name)
            for file, change in changed.items():
                if change is None:
                    del tree[file]
                else:
                    tree[file] = change
            outcome = self._keep(tree) if len(tree) else None
        self._known[prefix, name] = outcome
        return outcome

    def _blob(self, path: bytes, name: bytes) -> bytes | None:
        from dulwich.objects import Blob, ShaFile

        if (path, name) in self._known:
            return self._known[path, name]
        try:
            content = self._repository.blob(name)
        except Damage:
            self.unreadable += 1
            return self._known.setdefault((path, name))
        rewritten = self._rewrite(os.fsdecode(path), content)
        result: bytes | None = name
        if rewritten != content:
            self.changed += 1
            result = (
                None if rewritten is None else self._keep(ShaFile.from_raw_string(Blob.type_num, rewritten))
            )
        self._known[path, name] = result
        return result

    def _keep(self, new: "ShaFile") -> bytes:
        self._pending.append(new)
        self._bytes += new.raw_length()
        if self._bytes > BATCH_BYTES:
            self.store()
        return bytes(new.id)
