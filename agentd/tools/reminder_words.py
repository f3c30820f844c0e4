"""Which reminder is meant: "the dentist", "my 7am alarm", "ten minute timer", "the daily one", an id."""

import re
from collections.abc import Sequence
from datetime import datetime

from agentd.reminders import Reminder
from agentd.routing import slot_times
from agentd.tools.render import count, span

_WORD = re.compile(r"\w+")
_SHORTEST = 3
# What people call any of them, and what stands around it.
_PLAIN = re.compile(
    r"alarms?|cancel|countdown|drop|everything|minuteur|one|please|remind|reminders?|remove|stop|timers?|wecker"
    r"|alarma|erinnerung|promemoria|rappel|recordatorio"
    r"|a|about|an|at|for|from|it|me|my|of|off|on|our|that|the|this|to"
    r"|das|de|del|den|der|die|el|il|la|le"
)
_TIMERS = re.compile(r"countdown|minuteur|timers?")
_AGAIN = re.compile(
    r"annual|daily|hourly|monthly|nightly|recurring|regular|repeat(?:ed|ing)|weekly|yearly"
    r"|(?:jähr|monat|stünd|täg|wöchent)liche[nrs]?"
)


def timer(seconds: int) -> str:
    """What a timer of this length is called: "Timer of 10 minutes"."""
    return f"Timer of {span(seconds) if seconds >= 10 else count(seconds, 'second')}"


def matching(which: str, found: Sequence[Reminder], now: datetime) -> list[Reminder]:
    """Those of the reminders that `which` may mean, in their order; an id means just one."""
    said = _words(which)
    if by_id := [one for one in found if one.id in said]:
        return by_id
    fit = list(found)
    if is_timer := any(map(_TIMERS.fullmatch, said)):
        fit = [one for one in fit if one.text.startswith("Timer of ")] or fit
    if any(map(_AGAIN.fullmatch, said)):
        fit = [one for one in fit if one.schedule is not None]
    if length := slot_times.duration(which).value:
        timers = [one for one in fit if one.text == timer(int(length))]
        if timers or is_timer:
            return timers
    words = _telling(which)
    if not words:
        return fit
    by_words = [one for one in fit if _has(one.text, words)]
    # Numbers alone are more likely a time.
    if by_words and not all(map(str.isdecimal, words)):
        return by_words
    # What is left may be a time, alone or with words: "the dentist on friday".
    meant = slot_times.when(which, now.astimezone())
    if not meant.value:
        return by_words
    left = "".join(
        " " if any(start <= place < end for start, end in meant.spans) else letter
        for place, letter in enumerate(which)
    )
    fit = [one for one in fit if _has(one.text, _telling(left))]
    return _at(datetime.fromisoformat(str(meant.value)), fit, now)


def _at(meant: datetime, found: Sequence[Reminder], now: datetime) -> list[Reminder]:
    """Those that come next then, else at that time of another day, by twelve hours too, else that day."""
    # By what clocks show: the offset of today need not be that of another day.
    wall = meant.replace(tzinfo=None)
    nexts = [
        (one, coming.astimezone().replace(tzinfo=None, second=0))
        for one in found
        if (coming := one.next(now)) is not None
    ]
    return (
        [one for one, at in nexts if at == wall.replace(second=0)]
        or [one for one, at in nexts if at.time() == wall.time()]
        or [one for one, at in nexts if (at.hour % 12, at.minute) == (wall.hour % 12, wall.minute)]
        or [one for one, at in nexts if at.date() == wall.date()]
    )


def _has(text: str, words: frozenset[str]) -> bool:
    """Whether a text has all the words, or longer or shorter forms of them: "pill" and "pills"."""
    there = _words(text)
    return all(
        word in there
        or any(
            min(len(word), len(one)) >= _SHORTEST and (one.startswith(word) or word.startswith(one))
            for one in there
        )
        for word in words
    )


def _telling(text: str) -> frozenset[str]:
    """The words that tell one reminder from others."""
    return frozenset(word for word in _words(text) if not (_PLAIN.fullmatch(word) or _AGAIN.fullmatch(word)))


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.casefold()))
