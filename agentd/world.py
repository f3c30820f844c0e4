"""What there is on this machine, for finding the arguments of a request (routing/slots.py).

Asked of the machine when it is needed, and kept for some seconds: one request looks several times.
"""

import glob
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from agentd.routing.slots import World
from agentd.tools import files, network_state, wireless
from agentd.tools.bus import Bus
from agentd.tools.services import units_that_are
from agentd.tools.tool import Context, Lacking

# Seconds that an answer is good for.
KEPT = 10.0
_LOCALTIME = Path("/etc/localtime")
_SYSTEMD = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
T = TypeVar("T")


def worlds(bus: Bus) -> Callable[[str], World]:
    """This machine's world as a person sees it, by their name. What cannot be asked is empty."""
    found = World(
        units=_kept(lambda: _units(bus), {}),
        now=lambda: datetime.now(_zone()),
        links=_kept(lambda: [link.name for link in network_state.look(bus).links], ()),
        zones=_zones,
        networks=_kept(lambda: [network.name for network in wireless.networks(bus)], ()),
    )
    return lambda person: replace(found, files=lambda words: _files(Context(bus, person), words))


def _units(bus: Bus) -> Mapping[str, str]:
    """Names of services with what they are; those that are not loaded have no description."""
    [files] = bus.call(*_SYSTEMD, "ListUnitFilesByPatterns", "asas", [], ["*.service"])
    found = {path.rpartition("/")[2]: "" for path, _ in files}
    found |= {unit[0]: unit[1] for unit in units_that_are(bus, [], ["*.service"])}
    return found


def _files(context: Context, words: str) -> Sequence[str]:
    """The person's files with these words in their names, in this order."""
    name = "*".join(["", *(glob.escape(word) for word in words.split()), ""])
    try:
        facts = files.find(context, {"name": name, "folder": None}).facts
    except Lacking:
        return ()
    return [one["path"] for one in facts["files"]]


def _zone() -> ZoneInfo:
    """The machine's time zone; a timedate1 client changes the link while agentd runs."""
    try:
        return ZoneInfo(str(_LOCALTIME.readlink()).partition("zoneinfo/")[2])
    except (OSError, ValueError, ZoneInfoNotFoundError):
        return ZoneInfo("UTC")


@cache
def _zones() -> Sequence[str]:
    return sorted(available_timezones())


def _kept(ask: Callable[[], T], nothing: T) -> Callable[[], T]:
    """`ask` at most once in KEPT seconds; `nothing` where the machine does not answer."""
    lock = threading.Lock()
    asked, answer = -KEPT, nothing

    def found() -> T:
        nonlocal asked, answer
        with lock:
            if time.monotonic() - asked >= KEPT:
                try:
                    answer = ask()
                except Lacking:
                    answer = nothing
                asked = time.monotonic()
            return answer

    return found
