"""What a person is told of an event: a notice, the end of one, or nothing.

A notice stays open until it is acknowledged or what caused it is gone; what merely happened (a login, a new
device) has no such end and is closed after a week (store.py). A proposed action is a text: only a person's
wish brings it to acting.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agentd.awareness.event import Event, Severity
from agentd.awareness.folding import MANY
from agentd.tools.render import span
from agentd.tools.units import is_unit_name

# A clock that was set right by less than this is nothing to tell.
LEAST_CLOCK_JUMP = 60.0
# What cannot outlive the boot that it was seen in.
ENDS_WITH_BOOT = (
    *("unit.failed", "link.down", "device.added", "device.removed"),
    *("pressure.memory", "pressure.cpu", "pressure.io", "power.line", "power.battery"),
)
# What only the owner sees: who was here, and what programs wrote.
PRIVATE = ("error", "login", "logout")

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A tool and its arguments that may help."""

    tool: str
    arguments: Mapping[str, Any]

    def __str__(self) -> str:
        words = "".join(f" {name}={value}" for name, value in self.arguments.items())
        return f"agent tool {self.tool}{words}"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What follows from an event: a notice with this text, if there is one; notices that end by it."""

    text: str = ""
    severity: Severity = Severity.INFO
    ends: tuple[Key, ...] = ()
    proposal: Proposal | None = None


def judge(event: Event) -> Judgement:
    """What follows from an event."""
    if event.subject == MANY:
        words = f"More came at once than is kept one by one: {event.kind}. The last: {event.detail}"
        return Judgement(words, Severity.WARNING)
    rule = _RULES.get(event.kind)
    return rule(event) if rule is not None else Judgement()


def _unit_failed(event: Event) -> Judgement:
    restart = None
    if is_unit_name(event.subject) and event.subject.endswith(".service"):
        restart = Proposal("services.restart", {"unit": event.subject})
    return Judgement(f"{event.subject} failed{_because(event)}.", event.severity, proposal=restart)


def _unit_recovered(event: Event) -> Judgement:
    return Judgement(ends=(("unit.failed", event.subject),))


def _error(event: Event) -> Judgement:
    logs = None
    if is_unit_name(event.subject) and event.trust == "untrusted":
        logs = Proposal("services.logs", {"unit": event.subject})
    said = f"{event.subject} reported an error: {event.detail}"
    # Of a crash nobody reports anything.
    text = said if event.source != "boots" else f"{event.subject}: {event.detail}."
    return Judgement(text, event.severity, proposal=logs)


def _login(event: Event) -> Judgement:
    # Who sits at the machine knows it.
    if not event.facts.get("remote"):
        return Judgement()
    return Judgement(f"{event.subject} logged in {event.detail}.", event.severity)


def _link_down(event: Event) -> Judgement:
    # Taken down is what somebody wanted.
    if event.severity is Severity.INFO:
        return Judgement()
    return Judgement(f"The network link {event.subject} is down: {event.detail}.", event.severity)


def _link_up(event: Event) -> Judgement:
    return Judgement(ends=(("link.down", event.subject),))


def _device_added(event: Event) -> Judgement:
    text = f"{_device(event)} was added."
    return Judgement(text, event.severity, (("device.removed", event.subject),))


def _device_removed(event: Event) -> Judgement:
    ends = (("device.added", event.subject), ("link.down", event.subject))
    return Judgement(f"{_device(event)} was removed.", event.severity, ends)


def _pressure(event: Event) -> Judgement:
    short = {"memory": "Memory is short", "cpu": "The processors are busy", "io": "The disks are busy"}
    by = "cpu" if event.subject == "cpu" else "memory"
    look = None if event.subject == "io" else Proposal("machine.processes", {"by": by})
    text = f"{short.get(event.subject, event.subject)}: {event.detail}."
    return Judgement(text, event.severity, proposal=look)


def _pressure_over(event: Event) -> Judgement:
    return Judgement(ends=((f"pressure.{event.subject}", event.subject),))


def _disk_full(event: Event) -> Judgement:
    how = "filled up" if event.severity is Severity.CRITICAL else "is filling up"
    text = f"The disk at {event.subject} {how}: {event.detail}."
    return Judgement(text, event.severity, proposal=Proposal("files.space", {"folder": event.subject}))


def _disk_free(event: Event) -> Judgement:
    return Judgement(ends=(("disk.full", event.subject),))


def _power_line(event: Event) -> Judgement:
    if event.facts.get("online"):
        # Whichever battery it was, it is being charged now.
        return Judgement(ends=(("power.line", event.subject), ("power.battery", "")))
    return Judgement("The machine runs on its battery: the power line is off.", event.severity)


def _power_battery(event: Event) -> Judgement:
    return Judgement(f"The battery {event.subject} is low: {event.detail}.", event.severity)


def _clock(event: Event) -> Judgement:
    seconds = float(event.facts.get("seconds", 0.0))
    if abs(seconds) < LEAST_CLOCK_JUMP:
        return Judgement()
    way = "forward" if seconds > 0 else "back"
    return Judgement(f"The clock was set {way} by {span(abs(seconds))}.", event.severity)


def _boot(event: Event) -> Judgement:
    return Judgement(event.detail, event.severity) if event.detail else Judgement()


def _device(event: Event) -> str:
    words = {"disk": "The disk", "network": "The network card", "usb": "The USB device"}
    name = f"{words.get(str(event.facts.get('type')), 'The device')} {event.subject}"
    return f"{name} ({event.detail})" if event.detail else name


def _because(event: Event) -> str:
    return f": {event.detail}" if event.detail else ""


_RULES: dict[str, Callable[[Event], Judgement]] = {
    "unit.failed": _unit_failed,
    "unit.recovered": _unit_recovered,
    "error": _error,
    "login": _login,
    "link.down": _link_down,
    "link.up": _link_up,
    "device.added": _device_added,
    "device.removed": _device_removed,
    "pressure.memory": _pressure,
    "pressure.cpu": _pressure,
    "pressure.io": _pressure,
    "pressure.over": _pressure_over,
    "disk.full": _disk_full,
    "disk.free": _disk_free,
    "power.line": _power_line,
    "power.battery": _power_battery,
    "clock.changed": _clock,
    "boot": _boot,
}
