"""Quiet hours: the part of the day in which only what is critical is told by itself."""

import re
import time
from dataclasses import dataclass

_FORM = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)\s*-\s*([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From one minute of the day to another, in local time; equal ones are none at all."""

    begin: int = 0
    end: int = 0

    def __str__(self) -> str:
        if self.begin == self.end:
            return ""
        return f"{self.begin // 60:02}:{self.begin % 60:02}-{self.end // 60:02}:{self.end % 60:02}"

    def holds(self, seconds: float) -> bool:
        """Whether a moment (seconds since 1970) is in them; they may reach over midnight."""
        local = time.localtime(seconds)
        minute = local.tm_hour * 60 + local.tm_min
        if self.begin <= self.end:
            return self.begin <= minute < self.end
        return minute >= self.begin or minute < self.end


def parse(text: str) -> QuietHours:
    """ "22:00-07:00" as quiet hours, "" as none. Raises ValueError."""
    if not text.strip():
        return QuietHours()
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not like 22:00-07:00")
    one, two, three, four = map(int, found.groups())
    return QuietHours(60 * one + two, 60 * three + four)
