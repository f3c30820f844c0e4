"""Units: started, stopped and restarted with the end of their jobs waited for; enabled and disabled.

By systemd's own interface, org.freedesktop.systemd1(5). What belongs to agentd or carries it is refused also
under its other names, and where the change would reach it through a dependency.
"""

import queue
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from agentd.exec.arguments import is_agent, is_kept
from agentd.tools.tool import Lacking

if TYPE_CHECKING:
    from agentd.tools.bus import Bus

SYSTEMD, PATH = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"
MANAGER, UNIT = f"{SYSTEMD}.Manager", f"{SYSTEMD}.Unit"
# Seconds for a job to end, and for systemd to read all units again on a slow machine.
JOB_TIME = 60.0
RELOAD_TIME = 60.0

# The properties with the units that a job would stop or restart as well.
_STOPPED_BY_START = ("Conflicts", "ConflictedBy")
_STOPPED_BY_STOP = ("RequiredBy", "RequisiteOf", "BoundBy", "ConsistsOf", "PropagatesStopTo")
# Job results (org.freedesktop.systemd1(5), JobRemoved) in words.
_RESULTS = {
    "canceled": "it was cancelled",
    "timeout": "it took too long",
    "failed": "it failed",
    "dependency": "something that it needs failed",
    "skipped": "it was not to be done in this state",
    "assert": "what it insists on is not so",
    "unsupported": "this machine cannot do it",
}


def start(bus: "Bus", unit: str) -> None:
    """Start a unit. Raises Lacking, as all of these do, if it cannot be done or nobody knows."""
    path = _unit_of(bus, unit, _STOPPED_BY_START)
    run_job(bus, "StartUnit", unit)
    if not bus.get(SYSTEMD, path, UNIT, "ConditionResult"):
        raise Lacking(f"{unit} was not started: a condition of its own is not met")


def stop(bus: "Bus", unit: str) -> None:
    """Stop a unit."""
    _unit_of(bus, unit, _STOPPED_BY_STOP)
    run_job(bus, "StopUnit", unit)


def restart(bus: "Bus", unit: str) -> None:
    """Restart a unit; one that does not run is started."""
    _unit_of(bus, unit, _STOPPED_BY_START + _STOPPED_BY_STOP)
    run_job(bus, "RestartUnit", unit)


def enable(bus: "Bus", unit: str) -> None:
    """Have a unit started at every boot."""
    _unit_of(bus, unit)
    enable_file(bus, unit)
    reload(bus)


def disable(bus: "Bus", unit: str) -> None:
    """Have a unit no longer started at every boot."""
    _unit_of(bus, unit)
    disable_file(bus, unit)
    reload(bus)


def enable_file(bus: "Bus", unit: str) -> None:
    """Make the links that a unit file's [Install] asks for."""
    has_install, _ = bus.call(SYSTEMD, PATH, MANAGER, "EnableUnitFiles", "asbb", [unit], False, False)
    if not has_install:
        raise Lacking(f"{unit} cannot be enabled: its file has no [Install] section")


def disable_file(bus: "Bus", unit: str) -> None:
    """Remove the links to a unit file."""
    bus.call(SYSTEMD, PATH, MANAGER, "DisableUnitFiles", "asb", [unit], False)


def reload(bus: "Bus") -> None:
    """Have systemd read all unit files again."""
    bus.call(SYSTEMD, PATH, MANAGER, "Reload", patience=RELOAD_TIME)


def load(bus: "Bus", unit: str) -> str:
    """The D-Bus path of a unit, also of one that has no file."""
    return str(bus.call(SYSTEMD, PATH, MANAGER, "LoadUnit", "s", unit)[0])


def run_job(bus: "Bus", method: str, unit: str) -> None:
    """Have systemd do a job and wait for its end."""
    from agentd.tools.bus import PATIENCE, Match, Refused, Signal

    ended: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
    listening = threading.Event()

    def note(signal: Signal) -> None:
        _, job, _, result = signal.body
        ended.put((job, result))

    def begin() -> None:
        # Without it systemd tells nobody but who asked; a second time it says so, and no harm is done.
        with suppress(Refused):
            bus.call(SYSTEMD, PATH, MANAGER, "Subscribe")
        listening.set()

    leave = bus.subscribe(Match(SYSTEMD, MANAGER, "JobRemoved", PATH), note, begin)
    try:
        if not listening.wait(2 * PATIENCE):
            raise Lacking("systemd does not say when its jobs end")
        mine = bus.call(SYSTEMD, PATH, MANAGER, method, "ss", unit, "replace")[0]
        deadline = time.monotonic() + JOB_TIME
        while True:
            try:
                job, result = ended.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise Lacking(f"{unit} has not got there after {JOB_TIME:.0f} seconds; it goes on") from None
            if job == mine:
                break
    finally:
        leave()
    if result != "done":
        raise Lacking(f"{unit}: {_RESULTS.get(result, result)}", f"systemctl status {unit}")


def _unit_of(bus: "Bus", unit: str, reaches: tuple[str, ...] = ()) -> str:
    """The D-Bus path of a unit that may be changed. Raises Lacking if that would change what is kept."""
    path = load(bus, unit)
    found = bus.get_all(SYSTEMD, path, UNIT)
    for name in (found["Id"], *found["Names"]):
        if is_kept(name):
            raise Lacking(f"{unit} is {name}, which belongs to the agent or to what carries it")
    for relation in reaches:
        for name in found.get(relation, ()):
            if is_agent(name):
                raise Lacking(f"that would stop {name}, which belongs to the agent or to what carries it")
    return path
