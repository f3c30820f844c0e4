"""The content-addressed cache: every product lies in a folder named by the hash of what went into it.

A product is built in a scratch folder beside its final place and renamed when it is whole, so an
interrupted build leaves nothing that looks finished. Not for: deciding what goes into a hash.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from builder.errors import AetherError


def cache_dir() -> Path:
    """The cache: `$AETHER_CACHE`, else `$XDG_CACHE_HOME/aetheros`, else `~/.cache/aetheros`."""
    if place := os.environ.get("AETHER_CACHE"):
        return Path(place).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aetheros"


def digest(*parts: Any) -> str:
    """The key of a product: 16 hex digits over JSON values, and over the contents of any Path."""
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            for file in files_below(part):
                sha.update(f"{file.relative_to(part)}\0{file.lstat().st_mode:o}\0".encode())
                sha.update(str(file.readlink()).encode() if file.is_symlink() else file.read_bytes())
        else:
            sha.update(json.dumps(part, sort_keys=True, default=str).encode())
        sha.update(b"\0")
    return sha.hexdigest()[:16]


def files_below(path: Path) -> list[Path]:
    """The files and links below a folder (or the file itself), sorted, without Python's byte code."""
    if not path.is_dir():
        return [path]
    found: Iterable[Path] = (p for p in path.rglob("*") if "__pycache__" not in p.parts)
    return sorted(p for p in found if p.is_symlink() or p.is_file())


def file_sha256(path: Path) -> str:
    """The sha256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader, or a power cut, sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    with scratch.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    scratch.rename(path)


@contextlib.contextmanager
def lock(path: Path, *, wait: bool, busy: str) -> Iterator[None]:
    """Hold an exclusive lock, released by the kernel even if this process dies.

    With `wait` a line says who holds it and the call waits; without, it raises AetherError(busy).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "?"
            if not wait:
                raise AetherError(
                    f"{busy} (process {holder})", hint=f"wait for process {holder}, or stop it"
                ) from None
            print(f"{busy} (process {holder}): waiting", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield


def product(kind: str, key: str, make: Callable[[Path], None]) -> Path:
    """The folder of a product, made now if the cache does not hold it.

    `make` fills the scratch folder it is given; whatever it raises leaves the cache as it was. Two
    processes that want the same product: the second waits for the first.
    """
    home = cache_dir() / kind
    place = home / key
    if place.is_dir():
        return place
    with lock(home / f".{key}.lock", wait=True, busy=f"{kind} {key} is being built"):
        if place.is_dir():
            return place
        scratch = home / f".{key}.partial"
        if scratch.exists():
            shutil.rmtree(scratch)
        scratch.mkdir(parents=True)
        try:
            make(scratch)
        except BaseException:
            # Nothing half-made is of use, and a full disk wants its space back.
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        scratch.rename(place)
    return place
