"""The boots of this machine: when each was, whether it ended cleanly, and what changed since the one before.

A file in the state folder says that agentd runs, and in which boot; a clean stop removes it. Found in the
next boot, that one ended in a power cut, a panic or a reset. Its time is when agentd was last seen alive.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from agentd import log
from agentd.awareness.clock import since_boot
from agentd.awareness.event import Event, Severity
from agentd.awareness.store import Boot, Store
from agentd.memory.repository import sync_folder, write_file
from agentd.tools.render import moment

MARKER = "running"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# Seconds between signs of life; they are not forced to the disk.
ALIVE = 300.0


def boot_id(path: Path = BOOT_ID) -> str:
    """This boot's id, "" where the kernel does not show it (ProcSubset=pid)."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


class Boots:
    """This boot and those before it. Methods may raise StoreUnavailable, but for what the marker needs."""

    def __init__(
        self,
        state: Path,
        store: Store,
        boot: str,
        manifest: dict[str, Any] | None,
        *,
        kernel: str = "",
        now: Callable[[], float] = time.time,
        up: Callable[[], float] = since_boot,
    ) -> None:
        """`boot` is this boot's id, `up` how long it lasts; the image's version comes from its manifest."""
        self._marker = state / MARKER
        self._store = store
        self._now = now
        self._up = up
        self._alive = time.monotonic()
        self._image = " ".join(
            str(manifest[key]) for key in ("version", "build") if manifest and manifest.get(key)
        )
        self._kernel = kernel or os.uname().release
        self.id = boot

    def begin(self) -> list[Event]:
        """Note that this boot, or agentd in it, has begun; what is to be told of it."""
        left, seen = self._left()
        self._mark()
        last = self._store.last_boot()
        if last is not None and last.id == self.id:
            self._store.reopen_boot(self.id)
            if left:
                words = "agentd was not stopped and began again: it crashed, or was killed"
                return [Event("error", "agentd.service", words, Severity.WARNING, source="boots")]
            return []
        clean = not left
        if last is not None and not clean:
            self._store.end_boot(last.id, seen, clean=False)
        began = self._now() - self._up()
        self._store.add_boot(Boot(0, self.id, began, None, None, self._kernel, self._image))
        return [self._event(last, clean, seen)]

    def _event(self, last: Boot | None, clean: bool, seen: float) -> Event:
        facts: dict[str, Any] = {"clean": clean, "kernel": self._kernel, "image": self._image}
        if last is None:
            return Event("boot", self._kernel, "", source="boots", facts={**facts, "first": True})
        words = []
        if not clean:
            words.append(f"The machine was not shut down cleanly; it was last seen at {moment(seen)}.")
        changes = changed(last, self._kernel, self._image)
        facts["changes"] = changes
        words += [f"The {name} changed from {old} to {new}." for name, (old, new) in changes.items()]
        severity = Severity.INFO if clean else Severity.WARNING
        return Event("boot", self._kernel, " ".join(words), severity, source="boots", facts=facts)

    def alive(self) -> None:
        """Give a sign of life, now and then."""
        if time.monotonic() - self._alive >= ALIVE:
            self._alive = time.monotonic()
            with suppress(OSError):
                os.utime(self._marker)

    def end(self) -> None:
        """agentd stops as it should, and with it perhaps the machine."""
        self._store.end_boot(self.id, self._now(), clean=True)
        with suppress(OSError):
            self._marker.unlink(missing_ok=True)
            sync_folder(self._marker.parent)

    def _left(self) -> tuple[str, float]:
        """The boot that the marker names, "" without one, and when agentd was last alive in it."""
        try:
            return self._marker.read_text(errors="replace").strip()[:64] or "?", self._marker.stat().st_mtime
        except OSError:
            return "", 0.0

    def _mark(self) -> None:
        try:
            write_file(self._marker, f"{self.id}\n".encode())
        except OSError as error:
            log.error(f"a crash of this boot will not be noticed: {self._marker}: {error.strerror}")


def changed(last: Boot, kernel: str, image: str) -> dict[str, tuple[str, str]]:
    """What is not as it was in the last boot: names, each with what it was and is."""
    pairs = {"kernel": (last.kernel, kernel), "image": (last.image, image)}
    return {name: pair for name, pair in pairs.items() if pair[0] and pair[1] and pair[0] != pair[1]}
