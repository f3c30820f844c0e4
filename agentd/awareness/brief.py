"""What happened since a person was last here: boots, notices, failed units, who logged in.

"Last here" is the person's last question before they came back: before this boot, or before a pause of half
an hour. The question that asks for it is part of being here. Not for: keeping any of it (store.py).
"""

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agentd.awareness.boots import changed
from agentd.awareness.notices import Notices
from agentd.awareness.rules import PRIVATE
from agentd.awareness.store import Boot, Notice, Record
from agentd.tools.render import count, moment, span, utc

PAUSE = 1800.0
MOST_TURNS = 500
MOST_BOOTS = 100
MOST_EVENTS = 500
# Lines that are told of each.
SHOWN = 15


@dataclass(frozen=True, slots=True)
class Brief:
    """A brief for a person, and the same as JSON."""

    text: str
    facts: dict[str, Any]


def compose(notices: Notices, person: str, is_owner: bool, now: float | None = None) -> Brief:
    """The brief for a person. Raises StoreUnavailable."""
    now = time.time() if now is None else now
    store = notices.store
    # Written first: what has just happened belongs to it.
    found = notices.notices(all=True)
    boots = store.boots(MOST_BOOTS)
    since = last_here(store.turn_times(person, MOST_TURNS), boots, now)
    if since is not None:
        found = [one for one in found if one.last >= since or (one.ended or 0.0) >= since]
    shown = [one for one in found if is_owner or one.kind not in PRIVATE]
    # A boot is told below, with more of it.
    shown = [one for one in shown if one.kind != "boot"]
    kinds = ("login", "sleep") if is_owner else ("sleep",)
    events = notices.events(MOST_EVENTS, kinds, since)
    failed = sorted(store.lasting_subjects("unit.failed"))
    return _brief(since, boots, shown, events, failed, now)


def last_here(times: Sequence[str], boots: Sequence[Boot], now: float) -> float | None:
    """When somebody was last here, who said something at these times (newest first); None if never."""
    began = [boot.began for boot in boots]
    here = now
    for text in times:
        with suppress(ValueError):
            then = datetime.fromisoformat(text).timestamp()
            # A clock that was set back makes a later turn look earlier; it was no pause.
            if here - then > PAUSE or any(then < boot <= here for boot in began):
                return then
            here = min(here, then)
    return None


def _brief(
    since: float | None,
    boots: Sequence[Boot],
    notices: Sequence[Notice],
    events: Sequence[Record],
    failed: Sequence[str],
    now: float,
) -> Brief:
    start = since if since is not None else 0.0
    begun = [boot for boot in boots if boot.began > start]
    logins = Counter((one.event.subject, one.event.detail) for one in events if one.event.kind == "login")
    for one in events:
        if one.event.kind == "login":
            logins[one.event.subject, one.event.detail] += one.count - 1
    asleep = sum(one.count for one in events if one.event.kind == "sleep")
    stories = [_boot_story(boots, boot) for boot in begun]
    facts = {
        "since": utc(since) if since is not None else None,
        "boots": [facts for _, facts in stories],
        "notices": [notice_facts(one) for one in notices],
        "failed_units": list(failed),
        "logins": [{"who": who, "where": where, "times": n} for (who, where), n in logins.items()],
        "sleeps": asleep,
    }
    lines = [_head(since, now)]
    lines += _limited([text for text, _ in stories])
    lines += _limited([notice_line(one) for one in notices])
    if failed:
        lines.append(f"Failed now: {', '.join(failed[:SHOWN])}{' ...' if len(failed) > SHOWN else ''}.")
    lines += _limited(
        [f"{who} logged in {where}{f', {n} times' if n > 1 else ''}." for (who, where), n in logins.items()]
    )
    if asleep:
        lines.append(f"The machine slept {count(asleep, 'time')}.")
    if len(lines) == 1:
        lines.append("Nothing happened that you should know.")
    return Brief("\n".join(lines), facts)


def _head(since: float | None, now: float) -> str:
    if since is None:
        return "You have not been here before; this is what is known:"
    return f"Since you were last here, {moment(since)} ({span(max(0.0, now - since))} ago):"


def _boot_story(boots: Sequence[Boot], boot: Boot) -> tuple[str, dict[str, Any]]:
    """A boot in words and as JSON, with how the one before it ended."""
    before = next((one for one in boots if one.number < boot.number), None)
    changes = changed(before, boot.kernel, boot.image) if before is not None else {}
    clean = before.clean if before is not None else None
    words = [f"The machine started at {moment(boot.began)}"]
    if before is not None and before.ended is not None:
        words.append(
            f"; before, it was shut down at {moment(before.ended)}"
            if clean
            else f"; before, it ended without being shut down, last seen at {moment(before.ended)}"
        )
    words.append(".")
    words += [f" The {name} changed from {old} to {new}." for name, (old, new) in changes.items()]
    return "".join(words), {
        "began": utc(boot.began),
        "kernel": boot.kernel,
        "image": boot.image,
        "last_ended_cleanly": clean,
        "changes": {name: list(pair) for name, pair in changes.items()},
    }


def notice_line(one: Notice) -> str:
    """A notice for a person, on one line."""
    times = f" ({one.count} times, last at {moment(one.last)})" if one.count > 1 else ""
    state = "" if one.state == "open" else f" [{one.state}]"
    return f"{moment(one.first)}  {one.text}{times}{state}"


def notice_facts(one: Notice) -> dict[str, Any]:
    """A notice as the interface has it."""
    facts: dict[str, Any] = {
        "id": one.id,
        "kind": one.kind,
        "subject": one.subject,
        "text": one.text,
        "severity": one.severity.value,
        "trust": one.trust,
        "first": utc(one.first),
        "last": utc(one.last),
        "count": one.count,
        "state": one.state,
    }
    if one.ended is not None:
        facts["ended"] = utc(one.ended)
    if one.proposal is not None:
        facts["proposal"] = {
            "tool": one.proposal.tool,
            "arguments": dict(one.proposal.arguments),
            "command": str(one.proposal),
        }
    return facts


def _limited(lines: list[str]) -> list[str]:
    if len(lines) <= SHOWN:
        return lines
    return [*lines[:SHOWN], f"... and {len(lines) - SHOWN} more."]
