"""A hardening verdict as people and programs read it.

Not for: coming to it, or refusing a machine (hardening.py).
"""

import textwrap
from typing import Any

from builder.hardening import Verdict
from builder.hardening_exceptions import Entry

WIDTH = 100


def summary(found: Verdict) -> str:
    """The verdict in a line."""
    cmdline = f"{found.count('cmdline', passed=True)} of {_total(found)} of the command line"
    if not found.gated:
        return f"{found.score}; {cmdline}; Debian's own kernel is not gated"
    wrong = len(found.refused) + len(found.stale) + len(found.unknown) + (found.passed < found.least)
    said = f"{wrong} against it: the gate refuses it" if wrong else "the rest is accepted with reasons"
    return f"{found.score}; {cmdline}; {said}"


def _total(found: Verdict) -> int:
    return sum(one.kind == "cmdline" for one in found.checks)


def lines(found: Verdict) -> list[str]:
    """The failing checks, those that nothing accepts first; checks of one exception stand together."""
    if not found.gated:
        return [f"  {one}: {one.failure}" for one in found.checks if not one.passed]
    said = [f"  {one}: {one.failure}; NOT ACCEPTED" for one in found.refused]
    groups: dict[int, tuple[Entry, list[str]]] = {}
    for check, entry in found.accepted.items():
        _, names = groups.setdefault(id(entry.rule), (entry, []))
        names.append(f"{check} ({check.wants})")
    for entry, names in groups.values():
        measured = f"; measured: {entry.rule.measured}" if entry.rule.measured else ""
        said += _wrapped(", ".join(names), "  ") + _wrapped(f"{entry.rule.reason}{measured}", "    ")
    said += [f"  {one.name} passes; {one.place.path.name}:{one.place.line} is STALE" for one in found.stale]
    said += [f"  {one.name}: no such check; {one.place.path.name}:{one.place.line}" for one in found.unknown]
    return said


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent="    ", break_on_hyphens=False
    )


def facts(found: Verdict) -> dict[str, Any]:
    """The verdict for a program; a failing check that is accepted carries the reason and its place."""
    failing = []
    for check in found.checks:
        if check.passed:
            continue
        entry = found.accepted.get(check)
        one: dict[str, Any] = {"kind": check.kind, "check": check.name, "wants": check.wants}
        one |= {"found": check.found.removeprefix("FAIL: "), "accepted": entry is not None}
        if entry is not None:
            one |= {"reason": entry.rule.reason, "measured": entry.rule.measured, **_place(entry)}
        failing.append(one)
    return {
        **found.record,
        "gated": found.gated,
        "least": found.least,
        "cmdline": {
            "passed": found.count("cmdline", passed=True),
            "failed": found.count("cmdline", passed=False),
        },
        "holds": found.holds,
        "failing": failing,
        "stale": [{"kind": one.kind, "check": one.name, **_place(one)} for one in found.stale],
        "unknown": [{"kind": one.kind, "check": one.name, **_place(one)} for one in found.unknown],
    }


def _place(entry: Entry) -> dict[str, Any]:
    return {"file": str(entry.place.path), "line": entry.place.line}
