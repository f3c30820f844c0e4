"""Values of other programs' JSON, taken as what they should be: the wrong type counts as not there.

A report of another program has its own mistakes; a field that cannot be used is left empty, and only a
report from which nothing can be used is refused (by its reader). Not for: our own reports, whose types are
checked (hardware/report_json.py).
"""

from collections.abc import Mapping
from typing import Any

from hardware import clean
from hardware.report_json import LARGEST_LIST, ReportError


def section(values: Any, *keys: str) -> Mapping[str, Any]:
    """The object that the keys lead to, {} where there is none."""
    for key in keys:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values if isinstance(values, Mapping) else {}


def entries(values: Mapping[str, Any], key: str) -> tuple[Mapping[str, Any], ...]:
    """The objects of a list; an object in its place counts as a list of one.

    Raises ReportError for a list beyond reason: a part of it would be another machine.
    """
    found = values.get(key)
    if isinstance(found, Mapping):
        return (found,)
    listed = found if isinstance(found, list) else []
    if len(listed) > LARGEST_LIST:
        raise ReportError(
            f"{clean.shown(key, 60)}: {len(listed)} entries; no machine has more than {LARGEST_LIST}"
        )
    return tuple(entry for entry in listed if isinstance(entry, Mapping))


def text(values: Mapping[str, Any], key: str) -> str:
    """A name as a report may have it."""
    found = values.get(key)
    return clean.name(found) if isinstance(found, str) else ""


def modalias(values: Mapping[str, Any], key: str) -> str:
    """A modalias."""
    found = values.get(key)
    return clean.modalias(found) if isinstance(found, str) else ""


def number(values: Mapping[str, Any], key: str) -> int | None:
    """A whole number that is not negative."""
    found = values.get(key)
    sound = isinstance(found, int) and not isinstance(found, bool) and 0 <= found < 2**63
    return found if sound else None


def words(values: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """A list of names, without the empty ones."""
    found = values.get(key)
    listed = found[:LARGEST_LIST] if isinstance(found, list) else []
    return tuple(name for name in (clean.name(item) for item in listed if isinstance(item, str)) if name)
