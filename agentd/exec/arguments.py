"""What the arguments of verbs may be: strict patterns, each a function that says what is wrong with a value.

Nothing here asks the machine, but for the list of time zones. Not for: whether a unit, a link or a device
exists, which whoever acts says.
"""

import re
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

# "" for a value that is good.
Check = Callable[[Any], str]

TIME = "%Y-%m-%dT%H:%M:%SZ"

# systemd.unit(5). Only kinds that people start and stop: a target or a mount could take the system down.
UNIT_KINDS = ("service", "socket", "timer", "path")
_UNIT = re.compile(
    rf"[A-Za-z0-9_](?:[A-Za-z0-9:_.@-]|\\x[0-9a-f]{{2}}){{0,200}}\.(?:{'|'.join(UNIT_KINDS)})"
)
# agentd, its broker, worker and timers, and what they cannot do without.
# dbus-org.freedesktop.login1.service and the like are other names of services.
_AGENT = ("agentd", "aetheros", "dbus.", "dbus-broker", "systemd-journald")
# What would stop or enter the machine by another way than its verb, or load code into the kernel.
_DOORS = ("debug-shell.", "emergency.", "rescue.", "modprobe@")
# Of systemd's own units these are services like any other; all others carry the system.
_SYSTEMD_OPEN = ("networkd", "resolved", "timesyncd", "oomd", "logind", "udevd")

# dev_valid_name() of Linux, without what needs quoting anywhere.
_LINK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,14}")
_DEVICE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_:.-]{0,63}")
# RFC 1123, 2.1; HOST_NAME_MAX of Linux is 64.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST_NAME = re.compile(rf"(?=.{{1,64}}\Z){_LABEL}(?:\.{_LABEL})*")
# locale(7): language_TERRITORY.codeset@modifier.
_LOCALE = re.compile(r"(?:C|POSIX|[a-z]{2,3}(?:_[A-Z]{2})?)(?:\.[A-Za-z0-9-]{1,16})?(?:@[a-z]{1,16})?")
_LAYOUT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")

# systemd.time(7), a subset: no time zone, no "~", seconds only as a number, so at most once a minute.
_DAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_NUMBER = r"(?:\*|[0-9]{1,2}(?:\.\.[0-9]{1,2})?)(?:/[1-9][0-9]?)?"
_NUMBERS = rf"{_NUMBER}(?:,{_NUMBER}){{0,9}}"
_SCHEDULE = re.compile(
    rf"(?:{_DAY}(?:(?:,|\.\.){_DAY}){{0,6}} )?"
    rf"(?:(?:\*|[0-9]{{4}})-{_NUMBERS}-{_NUMBERS} )?"
    rf"{_NUMBERS}:{_NUMBERS}(?::[0-9]{{1,2}})?"
    r"|minutely|hourly|daily|weekly|monthly|quarterly|semiannually|yearly"
)


def unit(value: Any) -> str:
    """The full name of a unit that may be started and stopped."""
    if not _fits(_UNIT, value) or ".." in value:
        return f"is no full name of a {', '.join(UNIT_KINDS[:-1])} or {UNIT_KINDS[-1]} unit"
    return "belongs to the agent, or to what carries it" if is_kept(value) else ""


def is_kept(name: str) -> bool:
    """Whether a unit is none that anybody may change: agentd's own, or what carries it or the system."""
    if name.startswith("systemd-"):
        return name.removeprefix("systemd-").partition(".")[0] not in _SYSTEMD_OPEN
    return is_agent(name) or name.startswith(_DOORS)


def is_agent(name: str) -> bool:
    """Whether a unit is agentd's own, or it cannot do without it."""
    return name.startswith(_AGENT)


def link(value: Any) -> str:
    """The name of a network interface; not "lo", which this machine talks to itself over."""
    return "" if _fits(_LINK, value) and value != "lo" else "is no name of a network link"


def device(value: Any) -> str:
    """The name of a device in /sys/class/backlight."""
    return "" if _fits(_DEVICE, value) and ".." not in value else "is no name of a device"


def level(value: Any) -> str:
    """A brightness as the device counts it: a whole number; the device knows what is too much."""
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31
    return "" if good else "is no whole number from 0 on"


def zone(value: Any) -> str:
    """A time zone that this machine knows."""
    return "" if isinstance(value, str) and value in _zones() else "is no time zone of this machine"


def host_name(value: Any) -> str:
    """A host name as RFC 1123 has it, at most 64 letters."""
    return "" if _fits(_HOST_NAME, value) else "is no host name"


def locale(value: Any) -> str:
    """The name of a locale: "de_DE.UTF-8"."""
    return "" if _fits(_LOCALE, value) else "is no name of a locale"


def layout(value: Any) -> str:
    """The name of a keyboard layout: "de-latin1"."""
    return "" if _fits(_LAYOUT, value) else "is no name of a keyboard layout"


def reminder(value: Any) -> str:
    """A reminder's id: 1 to 32 of a-z, 0-9 and, inside, "-"."""
    return "" if _fits(_ID, value) else "is no id of a reminder"


def moment(value: Any) -> str:
    """A moment in UTC: 2026-11-25T09:02:35Z."""
    try:
        good = isinstance(value, str) and datetime.strptime(value, TIME).strftime(TIME) == value
    except ValueError:
        good = False
    return "" if good else "is no moment such as 2026-11-25T09:02:35Z"


def schedule(value: Any) -> str:
    """When something comes again, in local time, as systemd.time(7) writes it: "Mon..Fri 07:30"."""
    return "" if _fits(_SCHEDULE, value) else "is no schedule such as 'Mon..Fri 07:30'"


def _fits(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


@cache
def _zones() -> frozenset[str]:
    from zoneinfo import available_timezones

    return frozenset(available_timezones())
