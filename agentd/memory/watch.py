"""That a person changed something in the vault, noticed at once through inotify(7).

Says which notes to look at, or that all must be looked at; looking is vault.py's concern. The kernel watches
one folder at a time, so every folder has a watch; whatever happens to a folder itself, the watches are laid
anew and all is looked at. Never blocks: wait for fileno() to become readable.
"""

import os
import struct
from pathlib import Path

from agentd import log
from agentd.errors import StoreUnavailable

_HEADER = struct.Struct("iIII")
_READ_BYTES = 64 << 10
# What one call of changed() reads at most, so that a program that never stops writing does not hold us.
_READS = 64
_SUFFIX = ".md"


class Watcher:
    """The watches on all folders of the vault. For one thread."""

    def __init__(self, folder: Path) -> None:
        """Watch `folder` and what is below it; StoreUnavailable if the kernel gives no inotify at all."""
        from inotify import calls, constants

        self._calls = calls
        self._constants = constants
        self._folder = os.fsencode(folder)
        self._mask = (
            constants.IN_CLOSE_WRITE
            | constants.IN_CREATE
            | constants.IN_DELETE
            | constants.IN_MOVE
            | constants.IN_DELETE_SELF
            | constants.IN_MOVE_SELF
            | constants.IN_ONLYDIR
            | constants.IN_DONT_FOLLOW
        )
        # The folder that each watch is on, relative to the vault, with a "/" at its end if it is below it.
        self._folders: dict[int, bytes] = {}
        self._complete = True
        try:
            self._descriptor: int = calls.inotify_init()
        except calls.InotifyError as error:
            raise StoreUnavailable(f"changes of the vault cannot be watched: {error}") from error
        os.set_blocking(self._descriptor, False)
        os.set_inheritable(self._descriptor, False)
        self._watch()

    def fileno(self) -> int:
        """What becomes readable when changed() has something to say."""
        return self._descriptor

    @property
    def complete(self) -> bool:
        """Every folder is watched. If not (too many of them, or no vault), call changed() now and then."""
        return self._complete

    def changed(self) -> set[str] | None:
        """The paths of the notes that were made, changed, moved or removed since the last call.

        None: look at everything, because folders came or went, or there was more than the kernel keeps, or
        not every folder is watched.
        """
        paths: set[str] = set()
        everything = not self._complete
        for _ in range(_READS):
            try:
                events = os.read(self._descriptor, _READ_BYTES)
            except BlockingIOError:
                break
            everything |= self._take(events, paths)
        if everything:
            self._watch()
            return None
        return paths

    def close(self) -> None:
        """Stop watching; may be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _take(self, events: bytes, paths: set[str]) -> bool:
        """Put the notes in `events` into `paths`; true if everything must be looked at instead."""
        constants = self._constants
        everything = False
        position = 0
        while position < len(events):
            watch, mask, _, length = _HEADER.unpack_from(events, position)
            position += _HEADER.size + length
            name = events[position - length : position].rstrip(b"\0")
            folder = self._folders.get(watch)
            if mask & (constants.IN_Q_OVERFLOW | constants.IN_UNMOUNT):
                everything = True
            elif mask & constants.IN_IGNORED:
                self._folders.pop(watch, None)
                everything |= folder == b""
            elif folder is None or name.startswith(b"."):
                continue  # of a watch that was taken away since, or nobody's note
            elif mask & (constants.IN_ISDIR | constants.IN_DELETE_SELF | constants.IN_MOVE_SELF):
                everything = True
            elif name.endswith(_SUFFIX.encode()):
                try:
                    paths.add((folder + name).decode())
                except UnicodeDecodeError:
                    everything = True  # vault.scan() reports such a name
        return everything

    def _watch(self) -> None:
        """Lay a watch on every folder there is now, take away those on folders that left the vault.

        A folder is watched before it is listed: what comes into it later is noticed. To watch a folder again
        gives the same number, whatever its name is now.
        """
        old, self._folders = self._folders, {}
        complete = True
        waiting = [b""]
        while waiting:
            folder = waiting.pop()
            # Without a "/" at its end, or a symbolic link put there since would be followed.
            path = (self._folder + b"/" + folder).removesuffix(b"/")
            try:
                self._folders[self._calls.inotify_add_watch(self._descriptor, path, self._mask)] = folder
                with os.scandir(path) as listing:
                    waiting += [
                        folder + entry.name + b"/"
                        for entry in listing
                        if not entry.name.startswith(b".") and entry.is_dir(follow_symlinks=False)
                    ]
            except (self._calls.InotifyError, OSError):
                # python3-inotify 0.2.10 does not know the error's number. A folder that went away meanwhile
                # or that we may not read is vault.scan()'s concern, any other one stays unwatched.
                complete &= bool(folder) and not os.access(path, os.R_OK | os.X_OK)
        if self._complete and not complete:
            log.warning("not every folder of the vault can be watched: changes are noticed later")
        self._complete = complete
        for watch in old.keys() - self._folders.keys():
            try:
                self._calls.inotify_rm_watch(self._descriptor, watch)
            except self._calls.InotifyError:
                continue  # its folder is gone, and so is the watch
