"""Reminders as a person reads them, from their JSON (`Reminder` in io.aetheros.Tools.varlink)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from agentd.tools.render import count, table, visible

_LETTERS = 200


def local(moment: datetime | str) -> str:
    """A moment in this machine's zone: "Wed 2026-11-25 09:02", with seconds where it has some."""
    at = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    here = at.astimezone()
    return f"{here:%a %Y-%m-%d %H:%M:%S}" if here.second else f"{here:%a %Y-%m-%d %H:%M}"


def listing(found: Sequence[dict[str, Any]], now: datetime) -> str:
    """A table of reminders: what comes next, what came, and which have no timer."""
    rows = []
    for one in found:
        lost = one["state"] == "set" and one.get("timer") is False
        problem = "  (has no timer: it will not ring)" if lost else ""
        rows.append((one["id"], _when(one, now), one["comes"], f"{visible(one['text'], _LETTERS)}{problem}"))
    return table(("id", "next", "comes", "what"), rows)


def rang(one: dict[str, Any]) -> str:
    """A line for a reminder that rang, the last time if it was several times."""
    text = visible(one["text"], _LETTERS)
    before = f" (and {count(one['unseen'] - 1, 'time')} before)" if one["unseen"] > 1 else ""
    if one["missed"]:
        return f"Missed reminder: {text}; it was due {local(one['due'])}{before}"
    return f"Reminder: {text} ({local(one['due'])}){before}"


def _when(one: dict[str, Any], now: datetime) -> str:
    coming = one.get("next")
    if coming is None:
        return f"missed, due {local(one['due'])}" if one["missed"] else f"rang {local(one['rung'])}"
    late = datetime.fromisoformat(coming) <= now
    return f"was due {local(coming)}, did not ring" if late else local(coming)
