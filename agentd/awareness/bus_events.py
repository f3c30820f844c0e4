"""What systemd and its daemons say on the system bus: units that fail, logins, sleep, shutdown, the zone.

org.freedesktop.systemd1(5), login1(5), timedate1(5). Whatever was missed while the bus was away is looked up
when it is back. Links are not asked of networkd, which need not run: the kernel tells (link_events.py).
"""

import re
import select
import time
from collections.abc import Callable, Collection
from pathlib import Path

from agentd.awareness.event import Event, Severity
from agentd.tools.bus import Bus, Match, Signal
from agentd.tools.network_state import runs
from agentd.tools.render import visible
from agentd.tools.services import MANAGER, PATH, SYSTEMD, UNIT, unit_properties, units_that_are
from agentd.tools.tool import Lacking
from agentd.tools.unit_result import why
from agentd.tools.units import is_unit_name

LOGIND, LOGIND_PATH = "org.freedesktop.login1", "/org/freedesktop/login1"
TIMEDATE = "org.freedesktop.timedate1"
PROPERTIES = "org.freedesktop.DBus.Properties"
UNITS = f"{PATH}/unit"
BOOTED = Path("/run/systemd/system")
# A flood of failures is not asked for its reasons: questions to systemd in one minute.
MOST_ASKED = 30
_ESCAPED = re.compile(r"_([0-9a-f]{2})")
# Sessions of logind that are a person's (sd_session_get_class(3)).
_PEOPLE = ("user", "user-early")


class BusEvents:
    """The subscriptions. Their handlers run on the bus's one thread. A source of watching.py."""

    name = "the system bus"

    def __init__(self, bus: Bus, sink: Callable[[Event], None], failed: Collection[str] = ()) -> None:
        """`failed` are the units that an open notice says have failed."""
        self._bus = bus
        self._sink = sink
        self._failed = set(failed)
        # Those that are in that state now: systemd tells it again with whatever else changes.
        self._are_failed: set[str] = set()
        # What is known of each session, for when it ends: who, and from where.
        self._sessions: dict[str, tuple[str, str]] | None = None
        self._asked: list[float] = []
        self._ends: list[Callable[[], None]] = []

    def run(self, stop_fd: int) -> None:
        """Listen until `stop_fd` is readable."""
        # Here and not in start(): dbus-fast takes its time to be imported.
        self.start()
        try:
            select.select([stop_fd], [], [])
        finally:
            self.stop()

    def start(self) -> None:
        """Listen from now on, or from when there is a bus."""
        manager = f"{LOGIND}.Manager"
        for match, handler, begin in (
            (Match(SYSTEMD, PROPERTIES, "PropertiesChanged", "", UNITS), self._unit, self._begin_units),
            (Match(LOGIND, manager, "SessionNew", LOGIND_PATH), self._session_new, self._begin_sessions),
            (Match(LOGIND, manager, "SessionRemoved", LOGIND_PATH), self._session_removed, None),
            (Match(LOGIND, manager, "PrepareForSleep", LOGIND_PATH), self._sleep, None),
            (Match(LOGIND, manager, "PrepareForShutdown", LOGIND_PATH), self._shutdown, None),
            (Match(TIMEDATE, PROPERTIES, "PropertiesChanged"), self._timedate, None),
        ):
            self._ends.append(self._bus.subscribe(match, handler, begin))

    def stop(self) -> None:
        """Listen no more."""
        for end in self._ends:
            end()
        self._ends.clear()

    def is_settled(self) -> bool:
        """Whether the machine has started all that it starts at boot."""
        try:
            state = self._bus.get(SYSTEMD, PATH, MANAGER, "SystemState")
        except Lacking:
            # Early in a boot there is no bus yet; without systemd there never is one (sd_booted(3)).
            return not BOOTED.is_dir()
        return state not in ("initializing", "starting")

    # ---- units

    def _begin_units(self) -> None:
        # Without it systemd sends no signals of units.
        self._bus.call(SYSTEMD, PATH, MANAGER, "Subscribe")
        rows = {str(unit[0]): str(unit[6]) for unit in units_that_are(self._bus, ["failed"], [])}
        for name in sorted(self._failed - rows.keys()):
            self._recovered(name)
        for name in sorted(rows.keys() - self._failed):
            self._has_failed(name, rows[name])
        self._are_failed = set(rows)

    def _unit(self, signal: Signal) -> None:
        interface, changed = signal.body[0], signal.body[1]
        if interface != UNIT or "ActiveState" not in changed:
            return
        name = _unescaped(signal.path.removeprefix(f"{UNITS}/"))
        state = changed["ActiveState"]
        if state != "failed":
            self._are_failed.discard(name)
            if name in self._failed and state in ("active", "inactive"):
                self._recovered(name)
        elif name not in self._are_failed:
            self._are_failed.add(name)
            self._has_failed(name, signal.path)

    def _has_failed(self, name: str, path: str) -> None:
        self._failed.add(name)
        reason = ""
        if self._may_ask() and is_unit_name(name):
            try:
                reason = why(unit_properties(self._bus, path, name))
            except Lacking:
                reason = ""  # it failed all the same
        self._sink(Event("unit.failed", name, reason, Severity.WARNING, source="systemd"))

    def _recovered(self, name: str) -> None:
        self._failed.discard(name)
        self._sink(Event("unit.recovered", name, source="systemd"))

    def _may_ask(self) -> bool:
        now = time.monotonic()
        self._asked = [one for one in self._asked if now - one < 60.0]
        if len(self._asked) >= MOST_ASKED:
            return False
        self._asked.append(now)
        return True

    # ---- people

    def _begin_sessions(self) -> None:
        if not runs(self._bus, LOGIND):  # asking would start it; when it does start, this is called again
            return
        rows = self._bus.call(LOGIND, LOGIND_PATH, f"{LOGIND}.Manager", "ListSessions")[0]
        there = {str(row[0]): str(row[4]) for row in rows}
        known, self._sessions = self._sessions, self._sessions or {}
        for id, path in there.items():
            if id not in self._sessions:
                # Whoever was there when agentd began is no news.
                self._login(id, path, is_new=known is not None)
        for id in list(self._sessions.keys() - there.keys()):
            self._logout(id)

    def _session_new(self, signal: Signal) -> None:
        self._login(str(signal.body[0]), str(signal.body[1]), is_new=True)

    def _session_removed(self, signal: Signal) -> None:
        self._logout(str(signal.body[0]))

    def _login(self, id: str, path: str, *, is_new: bool) -> None:
        try:
            found = self._bus.get_all(LOGIND, path, f"{LOGIND}.Session")
        except Lacking:
            return  # over already
        if found.get("Class") not in _PEOPLE:
            return
        who, host, tty = (visible(str(found.get(name) or ""), 80) for name in ("Name", "RemoteHost", "TTY"))
        remote = bool(found.get("Remote"))
        place = f"from {host or 'another machine'}" if remote else f"at {tty}" if tty else "here"
        if self._sessions is None:
            self._sessions = {}
        self._sessions[id] = who, place
        if is_new:
            facts = {"remote": remote, "service": visible(str(found.get("Service", "")), 40)}
            self._sink(Event("login", who, place, source="logind", facts=facts))

    def _logout(self, id: str) -> None:
        known = (self._sessions or {}).pop(id, None)
        if known is not None:
            self._sink(Event("logout", known[0], known[1], source="logind"))

    # ---- the machine

    def _sleep(self, signal: Signal) -> None:
        self._sink(Event("sleep" if signal.body[0] else "wake", "the machine", source="logind"))

    def _shutdown(self, signal: Signal) -> None:
        if signal.body[0]:
            self._sink(Event("shutdown", "the machine", "it shuts down or restarts", source="logind"))

    def _timedate(self, signal: Signal) -> None:
        zone = signal.body[1].get("Timezone") if signal.body[0] == TIMEDATE else None
        if zone:
            # The C library reads the zone once.
            time.tzset()
            self._sink(Event("clock.changed", "time zone", f"it is {zone} now", source="timedated"))


def _unescaped(label: str) -> str:
    """A unit's name in an object's path: "nginx_2eservice" (sd_bus_path_encode(3))."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), label)
