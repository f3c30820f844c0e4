"""The git repository inside the vault as files: objects, packs and refs, on the disk when a method returns.

What a commit holds is the concern of history.py, taking text out again that of history_purge.py. What git
itself may have written is read: packs, packed refs, other branches, a detached HEAD. Its configuration and
hooks are neither read nor run. The formats are those of gitrepository-layout(5) and gitformat-pack(5).

Dulwich knows trees, commits and packs. Loose objects are read here, because dulwich 0.22 never returns from
one that was cut after a few bytes, takes one that was cut later for whole, and compares no id.
Not for several threads: History has the lock.
"""

import errno
import os
import re
import stat
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha1
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentd.errors import StoreUnavailable

if TYPE_CHECKING:
    from dulwich.objects import Commit, ShaFile, Tree

BRANCH = "refs/heads/main"
# File modes are not kept, bytes are kept as they are, and no reflog remembers what a purge takes out.
CONFIG = """[core]
\trepositoryformatversion = 0
\tbare = false
\tfilemode = false
\tautocrlf = false
\tlogallrefupdates = false
"""
# More objects than this go into one pack: one file to wait for instead of thousands.
MANY = 50
# How many damaged repositories are kept beside the new one.
KEPT_ASIDE = 9

_ID = re.compile(rb"[0-9a-f]{40}")
_REF = re.compile(r"(?!.*(?:\.\.|//|/\.))refs/[^\s~^:?*\[\\]+", re.ASCII)
# Reading says one of these when a file, not the disk as a whole, is broken; ext4 says EUCLEAN.
_BROKEN = {errno.EIO, errno.EUCLEAN, errno.EISDIR, errno.ENOTDIR, errno.ELOOP}


class Damage(Exception):
    """The repository is not whole; the text says where."""


class Repository:
    """The repository in `folder`/.git. Methods raise Damage for what is broken, else OSError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git = folder / ".git"
        self._store: Any = None

    # The repository as a whole

    def create(self) -> None:
        """Make the repository if there is none. HEAD comes last: without it a creation was not finished."""
        if os.path.lexists(self.git) and (self.git.is_symlink() or not self.git.is_dir()):
            raise Damage(f"{self.git} is not a folder")
        if os.path.lexists(self.git / "HEAD"):
            pack = self.git / "objects/pack"
            if not pack.parent.is_dir() or (pack.exists() and not pack.is_dir()):
                raise Damage("there is no folder of objects or packs")
            return
        if any((self.git / "objects").glob("??/*")) or any((self.git / "objects/pack").glob("*.pack")):
            raise Damage("HEAD is missing")
        for name in (".", "objects", "objects/pack", "refs", "refs/heads"):
            make_folder(self.git / name)
        write_file(self.git / "config", CONFIG.encode())
        write_file(self.git / "HEAD", f"ref: {BRANCH}\n".encode())

    def clear_locks(self) -> None:
        """Remove the locks that a power cut left. Only at the start of agentd."""
        for pattern in ("*.lock", "refs/**/*.lock", "objects/pack/*.lock"):
            for lock in self.git.glob(pattern):
                lock.unlink(missing_ok=True)

    def set_aside(self) -> Path:
        """Move the repository to .git-damaged-N, N from 1; returns that path. Raises StoreUnavailable."""
        self.close()
        for number in range(1, KEPT_ASIDE + 1):
            aside = self.folder / f".git-damaged-{number}"
            if not os.path.lexists(aside):
                self.git.rename(aside)
                sync_folder(self.folder)
                return aside
        raise StoreUnavailable(
            f"the history was damaged {KEPT_ASIDE} times, see {self.folder}/.git-damaged-1"
        )

    def close(self) -> None:
        """Let go of the open packs; the next use opens them again."""
        if self._store is not None:
            self._store.close()
            self._store = None

    # Objects

    def raw(self, name: bytes) -> tuple[int, bytes]:
        """The type's number and the content of the object `name` (40 hex digits), compared with its name."""
        from dulwich.objects import object_class, object_header

        if not _ID.fullmatch(name):
            raise Damage(f"{name!r} is not an object's name")
        shown = f"object {name.decode()}"
        with _finding_damage(shown):
            try:
                data = zlib.decompress(self._loose(name).read_bytes())
            except FileNotFoundError:
                number, content = self._packed().get_raw(name)
            else:
                header, _, content = data.partition(b"\0")
                known = object_class(header.split(b" ")[0])
                if known is None:
                    raise Damage(f"{shown} has an unknown type")
                number = known.type_num
            if sha1(object_header(number, len(content)) + content).hexdigest().encode() != name:
                raise Damage(f"{shown} has another content than its name says")
        return number, content

    def commit(self, name: bytes) -> "Commit":
        """The commit `name`, with a tree."""
        from dulwich.objects import Commit

        found = self._parsed(name, Commit)
        assert isinstance(found, Commit)
        if None in (found.tree, found.author_time, found.commit_time):
            raise Damage(f"object {name.decode()} is not a whole commit")
        return found

    def tree(self, name: bytes) -> "Tree":
        """The tree `name`: a mapping of file names to (mode, object's name)."""
        from dulwich.objects import Tree

        found = self._parsed(name, Tree)
        assert isinstance(found, Tree)
        return found

    def tagged(self, name: bytes) -> bytes:
        """What an annotated tag leads to; anything else itself."""
        from dulwich.objects import Tag

        if self.raw(name)[0] != Tag.type_num:
            return name
        found = self._parsed(name, Tag)
        assert isinstance(found, Tag)
        return self.tagged(found.object[1])

    def blob(self, name: bytes) -> bytes:
        """The bytes of a file."""
        from dulwich.objects import Blob

        number, content = self.raw(name)
        if number != Blob.type_num:
            raise Damage(f"object {name.decode()} is not a blob")
        return content

    def entry(self, root: bytes, path: bytes) -> tuple[int, bytes] | None:
        """Mode and object's name of what is at `path` beneath the tree `root`, None where nothing is."""
        mode, name = stat.S_IFDIR, root
        for part in path.split(b"/"):
            if not stat.S_ISDIR(mode) or part not in (tree := self.tree(name)):
                return None
            mode, name = tree[part]
        return mode, name

    def entries(self, tree: bytes) -> list[tuple[bytes, int, bytes]]:
        """Name, mode and object's name of all that is in a tree, in git's order; faster than tree()."""
        from dulwich import objects

        number, content = self.raw(tree)
        if number != objects.Tree.type_num:
            raise Damage(f"object {tree.decode()} is not a tree")
        # Any: dulwich has no type for it.
        parse: Any = objects.parse_tree
        with _finding_damage(f"object {tree.decode()}"):
            return list(parse(content))

    def files(self, tree: bytes, prefix: bytes = b"") -> Iterator[tuple[bytes, int, bytes]]:
        """Path, mode and object's name of every file beneath a tree, in git's order."""
        for name, mode, content in self.entries(tree):
            if stat.S_ISDIR(mode):
                yield from self.files(content, prefix + name + b"/")
            else:
                yield prefix + name, mode, content

    def reachable(self, starts: Iterable[bytes], problems: list[str] | None = None) -> list[bytes]:
        """The names of all objects that `starts` lead to, which are commits or annotated tags.

        With `problems` every one is read, and what is damaged is described there instead of raised.
        """
        found: dict[bytes, None] = {}
        commits, entries = list[bytes](), list[tuple[int, bytes]]()
        for name in starts:
            try:
                commits.append(self.tagged(name))
                found |= dict.fromkeys({name} - {commits[-1]})
            except Damage as damage:
                if problems is None:
                    raise
                problems.append(str(damage))
        while commits or entries:
            mode, name = entries.pop() if entries else (None, commits.pop())
            if name in found or (mode is not None and is_submodule(mode)):
                continue
            found[name] = None
            try:
                if mode is None:
                    commit = self.commit(name)
                    commits += commit.parents
                    entries.append((stat.S_IFDIR, commit.tree))
                elif stat.S_ISDIR(mode):
                    inside = self.entries(name)
                    entries += [(kind, child) for _, kind, child in inside if child not in found]
                elif problems is not None:
                    self.blob(name)
            except Damage as damage:
                if problems is None:
                    raise
                problems.append(str(damage))
        return list(found)

    def add(self, objects: "Sequence[ShaFile]") -> None:
        """Store objects; on the disk when this returns. One that is there already is written anew."""
        if len(objects) > MANY:
            self.pack(len(objects), iter(objects))
            return
        from dulwich.objects import object_header

        folders: dict[Path, None] = {}
        with _finding_damage("objects"):
            for stored in objects:
                path = self._loose(stored.id)
                make_folder(path.parent)
                temporary = path.with_name(f"tmp_obj_{path.name}")
                raw = stored.as_raw_string()
                # The fastest level: large trees hold random bytes, and a small file has one block anyway.
                data = zlib.compress(object_header(stored.type_num, len(raw)) + raw, 1)
                write_file(path, data, temporary=temporary, sync=False)
                folders[path.parent] = None
            for folder in folders:
                sync_folder(folder)

    def pack(self, count: int, objects: "Iterator[ShaFile]") -> str:
        """Store `count` objects in one pack; on the disk when this returns the pack's name, pack-HEX."""
        from dulwich.pack import full_unpacked_object, write_pack_data

        folder = self.git / "objects/pack"
        make_folder(folder)
        for lock in folder.glob("*.lock"):
            lock.unlink(missing_ok=True)
        # Dulwich 0.22 knows packs that it wrote, and that a git has deleted, longer than it keeps them open:
        # it begins with those on the disk, here and in named().
        self.close()
        file, complete, abort = self._packed().add_pack()
        try:
            write_pack_data(file.write, (full_unpacked_object(each) for each in objects), num_records=count)
        except BaseException:
            abort()
            raise
        name = f"pack-{complete().name().decode()}"
        for suffix in (".pack", ".idx"):
            (folder / (name + suffix)).chmod(0o600)
        sync_folder(folder)
        return name

    def named(self, beginning: str) -> list[bytes]:
        """The names of the objects that begin with 4 to 40 hex digits."""
        if not re.fullmatch("[0-9a-f]{4,40}", beginning):
            return []
        self.close()
        with _finding_damage("a pack"):
            return list(dict.fromkeys(self._packed().iter_prefix(beginning.encode())))

    def _parsed(self, name: bytes, kind: "type[ShaFile]") -> "ShaFile":
        number, content = self.raw(name)
        if number != kind.type_num:
            raise Damage(f"object {name.decode()} is not a {kind.__name__.lower()}")
        with _finding_damage(f"object {name.decode()}"):
            return kind.from_raw_string(number, content, name)

    def _loose(self, name: bytes) -> Path:
        return self.git / "objects" / name[:2].decode() / name[2:].decode()

    def _packed(self) -> Any:
        if self._store is None:
            from dulwich.object_store import DiskObjectStore

            self._store = DiskObjectStore(str(self.git / "objects"))
        return self._store

    # Refs

    def head(self) -> tuple[str, bytes | None]:
        """The ref that a commit moves ("HEAD" if it is detached) and its commit, None before any."""
        content = self._content("HEAD")
        if content is None:
            raise Damage("HEAD is missing")
        if not content.startswith(b"ref: "):
            return "HEAD", self.ref("HEAD")
        name = os.fsdecode(content[5:])
        if not _REF.fullmatch(name):
            raise Damage("HEAD names no branch")
        return name, self.ref(name)

    def ref(self, name: str) -> bytes | None:
        """The object that a ref names, None if there is no such ref."""
        content = self._content(name)
        if content is None:
            return self._packed_refs().get(name)
        if not _ID.fullmatch(content):
            raise Damage(f"{name} names no object")
        return content

    def refs(self) -> tuple[dict[str, bytes], list[str]]:
        """All refs and a detached HEAD with what they name, and those that are broken. Not symbolic ones."""
        whole, broken = self._packed_refs(), []
        names = [
            str(path.relative_to(self.git)) for path in (self.git / "refs").rglob("*") if not path.is_dir()
        ]
        for name in ["HEAD", *(name for name in names if not name.endswith(".lock"))]:
            content = self._content(name)
            whole.pop(name, None)
            if content is None or not (content.startswith(b"ref: refs/") or _ID.fullmatch(content)):
                broken.append(name)
            elif _ID.fullmatch(content):
                whole[name] = content
        return whole, broken

    def move(self, name: str, old: bytes | None, new: bytes) -> bool:
        """Let a ref name `new` if it still names `old`, None for no ref; whether it did.

        On the disk when this returns. Raises StoreUnavailable while another git holds the ref's lock.
        """
        path = self.git / name
        missing = [parent for parent in path.parents if not parent.exists()]
        for folder in reversed(missing):
            make_folder(folder)
        lock = path.with_name(f"{path.name}.lock")
        try:
            os.close(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError as error:
            raise StoreUnavailable(f"another git holds {lock}") from error
        if self.ref(name) != old:
            lock.unlink()
            return False
        write_file(path, new + b"\n", temporary=lock)
        return True

    def unpack_refs(self) -> None:
        """Give every packed ref a file of its own; the refs stay what they are."""
        for name, value in self._packed_refs().items():
            if self._content(name) is None:
                self.move(name, value, value)
        (self.git / "packed-refs").unlink(missing_ok=True)
        sync_folder(self.git)

    def _content(self, name: str) -> bytes | None:
        try:
            return (self.git / name).read_bytes().strip()
        except (FileNotFoundError, IsADirectoryError):
            return None
        except OSError as error:
            if error.errno in _BROKEN:
                return b""
            raise

    def _packed_refs(self) -> dict[str, bytes]:
        found = {}
        for line in (self._content("packed-refs") or b"").splitlines():
            value, _, name = line.partition(b" ")
            if _ID.fullmatch(value) and _REF.fullmatch(os.fsdecode(name)):
                found[os.fsdecode(name)] = value
        return found


def is_submodule(mode: int) -> bool:
    """Whether a tree's entry is another repository's commit, which is never followed."""
    return stat.S_IFMT(mode) == 0o160000


def make_folder(path: Path) -> None:
    """Make a folder of mode 0700 whatever the umask is, durably, if it is not there."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        return
    path.chmod(0o700)
    sync_folder(path.parent)


def write_file(path: Path, data: bytes, *, temporary: Path | None = None, sync: bool = True) -> None:
    """Put a file of mode 0600 there, whole or not at all; without `sync` the caller syncs its folder."""
    temporary = temporary or path.with_name(f"{path.name}.new")
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        temporary.rename(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    if sync:
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _finding_damage(what: str) -> Iterator[None]:
    """Turn what zlib, dulwich and the file system raise over something broken into Damage."""
    from dulwich.errors import ApplyDeltaError, ChecksumMismatch, FileFormatException
    from dulwich.pack import PackFileDisappeared

    try:
        yield
    except OSError as error:
        if error.errno in _BROKEN:
            raise Damage(f"{what}: {error.strerror}") from error
        raise
    except KeyError as error:
        raise Damage(f"{what} is missing") from error
    except (ApplyDeltaError, ChecksumMismatch, FileFormatException, PackFileDisappeared) as error:
        raise Damage(f"{what} is broken: {error}") from error
    except (zlib.error, struct.error, ValueError, IndexError, AssertionError, EOFError) as error:
        raise Damage(f"{what} is broken: {error}") from error
