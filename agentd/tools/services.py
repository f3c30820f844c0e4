"""How systemd's units are: which run, how one is, which failed and why, what one wrote.

Asked of org.freedesktop.systemd1 (org.freedesktop.systemd1(5)). Not for: changing them.
"""

import time
from typing import Any

from agentd.tools import journal, units
from agentd.tools.bus import Bus
from agentd.tools.journal import Query
from agentd.tools.logs import MESSAGE, as_facts, said
from agentd.tools.render import count, moment, pairs, size, span, table, utc, visible
from agentd.tools.tool import Answer, Argument, Arguments, Context, Kind, Lacking, Level, Tool, Unfit
from agentd.tools.unit_result import why

SYSTEMD, PATH = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"
MANAGER, UNIT = f"{SYSTEMD}.Manager", f"{SYSTEMD}.Unit"
# What systemd says where a number is not known.
UNKNOWN = 2**64 - 1
# Lines of a unit's log: beside its status, and alone.
FEW_LINES = 5
LINES = 50


def units_that_are(bus: Bus, states: list[str], patterns: list[str]) -> list[list[Any]]:
    """The rows of ListUnitsByPatterns, by name: [0] name, [1] description, [6] object path ..."""
    found = bus.call(SYSTEMD, PATH, MANAGER, "ListUnitsByPatterns", "asas", states, patterns)
    return sorted(found[0], key=lambda unit: str(unit[0]))


def unit_properties(bus: Bus, path: str, name: str) -> dict[str, Any]:
    """A unit's properties, those of its kind among them."""
    kind = f"{SYSTEMD}.{units.kind_of(name).capitalize()}"
    return {**bus.get_all(SYSTEMD, path, kind), **bus.get_all(SYSTEMD, path, UNIT)}


def list_running(context: Context, arguments: Arguments) -> Answer:
    """The services that run."""
    found = units_that_are(context.bus, ["running"], ["*.service"])
    facts = [{"unit": visible(unit[0]), "description": visible(unit[1])} for unit in found]
    rows = [(one["unit"], visible(one["description"], MESSAGE)) for one in facts]
    head = f"{count(len(found), 'service')} {'runs' if len(found) == 1 else 'run'}"
    text = f"{head}:\n{table(('Service', 'Description'), rows)}" if found else "No service runs."
    return Answer(text, facts, (SYSTEMD,))


def status(context: Context, arguments: Arguments) -> Answer:
    """How one unit is, and the last lines that it wrote."""
    name = units.unit_name(arguments.get("unit"))
    path = str(context.bus.call(SYSTEMD, PATH, MANAGER, "LoadUnit", "s", name)[0])
    found = unit_properties(context.bus, path, name)
    if found.get("LoadState") == "not-found":
        raise Unfit(f"there is no {_kind_word(name)} {name} here")
    facts = _status_facts(name, found)
    log_lines, why_not = _last_lines(facts["unit"])
    facts["log"] = [as_facts(entry) for entry in log_lines]
    lines = [_status_sentence(facts, _since(found)), pairs(_status_pairs(facts))]
    if log_lines:
        lines.append("Its last lines in the journal:")
        lines += [f"  {moment(one.seconds)}  {said(one)}" for one in log_lines]
    elif why_not:
        lines.append(f"Its log is not shown: {why_not}.")
    sources = (SYSTEMD,) if why_not else (SYSTEMD, "journalctl")
    return Answer("\n".join(line for line in lines if line), facts, sources)


def failed(context: Context, arguments: Arguments) -> Answer:
    """Units that failed, and why."""
    facts, rows = [], []
    for unit in units_that_are(context.bus, ["failed"], []):
        found = unit_properties(context.bus, unit[6], unit[0])
        one, since = _status_facts(unit[0], found), _since(found)
        facts.append(one)
        rows.append((one["unit"], one["why"], moment(since) if since else "-", one["description"]))
    if not facts:
        return Answer("No unit has failed.", [], (SYSTEMD,))
    told = table(("Unit", "Why", "Since", "Description"), rows)
    return Answer(f"{count(len(facts), 'unit')} failed:\n{told}", facts, (SYSTEMD,))


def logs(context: Context, arguments: Arguments) -> Answer:
    """What one unit wrote to the journal."""
    name = units.unit_name(arguments.get("unit"))
    since = journal.since(arguments.get("since"))
    found = journal.read(Query(unit=name, since=since, lines=LINES))
    when = "" if since is None else f" since {moment(since)}"
    facts = {
        "unit": name,
        "since": utc(since) if since is not None else None,
        "complete": found.complete,
        "entries": [as_facts(entry) for entry in found.entries],
    }
    if not found.entries:
        return Answer(f"The journal has nothing of {name}{when}.", facts, ("journalctl",))
    number = count(len(found.entries), "line")
    head = f"{number} of {name}{when}" if found.complete else f"The newest {number} of {name}{when}"
    rows = [
        (moment(one.seconds), "" if one.priority > 4 else journal.PRIORITIES[one.priority], said(one))
        for one in found.entries
    ]
    return Answer(f"{head}:\n{table(('When', 'Priority', 'Message'), rows)}", facts, ("journalctl",))


def _since(found: dict[str, Any]) -> float | None:
    """When a unit came into its state, in seconds since 1970; None for one that was never started."""
    is_active = found.get("ActiveState") == "active"
    microseconds = found.get("ActiveEnterTimestamp" if is_active else "StateChangeTimestamp", 0)
    return microseconds / 1e6 if microseconds else None


def _status_facts(name: str, found: dict[str, Any]) -> dict[str, Any]:
    since = _since(found)
    return {
        # An alias is asked for, its unit answers.
        "unit": visible(str(found.get("Id") or name)),
        "description": visible(str(found.get("Description", "")), MESSAGE),
        "load": found.get("LoadState", ""),
        "load_error": visible(str((found.get("LoadError") or ["", ""])[1]), MESSAGE),
        "active": found.get("ActiveState", ""),
        "sub": found.get("SubState", ""),
        "since": utc(since) if since else None,
        "main_pid": found.get("MainPID") or None,
        "memory_bytes": _known(found.get("MemoryCurrent")),
        "enabled": found.get("UnitFileState", ""),
        "restarts": found.get("NRestarts"),
        "result": found.get("Result", ""),
        "why": why(found),
        "says": visible(str(found.get("StatusText", "")), MESSAGE),
        "file": visible(str(found.get("FragmentPath", ""))),
        "reload_needed": bool(found.get("NeedDaemonReload")),
    }


def _status_sentence(facts: dict[str, Any], since: float | None) -> str:
    described = f" ({facts['description']})" if facts["description"] not in ("", facts["unit"]) else ""
    state, sub = facts["active"], facts["sub"]
    words = f"is {state}" if sub in ("", state) else f"is {state} ({sub})"
    if state == "failed":
        words = "failed"
    if facts["load"] == "masked":
        words += ", masked"
    if since is None:
        return f"{facts['unit']}{described} {words}."
    ago = span(max(0.0, time.time() - since))
    if state == "failed":
        return f"{facts['unit']}{described} failed at {moment(since)}, {ago} ago."
    return f"{facts['unit']}{described} {words} since {moment(since)}, for {ago}."


def _status_pairs(facts: dict[str, Any]) -> list[tuple[str, object]]:
    memory = facts["memory_bytes"]
    return [
        ("Main process", facts["main_pid"]),
        ("Memory", size(memory) if memory is not None else None),
        ("At boot", facts["enabled"]),
        ("Restarts", facts["restarts"]),
        ("Last result", facts["why"]),
        ("It says", facts["says"]),
        ("Unit file", facts["file"]),
        ("Cannot load", facts["load_error"]),
        ("Note", "its unit file has changed since it was read" if facts["reload_needed"] else ""),
    ]


def _last_lines(name: str) -> tuple[tuple[journal.Entry, ...], str]:
    """A unit's last lines, and why there are none."""
    try:
        return journal.read(Query(unit=name, lines=FEW_LINES)).entries, ""
    except Lacking as lacking:
        return (), lacking.message


def _known(number: Any) -> int | None:
    return number if isinstance(number, int) and number != UNKNOWN else None


def _kind_word(name: str) -> str:
    kind = units.kind_of(name)
    return kind if kind in ("service", "timer", "socket", "mount") else "unit"


_UNIT = Argument("unit", Kind.UNIT, "the service")

TOOLS = (
    Tool("services.list", "the services that run", Level.READ, list_running),
    Tool("services.status", "how one service is", Level.READ, status, arguments=(_UNIT,)),
    Tool("services.failed", "units that failed, and why", Level.READ, failed),
    Tool(
        "services.logs",
        "what one service wrote to the journal",
        Level.READ,
        logs,
        arguments=(_UNIT, Argument("since", Kind.SINCE, "from when on", required=False)),
    ),
)
