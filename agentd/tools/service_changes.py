"""Units of systemd that are started, stopped, restarted, or set to start at boot: the plans of it.

What a plan tells is asked of systemd (org.freedesktop.systemd1(5)); nothing is changed here. Not for: how
services are (services.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from agentd.exec import arguments as broker_arguments
from agentd.tools.bus import Bus
from agentd.tools.render import count, visible
from agentd.tools.services import MANAGER, PATH, SYSTEMD, UNIT
from agentd.tools.tool import Argument, Arguments, Context, Kind, Lacking, Level, Plan, Step, Tool, Unfit

# A stop goes on along these (systemd.unit(5): Requires=, Requisite=, BindsTo=, PartOf=, PropagatesStopTo=).
_STOPPED_WITH = ("RequiredBy", "RequisiteOf", "BoundBy", "ConsistsOf", "PropagatesStopTo")
_RUNS = ("active", "activating", "reloading", "refreshing")
# States of unit files that say no more than that somebody else starts the unit (systemctl(1), is-enabled).
_NOT_BY_HAND = {
    "static": "it has no [Install] section: other units start it",
    "generated": "its file was generated at boot",
    "transient": "it has no file: it was made while the machine runs",
    "alias": "it is another unit's name",
    "bad": "its file is broken",
}
# More units than this are not followed: the plan would be no help to anybody.
MOST_FOLLOWED = 100
MOST_NAMED = 8


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as systemd has it."""

    name: str
    description: str
    load: str
    active: str
    sub: str
    file: str
    properties: dict[str, Any]

    @property
    def runs(self) -> bool:
        """Whether it is up, or on its way."""
        return self.active in _RUNS

    @property
    def basis(self) -> str:
        """Its state in one line."""
        state = self.active if self.sub in ("", self.active) else f"{self.active} ({self.sub})"
        return f"{self.name} is {state}{f', {self.file}' if self.file else ''}"


def start(context: Context, arguments: Arguments) -> Plan:
    """Start a unit; the way back is to stop it."""
    unit = _there(context.bus, arguments["unit"])
    if unit.runs:
        raise Lacking(f"{unit.name} {'is starting' if unit.active == 'activating' else 'runs'} already")
    _startable(unit)
    wanted = _units(context.bus, _names(unit, "Requires", "BindsTo", "Wants"))
    against = [one.name for one in _units(context.bus, _names(unit, "Conflicts")) if one.runs]
    effects = [_what(unit), *_listed("Started with it:", [one.name for one in wanted if not one.runs])]
    effects += _listed("Stopped by it:", against)
    return _plan(
        "start",
        unit,
        effects,
        undo=(_step("stop", unit.name), *_starts(against)),
    )


def stop(context: Context, arguments: Arguments) -> Plan:
    """Stop a unit and what cannot be without it; the way back starts them again."""
    unit = _there(context.bus, arguments["unit"])
    if not unit.runs:
        why = " (it failed)" if unit.active == "failed" else ""
        raise Lacking(f"{unit.name} is stopped already{why}")
    if unit.properties.get("RefuseManualStop"):
        raise Lacking(f"{unit.name} cannot be stopped by hand")
    with_it = _stopped_with(context.bus, unit)
    effects = [_what(unit), *_listed("Stopped with it:", with_it)]
    effects += _listed(
        "Wanted by, which go on without it:",
        [one.name for one in _units(context.bus, _names(unit, "WantedBy")) if one.runs],
    )
    effects += _starters(context.bus, unit)
    if unit.file.startswith("enabled"):
        effects.append("It starts again at the next boot.")
    return _plan(
        "stop",
        unit,
        effects,
        undo=(_step("start", unit.name), *_starts(with_it)),
    )


def restart(context: Context, arguments: Arguments) -> Plan:
    """Restart a unit, or start it if it is stopped."""
    unit = _there(context.bus, arguments["unit"])
    _startable(unit)
    if not unit.runs:
        return _plan(
            "restart",
            unit,
            [_what(unit), "It does not run now: it is started."],
            undo=(_step("stop", unit.name),),
        )
    if unit.properties.get("RefuseManualStop"):
        raise Lacking(f"{unit.name} cannot be stopped by hand, and so not restarted")
    with_it = _stopped_with(context.bus, unit)
    effects = [_what(unit), "What it does is interrupted.", *_listed("Restarted with it:", with_it)]
    return _plan("restart", unit, effects)


def enable(context: Context, arguments: Arguments) -> Plan:
    """Have a unit started at every boot."""
    unit = _there(context.bus, arguments["unit"])
    if unit.file == "enabled":
        raise Lacking(f"{unit.name} is enabled already")
    _switchable(unit)
    effects = [_what(unit), "It is started at every boot."]
    if not unit.runs:
        effects.append("Now it stays as it is: it does not run.")
    return _plan("enable", unit, effects, undo=(_step("disable", unit.name),))


def disable(context: Context, arguments: Arguments) -> Plan:
    """Have a unit no longer started at boot."""
    unit = _there(context.bus, arguments["unit"])
    if unit.file == "disabled":
        raise Lacking(f"{unit.name} is disabled already")
    _switchable(unit)
    effects = [_what(unit), "It is no longer started at boot."]
    if unit.runs:
        effects.append("Now it stays as it is: it runs.")
    effects += _starters(context.bus, unit)
    effects += _listed("Still required by:", sorted(unit.properties.get("RequiredBy", ())))
    return _plan("disable", unit, effects, undo=(_step("enable", unit.name),))


# ---- units


def _there(bus: Bus, name: str) -> Unit:
    """The unit of that name, by its own name if it is an alias. Raises Unfit, Lacking."""
    unit = _unit(bus, name)
    if unit.load == "masked":
        raise Lacking(f"{unit.name} is masked: its owner switched it off", f"systemctl unmask {unit.name}")
    if unit.load == "not-found":
        near = _near(bus, name)
        question = f"; did you mean {' or '.join(near)}?" if near else ""
        raise Unfit(f"there is no {name} on this machine{question}")
    if unit.load != "loaded":
        why = visible(str((unit.properties.get("LoadError") or ("", ""))[1]), 200) or unit.load
        raise Lacking(f"{unit.name} cannot be loaded: {why}", f"systemctl status {unit.name}")
    if why := broker_arguments.unit(unit.name):
        raise Lacking(f"{unit.name} is none that the agent changes: it {why}")
    return unit


def _unit(bus: Bus, name: str) -> Unit:
    path = bus.call(SYSTEMD, PATH, MANAGER, "LoadUnit", "s", name)[0]
    found = bus.get_all(SYSTEMD, path, UNIT)
    return Unit(
        str(found.get("Id") or name),
        visible(str(found.get("Description", "")), 100),
        str(found.get("LoadState", "")),
        str(found.get("ActiveState", "")),
        str(found.get("SubState", "")),
        str(found.get("UnitFileState", "")),
        found,
    )


def _units(bus: Bus, names: Iterable[str]) -> list[Unit]:
    return [unit for unit in (_unit(bus, name) for name in names) if unit.load == "loaded"]


def _names(unit: Unit, *properties: str) -> list[str]:
    return sorted({name for one in properties for name in unit.properties.get(one, ())})[:MOST_FOLLOWED]


def _stopped_with(bus: Bus, unit: Unit) -> list[str]:
    """The units that run and are stopped with this one, by name. Lacking if agentd could not go on then."""
    found: list[str] = []
    seen, waiting = {unit.name}, _names(unit, *_STOPPED_WITH)
    while waiting and len(seen) < MOST_FOLLOWED:
        name = waiting.pop(0)
        if name in seen:
            continue
        seen.add(name)
        one = _unit(bus, name)
        if one.runs:
            found.append(one.name)
            waiting += _names(one, *_STOPPED_WITH)
    carrying = sorted(name for name in found if broker_arguments.is_kept(name))
    if carrying:
        raise Lacking(f"{unit.name} is not stopped: {carrying[0]} would be stopped with it")
    return sorted(found)


def _starters(bus: Bus, unit: Unit) -> list[str]:
    """What starts a stopped unit again: sockets, timers, paths that are active."""
    return [
        f"{one.name} is active and starts it again when it is triggered."
        for one in _units(bus, _names(unit, "TriggeredBy"))
        if one.active == "active"
    ]


def _near(bus: Bus, name: str) -> list[str]:
    """Names of units on this machine that this one may be a misspelling of."""
    patterns = ["*.service", "*.socket"]
    files = bus.call(SYSTEMD, PATH, MANAGER, "ListUnitFilesByPatterns", "asas", [], patterns)
    known = {str(path).rpartition("/")[2] for path, _ in files[0]}
    stems = {one.rpartition(".")[0]: one for one in sorted(known)}
    stem = name.rpartition(".")[0]
    near = get_close_matches(stem, stems, n=3, cutoff=0.7)
    near += [one for one in stems if len(stem) > 2 and stem in one and one not in near]
    return [stems[one] for one in near[:3]]


# ---- words


def _startable(unit: Unit) -> None:
    if unit.properties.get("RefuseManualStart"):
        raise Lacking(f"{unit.name} cannot be started by hand: other units start it")


def _switchable(unit: Unit) -> None:
    why = _NOT_BY_HAND.get(unit.file)
    if why or not unit.file:
        raise Lacking(f"{unit.name} can be neither enabled nor disabled: {why or 'it has no file'}")


def _what(unit: Unit) -> str:
    return f"{unit.name}: {unit.description or 'no description'}"


def _listed(what: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f" and {count(len(names) - MOST_NAMED, 'other unit')}" if len(names) > MOST_NAMED else ""
    return [f"{what} {', '.join(names[:MOST_NAMED])}{more}."]


def _plan(verb: str, unit: Unit, effects: list[str], undo: tuple[Step, ...] = ()) -> Plan:
    done = {"stop": "stopped", "enable": "enabled", "disable": "disabled"}.get(verb, f"{verb}ed")
    return Plan(
        f"{verb.capitalize()} {unit.name}",
        (_step(verb, unit.name),),
        tuple(effects),
        undo,
        unit.basis,
        f"{unit.name} was {done}.",
    )


def _starts(names: list[str]) -> tuple[Step, ...]:
    """Steps that start what was stopped, but for what comes by itself: targets, mounts."""
    return tuple(_step("start", name) for name in names if not broker_arguments.unit(name))


def _step(verb: str, name: str) -> Step:
    return Step(f"unit.{verb}", {"unit": name})


_UNIT = Argument("unit", Kind.UNIT, "the service")

TOOLS = (
    Tool("services.start", "start a service", Level.CHANGE, plan=start, arguments=(_UNIT,), reversible=True),
    Tool("services.stop", "stop a service", Level.CHANGE, plan=stop, arguments=(_UNIT,), reversible=True),
    Tool("services.restart", "restart a service", Level.CHANGE, plan=restart, arguments=(_UNIT,)),
    Tool(
        "services.enable",
        "start a service at every boot",
        Level.CHANGE,
        plan=enable,
        arguments=(_UNIT,),
        reversible=True,
    ),
    Tool(
        "services.disable",
        "start a service no longer at boot",
        Level.CHANGE,
        plan=disable,
        arguments=(_UNIT,),
        reversible=True,
    ),
)
