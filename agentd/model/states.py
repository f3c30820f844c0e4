"""What a model has read, kept on disk: files of llama.cpp's states, found again by their tokens.

A file is one line of JSON and then llama.cpp's bytes. It is a cache: a file about which there is any doubt
is a miss and is removed, a folder that cannot be written is one line in the log, and nothing here is an
error for who asks a question. Only `remove`, which is how a conversation is deleted, says when it failed.
Not for: making or reading the bytes (llama.py), or when to keep what (engine.py).
"""

import array
import errno
import hashlib
import json
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentd import log
from agentd.model.llama import common

FORMAT = 1
NAME = re.compile(r"[a-z0-9-]{1,64}")
SUFFIX, UNFINISHED = ".state", ".tmp"
# All together: bytes and files. What is left free on the disk is for agentd's own data.
LARGEST = 256 << 20
MOST = 32
RESERVE = 64 << 20
LONGEST_HEADER = 4 << 20  # 400,000 tokens
# So many tokens are worth a file. Reading a state takes at most as long as evaluating a 16th of its tokens
# (measured: a 70th with the 135M model on a fast disk, bench/states.py).
WORTH = 16
READING = 16
# Bytes between two looks at whether somebody waits.
STEP = 4 << 20


@dataclass(frozen=True)
class Saved:
    """A file with the state in which `tokens` are evaluated: `size` bytes from `offset`. A `shared` one is
    the beginning of every prompt."""

    path: Path
    tokens: list[int]
    offset: int
    size: int
    crc32: int
    shared: bool
    own: bool  # in the folder that we write


class States:
    """The saved states in the folder `own` (None: nothing is kept) and in folders that came with the image.

    Not thread-safe. Before `open` there is nothing to find, but `remove` works.
    """

    def __init__(self, own: Path | None = None, baked: Sequence[Path] = ()) -> None:
        self._own = own
        self._baked = tuple(baked)
        self._fingerprint = ""
        self._saved: dict[Path, Saved] = {}  # the one used longest ago comes first
        self._complained = False

    def open(self, fingerprint: str, context: int) -> None:
        """Find what there is for the model with that fingerprint and a context of that many tokens.

        Files in our own folder that are for another, or damaged, are removed.
        """
        self._fingerprint = fingerprint
        for folder in self._baked:
            self._scan(folder, context, own=False)
        if self._own is None:
            return
        try:
            self._own.mkdir(mode=0o700, exist_ok=True)
            self._scan(self._own, context, own=True)
            self._make_room(0)
        except OSError as error:
            self._complain(error)

    def best(self, prompt: Sequence[int], held: int) -> Saved | None:
        """The state that saves most of a prompt's reading, of which `held` tokens are evaluated already."""
        wanted = list(prompt[:-1])
        found, most = None, 0
        for saved in self._saved.values():
            gain = common(saved.tokens, wanted) - held - len(saved.tokens) // READING
            if gain >= WORTH and gain > most:
                found, most = saved, gain
        return found

    def holds(self, tokens: Sequence[int]) -> bool:
        """Whether exactly these tokens are kept as the beginning of every prompt."""
        return any(saved.shared and saved.tokens == tokens for saved in self._saved.values())

    def read(self, saved: Saved) -> bytearray | None:
        """The state's bytes; None, and the file is removed, when they are not what was written."""
        try:
            with _open(saved.path) as file:
                size = os.fstat(file.fileno()).st_size
                state = bytearray(saved.size)
                file.seek(saved.offset)
                # Not mapped: a disk that fails would be a signal that kills the process.
                whole = file.readinto(state) == saved.size and size == saved.offset + saved.size
            if whole and _crc32(saved.tokens, state) == saved.crc32:
                self._saved[saved.path] = self._saved.pop(saved.path)
                if saved.own:
                    os.utime(saved.path)
                return state
            why = "is damaged"
        except OSError as error:
            why = f"cannot be read ({error.strerror})"
        self.discard(saved, why)
        return None

    def discard(self, saved: Saved, why: str) -> None:
        """Never take this state again; `why` goes to the log."""
        self._saved.pop(saved.path, None)
        log.warning(f"the saved state {saved.path} {why}; it is not used")
        if saved.own:
            with suppress(OSError):
                saved.path.unlink(missing_ok=True)

    def save(
        self,
        name: str,
        tokens: list[int],
        state: Callable[[int], bytearray | None],
        *,
        shared: bool = False,
        hurry: Callable[[], bool] = lambda: False,
    ) -> None:
        """Keep a state of `tokens` under a name, if that is worth a file.

        `state` gives its bytes unless they are more than its argument. Given up as soon as `hurry()`: then
        what was kept before stays.
        """
        if self._own is None:
            return
        place = self._own / f"{name}{SUFFIX}"
        before = self._saved.get(place)
        if len(tokens) - (common(before.tokens, tokens) if before else 0) < WORTH:
            return
        unfinished = place.with_suffix(UNFINISHED)
        try:
            if (content := state(LARGEST)) is None:
                return
            crc32 = _crc32(tokens, content)
            header = {
                "format": FORMAT,
                "fingerprint": self._fingerprint,
                "tokens": tokens,
                "size": len(content),
                "crc32": crc32,
                "shared": shared,
            }
            line = json.dumps(header, separators=(",", ":")).encode() + b"\n"
            self._make_room(len(line) + len(content), place)
            if not _write(unfinished, [line, content], hurry):
                return
            unfinished.rename(place)
            _sync(self._own)
            self._saved.pop(place, None)
            self._saved[place] = Saved(place, tokens, len(line), len(content), crc32, shared, own=True)
            self._complained = False
        except OSError as error:
            self._complain(error)
        finally:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)

    def remove(self, names: Sequence[str] | None) -> int:
        """Remove the states of these names, or all; how many there were. What came with the image stays.

        It is on the disk that they are gone. Raises OSError.
        """
        if self._own is None or not self._own.is_dir():
            return 0
        wanted = None if names is None else set(names)
        removed = 0
        for path in list(_files(self._own)):
            if wanted is None or path.stem in wanted:
                path.unlink(missing_ok=True)
                self._saved.pop(path, None)
                removed += path.suffix == SUFFIX
        _sync(self._own)
        return removed

    def _scan(self, folder: Path, context: int, *, own: bool) -> None:
        """Take the folder's files into the list, oldest first. Raises OSError for our own folder only."""
        try:
            files = sorted(_files(folder), key=lambda path: path.lstat().st_mtime)
        except OSError:
            if own:
                raise
            return  # a machine without baked states
        bad = 0
        for path in files:
            if path.suffix == SUFFIX and (saved := self._look(path, context, own=own)):
                self._saved[path] = saved
                continue
            bad += path.suffix == SUFFIX
            if own:
                with suppress(OSError):
                    path.unlink(missing_ok=True)
        if bad:
            log.info(f"{bad} saved states in {folder} are not for this model as it is now; not used")

    def _look(self, path: Path, context: int, *, own: bool) -> Saved | None:
        """What a file's first line says, if it fits everything."""
        try:
            with _open(path) as file:
                line = file.readline(LONGEST_HEADER)
                size = os.fstat(file.fileno()).st_size
            header: dict[str, Any] = json.loads(line)
            saved = Saved(
                path, header["tokens"], len(line), header["size"], header["crc32"], header["shared"], own
            )
            fits = (
                (header["format"], header["fingerprint"]) == (FORMAT, self._fingerprint)
                and (type(saved.tokens), type(saved.size), type(saved.crc32)) == (list, int, int)
                and 0 < len(saved.tokens) <= context
                and all(isinstance(token, int) and 0 <= token < 1 << 31 for token in saved.tokens)
                and size == saved.offset + saved.size
            )
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return saved if fits else None

    def _make_room(self, size: int, place: Path | None = None) -> None:
        """Remove old states until a file of `size` bytes can be kept at `place`, or just until there are no
        more than there may be. Raises OSError."""
        assert self._own is not None
        ours = [saved for saved in self._saved.values() if saved.own and saved.path != place]
        # Every prompt begins with a shared one: it is the last to go.
        ours.sort(key=lambda saved: saved.shared)
        disk = os.statvfs(self._own)
        free = disk.f_bavail * disk.f_frsize - size - RESERVE
        while ours and (
            sum(saved.offset + saved.size for saved in ours) + size > LARGEST
            or len(ours) + bool(place) > MOST
            or (place and free < 0)
        ):
            oldest = ours.pop(0)
            oldest.path.unlink(missing_ok=True)
            del self._saved[oldest.path]
            free += oldest.size
        if place and free < 0:
            raise OSError(errno.ENOSPC, "the disk is almost full")

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            log.warning(f"what the model has read cannot be kept in {self._own}: {error.strerror or error}")
        self._complained = True


def fingerprint(gguf: Path, layout: str) -> str:
    """What a state must have in common with the model that takes it: the GGUF file, known by its size and
    samples of its content, and how llama.cpp lays out what it computes. Raises OSError."""
    block, samples = 1 << 16, 32
    whole = hashlib.sha256(f"{FORMAT} {layout}".encode())
    with gguf.open("rb") as file:
        size = file.seek(0, 2)
        whole.update(str(size).encode())
        # The first and the last MiB, and places between: reading all would take seconds at every start.
        ends = [(0, 1 << 20), (max(0, size - (1 << 20)), 1 << 20)]
        for offset, length in [*ends, *((size * part // samples, block) for part in range(samples))]:
            file.seek(offset)
            whole.update(file.read(length))
    return whole.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    """The files of ours in a folder, whole and unfinished."""
    for path in folder.iterdir():
        ours = path.suffix in (SUFFIX, UNFINISHED) and NAME.fullmatch(path.stem)
        if ours and not stat.S_ISDIR(path.lstat().st_mode):
            yield path


def _open(path: Path) -> Any:
    """A regular file, for reading; never a link, and never a pipe that would be waited for."""
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    return os.fdopen(opened, "rb")


def _crc32(tokens: list[int], state: bytearray) -> int:
    return zlib.crc32(state, zlib.crc32(array.array("i", tokens).tobytes()))


def _write(path: Path, parts: Sequence[bytes | bytearray], hurry: Callable[[], bool]) -> bool:
    """Write a file to the disk; False, with half a file, if somebody began to wait. Raises OSError."""
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(opened, "wb", buffering=0) as file:
        for part in parts:
            view = memoryview(part)
            while view:
                if hurry():
                    return False
                view = view[file.write(view[:STEP]) :]
                os.fdatasync(file.fileno())
        os.fsync(file.fileno())
    return True


def _sync(folder: Path) -> None:
    """Bring a folder's entries to the disk. Raises OSError."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
