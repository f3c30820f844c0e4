"""When an OnCalendar expression comes, as systemd has it."""

import re
import shutil
import subprocess
from datetime import datetime

import pytest
from reminders_fixture import at, zone

from agentd import recurrence


def coming(expression: str, now: str, count: int = 3) -> list[str]:
    return [f"{one:%Y-%m-%d %H:%M}" for one in recurrence.first(expression, at(now), count)]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("*-*-* 08:00:00", ["2026-11-25 08:00", "2026-11-26 08:00"]),
        ("Mon..Fri *-*-* 06:00:00", ["2026-11-25 06:00", "2026-11-26 06:00"]),
        ("Sat,Sun *-*-* 10,22:30:00", ["2026-11-28 10:30", "2026-11-28 22:30"]),
        ("*-*-01 09:00:00", ["2026-12-01 09:00", "2027-01-01 09:00"]),
        ("*-*-31 09:00:00", ["2026-12-31 09:00", "2027-01-31 09:00"]),
        ("*-01,04,07,10-01 09:00:00", ["2027-01-01 09:00", "2027-04-01 09:00"]),
        ("*-02-29 09:00:00", ["2028-02-29 09:00", "2032-02-29 09:00"]),
        ("*-*~01 09:00:00", ["2026-11-30 09:00", "2026-12-31 09:00"]),
        ("Mon *-*~07/1 09:00:00", ["2026-11-30 09:00", "2026-12-28 09:00"]),
        ("Mon *-*-01..07 09:00:00", ["2026-12-07 09:00", "2027-01-04 09:00"]),
        ("*-*-* *:00/30:00", ["2026-11-25 00:30", "2026-11-25 01:00"]),
        ("*-*-* 00/6:00:00", ["2026-11-25 06:00", "2026-11-25 12:00"]),
        ("*-02-30 09:00:00", []),
    ],
)
def test_a_recurrence_comes_when_it_says(expression: str, expected: list[str]) -> None:
    with zone("UTC"):
        assert coming(expression, "2026-11-25 00:00", 2) == expected


def test_a_moment_is_after_and_not_at_now_and_the_last_may_be_now() -> None:
    with zone("UTC"):
        daily = recurrence.parse("*-*-* 08:00:00")
        assert daily.next(at("2026-11-25 08:00")) == at("2026-11-26 08:00")
        assert daily.last(at("2026-11-25 08:00")) == at("2026-11-25 08:00")
        assert daily.last(at("2026-11-25 07:59:59")) == at("2026-11-24 08:00")
        assert recurrence.parse("*-02-30 09:00:00").last(at("2026-11-25 08:00")) is None


def test_a_time_that_the_spring_leaves_out_does_not_come_that_day() -> None:
    with zone("Europe/Berlin"):
        assert coming("*-*-* 02:30:00", "2026-03-27 22:00", 3) == [
            *("2026-03-28 01:30", "2026-03-30 00:30", "2026-03-31 00:30")
        ]


def test_a_time_that_the_autumn_has_twice_comes_once() -> None:
    with zone("Europe/Berlin"):
        assert coming("*-*-* 02:30:00", "2026-10-24 22:00", 2) == ["2026-10-25 00:30", "2026-10-26 01:30"]
        assert coming("*-*-* *:00:00", "2026-10-24 23:30", 3) == [
            *("2026-10-25 00:00", "2026-10-25 02:00", "2026-10-25 03:00")
        ]


@pytest.mark.parametrize(
    "expression", ["", "daily", "Fri..Mon *-*-* 09:00:00", "*-*-* 25:00:00", "*-13-01 09:00:00"]
)
def test_what_is_not_known_is_told(expression: str) -> None:
    with pytest.raises(ValueError, match=r"no schedule|within|after it begins"):
        recurrence.parse(expression)


@pytest.mark.parametrize(
    "name", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]
)
@pytest.mark.parametrize(
    "expression",
    [
        "*-*-* 02:30:00",
        "Sun *-*-* 03:00:00",
        "*-*-* 00/3:00:00",
        "*-*~07/1 01:30:00",
        "Mon..Fri *-*-08..14 23:15:00",
    ],
)
def test_systemd_says_the_same(name: str, expression: str) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    with zone(name):
        for month in (3, 4, 9, 10):
            base = datetime(2026, month, 20, 11, 7)
            asked = subprocess.run(
                [
                    *("systemd-analyze", "calendar", "--iterations", "12"),
                    *("--base-time", f"{base:%Y-%m-%d %H:%M:%S} UTC", expression),
                ],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            told = re.findall(r"in UTC\): \w+ (\S+ \d\d:\d\d)", asked)
            assert told == coming(expression, f"{base:%Y-%m-%d %H:%M}", 12)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("*-*-* 08:00:00", "daily 08:00"),
        ("Mon..Fri *-*-* 06:30:00", "Mon..Fri 06:30"),
        ("*-*-* *:00/15:00", "*:00/15"),
        ("*-*-01 09:00:00", "*-*-01 09:00"),
    ],
)
def test_a_schedule_is_said_in_short(expression: str, words: str) -> None:
    assert recurrence.said(expression) == words
