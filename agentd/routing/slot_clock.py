"""Days and times of day in a canonical line (slot_spoken.py): which day, which hour, and where they stand.

Not for: what is meant by them, the past or the future (slot_times.py) or a repetition (slot_schedules.py).
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from agentd.routing.slot_spoken import DAYS, MONTHS

# Hours that the parts of a day stand for where no other is told.
PARTS = {
    "morning": time(9), "noon": time(12), "lunch": time(13), "afternoon": time(15), "evening": time(19),
    "night": time(21), "tonight": time(20), "midnight": time(0),
}  # fmt: skip
# When they begin, for "since this morning".
BEGINNINGS = {
    "morning": time(5), "noon": time(12), "lunch": time(12), "afternoon": time(12), "evening": time(18),
    "night": time(18), "tonight": time(18), "midnight": time(0),
}  # fmt: skip
DAY_NAME = rf"(?:{'|'.join(DAYS)})"
_MONTH_NAME = rf"(?P<month>{'|'.join(f'{month}|{month[:3]}' for month in MONTHS)})\b\.?"
UNIT = r"(?:second|minute|hour|day|week|month|year)s?"
_NO_UNIT = rf"(?![\s-]*(?:{UNIT}|%|percent|o'clock\w|uur\b)\b)(?![\d/]|[:.]\d)"
_NOON = r"(?P<half>a\.?m\b\.?|p\.?m\b\.?)?"

# The more certain ones first: the first that is found counts.
_CLOCKS = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?<![\d:./-])(?P<hour>\d{1,2})[:.](?P<minute>\d\d)(?!\d|[:./-]\d)\s*(?P<half>a\.?m\b\.?"
        r"|p\.?m\b\.?)?(?: o'clock)?",
        r"(?<![\d:./-])(?P<hour>\d{1,2})\s*(?P<half>a\.?m\b\.?|p\.?m\b\.?)(?!\w)",
        r"(?<![\d:./-])(?P<hour>\d{1,2})\s*(?:o'clock|uur)(?:\s(?P<minute>[0-5]?\d)(?!\d))?",
        r"(?:at |a )?(?P<past>half past|quarter past|quarter to|halfto"
        r"|(?P<off>\d{1,2}) (?:minutes )?(?P<way>past|last|to)) "
        r"(?P<hour>\d{1,2})(?!\d)\s*" + _NOON,
        r"(?:at|a|alle|kl) (?P<hour>\d{1,2}) ?(?:h|hours)(?: ?(?P<minute>[0-5]\d))?(?: ?(?P<past>halfafter"
        r"|quarterafter))?\b",
        r"(?<![\d:./-])(?P<hour>\d{1,2})h(?P<minute>[0-5]\d)?(?!\w)",
        rf"\b(?:at|alle|by|around|about|until|from|since|between) (?:about |around "
        rf"|exactly )?(?P<hour>\d{{1,2}})(?!\w)"
        rf"(?: (?P<past>halfafter|quarterafter))?{_NO_UNIT}",
        rf"(?:{DAY_NAME}|today|tomorrow|tonight),? (?P<hour>\d{{1,2}})(?!\w){_NO_UNIT}",
        rf"\b(?P<hour>\d{{1,2}}) (?=(?:on )?{DAY_NAME}|today|tomorrow|in the (?:morning|afternoon|evening))",
    )
)
_ROW = re.compile(r"\bat \d{1,2}(?:, \d{1,2})*,? (?:and|und|et|y|e|en) \d{1,2}(?![\d:.]|\w)(?: o'clock)?")
_PART = re.compile(rf"\b(?:after |in the |at |this |the )*(?P<part>{'|'.join(PARTS)})\b")
_DAYS = tuple(
    re.compile(pattern)
    for pattern in (
        r"\b(?P<iso>\d{4}-\d\d-\d\d)\b",
        r"\b(?P<near>aftertomorrow|tomorrow|today|beforeyesterday|yesterday)\b",
        rf"\b(?:on |the )*(?<![\d:])(?P<day>\d{{1,2}})(?:st|nd|rd|th|\.)? (?:of |de "
        rf"|di )?{_MONTH_NAME}(?:,? (?:de )?(?P<year>\d{{4}})\b)?",
        rf"\b(?:on )?{_MONTH_NAME} (?:the )?(?P<day>\d{{1,2}})(?:st|nd|rd"
        rf"|th)?(?![\d:])(?:,? (?P<year>\d{{4}})\b)?",
        r"\b(?:on |the )*(?<![\d.:])(?P<day>\d{1,2})\.(?P<number>\d{1,2})\.(?P<year>\d{4})?(?!\d)",
        rf"\b(?:on |the |next |this |coming |last )*(?P<name>{DAY_NAME})\b(?: next| last)?",
        r"\b(?:on )?the (?P<day>\d{1,2})(?:st|nd|rd|th)\b",
        r"\b(?P<next>next (?:week|month|year)s?|(?:week|month|year)s? next)\b",
        r"\b(?:this |next |the |at |on |over )*(?P<weekend>weekend)\b",
    )
)
_NEAR = {"today": 0, "tomorrow": 1, "aftertomorrow": 2, "yesterday": -1, "beforeyesterday": -2}


@dataclass(frozen=True, slots=True)
class Clock:
    """A time of day. `sure` is whether it is one: "five" is 05:00 or 17:00."""

    at: time
    sure: bool
    span: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Day:
    """A day by its match; `span` is where it stands."""

    found: re.Match[str]
    span: tuple[int, int]

    def date(self, today: date, back: bool = False) -> date | None:
        """The day, the next one that is so called, or with `back` the last; None if there is none."""
        groups = self.found.groupdict()
        try:
            if groups.get("iso"):
                return date.fromisoformat(groups["iso"])
            if groups.get("near"):
                return today + timedelta(days=_NEAR[groups["near"]])
            if groups.get("name") or groups.get("weekend"):
                wanted = DAYS.index(groups.get("name") or "saturday")
                step = (today.weekday() - wanted) % 7 if back else (wanted - today.weekday()) % 7
                return today - timedelta(days=step or 7) if back else today + timedelta(days=step)
            if groups.get("next"):
                return _after(today, groups["next"])
            return _dated(groups, today, back)
        except (ValueError, OverflowError):
            return None


def day_in(line: str) -> Day | None:
    """The day that a line names."""
    for pattern in _DAYS:
        if found := pattern.search(line):
            return Day(found, found.span())
    return None


def clock_in(line: str, day: Day | None = None) -> Clock | None:
    """The time of day in a line: of a clock, or the part of a day; both together make it sure.

    The numbers of `day` are none of a clock.
    """
    part = _PART.search(line)
    for pattern in _CLOCKS:
        for found in pattern.finditer(line):
            if day and day.span[0] <= found.start("hour") < day.span[1]:
                continue
            clock = _clock(found, part)
            if clock:
                return clock
    if part:
        return Clock(PARTS[part["part"]], True, part.span())
    return None


def part_in(line: str) -> str | None:
    """The part of a day that a line names: a key of PARTS."""
    part = _PART.search(line)
    return part["part"] if part else None


def clocks_in(line: str) -> list[Clock]:
    """All times of day that are told in a row, for "at 8, 12 and 18"; one, or none."""
    if found := _ROW.search(line):
        hours = [int(hour) for hour in re.findall(r"\d+", found[0])]
        if max(hours) < 24:
            return [Clock(time(hour), True, found.span()) for hour in hours]
    clock = clock_in(line)
    return [clock] if clock else []


def _clock(found: re.Match[str], part: re.Match[str] | None) -> Clock | None:
    groups = found.groupdict()
    hour, minute = int(groups["hour"]), int(groups.get("minute") or 0)
    half, past = (groups.get("half") or "")[:1], groups.get("past") or ""
    sure = bool(half) or hour > 12 or hour == 0 or groups["hour"].startswith("0") or ":" in found[0]
    start, end = found.start(), found.end()
    if past.endswith("half past") or past == "halfafter":
        minute = 30
    elif past in ("quarter past", "quarterafter"):
        minute = 15
    elif groups.get("off"):
        minute = int(groups["off"])
    if past in ("quarter to", "halfto") or groups.get("way") == "to":
        hour -= 1
        minute = {"quarter to": 45, "halfto": 30}.get(past, 60 - minute)
    if part and not half and part["part"] in ("morning", "afternoon", "evening", "night", "tonight"):
        small = part["part"] in ("night", "tonight") and hour < 6
        half, sure = "a" if small or part["part"] == "morning" else "p", True
        start, end = min(start, part.start()), max(end, part.end())
        if end - start > len(found[0]) + len(part[0]) + 2:
            start, end = found.span()  # apart from each other: both meant, one cut out
    if half == "p" and hour < 12:
        hour += 12
    elif half == "a" and hour == 12:
        hour = 0
    if not (-1 <= hour <= 24 and 0 <= minute <= 59):
        return None
    return Clock(time(hour % 24, minute), sure, (start, end))


def _after(today: date, words: str) -> date:
    if "week" in words:
        return today + timedelta(days=7 - today.weekday())
    if "month" in words:
        return (today.replace(day=1) + timedelta(days=32)).replace(day=1)
    return date(today.year + 1, 1, 1)


def _dated(groups: dict[str, str | None], today: date, back: bool) -> date:
    number, year = int(groups["day"] or 0), groups.get("year")
    name = groups.get("month")
    if not name and not groups.get("number"):
        return _day_of_month(number, today, back)
    month = [one[:3] for one in MONTHS].index(name[:3]) + 1 if name else int(groups["number"] or 0)
    if year:
        return date(int(year), month, number)
    this = date(today.year, month, number)
    if back:
        return this if this <= today else this.replace(year=today.year - 1)
    return this if this >= today else this.replace(year=today.year + 1)


def _day_of_month(number: int, today: date, back: bool) -> date:
    if not 1 <= number <= 31:
        raise ValueError(number)
    day = today
    while day.day != number:
        day += timedelta(days=-1 if back else 1)
    return day


def local(day: date, at: time, now: datetime) -> datetime:
    """A wall-clock time of `now`'s zone; one that a clock change leaves out is moved behind it."""
    return datetime.combine(day, at, now.tzinfo).astimezone(UTC).astimezone(now.tzinfo)
