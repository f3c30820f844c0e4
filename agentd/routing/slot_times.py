"""Moments and spans of time in a request: "tomorrow at 9", "in 20 Minuten", "since yesterday".

English and canonical words by the grammar here and of slot_clock.py; what this does not know is given to
parsedatetime, which is slow to import and loaded then. Not for: what comes again (slot_schedules.py).
"""

import re
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import Any

from agentd.routing.slot_clock import BEGINNINGS, UNIT, Clock, clock_in, day_in, local, part_in
from agentd.routing.slot_spoken import spoken
from agentd.routing.slot_text import LONGEST, NOTHING, Found, widened

_SECONDS = {
    "second": 1,
    "minute": 60,
    "hour": 3600,
    "day": 86400,
    "week": 604800,
    "month": 2592000,
    "year": 31536000,
}
_SHORT = {"s": 1, "m": 60, "h": 3600, "d": 86400, "uur": 3600}
_LONGEST_SECONDS = 366 * 86400
# When a day is named without a time.
_DEFAULT = time(9)
_ONE = (
    rf"(?P<number>\d{{1,6}}(?:[.,]\d{{1,2}})?)(?P<half> and a half)?[\s-]*(?P<unit>{UNIT}|[hmsd]"
    rf"|uur)(?![a-z])(?P<more> and a half)?"
)
_ANY = re.sub(r"\?P<\w+>", "?:", _ONE)
_SPAN = re.compile(rf"(?<![\w.,:]){_ANY}(?:(?:,? (?:and|und|et|y|e|en)|,)? ?{_ANY}|(?<=h)[0-5]\d(?!\w))*")
_PART = re.compile(_ONE)
_IN = re.compile(r"\b(?:in|over|within|after|en|entro|tra|na|em|for|once|every)(?: about| exactly| only)? $")
_LATER = re.compile(r" (?:from now|later|hence|have passed|are (?:up|over))\b")
_EARLIER = re.compile(r" (?:before|earlier|vorher|avant|antes|prima)\b")
_THIS_PART = re.compile(r"\bthis (?:morning|noon|afternoon|evening)\b|\btonight\b")
_MINUTES = re.compile(r"(?<![\d:.])(?P<minutes>\d{1,2}):(?P<seconds>\d\d)(?![\d:])")


def duration(text: str) -> Found:
    """A span of time as whole seconds, from 1 to a year: "an hour and a half", "3:00"."""
    said = spoken(text)
    for found in _SPAN.finditer(said.line):
        seconds = _seconds(found[0])
        if 1 <= seconds <= _LONGEST_SECONDS:
            return Found(seconds, (widened(text, said.span(*found.span())),))
    for found in _MINUTES.finditer(said.line):
        if seconds := 60 * int(found["minutes"]) + int(found["seconds"]):
            return Found(seconds, (widened(text, said.span(*found.span())),))
    return NOTHING


def when(text: str, now: datetime) -> Found:
    """A moment after `now` (aware, in the machine's zone) as ISO 8601; no value of none, or a past one.

    A bare hour is the next such, of the twelve-hour clock too; on a day that is named, 1 to 5 are in the
    afternoon. A day without a time is meant at nine.
    """
    said = spoken(text)
    line = said.line
    for found in _SPAN.finditer(line):
        before = _IN.search(line[: found.start()])
        after = _LATER.match(line, found.end())
        if (before and not before[0].startswith(("for", "once", "every"))) or after:
            return _later(text, now, found, (before, after))
    day = day_in(line)
    clock = clock_in(line, day)
    if re.fullmatch(r"\d{1,2}", line.strip()):
        clock = clock_in(f"at {line.strip()}")
    if not day and not clock:
        return _parsed(text, now)
    date = day.date(now.date()) if day else None
    if not day and _THIS_PART.search(line):
        date = now.date()
    moment = _moment(date, clock, now, named=date is not None)
    if day and date is None:
        return NOTHING
    if moment is None and day and date == now.date() and day.found.groupdict().get("name"):
        moment = _moment(date + timedelta(days=7), clock, now, named=True)
    places = [one.span for one in (day, clock) if one]
    if moment and (before := _before_it(line)):
        moment = _before(moment, _seconds(before[0]))
        places.append(before.span())
    if moment is None or moment <= now:
        return NOTHING
    spans = [said.span(*place) for place in places]
    return Found(moment.isoformat(timespec="seconds"), tuple(widened(text, span) for span in spans))


def _before_it(line: str) -> re.Match[str] | None:
    """A span of time that something comes before: "an hour before the game"."""
    return next((found for found in _SPAN.finditer(line) if _EARLIER.match(line, found.end())), None)


def _later(
    text: str, now: datetime, found: re.Match[str], around: tuple[re.Match[str] | None, re.Match[str] | None]
) -> Found:
    said = spoken(text)
    line = said.line
    before, after = around
    seconds = _seconds(found[0])
    start, end = before.start() if before else found.start(), after.end() if after else found.end()
    spans = [widened(text, said.span(start, end))]
    moment = now.astimezone(UTC) + timedelta(seconds=min(seconds, 20 * _LONGEST_SECONDS))
    clock = clock_in(line[:start] + " " * (end - start) + line[end:])
    if clock and seconds >= _SECONDS["day"] and seconds % _SECONDS["day"] == 0:
        spans.append(widened(text, said.span(*clock.span)))
        day = now.date() + timedelta(days=seconds // _SECONDS["day"])
        moment = _moment(day, clock, now, named=True) or moment
    if seconds < 1:
        return NOTHING
    return Found(moment.astimezone(now.tzinfo).isoformat(timespec="seconds"), tuple(spans))


def _moment(day: Any, clock: Clock | None, now: datetime, named: bool) -> datetime | None:
    """The moment after now; None if what is named has passed."""
    at = clock.at if clock else _DEFAULT
    if not named:
        steps = (0, 12, 24, 36) if clock and not clock.sure else (0, 24)
        return next((moment for step in steps if (moment := _hours_on(now, at, step)) > now), None)
    if day is None or not now.year <= day.year <= now.year + 50:
        return None
    if clock and not clock.sure and 1 <= at.hour <= 5:
        at = at.replace(hour=at.hour + 12)
    moment = local(day, at, now)
    if moment <= now and clock and not clock.sure and day == now.date() and at.hour < 12:
        moment = local(day, at.replace(hour=at.hour + 12), now)
    return moment if moment > now else None


def _hours_on(now: datetime, at: time, hours: int) -> datetime:
    days, hour = divmod(at.hour + hours, 24)
    return local(now.date() + timedelta(days=days), at.replace(hour=hour), now)


_BOOT = re.compile(
    r"\b(?:since|after|from|this) (?:the |last |le |dem |el |l'|o |het |it was |i )*(?:re)?boot\w*"
    r"|\bthis boot\b"
)
_LAST = re.compile(
    rf"\b(?:(?:in|over|during) )?(?:(?:the|den|der|las?|los|les?|el|gli|le) )?(?:last"
    rf"|these) (?:(?P<number>\d{{1,4}}) )?(?P<unit>{UNIT})\b"
)
_AGO = re.compile(
    rf"(?P<back>\bback |\bsince )?(?P<number>\d{{1,4}}) ?(?P<unit>{UNIT}|[hmd])\b(?P<ago> ago\b)?"
)
_LAST_SHORT = re.compile(r"\b(?:last|since) (?P<number>\d{1,4}) ?(?P<unit>[hmd])\b")
_THIS = re.compile(r"\bthis (?P<unit>week|month|year)s?\b")
_SINCE = re.compile(r"\b(?:since|from|after|at|around|on|last|between)\b")


def since(text: str, now: datetime) -> Found:
    """A moment before `now` as ISO 8601, or "boot"; no value if none is said."""
    said = spoken(text)
    line = said.line
    if found := _BOOT.search(line):
        return Found("boot", (widened(text, said.span(*found.span())),))
    past, (start, end) = _past(line, now)
    if past is None or past > now:
        return NOTHING
    return Found(past.isoformat(timespec="seconds"), (widened(text, said.span(_from(line, start), end)),))


def _past(line: str, now: datetime) -> tuple[datetime | None, tuple[int, int]]:
    today = now.date()
    if found := re.search(r"\blast night\b", line):
        return local(today - timedelta(days=1), BEGINNINGS["night"], now), found.span()
    for pattern in (_LAST, _LAST_SHORT, _AGO):
        for found in pattern.finditer(line):
            if pattern is _AGO and not (found["back"] or found["ago"]):
                continue
            unit = found["unit"]
            length = _SECONDS.get(unit.removesuffix("s")) or _SHORT[unit]
            return _before(now, int(found["number"] or 1) * length), found.span()
    if found := _THIS.search(line):
        starts = {"week": today - timedelta(days=today.weekday()), "month": today.replace(day=1)}
        return local(starts.get(found["unit"], today.replace(month=1, day=1)), time(0), now), found.span()
    day, part = day_in(line), part_in(line)
    clock = clock_in(line, day)
    if day:
        date = day.date(today, back=True)
        if date is None:
            return None, (0, 0)
        at = BEGINNINGS[part] if part else clock.at if clock and _SINCE.search(line) else time(0)
        end = (
            clock.span[1]
            if clock and clock.span[0] >= day.span[1] and (part or at != time(0))
            else day.span[1]
        )
        return local(date, at, now), (day.span[0], end)
    if (
        part
        and clock
        and clock.sure
        and clock.at.minute == 0
        and not re.search(r"\d", line[slice(*clock.span)])
    ):
        moment = local(today, BEGINNINGS[part], now)
        return (moment if moment <= now else moment - timedelta(days=1)), clock.span
    if clock and _SINCE.search(line):
        steps = (0, -12, -24) if not clock.sure else (0, -24)
        moments = (_hours_on(now, clock.at, step) for step in steps)
        return next((one for one in moments if one <= now), None), clock.span
    return None, (0, 0)


def _from(line: str, start: int) -> int:
    """Where "since" stands before a place; the place itself if it does not."""
    found = re.search(r"\b(?:since|from|after)(?: the| le| dem)? $", line[:start])
    return found.start() if found else start


def _before(now: datetime, seconds: int) -> datetime:
    return (now.astimezone(UTC) - timedelta(seconds=min(seconds, 20 * _LONGEST_SECONDS))).astimezone(
        now.tzinfo
    )


def _seconds(words: str) -> int:
    """The length of what _SPAN matched."""
    total, last = 0.0, 0
    for found in _PART.finditer(words):
        unit = found["unit"]
        last = _SECONDS.get(unit.removesuffix("s")) or _SHORT[unit]
        number = float(found["number"].replace(",", "."))
        total += (number + (0.5 if found["half"] or found["more"] else 0)) * last
    if trailing := re.search(r"h([0-5]\d)$", words):
        total += 60 * int(trailing[1])
    return round(total)


@lru_cache(maxsize=1)
def _calendar() -> Any:
    # 60 ms on a desktop: most requests do without.
    import parsedatetime  # type: ignore[import-untyped]

    return parsedatetime.Calendar(version=parsedatetime.VERSION_CONTEXT_STYLE)


def _parsed(text: str, now: datetime) -> Found:
    """What parsedatetime finds, if it lies ahead; of texts with a number: it takes many words for times."""
    text = text[:LONGEST]
    if not re.search(r"\d|\b(?:end of|eod|eom|eoy)\b", text, re.IGNORECASE):
        return NOTHING
    wall = now.replace(tzinfo=None)
    try:
        found = _calendar().nlp(text, sourceTime=wall)
    except (ValueError, OverflowError, AttributeError, TypeError, IndexError, KeyError):
        return NOTHING  # of words that it takes for a date and cannot make one of
    for moment, _, start, end, words in found or ():
        if moment <= wall or len(words) < 4 or moment.year > now.year + 50:
            continue
        value = local(moment.date(), moment.time(), now).isoformat(timespec="seconds")
        return Found(value, (widened(text, (start, end)),))
    return NOTHING
