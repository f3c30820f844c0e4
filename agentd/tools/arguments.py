"""Arguments as their kinds allow them: checked before a tool or a plan ever sees them."""

import re
from collections.abc import Mapping
from datetime import datetime
from ipaddress import ip_address
from typing import Any

from agentd.errors import InvalidArguments
from agentd.tools.tool import Argument, Kind, Tool

LONGEST_WORDS = 4000
# systemd.unit(5): letters, digits and ":-_.\@"; never an option, never a path.
_UNIT = re.compile(r"[A-Za-z0-9:_.@][A-Za-z0-9:_.@\\-]{0,254}")
_NAME = re.compile(r"[^\s/\x00-\x1f\x7f-][^\x00-\x1f\x7f/]{0,254}")
# dev_valid_name() of the kernel, without its exotic names; never an option.
_LINK = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@-]{0,14}")
# RFC 1123; a host name of Linux has at most 64 characters, a name of the DNS 253.
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,31}(/[A-Za-z][A-Za-z0-9_+-]{0,31}){0,2}")
_LOCALE = re.compile(r"([a-z]{2,3}_[A-Z]{2}|C)(\.UTF-8)?(@[a-z]{2,10})?")
_LAYOUT = re.compile(r"[a-z]{2,12}(-[a-z0-9_]{1,30}){0,3}")
_LEVEL = re.compile(r"[+-]?\d{1,3}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# What routing/slot_schedules.py makes, of systemd.time(7): [weekdays] year-month-day hour:minute:second.
_SCHEDULE = re.compile(
    r"((Mon|Tue|Wed|Thu|Fri|Sat|Sun)((,|\.\.)(Mon|Tue|Wed|Thu|Fri|Sat|Sun)){0,6} )?"
    r"\*-(\*|\d\d(,\d\d){0,11})[-~](\*|\d\d(/1|\.\.\d\d|(,\d\d){0,30})) "
    r"(\*|\d\d(,\d\d){0,23}|\d\d/\d{1,2}|\d\d\.\.\d\d):(\d\d|\d\d/\d{1,2}):00",
    re.ASCII,
)
LONGEST_DURATION = 366 * 86400
UNIT_TYPES = ("service", "socket", "target", "timer", "mount", "path", "slice", "scope", "swap", "automount")


_PATTERNS = {
    Kind.LINK: (_LINK, "name of a network interface"),
    Kind.SCHEDULE: (_SCHEDULE, "schedule as systemd.time(7) has them: 'Mon *-*-* 08:00:00'"),
    Kind.ZONE: (_ZONE, "time zone: 'Europe/Berlin'"),
    Kind.LOCALE: (_LOCALE, "locale: 'de_DE.UTF-8'"),
    Kind.LAYOUT: (_LAYOUT, "keyboard layout: 'de', 'us-intl'"),
}


def check(tool: Tool, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with defaults in place and every value of its kind. Raises InvalidArguments."""
    known = {argument.name: argument for argument in tool.arguments}
    for name in given:
        if name not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise InvalidArguments(f"{tool.name} has no argument '{name}'; {takes}")
    checked = {}
    for name, argument in known.items():
        value = given.get(name)
        if value is None or value == "":
            if argument.required:
                raise InvalidArguments(f"{tool.name} needs '{name}': {argument.purpose}")
            checked[name] = argument.default
        else:
            checked[name] = _value(argument, value)
    return checked


def _value(argument: Argument, value: Any) -> Any:
    text = str(value).strip()
    match argument.kind:
        case Kind.COUNT:
            most = argument.most
            if not (text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= most):
                raise InvalidArguments(f"'{argument.name}' is a number from 1 to {most}, not {value!r}")
            return int(text)
        case Kind.CHOICE:
            if text not in argument.choices:
                raise InvalidArguments(
                    f"'{argument.name}' is one of {', '.join(argument.choices)}, not {value!r}"
                )
        case Kind.UNIT:
            if not _UNIT.fullmatch(text) or ".." in text:
                raise InvalidArguments(f"{value!r} is no name of a unit")
            if text.rpartition(".")[2] not in UNIT_TYPES:
                text += ".service"
        case Kind.NAME:
            if not _NAME.fullmatch(text):
                raise InvalidArguments(f"{value!r} is no plain name")
        case Kind.PATH:
            if "\0" in text or len(text) > 4096:
                raise InvalidArguments(f"{value!r} is no path")
        case Kind.DURATION:
            is_number = text.isascii() and text.isdecimal() and len(text) < 12
            if not (is_number and 1 <= int(text) <= LONGEST_DURATION):
                raise InvalidArguments(
                    f"'{argument.name}' is seconds, from 1 to {LONGEST_DURATION}, not {value!r}"
                )
            return int(text)
        case Kind.WHEN:
            return _moment(argument, text)
        case Kind.SINCE:
            return text if text == "boot" else _moment(argument, text)
        case Kind.LEVEL:
            if not _LEVEL.fullmatch(text) or abs(int(text)) > 100 or text in ("+0", "-0"):
                raise InvalidArguments(f"'{argument.name}' is 0 to 100, or +10 or -10, not {value!r}")
        case Kind.NETWORK:
            if _CONTROL.search(text) or len(text.encode(errors="replace")) > 32:  # IEEE 802.11: 32 bytes
                raise InvalidArguments(f"{value!r} is no name of a Wi-Fi network")
        case Kind.HOST:
            text = text.lower()
            if not _HOST.fullmatch(text) and not _is_address(text):
                raise InvalidArguments(f"{value!r} is no host name: letters, digits and '-'")
        case Kind.LINK | Kind.SCHEDULE | Kind.ZONE | Kind.LOCALE | Kind.LAYOUT:
            pattern, what = _PATTERNS[argument.kind]
            if not pattern.fullmatch(text):
                raise InvalidArguments(f"{value!r} is no {what}")
        case _:
            if "\0" in text or len(text) > LONGEST_WORDS:
                raise InvalidArguments(f"'{argument.name}' has more than {LONGEST_WORDS} characters")
    return text


def _moment(argument: Argument, text: str) -> str:
    """An ISO 8601 time, to the second and with its offset; one without is of this machine's zone."""
    try:
        return datetime.fromisoformat(text).astimezone().isoformat(timespec="seconds")
    except (ValueError, OverflowError) as error:
        raise InvalidArguments(f"'{argument.name}' is a time like 2026-05-14T09:00, not {text!r}") from error


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
