"""What comes again, as systemd.time(7) has it: "every weekday at 6" is `Mon..Fri *-*-* 06:00:00`.

The expression is built, never copied from the text. What such an expression cannot say (every other week,
every 90 minutes) is told with a question. Not for: moments that come once (slot_times.py).
"""

import re
from datetime import time

from agentd.routing.slot_clock import DAY_NAME, PARTS, Clock, clocks_in, part_in
from agentd.routing.slot_spoken import DAYS, MONTHS, spoken
from agentd.routing.slot_text import Found, widened

_DEFAULT = time(9)
_MONTH = rf"(?P<month>{'|'.join(f'{month}|{month[:3]}' for month in MONTHS)})\b\.?"
_LISTED = rf"{DAY_NAME}s?(?:(?:,? (?:and|und|et|y|e|en|or|on)|,) {DAY_NAME}s?)*"
_EVERY = r"\b(?:every|all|daily|alle)"
_RANGE = re.compile(
    rf"\b(?P<first>{DAY_NAME})s? (?:to|through|till|until|bis|a|au|-) (?P<last>{DAY_NAME})s?"
)
_LIST = re.compile(rf"\b{_LISTED}\b")
_INTERVAL = re.compile(
    rf"{_EVERY} (?P<number>\d{{1,4}}) ?(?P<unit>minute|hour|day|week|month|year|uur|h|min)s?\b"
    r"|\b(?:every )?(?P<one>hourly|hour|minute)s?\b(?=.*)"
)
_OTHER = re.compile(
    r"\b(?:every|each) (?:other|second|third|2nd|3rd)\b|\b(?:bi-?weekly|fortnightly|every 2 weeks|twice"
    r"|\d+ times|before it)\b|\b(?:night|day|evening) before\b"
)
_ORDINAL = r"(?P<order>1st|first|second|third|fourth|last|letzten?|dernier|ultimo|2nd|3rd|4th)"
_NTH = re.compile(
    rf"\b{_ORDINAL} (?P<day>{DAY_NAME}|day|weekday) (?:of |in |im |du |de |del )?(?:every |the "
    rf"|each )?(?:month|months)?\b"
)
_OF_MONTH = tuple(
    re.compile(pattern)
    for pattern in (
        r"\b(?P<day>\d{1,2})(?:(?:st|nd|rd|th|\.)(?: day)?(?: of| du| de| del| di)?|(?: day)?(?: of| du| de"
        r"| del| di)) ?(?:every |the |a )*months?\b",
        r"\bmonth(?:s|ly)?,? (?:(?:on |am |le |el |il )(?:the |day )?|the |day )(?P<day>\d{1,2})(?:st|nd|rd"
        r"|th|\.)?(?!\d|:|h| ?o'clock| ?[ap]m)",
        r"\bevery (?P<day>\d{1,2})(?:st|nd|rd|th)\b",
    )
)
_ON_DATE = re.compile(
    rf"\b(?P<day>\d{{1,2}})(?:st|nd|rd|th|\.)? (?:of |de )?{_MONTH}"
    rf"|{_MONTH.replace('month', 'name', 1)} (?P<number>\d{{1,2}})"
)
_NAMES = {day: day[:3].capitalize() for day in DAYS}
_WEEKS = {"1st": 1, "first": 1, "second": 2, "2nd": 2, "third": 3, "3rd": 3, "fourth": 4, "4th": 4}
_HOW_OFTEN = "How often? I can repeat by minutes, hours, days of the week, days of the month or of the year."
# Where the words of a repetition end, to be cut out of the sentence.
_WORDS = re.compile(
    rf"\b(?:(?:all |on |in |at |am |the |to |of |from |le |el |il |los |les |and )*"
    rf"(?:every|daily|weekly|monthly|yearly|hourly|once an?|{_LISTED}|\d{{1,2}}(?:st|nd|rd|th)|1st|first"
    rf"|last|day(?!\w)|days|weekdays?|weekends?|weeks?|months?|years?|quarters?|hours?|morning|evening|night"
    rf"|afternoon|noon|\d{{1,3}} (?:minute|hour)s?)\b[,]? ?)+"
)


def schedule(text: str) -> Found:
    """The expression of what a text says to come again. Without a time of day it is at nine."""
    said = spoken(text)
    line = said.line
    clocks = clocks_in(line)
    value = _expression(line, clocks)
    if not value:
        return Found(question=_question(line))
    spans = [clock.span for clock in clocks]
    for found in _WORDS.finditer(line):
        if re.search(rf"every .|ly\b|once|{DAY_NAME}|month", found[0].strip()):
            spans.append(found.span())
    if "year" in line and (found_date := _ON_DATE.search(line)):
        spans.append(found_date.span())
    return Found(value, tuple(widened(text, said.span(*span)) for span in spans))


def _question(line: str) -> str:
    if re.search(r"\b(?:weekly|every week|once a week|1 week)\b", line):
        return "On which day of the week?"
    return _HOW_OFTEN


def _expression(line: str, clocks: list[Clock]) -> str:
    if _OTHER.search(line):
        return ""
    at = _times(line, clocks)
    if found := _NTH.search(line):
        return _nth(found, at)
    if re.search(r"\b(?:year|yearly|years)\b", line) and (found := _ON_DATE.search(line)):
        return _yearly(found, at)
    if re.search(r"\b(?:every|once a|1) quarter\b|\bquarterly\b|\bevery 3 months\b", line):
        return f"*-01,04,07,10-01 {at}"
    if re.search(r"\b(?:half|halbe\w*) years?\b|\bevery 6 months\b", line):
        return f"*-01,07-01 {at}"
    for pattern in _OF_MONTH:
        if (found := pattern.search(line)) and 1 <= int(found["day"]) <= 31:
            return f"*-*-{int(found['day']):02} {at}"
    if days := _weekdays(line):
        return f"{days} *-*-* {at}"
    if found := _INTERVAL.search(line):
        return _interval(found, at)
    if re.search(r"\b(?:monthly|every months?|1 month)\b", line):
        return f"*-*-01 {at}"
    parts = "|".join(PARTS)
    if re.search(rf"\b(?:daily|every (?:days?|{parts})|1 day|all days|all (?:the )?days)\b", line):
        return f"*-*-* {at}"
    return ""


def _times(line: str, clocks: list[Clock]) -> str:
    """Hours and minute: "08:00:00", "10,12,14:00:00". A bare 1 to 5 is in the afternoon."""
    if not clocks:
        part = part_in(line)
        at = PARTS[part] if part else _DEFAULT
        return f"{at:%H:%M}:00"
    times = [
        clock.at.replace(hour=clock.at.hour + 12) if not clock.sure and 1 <= clock.at.hour <= 5 else clock.at
        for clock in clocks
    ]
    same = [one.hour for one in times if one.minute == times[0].minute]
    return f"{','.join(f'{hour:02}' for hour in sorted(set(same)))}:{times[0].minute:02}:00"


def _weekdays(line: str) -> str:
    if found := _RANGE.search(line):
        first, last = _NAMES[found["first"]], _NAMES[found["last"]]
        return f"{first}..{last}" if DAYS.index(found["first"]) < DAYS.index(found["last"]) else ""
    if re.search(r"\b(?:every weekday|weekdays|workday)\b", line):
        return "Mon..Fri"
    if re.search(r"\b(?:every|at|on) weekends?\b", line):
        return "Sat,Sun"
    repeated = re.search(r"\b(?:every|weekly|all|once a week|1 week)\b", line)
    for found in _LIST.finditer(line):
        names = re.findall(DAY_NAME, found[0])
        if repeated or re.search(r"days\b", found[0]):
            return ",".join(_NAMES[day] for day in DAYS if day in names)
    return ""


def _interval(found: re.Match[str], at: str) -> str:
    unit = found["unit"] or found["one"]
    number = int(found["number"] or 1)
    if unit in ("hour", "hourly", "uur", "h"):
        return (
            "*-*-* *:00:00"
            if number == 1
            else f"*-*-* 00/{number}:00:00"
            if number and 24 % number == 0
            else ""
        )
    if unit in ("minute", "min"):
        return f"*-*-* *:00/{number}:00" if number and number < 60 and 60 % number == 0 else ""
    if number != 1:
        return ""
    return {"day": f"*-*-* {at}", "month": f"*-*-01 {at}"}.get(unit, "")


def _nth(found: re.Match[str], at: str) -> str:
    """The first Monday of a month is in its first seven days; the last day is one before its end."""
    order, day = found["order"], found["day"]
    week = _WEEKS.get(order)
    if day == "weekday":
        return ""
    if day == "day":
        return f"*-*-{week:02} {at}" if week else f"*-*~01 {at}"
    days = f"{7 * week - 6:02}..{7 * week:02}" if week else ""
    return f"{_NAMES[day]} *-*-{days} {at}" if week else f"{_NAMES[day]} *-*~07/1 {at}"


def _yearly(found: re.Match[str], at: str) -> str:
    number = int(found["day"] or found["number"])
    name = found["month"] or found["name"]
    month = [one[:3] for one in MONTHS].index(name[:3]) + 1
    longest = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]
    return f"*-{month:02}-{number:02} {at}" if 1 <= number <= longest else ""
