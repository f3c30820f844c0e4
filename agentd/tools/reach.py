"""Paths that a person gives, opened so that nothing leads out of the folders that are theirs.

Every way goes from one of places.roots() name by name with O_NOFOLLOW (openat(2)), so that a symbolic link,
even one put there a moment ago, is refused. Names that begin with a dot are left alone: they are programs'
settings, keys, and what agentd keeps itself (kept.py). Not for: what is done with a file (files.py, ...).
"""

import errno
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from agentd.memory.memory import OWNER
from agentd.tools import places
from agentd.tools.render import visible
from agentd.tools.tool import Lacking, Unfit

MAX_DEPTH = 64
# The largest file that is replaced, as in the vault (agentd/memory/vault.py).
MAX_BYTES = 8 << 20
# A walk ends after this many entries or seconds: an answer that comes is worth more than a whole one.
MOST_ENTRIES = 200_000
LONGEST_WALK = 4.0

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_WHY = {
    errno.ENOENT: "there is no such file or folder",
    errno.ENOTDIR: "one of its folders is a file or a symbolic link",
    errno.ELOOP: "it is a symbolic link, and those are not followed",
    errno.EACCES: "agentd has no permission",
    errno.EPERM: "agentd has no permission",
    errno.EROFS: "agentd may only read there",
    errno.EEXIST: "there is something with this name already",
    errno.ENOTEMPTY: "there is something with this name already",
    errno.EXDEV: "it is on another disk",
    errno.ENXIO: "it is a socket or a FIFO, not a file",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk is full",
    errno.EFBIG: "the file would be too large",
}


@dataclass(frozen=True, slots=True)
class Spot:
    """A path in one of the folders; no names at all is the folder itself."""

    root: Path
    names: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The whole path."""
        return self.root.joinpath(*self.names)

    @property
    def shown(self) -> str:
        """The path for a person, on one line."""
        return visible(str(self.path))


@dataclass(slots=True)
class Walk:
    """How far looking through folders may still go; `complete` tells whether it saw everything."""

    entries: int = field(default_factory=lambda: MOST_ENTRIES)
    until: float = field(default_factory=lambda: time.monotonic() + LONGEST_WALK)
    complete: bool = True

    def below(
        self, descriptor: int, spot: Spot, person: str
    ) -> Iterator[tuple[Spot, os.DirEntry[str], os.stat_result]]:
        """Everything in an open folder and below, without what begins with a dot; links are not followed."""
        try:
            with os.scandir(descriptor) as listing:
                found = sorted(listing, key=lambda entry: entry.name)
        except OSError:
            self.complete = False
            return
        for entry in found:
            if self.entries <= 0 or time.monotonic() > self.until:
                self.complete = False
                return
            inner = Spot(spot.root, (*spot.names, entry.name))
            if entry.name.startswith(".") or _is_others(inner, person):
                continue
            self.entries -= 1
            try:
                state = os.stat(entry.name, dir_fd=descriptor, follow_symlinks=False)
            except FileNotFoundError:
                continue  # gone since it was listed
            is_folder = stat.S_ISDIR(state.st_mode)
            if is_folder and _same(places.state(), state):
                continue
            yield inner, entry, state
            if is_folder:
                yield from self._inside(descriptor, inner, person)

    def _inside(
        self, descriptor: int, spot: Spot, person: str
    ) -> Iterator[tuple[Spot, os.DirEntry[str], os.stat_result]]:
        if len(spot.names) >= MAX_DEPTH:
            self.complete = False
            return
        try:
            inner = _enter(descriptor, spot.names[-1])
        except (OSError, Lacking):
            self.complete = False
            return
        try:
            yield from self.below(inner, spot, person)
        finally:
            os.close(inner)


def spot(given: str, person: str) -> Spot:
    """What a person's path means: absolute, "~/...", or relative to one of the folders.

    A relative one that is nowhere yet is in the first. Raises Unfit for what leads elsewhere, and Lacking.
    """
    found = spots(given, person)
    for one in found:
        with suppress(Lacking):
            look(one)
            return one
    return found[0]


def spots(given: str, person: str) -> tuple[Spot, ...]:
    """All that a person's path can mean, the likeliest first.

    Raises Unfit for what leads elsewhere, and Lacking.
    """
    roots = places.roots(person)
    if not roots:
        raise Lacking("agentd reaches no folder of yours on this machine")
    # The deepest first: the vault may be inside the home.
    deepest = sorted(roots, key=lambda root: len(root.parts), reverse=True)
    path = Path(given)
    if given == "~" or given.startswith("~/"):
        found = [Spot(roots[0], path.parts[1:])]
    elif path.is_absolute():
        found = [Spot(root, path.relative_to(root).parts) for root in deepest if path.is_relative_to(root)][
            :1
        ]
    else:
        found = [Spot(root, path.parts) for root in roots]
    if not found:
        where = " and ".join(str(root) for root in roots)
        raise Unfit(f"{visible(given)} is out of agentd's reach: it works with files in {where}")
    for one in found:
        check(one, given)
    mine = tuple(one for one in found if not _is_others(one, person))
    if not mine:
        raise Unfit(f"{visible(given)} is another person's")
    return mine


def look(spot: Spot) -> os.stat_result:
    """The state of what is there, a link's own. Raises Lacking if nothing is, or the way leads out."""
    with told(spot):
        if not spot.names:
            return spot.root.stat()
        with parent(spot) as folder:
            return os.stat(spot.names[-1], dir_fd=folder, follow_symlinks=False)


def find(spot: Spot) -> os.stat_result | None:
    """As look(), None if nothing is there or its folder is not."""
    try:
        return look(spot)
    except Lacking as lacking:
        if isinstance(lacking.__cause__, FileNotFoundError):
            return None
        raise


@contextmanager
def folder(spot: Spot, *, create: bool = False) -> Iterator[int]:
    """A descriptor of a folder; missing ones are made, as open as those that they are in.

    Raises OSError, and Lacking for agentd's own folder.
    """
    descriptor = os.open(spot.root, _FOLDER)
    try:
        for name in spot.names:
            made = False
            if create:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=descriptor)
                    made = True
            inner = _enter(descriptor, name)
            # What agentd keeps itself, in hidden folders, is for it alone.
            if made and not name.startswith("."):
                os.fchmod(inner, os.fstat(descriptor).st_mode & 0o775)
                os.fsync(descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def parent(spot: Spot, *, create: bool = False) -> Iterator[int]:
    """As folder(), of the one that `spot` is in. Lacking for one of the roots itself."""
    if not spot.names:
        raise Lacking(f"{spot.shown} is a folder as a whole, which agentd leaves where it is")
    with folder(Spot(spot.root, spot.names[:-1]), create=create) as descriptor:
        yield descriptor


@contextmanager
def told(spot: Spot) -> Iterator[None]:
    """Turn the system's errors into Lacking, one line."""
    try:
        yield
    except OSError as error:
        why = _WHY.get(error.errno or 0) or error.strerror or str(error)
        raise Lacking(f"{spot.shown}: {why}") from error


def read(spot: Spot, most: int) -> tuple[bytes, os.stat_result]:
    """The first `most` bytes of a regular file, and its state. Raises Lacking; never waits for a FIFO."""
    with told(spot), parent(spot) as inside:
        _regular(spot, os.stat(spot.names[-1], dir_fd=inside, follow_symlinks=False))
        descriptor = os.open(spot.names[-1], os.O_RDONLY | _FILE, dir_fd=inside)
        with os.fdopen(descriptor, "rb") as file:
            state = os.fstat(descriptor)
            _regular(spot, state)
            return file.read(most), state


def content(spot: Spot) -> bytes | None:
    """What is in a file that may be replaced, None if there is none. Raises Lacking."""
    if find(spot) is None:
        return None
    data, _ = read(spot, MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise Lacking(
            f"{spot.shown} has more than {MAX_BYTES >> 20} MiB: agentd does not replace such files"
        )
    return data


def put(inside: int, name: str, data: bytes, mode: int, *, over: bool = True) -> None:
    """Put a file into an open folder, whole or not at all; on return it outlives a power cut.

    Raises OSError, FileExistsError for a file that is there unless `over` it; then all is as it was.
    """
    temporary = f".agentd-new-{secrets.token_hex(8)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FILE, 0o600, dir_fd=inside)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        if over:
            os.rename(temporary, name, src_dir_fd=inside, dst_dir_fd=inside)
        else:
            _move_file(inside, temporary, inside, name)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=inside)
        raise
    os.fsync(inside)


def move(inside: int, name: str, other: int, to: str) -> None:
    """Move a file or a folder, never over anything that is there. Raises OSError."""
    state = os.stat(name, dir_fd=inside, follow_symlinks=False)
    if stat.S_ISDIR(state.st_mode):
        # rename(2) replaces nothing but an empty folder by a folder.
        if exists(other, to):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        os.rename(name, to, src_dir_fd=inside, dst_dir_fd=other)
    else:
        _move_file(inside, name, other, to)
    os.fsync(other)
    os.fsync(inside)


def exists(inside: int, name: str) -> bool:
    """Whether an open folder has something of this name. Raises OSError."""
    try:
        os.stat(name, dir_fd=inside, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def holds_state(state: os.stat_result) -> bool:
    """Whether it is agentd's own folder or one around it, by whatever name."""
    own = places.state()
    return any(_same(folder, state) for folder in (own, *own.parents))


def kind(mode: int) -> str:
    """What a person calls a file of this type."""
    kinds = {
        stat.S_IFREG: "a file",
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "a device")


def check(spot: Spot, given: str) -> None:
    """Whether its names are such as agentd goes by; `given` is what a person wrote. Raises Unfit."""
    for name in spot.names:
        if not name:
            raise Unfit(f"{visible(given)}: a name is empty")
        if name == "..":
            raise Unfit(f"{visible(given)}: a path says where it leads, without '..'")
        if name.startswith("."):
            raise Unfit(f"{visible(given)}: agentd leaves names that begin with a dot alone")
        try:
            long = len(name.encode()) > 255
        except UnicodeEncodeError:
            raise Unfit(f"{visible(given)}: the name is not UTF-8") from None
        if long or "\0" in name or len(spot.names) > MAX_DEPTH:
            raise Unfit(f"{visible(given, 80)}: the path is too long")


def _is_others(spot: Spot, person: str) -> bool:
    """Whether it is a folder of other people's notes, which are not the owner's."""
    return person == OWNER and spot.root == places.vault() and spot.names[:1] == ("people",)


def _enter(descriptor: int, name: str) -> int:
    inner = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
    if _same(places.state(), os.fstat(inner)):
        os.close(inner)
        raise Lacking(f"{places.state()} is agentd's own: no tool for files goes there")
    return inner


def _same(folder: Path, state: os.stat_result) -> bool:
    try:
        return os.path.samestat(folder.stat(), state)
    except OSError:
        return False


def _regular(spot: Spot, state: os.stat_result) -> None:
    if not stat.S_ISREG(state.st_mode):
        raise Lacking(f"{spot.shown} is {kind(state.st_mode)}, not a file")


def _move_file(inside: int, name: str, other: int, to: str) -> None:
    try:
        # Unlike rename(2), a link never replaces anything.
        os.link(name, to, src_dir_fd=inside, dst_dir_fd=other, follow_symlinks=False)
    except OSError as error:
        # A file system without links, or one that is not agentd's own (protected_hardlinks, proc(5)).
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
            raise
        if exists(other, to):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
        os.rename(name, to, src_dir_fd=inside, dst_dir_fd=other)
    else:
        os.unlink(name, dir_fd=inside)
