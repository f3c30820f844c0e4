"""The report as JSON, and back: every field by its type, every mistake told with its place.

UUIDs are a special case: the modaliases of WMI, MEI and ISHTP devices are made of UUIDs that name a kind
of device, as a PCI id does. They are written without their dashes behind a `~`, so that whatever looks
like a UUID in a report is a leak. Not for: other programs' reports (builder/report_file.py).
"""

import dataclasses
import json
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from hardware import clean
from hardware.report import SCHEMA, VERSION, Report

LARGEST_LIST = 20_000
_COMPACT = re.compile(r"~([0-9A-Fa-f]{8})([0-9A-Fa-f]{4})([0-9A-Fa-f]{4})([0-9A-Fa-f]{4})([0-9A-Fa-f]{12})")

Shape = TypeVar("Shape")


class ReportError(Exception):
    """A report cannot be used: one line of what is wrong, one of what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def dumps(report: Report) -> str:
    """The report as JSON with a newline at its end; the same report gives the same text."""
    return json.dumps(as_values(report), indent=1, ensure_ascii=False) + "\n"


def as_values(report: Report) -> dict[str, Any]:
    """The report as values of JSON."""
    values = {"schema": SCHEMA, "version": VERSION, **_plain(report)}
    for group in ("devices", "blocks", "networks", "graphics", "inputs"):
        for entry in values[group]:
            entry["modalias"] = clean.UUID.sub(lambda m: "~" + m[0].replace("-", ""), entry["modalias"])
    return values


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def from_values(values: Mapping[str, Any]) -> Report:
    """The report that JSON values are. Unknown keys are passed over: a newer writer may know more.

    Raises ReportError for another schema, a newer version, a wrong type or a text or list beyond reason.
    """
    if values.get("schema") != SCHEMA:
        raise ReportError(f"its schema is {_told(values.get('schema'))}, not '{SCHEMA}'")
    version = values.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ReportError(f"version: expected a whole number, found {_told(version)}")
    if version > VERSION:
        raise ReportError(
            f"it has version {version} of the format, this program knows {VERSION}",
            "write it with this version of aether, or take a newer aether",
        )
    return _read(Report, values, "")


def _read(shape: type[Shape], values: Any, place: str) -> Shape:
    """A dataclass of the report from a JSON object."""
    if not isinstance(values, Mapping):
        raise ReportError(f"{place}: expected an object, found {_told(values)}")
    hints = typing.get_type_hints(shape)
    found: dict[str, Any] = {}
    for field in dataclasses.fields(shape):  # type: ignore[arg-type]
        where = f"{place}.{field.name}" if place else field.name
        if field.name in values:
            found[field.name] = _value(hints[field.name], values[field.name], where)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ReportError(f"{where} is missing")
    return shape(**found)


def _value(hint: Any, value: Any, place: str) -> Any:
    """A value of a field's type: text, whole number, yes or no, tuple or dataclass."""
    if isinstance(hint, types.UnionType):
        return None if value is None else _value(typing.get_args(hint)[0], value, place)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise ReportError(f"{place}: expected a list, found {_told(value)}")
        if len(value) > LARGEST_LIST:
            raise ReportError(f"{place}: {len(value)} entries; no machine has more than {LARGEST_LIST}")
        inner = typing.get_args(hint)[0]
        return tuple(_value(inner, item, f"{place}[{index}]") for index, item in enumerate(value))
    if hint is str:
        return _text(value, place)
    if hint is bool:
        if not isinstance(value, bool):
            raise ReportError(f"{place}: expected true or false, found {_told(value)}")
        return value
    if hint is int:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
            raise ReportError(f"{place}: expected a whole number, found {_told(value)}")
        return value
    return _read(hint, value, place)


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise ReportError(f"{place}: expected text, found {_told(value)}")
    if len(value) > clean.LONGEST_MODALIAS:
        raise ReportError(
            f"{place}: {len(value)} characters; {clean.LONGEST_MODALIAS} are the most there are"
        )
    if place.endswith(".modalias"):
        return clean.modalias(_COMPACT.sub(r"\1-\2-\3-\4-\5", value))
    return clean.name(value)


def _told(value: Any) -> str:
    """A value of JSON as a person would point at it."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case str():
            return repr(clean.shown(value, 60))
        case Mapping():
            return "an object"
        case list():
            return "a list"
        case int() if value.bit_length() > 64:
            return "a huge number"
    return str(value)
