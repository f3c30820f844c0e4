"""The vault: a folder of Markdown files that a person may edit at any time, with any program.

Here is how files are found, read and written so that nothing leads out of the folder, nothing blocks, and a
power cut leaves the old file or the new one. What is in them is note.py's concern; that they changed is
watch.py's.

Every way into the folder goes name by name with O_NOFOLLOW (openat(2)), so that a symbolic link, even one
put there a moment ago, is refused. Names that begin with a dot (.git, .obsidian, our own half-written files)
are nobody's notes.
"""

import errno
import hashlib
import os
import secrets
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from agentd.errors import AgentError, StoreUnavailable

MAX_BYTES = 8 << 20
# As `expect` of write(): there is no such file.
MISSING = ""
MAX_DEPTH = 32

_SUFFIX = ".md"
_TEMPORARY = ".agentd-new-"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class VaultError(AgentError):
    """What is wrong with one file of the vault; it was left as it is."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path!r}: {why}")
        self.path = path
        self.why = why


class BadPath(VaultError):
    """No note of ours can have this path."""


class Missing(VaultError):
    """There is no such file."""


class NotRegular(VaultError):
    """A symbolic link, a folder, a FIFO or a device, where a file is to be; or such in the way to it."""


class Unreadable(VaultError):
    """agentd has no permission to read the file."""


class NotText(VaultError):
    """The file is not UTF-8."""


class TooLarge(VaultError):
    """The file is, or would be, larger than MAX_BYTES."""


class Conflict(VaultError):
    """The file is not the one that was read: somebody else changed, made or removed it."""


@dataclass(frozen=True, slots=True)
class FileState:
    """A note as it lies on the disk. An edit changes it, but for one of equal size within the same tick."""

    path: str
    size: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class Problem:
    """What is at `path` cannot be used, and why. If it is a folder, what is in it is unknown, not gone."""

    path: str
    why: str


@dataclass(frozen=True, slots=True)
class Kept:
    """What was at `path` before a change, under a hidden `name` beside it (None: nothing).

    `digest` is that of the text that was put there, or MISSING.
    """

    path: str
    name: str | None
    digest: str


@dataclass(frozen=True, slots=True)
class Scan:
    """All notes and all problems, each in the order of their paths."""

    files: list[FileState]
    problems: list[Problem]


def digest(text: str) -> str:
    """What tells this text of a file from any other, 32 hexadecimal digits."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class Vault:
    """The notes below one folder. Paths are relative to it, with `/`: "notes/garden.md".

    Every method raises StoreUnavailable when the disk does not do what it should, and a VaultError for what
    is wrong with one file. May be used by several threads.
    """

    def __init__(self, folder: Path) -> None:
        """Make `folder`, for its owner alone, if it is not there."""
        self.folder = folder
        # Between looking at a file and replacing it, no other writer of ours comes in.
        self._writing = threading.Lock()
        with _translated(""):
            if not folder.is_dir():
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                parent = os.open(folder.parent, _FOLDER)
                try:
                    os.fsync(parent)
                finally:
                    os.close(parent)

    def scan(self) -> Scan:
        """Every note and every problem there is. StoreUnavailable if the folder itself cannot be read."""
        found = Scan([], [])
        with _translated(""), self._inside([]) as root:
            for folder, entry, path in _walk(root, "", found.problems):
                try:
                    state = os.stat(entry.name, dir_fd=folder, follow_symlinks=False)
                except FileNotFoundError:
                    continue  # gone since it was listed
                if not stat.S_ISREG(state.st_mode):
                    found.problems.append(Problem(path, f"it is {_kind(state.st_mode)}, not a file"))
                elif state.st_size > MAX_BYTES:
                    found.problems.append(Problem(path, _too_large(state.st_size)))
                else:
                    found.files.append(_state(path, state))
        found.files.sort(key=lambda file: file.path)
        found.problems.sort(key=lambda problem: problem.path)
        return found

    def tidy(self) -> int:
        """Remove what a power cut left half written, before anything is written; returns how many files."""
        removed = 0
        with _translated(""), self._inside([]) as root:
            for folder, entry, _ in _walk(root, "", [], temporary=True):
                if entry.is_file(follow_symlinks=False):
                    os.unlink(entry.name, dir_fd=folder)
                    removed += 1
        return removed

    def state(self, path: str) -> FileState | None:
        """A note as it lies on the disk now, None if there is none. Raises NotRegular, BadPath."""
        *parents, name = _parts(path)
        try:
            with _translated(path), self._inside(parents) as folder:
                found = _look(folder, name, path)
        except Missing:
            return None
        return None if found is None else _state(path, found)

    def read(self, path: str) -> str:
        """The text of a note, line ends as they are.

        Raises Missing, NotRegular, NotText, TooLarge, Unreadable, BadPath.
        """
        *parents, name = _parts(path)
        with _translated(path), self._inside(parents) as folder:
            return _read(folder, name, path)

    def find(self, path: str) -> str | None:
        """The text of a note, None if there is no such note; otherwise as read()."""
        try:
            return self.read(path)
        except Missing:
            return None

    def write(
        self, path: str, text: str, *, expect: str | None = None, keep: list[Kept] | None = None
    ) -> FileState:
        """Put `text` there, whole or not at all; on return it outlives a power cut.

        `expect` is the digest() of the text that was read before, or MISSING, and guards against a change by
        somebody else in between (Conflict); None replaces whatever note is there. Missing folders are made.
        What was there is added to `keep`, for put_back() or let_go().
        """
        *parents, name = _parts(path)
        try:
            data = text.encode()
        except UnicodeEncodeError as error:
            raise NotText(path, "the text cannot be written as UTF-8") from error
        if len(data) > MAX_BYTES:
            raise TooLarge(path, _too_large(len(data)))
        with self._writing, _translated(path), self._inside(parents, create=True) as folder:
            old = _look(folder, name, path)
            mode = stat.S_IMODE(old.st_mode) & 0o666 if old else 0o600
            with _temporary(folder, data, mode) as (temporary, state):
                # As late as can be: a person's editor knows nothing of our lock.
                _expect(folder, name, path, expect)
                if keep is not None:
                    keep.append(_keep(folder, name, path, digest(text)))
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
        return _state(path, state)

    def remove(self, path: str, *, expect: str | None = None, keep: list[Kept] | None = None) -> None:
        """Remove a note, for good once this returns; the rest as in write(). Raises Missing, NotRegular."""
        *parents, name = _parts(path)
        with self._writing, _translated(path), self._inside(parents) as folder:
            _present(folder, name, path)
            _expect(folder, name, path, expect)
            if keep is not None:
                keep.append(_keep(folder, name, path, MISSING))
            os.unlink(name, dir_fd=folder)
            os.fsync(folder)

    def put_back(self, kept: Kept) -> None:
        """Undo a change; that takes no room on the disk. Conflict if somebody changed the note since."""
        *parents, name = _parts(kept.path)
        with self._writing, _translated(kept.path), self._inside(parents) as folder:
            _expect(folder, name, kept.path, kept.digest)
            if kept.name is None:
                os.unlink(name, dir_fd=folder)
            else:
                os.rename(kept.name, name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)

    def let_go(self, kept: Kept) -> None:
        """Remove what was kept, if it was not put back."""
        if kept.name is not None:
            *parents, _ = _parts(kept.path)
            with suppress(Missing), _translated(kept.path), self._inside(parents) as folder:
                os.unlink(kept.name, dir_fd=folder)

    def rename(self, path: str, to: str) -> None:
        """Give a note another path. Raises Missing, NotRegular, and Conflict if something is there."""
        *parents, name = _parts(path)
        *new_parents, new_name = _parts(to)
        with self._writing, _translated(path), self._inside(parents) as folder:
            _present(folder, name, path)
            with _translated(to), self._inside(new_parents, create=True) as new_folder:
                if _exists(new_folder, new_name):
                    raise Conflict(to, "there is something with this name already")
                os.rename(name, new_name, src_dir_fd=folder, dst_dir_fd=new_folder)
                os.fsync(new_folder)
            os.fsync(folder)

    @contextmanager
    def _inside(self, parents: list[str], create: bool = False) -> Iterator[int]:
        """A descriptor of the folder below the vault, reached without following a symbolic link."""
        with _translated(""):  # without the vault no note is there, but none is gone either
            descriptor = os.open(self.folder, _FOLDER)
        try:
            for name in parents:
                if create and not _exists(descriptor, name):
                    with suppress(FileExistsError):
                        os.mkdir(name, 0o700, dir_fd=descriptor)
                    os.fsync(descriptor)
                inner = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = inner
            yield descriptor
        finally:
            os.close(descriptor)


def _parts(path: str) -> list[str]:
    """The names in `path`. Raises BadPath for any that could lead out of the vault or is no note's."""
    names = path.split("/")
    if any(name == "" or name.startswith(".") or "\0" in name for name in names):
        raise BadPath(path, "a path in the vault has no empty names and none that begin with a dot")
    if not path.endswith(_SUFFIX):
        raise BadPath(path, f"a note's name ends in {_SUFFIX}")
    if not _is_utf8(path):
        raise BadPath(path, "its name is not UTF-8")
    if len(names) > MAX_DEPTH or any(len(name.encode()) > 255 for name in names):
        raise BadPath(path, "the path is too long")
    return names


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def _translated(path: str) -> Iterator[None]:
    """Turn the system's errors into ours. An empty `path` is the vault itself."""
    try:
        yield
    except OSError as error:
        if path and isinstance(error, FileNotFoundError):
            raise Missing(path, "there is no such file") from error
        if path and error.errno in (errno.ENOTDIR, errno.ELOOP):
            raise NotRegular(path, "one of its folders is a file or a symbolic link") from error
        what = f"the vault's file {path!r}" if path else "the vault"
        raise StoreUnavailable(f"{what} cannot be used: {error.strerror}") from error


def _look(folder: int, name: str, path: str) -> os.stat_result | None:
    """The state of a regular file, None if there is nothing. Raises NotRegular; opens nothing."""
    try:
        state = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(state.st_mode):
        raise NotRegular(path, f"it is {_kind(state.st_mode)}, not a file")
    return state


def _present(folder: int, name: str, path: str) -> None:
    if not _look(folder, name, path):
        raise Missing(path, "there is no such file")


def _exists(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _read(folder: int, name: str, path: str) -> str:
    _present(folder, name, path)
    try:
        descriptor = os.open(name, os.O_RDONLY | _FILE, dir_fd=folder)
    except PermissionError as error:
        raise Unreadable(path, "agentd has no permission to read it") from error
    except OSError as error:
        # It became something else since: ELOOP for a symbolic link, ENXIO for a socket.
        _present(folder, name, path)
        raise error
    with os.fdopen(descriptor, "rb") as file:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise NotRegular(path, f"it is {_kind(state.st_mode)}, not a file")
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise TooLarge(path, _too_large(state.st_size))
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise NotText(path, f"line {line} is not UTF-8 text (byte {error.start} of the file)") from error


def _expect(folder: int, name: str, path: str, expect: str | None) -> None:
    """Raise Conflict unless the file is what its writer believes it to be."""
    if expect is None:
        _look(folder, name, path)
    elif expect == MISSING:
        if _exists(folder, name):
            raise Conflict(path, "it is there already")
    else:
        try:
            same = digest(_read(folder, name, path)) == expect
        except (Missing, NotText, TooLarge):
            same = False
        if not same:
            raise Conflict(path, "somebody else changed it in the meantime")


def _keep(folder: int, name: str, path: str, changed: str) -> Kept:
    """Give a file that is about to change a second name; tidy() removes it after a power cut."""
    second = _temporary_name()
    try:
        os.link(name, second, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return Kept(path, None, changed)
    return Kept(path, second, changed)


def _temporary_name() -> str:
    return _TEMPORARY + secrets.token_hex(8)


@contextmanager
def _temporary(folder: int, data: bytes, mode: int) -> Iterator[tuple[str, os.stat_result]]:
    """A file that holds `data` on the disk, and its state; removed if it was not renamed."""
    name = _temporary_name()
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FILE, mode, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
            state = os.fstat(descriptor)
        yield name, state
    except BaseException:
        with suppress(OSError):  # tidy() removes it at the next start
            os.unlink(name, dir_fd=folder)
        raise


def _walk(
    folder: int, prefix: str, problems: list[Problem], temporary: bool = False, depth: int = 1
) -> Iterator[tuple[int, os.DirEntry[str], str]]:
    """What is named like a note (or like our temporary files) in `folder` and below.

    Yields a descriptor of its folder, the entry, and its path in the vault. Folders that cannot be looked
    into, and links to folders, become `problems`.
    """
    try:
        with os.scandir(folder) as listing:
            entries = list(listing)
    except OSError as error:
        if not prefix:
            raise
        problems.append(Problem(prefix.rstrip("/"), os.strerror(error.errno or 0)))
        return
    for entry in entries:
        path = prefix + entry.name
        if entry.name.startswith("."):
            if temporary and entry.name.startswith(_TEMPORARY):
                yield folder, entry, path
        elif not _is_utf8(entry.name):
            if entry.is_dir(follow_symlinks=False) or entry.name.endswith(_SUFFIX):
                shown = os.fsencode(path).decode("utf-8", "backslashreplace")
                problems.append(Problem(shown, "its name is not UTF-8"))
        elif entry.is_dir(follow_symlinks=False):
            if depth >= MAX_DEPTH:
                problems.append(Problem(path, f"folders more than {MAX_DEPTH} deep are not looked into"))
                continue
            try:
                inner = os.open(entry.name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            except FileNotFoundError:
                continue  # gone since it was listed
            except OSError as error:
                problems.append(Problem(path, os.strerror(error.errno or 0)))
                continue
            try:
                yield from _walk(inner, path + "/", problems, temporary, depth + 1)
            finally:
                os.close(inner)
        elif not temporary and entry.name.endswith(_SUFFIX):
            yield folder, entry, path
        elif entry.is_symlink() and entry.is_dir():
            problems.append(Problem(path, "it is a symbolic link, not a folder"))


def _state(path: str, state: os.stat_result) -> FileState:
    return FileState(path, state.st_size, state.st_mtime_ns, state.st_ino)


def _kind(mode: int) -> str:
    """What a person calls a file of this type."""
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "a device")


def _too_large(size: int) -> str:
    return f"it has {size} bytes, more than {MAX_BYTES >> 20} MiB"
