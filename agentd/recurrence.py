"""When an OnCalendar expression comes, the last time and the next, in this machine's time zone.

For expressions as routing/slot_schedules.py makes them, of systemd.time(7): [weekdays] *-months-days
hours:minutes:00. A time that the change to summer time leaves out does not come on that day, and of one that
the autumn has twice it is the first, as systemd has it. Not for: making them, or firing (systemd).
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from itertools import islice, product

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_EXPRESSION = re.compile(
    r"(?:(?P<weekdays>[A-Z][A-Za-z,.]+) )?\*-(?P<months>[\d*,]+)(?P<mark>[-~])(?P<days>[\d*,./]+)"
    r" (?P<hours>[\d*,./]+):(?P<minutes>[\d*,./]+):00",
    re.ASCII,
)
_NUMBER = re.compile(r"(?P<first>\d{1,2})(?:\.\.(?P<last>\d{1,2})|/(?P<step>\d{1,2}))?", re.ASCII)
# Days to look at: a 29 February that is a Monday comes every 28 years, 40 where a leap year is left out.
_SPAN = 41 * 366


@dataclass(frozen=True, slots=True)
class Recurrence:
    """What an expression says. `days` count from a month's end, the last being 1, if `from_end`."""

    weekdays: frozenset[int]
    months: frozenset[int]
    days: frozenset[int]
    from_end: bool
    times: tuple[clock, ...]

    def last(self, now: datetime) -> datetime | None:
        """The last moment up to `now`, which is aware; None if there was none for 41 years."""
        today = _local(now)
        for back in range(_SPAN):
            if found := [one for one in self._on(today - timedelta(back)) if one <= now]:
                return found[-1]
        return None

    def after(self, now: datetime) -> Iterator[datetime]:
        """The moments after `now` in their order, in UTC, for 41 years."""
        today = _local(now)
        for ahead in range(_SPAN):
            yield from (one for one in self._on(today + timedelta(ahead)) if one > now)

    def next(self, now: datetime) -> datetime | None:
        """The first moment after `now`."""
        return next(self.after(now), None)

    def _on(self, day: date) -> list[datetime]:
        if day.month not in self.months or day.weekday() not in self.weekdays:
            return []
        if (_to_end(day) if self.from_end else day.day) not in self.days:
            return []
        moments = (datetime.combine(day, at) for at in self.times)
        return [moment.astimezone(UTC) for moment in moments if _exists(moment)]


def parse(expression: str) -> Recurrence:
    """The recurrence that an expression says. Raises ValueError for one that is not known here."""
    found = _EXPRESSION.fullmatch(expression)
    if found is None:
        raise ValueError(f"{expression!r} is no schedule that is known here")
    from_end = found["mark"] == "~"
    times = product(_numbers(found["hours"], 0, 23), _numbers(found["minutes"], 0, 59))
    return Recurrence(
        _weekdays(found["weekdays"]),
        _numbers(found["months"], 1, 12),
        _numbers(found["days"], 1, 31, down=from_end),
        from_end,
        tuple(sorted(clock(hour, minute) for hour, minute in times)),
    )


def first(expression: str, now: datetime, count: int) -> list[datetime]:
    """The first `count` moments after `now`, or as many as there are. Raises ValueError."""
    return list(islice(parse(expression).after(now), count))


def said(expression: str) -> str:
    """An expression in fewer words: "Mon..Fri 06:30", "daily 08:00"; another one nearly as it is."""
    short = expression.removesuffix(":00")
    if short.startswith("*-*-* "):
        at = short.removeprefix("*-*-* ")
        return at if "*" in at else f"daily {at}"
    return short.replace(" *-*-* ", " ")


def refresh_zone() -> None:
    """Have a time zone that was set while this process runs be known: the C library reads it once."""
    time.tzset()


def _local(moment: datetime) -> date:
    return moment.astimezone().date()


def _exists(moment: datetime) -> bool:
    """Whether the clocks here ever show it."""
    return moment.astimezone(UTC).astimezone().replace(tzinfo=None) == moment


def _to_end(day: date) -> int:
    following = date(day.year + day.month // 12, day.month % 12 + 1, 1)
    return (following - day).days


def _weekdays(words: str | None) -> frozenset[int]:
    if words is None:
        return frozenset(range(7))
    found: set[int] = set()
    for part in words.split(","):
        start, _, end = part.partition("..")
        if start not in _DAYS or (end or start) not in _DAYS:
            raise ValueError(f"{part!r} is no day of the week")
        days = range(_DAYS.index(start), _DAYS.index(end or start) + 1)
        if not days:
            raise ValueError(f"{part!r} does not end after it begins")
        found.update(days)
    return frozenset(found)


def _numbers(words: str, low: int, high: int, *, down: bool = False) -> frozenset[int]:
    """The numbers of one field; `down` where a step goes towards the end of the month, which is 1."""
    found: set[int] = set()
    for part in words.split(","):
        if part == "*":
            found.update(range(low, high + 1))
            continue
        number = _NUMBER.fullmatch(part)
        if number is None:
            raise ValueError(f"{part!r} is no number")
        start, end = int(number["first"]), int(number["last"] or number["first"])
        if not low <= start <= end <= high or (number["step"] and int(number["step"]) == 0):
            raise ValueError(f"{part!r} is not within {low} and {high}")
        if number["step"]:
            step = int(number["step"])
            found.update(range(start, low - 1, -step) if down else range(start, high + 1, step))
        else:
            found.update(range(start, end + 1))
    return frozenset(found)
