"""That a disk fills up, and that it has room again: statvfs(3) of every file system that can be written."""

import os
from collections.abc import Callable, Collection, Iterator

from agentd.awareness.event import Event, Severity
from agentd.tools import disks
from agentd.tools.disks import ALWAYS_FULL, Mounted
from agentd.tools.render import percent, size
from hardware.sysfs import Tree

# Shares of what a person's programs may use: nearly full, full; and room again.
NEARLY_FULL, FULL, ROOM = 0.90, 0.98, 0.87


def mounted() -> list[Mounted]:
    """The file systems of this machine's disks. Raises Lacking without /proc/self/mountinfo."""
    return disks.mounted(Tree())


class Space:
    """How full the disks were at the last look; `full` are the places that an open notice is about."""

    def __init__(
        self,
        places: Callable[[], list[Mounted]] = mounted,
        statvfs: Callable[[str], os.statvfs_result] = os.statvfs,
        *,
        full: Collection[str] = (),
    ) -> None:
        self._places, self._statvfs = places, statvfs
        self._levels = dict.fromkeys(full, 1)

    def look(self) -> Iterator[Event]:
        """What has changed since the last look. Raises Lacking."""
        there = set()
        for one in self._places():
            if one.is_read_only or one.kind in ALWAYS_FULL:
                continue
            try:
                found = self._statvfs(one.place)
            except OSError:
                continue  # unmounted meanwhile, or not agentd's to enter
            used, free = found.f_blocks - found.f_bfree, found.f_bavail
            if not used + free:
                continue
            there.add(one.place)
            yield from self._judge(one, used * found.f_frsize, free * found.f_frsize)
        for place in self._levels.keys() - there:
            # Gone with its disk.
            if self._levels.pop(place):
                yield Event("disk.free", place, "it is no longer mounted", source="space")

    def _judge(self, one: Mounted, used: int, free: int) -> Iterator[Event]:
        share = used / (used + free)
        level = 2 if share >= FULL else 1 if share >= NEARLY_FULL else 0
        known = self._levels.get(one.place, 0)
        facts = {"used_bytes": used, "free_bytes": free, "full": round(share, 3), "name": one.name}
        words = f"{percent(used, used + free)} used, {size(free)} free"
        if level > known:
            self._levels[one.place] = level
            severity = Severity.CRITICAL if level == 2 else Severity.WARNING
            yield Event("disk.full", one.place, words, severity, source="space", facts=facts)
        elif known and share < ROOM:
            self._levels[one.place] = 0
            yield Event("disk.free", one.place, words, source="space", facts=facts)
