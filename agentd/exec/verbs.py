"""The table of verbs: all that the broker does, with what each argument may be.

A step is right when its verb is here, and its arguments are exactly those named, each of its kind.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentd.exec import arguments, links, power, settings, timers, units
from agentd.exec.arguments import Check
from agentd.tools.tool import Step

if TYPE_CHECKING:
    from agentd.tools.bus import Bus

_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Machine:
    """What the verbs work on: the system bus, where units are written, where screens are found."""

    bus: "Bus"
    units: Path = timers.FOLDER
    backlights: Path = settings.BACKLIGHTS


Arguments = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb; `act` raises Lacking if it could not be done, or nobody knows whether it was.

    All of `required` are given, and exactly one of `optional` if there are any.
    """

    purpose: str
    act: Callable[[Machine, Arguments], None]
    required: Mapping[str, Check] = field(default_factory=dict)
    optional: Mapping[str, Check] = field(default_factory=dict)


class WrongStep(ValueError):
    """A step that is not in the table; the text says why."""


def check(step: Step) -> None:
    """Return if the step is one of the table's. Raises WrongStep."""
    verb = VERBS.get(step.verb)
    if verb is None:
        raise WrongStep(f"there is no verb {_shown(step.verb)}")
    for name, value in step.arguments.items():
        kind = verb.required.get(name) or verb.optional.get(name)
        if kind is None:
            raise WrongStep(f"{step.verb} has no argument {_shown(name)}")
        if wrong := kind(value):
            raise WrongStep(f"{step.verb}: {name} {_shown(value)} {wrong}")
    for name in verb.required:
        if name not in step.arguments:
            raise WrongStep(f"{step.verb} needs {name}")
    if verb.optional and len(step.arguments.keys() & verb.optional.keys()) != 1:
        raise WrongStep(f"{step.verb} needs one of {', '.join(verb.optional)}")


def act(machine: Machine, step: Step) -> None:
    """Do a step that was checked. Raises Lacking."""
    VERBS[step.verb].act(machine, step.arguments)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


_UNIT: Mapping[str, Check] = {"unit": arguments.unit}
_LINK: Mapping[str, Check] = {"link": arguments.link}

VERBS: Mapping[str, Verb] = {
    "unit.start": Verb("start a unit", lambda on, given: units.start(on.bus, given["unit"]), _UNIT),
    "unit.stop": Verb("stop a unit", lambda on, given: units.stop(on.bus, given["unit"]), _UNIT),
    "unit.restart": Verb("restart a unit", lambda on, given: units.restart(on.bus, given["unit"]), _UNIT),
    "unit.enable": Verb(
        "start a unit at every boot", lambda on, given: units.enable(on.bus, given["unit"]), _UNIT
    ),
    "unit.disable": Verb(
        "no longer start a unit at every boot", lambda on, given: units.disable(on.bus, given["unit"]), _UNIT
    ),
    "power.off": Verb("shut the machine down", lambda on, given: power.off(on.bus)),
    "power.reboot": Verb("restart the machine", lambda on, given: power.reboot(on.bus)),
    "power.suspend": Verb("put the machine to sleep", lambda on, given: power.suspend(on.bus)),
    "link.up": Verb("bring a network link up", lambda on, given: links.set_up(given["link"], True), _LINK),
    "link.down": Verb(
        "take a network link down", lambda on, given: links.set_up(given["link"], False), _LINK
    ),
    "zone.set": Verb(
        "set the time zone", lambda on, given: settings.zone(on.bus, given["zone"]), {"zone": arguments.zone}
    ),
    "host_name.set": Verb(
        "rename the machine",
        lambda on, given: settings.host_name(on.bus, given["name"]),
        {"name": arguments.host_name},
    ),
    "locale.set": Verb(
        "set language and formats",
        lambda on, given: settings.locale(on.bus, given["locale"]),
        {"locale": arguments.locale},
    ),
    "keyboard.set": Verb(
        "set the keyboard's layout",
        lambda on, given: settings.keyboard(on.bus, given["layout"]),
        {"layout": arguments.layout},
    ),
    "brightness.set": Verb(
        "set a screen's brightness, as the device counts it",
        lambda on, given: settings.brightness(on.backlights, given["device"], given["level"]),
        {"device": arguments.device, "level": arguments.level},
    ),
    "timer.set": Verb(
        "set a reminder's timer",
        lambda on, given: timers.add(on.bus, on.units, given),
        {"id": arguments.reminder},
        {"when": arguments.moment, "schedule": arguments.schedule},
    ),
    "timer.remove": Verb(
        "remove a reminder's timer",
        lambda on, given: timers.remove(on.bus, on.units, given["id"]),
        {"id": arguments.reminder},
    ),
}
