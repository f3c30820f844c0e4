"""How long the last boot took: its phases, and the units that took longest to start.

From the timestamps of org.freedesktop.systemd1, read as systemd-analyze(1) does: the firmware's and the
loader's count backwards from the kernel's start, the others forwards. Not for: the boots of virtual machines
as their host sees them (builder/boot_phases.py).
"""

from typing import Any

from agentd.tools.bus import Bus
from agentd.tools.render import span, table, visible
from agentd.tools.services import MANAGER, PATH, SYSTEMD, UNIT
from agentd.tools.tool import Answer, Arguments, Context

# Units that are told, the kinds that do something when they start, and the least time worth a line.
MOST_UNITS = 10
KINDS = (".service", ".mount", ".swap")
LEAST = 0.01
PHASES = {
    "firmware": "firmware",
    "loader": "boot loader",
    "kernel": "kernel",
    "initrd": "initial RAM disk",
    "userspace": "userspace",
}


def phases(manager: dict[str, Any]) -> dict[str, float]:
    """Seconds of each phase by the names above, from the manager's properties.

    What is not known is left out; `userspace` is there once the boot is finished.
    """

    def at(name: str) -> float:
        return float(manager.get(f"{name}TimestampMonotonic") or 0) / 1e6

    found = {}
    if at("Firmware"):
        found["firmware"] = at("Firmware") - at("Loader")
    if at("Loader"):
        found["loader"] = at("Loader")
    # In a container the clock began with another system's kernel.
    if manager.get("KernelTimestamp"):
        found["kernel"] = at("InitRD") or at("Userspace")
    if at("InitRD"):
        found["initrd"] = at("Userspace") - at("InitRD")
    if at("Finish"):
        found["userspace"] = at("Finish") - at("Userspace")
    return {name: round(seconds, 3) for name, seconds in found.items() if seconds >= 0}


def slowest(bus: Bus, until: float) -> list[tuple[str, float]]:
    """Units and the seconds from the beginning of their start to its end, for starts before `until`.

    `until` is in seconds of the monotonic clock, so that what was started later is no part of the boot.
    """
    found = []
    for unit in bus.call(SYSTEMD, PATH, MANAGER, "ListUnits")[0]:
        name, path = str(unit[0]), str(unit[6])
        if not name.endswith(KINDS):
            continue

        def at(moment: str, path: str = path) -> float:
            return float(bus.get(SYSTEMD, path, UNIT, f"{moment}TimestampMonotonic")) / 1e6

        began = at("InactiveExit")
        if not began or began > until:
            continue
        ended = at("ActiveEnter")
        if ended < began:  # a unit that does its work and is gone was never active
            ended = at("InactiveEnter")
        if ended - began >= LEAST:
            found.append((visible(name, 60), round(ended - began, 3)))
    return sorted(found, key=lambda one: -one[1])


def show(context: Context, arguments: Arguments) -> Answer:
    """How long the last boot took."""
    manager = context.bus.get_all(SYSTEMD, PATH, MANAGER)
    found = phases(manager)
    finish = float(manager.get("FinishTimestampMonotonic") or 0) / 1e6
    if not finish:
        facts: dict[str, Any] = {"finished": False, "phases": found, "slowest": []}
        return Answer("The boot is not finished: something still starts.", facts, (SYSTEMD,))
    total = round(sum(found.values()), 3)
    units = slowest(context.bus, finish)[:MOST_UNITS]
    facts = {
        "finished": True,
        "seconds": total,
        "phases": found,
        "slowest": [{"unit": name, "seconds": seconds} for name, seconds in units],
    }
    rows = [(PHASES[name], _seconds(seconds)) for name, seconds in found.items()]
    lines = [f"The last boot took {span(total)}.", table(("Phase", "Time"), rows)]
    if "firmware" not in found:
        lines.append("The firmware tells nothing of its time.")
    if units:
        lines.append("The slowest to start (side by side with others):")
        lines.append(table(("Unit", "Time"), [(name, _seconds(seconds)) for name, seconds in units]))
    return Answer("\n".join(lines), facts, (SYSTEMD,))


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s"
