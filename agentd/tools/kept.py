"""What was deleted or replaced, kept in two hidden folders of each root: the recycle bin, and versions.

.agentd-bin/TIME-RANDOM/NAME is what was deleted, beside it ".origin" with the path it had, in the root.
.agentd-versions/PATH/DIGEST is a text that was replaced; the last 20 of each path are kept.
Functions raise OSError, and Lacking where a folder of theirs is not one.
"""

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agentd.tools import reach
from agentd.tools.reach import Spot
from agentd.tools.tool import Lacking

BIN, VERSIONS = ".agentd-bin", ".agentd-versions"
MOST_VERSIONS = 20
_ORIGIN = ".origin"
_LONGEST_PATH = 4096


@dataclass(frozen=True, slots=True)
class Deleted:
    """An entry of the bin: where it was, and what it is now."""

    origin: Spot
    entry: str  # the folder of the bin that it is in
    state: os.stat_result


def digest(data: bytes) -> str:
    """What tells this content of a file from any other, 32 hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


# ---- the bin


def put(spot: Spot) -> None:
    """Move a file or a folder into the bin of its root."""
    seconds, rest = divmod(time.time_ns(), 10**9)
    entry = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(seconds))}.{rest:09d}-{secrets.token_hex(2)}"
    with reach.parent(spot) as inside, reach.folder(Spot(spot.root, (BIN, entry)), create=True) as kept:
        try:
            reach.put(kept, _ORIGIN, os.fsencode("/".join(spot.names)), 0o600)
            reach.move(inside, spot.names[-1], kept, spot.names[-1])
        except OSError:
            _drop(spot.root, entry)
            raise


def entries(root: Path) -> Iterator[Deleted]:
    """What is in the bin of a root, the newest first; what is not whole is passed over."""
    try:
        with reach.folder(Spot(root, (BIN,))) as bin:
            with os.scandir(bin) as listing:
                names = sorted((entry.name for entry in listing), reverse=True)
    except FileNotFoundError:
        return
    for name in names:
        with suppress(OSError, Lacking):
            path, _ = reach.read(Spot(root, (BIN, name, _ORIGIN)), _LONGEST_PATH)
            origin = Spot(root, tuple(os.fsdecode(path).split("/")))
            # Whoever may write into the bin may also have written this.
            reach.check(origin, origin.shown)
            with reach.folder(Spot(root, (BIN, name))) as kept:
                state = os.stat(origin.names[-1], dir_fd=kept, follow_symlinks=False)
            yield Deleted(origin, name, state)


def take(deleted: Deleted) -> None:
    """Bring an entry of the bin back to where it was; FileExistsError if something is there."""
    origin = deleted.origin
    name = origin.names[-1]
    with (
        reach.folder(Spot(origin.root, (BIN, deleted.entry))) as kept,
        reach.parent(origin, create=True) as inside,
    ):
        reach.move(kept, name, inside, name)
    _drop(origin.root, deleted.entry)


def _drop(root: Path, entry: str) -> None:
    """Remove an entry that holds nothing any more; what remains is passed over by entries()."""
    with suppress(OSError, Lacking), reach.folder(Spot(root, (BIN, entry))) as kept:
        os.unlink(_ORIGIN, dir_fd=kept)
    with suppress(OSError, Lacking), reach.folder(Spot(root, (BIN,))) as bin:
        os.rmdir(entry, dir_fd=bin)


# ---- versions


def keep(spot: Spot, data: bytes) -> None:
    """Keep a content of the file at `spot`, and of all that were kept the last ones."""
    with reach.folder(_versions(spot), create=True) as kept:
        reach.put(kept, digest(data), data, 0o600)
        with os.scandir(kept) as listing:
            found = [
                (entry.stat(follow_symlinks=False).st_mtime_ns, entry.name)
                for entry in listing
                if entry.is_file(follow_symlinks=False)
            ]
        for _, name in sorted(found)[:-MOST_VERSIONS]:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=kept)


def version(spot: Spot, wanted: str) -> bytes:
    """A content that was kept, by its digest. Raises Lacking if it is there no more."""
    folder = _versions(spot)
    return reach.read(Spot(folder.root, (*folder.names, wanted)), -1)[0]


def forget(root: Path, path: str) -> None:
    """Remove every content that is kept of the file at `path` in a root, versions and what is in the bin."""
    shutil.rmtree(root / VERSIONS / path, ignore_errors=True)
    for deleted in list(entries(root)):
        if "/".join(deleted.origin.names) == path:
            shutil.rmtree(root / BIN / deleted.entry, ignore_errors=True)


def _versions(spot: Spot) -> Spot:
    return Spot(spot.root, (VERSIONS, *spot.names))
