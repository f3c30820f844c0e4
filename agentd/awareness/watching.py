"""Everything that agentd watches on its machine, started and stopped: robust against each source.

A source that fails says so in one line and is tried again, later each time; the others go on. The system
bus comes back by itself (tools/bus.py).
"""

import os
import select
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from agentd import log
from agentd.awareness import boots as boots_module
from agentd.awareness.boots import Boots
from agentd.awareness.notices import Notices
from agentd.awareness.store import Store
from agentd.database import Database
from agentd.errors import Refusal, StoreUnavailable
from agentd.memory.background import Background
from agentd.tools.bus import Bus
from agentd.tools.tool import Lacking

if TYPE_CHECKING:
    from agentd.awareness.journal_events import JournalEvents
    from agentd.awareness.sampling import Sample

# Seconds between attempts: the first pause and the longest; after so long a run the next pause is the first.
PAUSES = (2.0, 300.0)
WELL_AFTER = 60.0
# The mark that says how far the journal was read.
CURSOR = "awareness.journal"


class Source(Protocol):
    """Something that watches on a thread of its own; whatever it raises ends it for a while."""

    @property
    def name(self) -> str: ...

    def run(self, stop_fd: int) -> None:
        """Watch until `stop_fd` is readable."""


class Watching:
    """All sources, and the notices that they lead to."""

    def __init__(
        self,
        state: Path,
        database: Database,
        bus: Bus,
        memory: Background,
        manifest: Mapping[str, Any] | None = None,
        inherited: Mapping[int, socket.socket] | None = None,
    ) -> None:
        """`inherited` are netlink.inherited()'s sockets."""
        self._bus = bus
        self._memory = memory
        self._inherited = inherited
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        self._threads: list[threading.Thread] = []
        self._journal: JournalEvents | None = None
        self.store = Store(database)
        self.notices = Notices(self.store, self._marks)
        found = dict(manifest) if manifest is not None else None
        self.boots = Boots(state, self.store, boots_module.boot_id(), found)

    def start(self) -> None:
        """Begin to watch. Whatever the store cannot do is logged, and watching goes on."""
        # Nobody waits for these: they are read when agentd answers already.
        from agentd.awareness.bus_events import BusEvents
        from agentd.awareness.clock import Clock
        from agentd.awareness.device_events import DeviceEvents
        from agentd.awareness.diary import Diary
        from agentd.awareness.journal_events import JournalEvents
        from agentd.awareness.kernel_events import KernelEvents
        from agentd.awareness.link_events import LinkEvents
        from agentd.awareness.power import Power
        from agentd.awareness.pressure import Pressure
        from agentd.awareness.sampling import Sampling
        from agentd.awareness.space import Space

        self.notices.start()
        self._begin_boot()
        take = self.notices.take
        bus_events = BusEvents(self._bus, take, self._seen("unit.failed"))
        self._journal = JournalEvents(take, self.boots.id, self._mark(CURSOR))
        samples: dict[str, Sample] = {
            "the clock": Clock(),
            "power": Power(off=self._seen("power.line"), low=self._seen("power.battery")),
            "disk space": Space(full=self._seen("disk.full")),
        }
        short = {name for name in ("memory", "cpu", "io") if self._seen(f"pressure.{name}")}
        listeners = DeviceEvents(bus_events.is_settled), LinkEvents(self._seen("link.down"))
        sources: tuple[Source, ...] = (
            bus_events,
            Sampling(samples, Pressure(short=short), take, self.boots.alive),
            KernelEvents(listeners, take, self._inherited),
            self._journal,
            Diary(self.store, lambda: self._memory.memories, self._memory.wake),
        )
        for source in sources:
            thread = threading.Thread(target=keep, args=(source, self._stop), name=source.name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self, seconds: float) -> None:
        """Stop watching, within `seconds` if it can be, and write what is left. A clean end."""
        os.eventfd_write(self._stop, 1)
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self.notices.stop(max(0.1, deadline - time.monotonic()))
        try:
            self.boots.end()
        except StoreUnavailable as refusal:
            log.warning(f"the end of this boot is not noted: {refusal.parameters.get('detail')}")

    def _begin_boot(self) -> None:
        try:
            events = self.boots.begin()
            if any(event.kind == "boot" for event in events):
                self.store.new_boot(time.time())
        except StoreUnavailable as refusal:
            log.error(f"this boot cannot be noted: {refusal.parameters.get('detail')}")
            return
        for event in events:
            self.notices.take(event)

    def _seen(self, kind: str) -> set[str]:
        """What notices of a kind are about: their end is told though agentd began anew."""
        try:
            return self.store.lasting_subjects(kind)
        except StoreUnavailable:
            return set()

    def _mark(self, name: str) -> str:
        try:
            return self.store.mark(name)
        except StoreUnavailable:
            return ""

    def _marks(self) -> dict[str, str]:
        cursor = self._journal.cursor if self._journal is not None else ""
        return {CURSOR: cursor} if cursor else {}


def keep(source: Source, stop_fd: int, pauses: tuple[float, float] = PAUSES) -> None:
    """Run a source until `stop_fd` is readable; again, after a pause, when it ends or fails."""
    pause, told = pauses[0], ""
    while True:
        began = time.monotonic()
        why = _run(source, stop_fd)
        if time.monotonic() - began > WELL_AFTER:
            pause, told = pauses[0], ""
        if select.select([stop_fd], [], [], 0)[0]:
            return
        if why != told:
            log.warning(f"awareness of {source.name}: {why}; tried again")
        told = why
        if select.select([stop_fd], [], [], pause)[0]:
            return
        pause = min(2 * pause, pauses[1])


def _run(source: Source, stop_fd: int) -> str:
    """Run a source; why it ended."""
    try:
        source.run(stop_fd)
    except Lacking as lacking:
        return lacking.message
    except Refusal as refusal:
        return str(refusal.parameters.get("detail", refusal))
    except Exception as error:  # of any kind: one source must not take the others along
        return f"{type(error).__name__}: {error}"
    return "it ended"
