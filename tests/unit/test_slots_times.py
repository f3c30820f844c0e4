"""Moments, spans and repetitions become absolute times, seconds and OnCalendar expressions."""

import shutil
import subprocess
import sys
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.routing.slot_schedules import schedule
from agentd.routing.slot_text import without
from agentd.routing.slot_times import duration, since, when
from agentd.tools.arguments import check
from agentd.tools.tool import Argument, Kind, Level, Tool
from bench.slot_world import NOW

# NOW is Wednesday 13 May 2026, 14:20, in Berlin.


def _moment(text: str) -> str | None:
    value = when(text, NOW).value
    return value[:16] if value else None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tomorrow at 9", "2026-05-14T09:00"),
        ("tomorow at 9", "2026-05-14T09:00"),
        ("in 20 minutes", "2026-05-13T14:40"),
        ("in an hour and a half", "2026-05-13T15:50"),
        ("in half an hour", "2026-05-13T14:50"),
        ("next friday", "2026-05-15T09:00"),
        ("on Wednesday", "2026-05-20T09:00"),
        ("on Wednesday at 16:00", "2026-05-13T16:00"),
        ("friday noon", "2026-05-15T12:00"),
        ("5", "2026-05-13T17:00"),
        ("at 5", "2026-05-13T17:00"),
        ("at 1", "2026-05-14T01:00"),
        ("at 17:00", "2026-05-13T17:00"),
        ("at 08:00", "2026-05-14T08:00"),
        ("at half past six", "2026-05-13T18:30"),
        ("at quarter to two", "2026-05-14T01:45"),
        ("at ten past three", "2026-05-13T15:10"),
        ("at 7 in the evening", "2026-05-13T19:00"),
        ("tomorrow at 3", "2026-05-14T15:00"),
        ("tomorrow evening at 8", "2026-05-14T20:00"),
        ("this evening", "2026-05-13T19:00"),
        ("on 14 May at 10 a.m.", "2026-05-14T10:00"),
        ("14 March", "2027-03-14T09:00"),
        ("24 December at ten: phone", "2026-12-24T10:00"),
        ("the 9th at eight", "2026-06-09T08:00"),
        ("in 3 days at 18:00", "2026-05-16T18:00"),
        ("the day after tomorrow", "2026-05-15T09:00"),
        ("2026-06-01 at 12:30", "2026-06-01T12:30"),
        ("an hour before the game at eight", "2026-05-13T19:00"),
        ("end of month", "2026-05-31T09:00"),
        ("in 20 Minuten", "2026-05-13T14:40"),
        ("in einer halben Stunde", "2026-05-13T14:50"),
        ("morgen um 9", "2026-05-14T09:00"),
        ("morgen früh um halb neun", "2026-05-14T08:30"),
        ("übermorgen um 17 Uhr", "2026-05-15T17:00"),
        ("am Freitag um 8", "2026-05-15T08:00"),
        ("dans 10 minutes", "2026-05-13T14:30"),
        ("demain à 8h", "2026-05-14T08:00"),
        ("à 18 h", "2026-05-13T18:00"),
        ("lundi à 7 heures et demie", "2026-05-18T07:30"),
        ("mañana a las 9", "2026-05-14T09:00"),
        ("a la una", "2026-05-14T01:00"),
        ("dentro de dos horas", "2026-05-13T16:20"),
        ("domani alle 9", "2026-05-14T09:00"),
        ("stasera", "2026-05-13T20:00"),
        ("amanhã às 15h", "2026-05-14T15:00"),
        ("vrijdag om 10 uur", "2026-05-15T10:00"),
        ("yesterday at 9", None),
        ("this morning", None),
        ("on 30 February", None),
        ("in 0 minutes", None),
        ("call mum", None),
        ("", None),
    ],
)
def test_a_moment_is_absolute_and_ahead(text: str, expected: str | None) -> None:
    assert _moment(text) == expected


def test_a_moment_that_a_clock_change_leaves_out_is_moved_behind_it() -> None:
    night = datetime(2026, 3, 28, 12, 0, tzinfo=ZoneInfo("Europe/Berlin"))
    assert when("tomorrow at 02:30", night).value == "2026-03-29T03:30:00+02:00"
    assert when("in 24 hours", night).value == "2026-03-29T13:00:00+02:00"


def test_the_places_of_a_moment_can_be_cut_out() -> None:
    text = "remind me tomorow at 9 to pay teh rent"
    assert without(text, when(text, NOW).spans) == "remind me to pay teh rent"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90 seconds", 90),
        ("an hour and a half", 5400),
        ("half an hour", 1800),
        ("1h30", 5400),
        ("3:00", 180),
        ("25 min timer go", 1500),
        ("tiemr 20 minuets", 1200),
        ("three and a half minutes", 210),
        ("2 hours and 15 minutes", 8100),
        ("thirty-five minutes", 2100),
        ("a three-quarter-hour timer", 2700),
        ("eine halbe Stunde", 1800),
        ("anderthalb Stunden", 5400),
        ("fünfunddreißig Minuten", 2100),
        ("une heure et demie", 5400),
        ("un quart d'heure", 900),
        ("veinte minutos", 1200),
        ("otto minuti", 480),
        ("un quarto d'ora", 900),
        ("twee uur", 7200),
        ("0 minutes", None),
        ("9000 days", None),
        ("20", None),
        ("egg timer", None),
    ],
)
def test_a_duration_is_seconds(text: str, seconds: int | None) -> None:
    assert duration(text).value == seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("since yesterday", "2026-05-12T00:00"),
        ("shwo logs of sshd sicne yesteday", "2026-05-12T00:00"),
        ("in the last hour", "2026-05-13T13:20"),
        ("log cron last 2h", "2026-05-13T12:20"),
        ("today", "2026-05-13T00:00"),
        ("erorrs tody?", "2026-05-13T00:00"),
        ("last night", "2026-05-12T18:00"),
        ("since midnight", "2026-05-13T00:00"),
        ("since this morning", "2026-05-13T05:00"),
        ("since yesterday evening", "2026-05-12T18:00"),
        ("this week", "2026-05-11T00:00"),
        ("since monday", "2026-05-11T00:00"),
        ("from 3 March onwards", "2026-03-03T00:00"),
        ("2 hours ago", "2026-05-13T12:20"),
        ("since 14:00", "2026-05-13T14:00"),
        ("since 15:00", "2026-05-12T15:00"),
        ("seit gestern um 14 Uhr", "2026-05-12T14:00"),
        ("in den letzten 3 Stunden", "2026-05-13T11:20"),
        ("vor 2 Stunden", "2026-05-13T12:20"),
        ("depuis ce matin", "2026-05-13T05:00"),
        ("il y a 2 heures", "2026-05-13T12:20"),
        ("hace 3 horas", "2026-05-13T11:20"),
        ("da ieri", "2026-05-12T00:00"),
        ("nell'ultima ora", "2026-05-13T13:20"),
        ("since boot", "boot"),
        ("since the last reboot", "boot"),
        ("seit dem Neustart", "boot"),
        ("depuis le démarrage", "boot"),
        ("tomorrow", None),
        ("show me the errors", None),
    ],
)
def test_a_moment_in_the_past_is_absolute(text: str, expected: str | None) -> None:
    value = since(text, NOW).value
    assert (value and value[:16]) == expected


SCHEDULES = [
    ("every day at 8", "*-*-* 08:00:00"),
    ("daily 07:30 vitamins", "*-*-* 07:30:00"),
    ("every monday and thursday at 7:30", "Mon,Thu *-*-* 07:30:00"),
    ("on Mondays and Thursdays", "Mon,Thu *-*-* 09:00:00"),
    ("monday to friday at 9", "Mon..Fri *-*-* 09:00:00"),
    ("weekdays at 6", "Mon..Fri *-*-* 06:00:00"),
    ("every weekend", "Sat,Sun *-*-* 09:00:00"),
    ("every thursday evening", "Thu *-*-* 19:00:00"),
    ("every day at 5 say homework time", "*-*-* 17:00:00"),
    ("at 10, 12, 14 and 16 o'clock, every day", "*-*-* 10,12,14,16:00:00"),
    ("on the 1st of every month", "*-*-01 09:00:00"),
    ("On the first of each month", "*-*-01 09:00:00"),
    ("monthly on the 15th at noon", "*-*-15 12:00:00"),
    ("last day of every month", "*-*~01 09:00:00"),
    ("first Monday of the month", "Mon *-*-01..07 09:00:00"),
    ("every last friday of the month", "Fri *-*~07/1 09:00:00"),
    ("every year on 3 October", "*-10-03 09:00:00"),
    ("every quarter", "*-01,04,07,10-01 09:00:00"),
    ("every hour", "*-*-* *:00:00"),
    ("every 2 hours", "*-*-* 00/2:00:00"),
    ("every 15 minutes", "*-*-* *:00/15:00"),
    ("jeden Montag um 7 Uhr", "Mon *-*-* 07:00:00"),
    ("werktags um 6", "Mon..Fri *-*-* 06:00:00"),
    ("montags und mittwochs um halb acht", "Mon,Wed *-*-* 07:30:00"),
    ("alle 2 Stunden", "*-*-* 00/2:00:00"),
    ("am 1. jeden Monats um 10 Uhr", "*-*-01 10:00:00"),
    ("tous les lundis", "Mon *-*-* 09:00:00"),
    ("chaque matin à 7 h", "*-*-* 07:00:00"),
    ("todos los días a las 8", "*-*-* 08:00:00"),
    ("cada lunes a las 10", "Mon *-*-* 10:00:00"),
    ("ogni mattina", "*-*-* 09:00:00"),
    ("elke dinsdag", "Tue *-*-* 09:00:00"),
]
_REPEAT = Tool("t", "t", Level.CHANGE, arguments=(Argument("schedule", Kind.SCHEDULE, "when"),))


@pytest.mark.parametrize(("text", "expected"), SCHEDULES)
def test_a_repetition_is_an_expression_that_check_takes(text: str, expected: str) -> None:
    assert schedule(text).value == expected
    assert check(_REPEAT, {"schedule": expected}) == {"schedule": expected}


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_reads_every_expression() -> None:
    expressions = [expected for _, expected in SCHEDULES]
    subprocess.run(["systemd-analyze", "calendar", *expressions], check=True, capture_output=True)


@pytest.mark.parametrize(
    "text", ["every other week", "every 90 minutes", "twice a day", "every 2 weeks", "weekly", "hello", ""]
)
def test_what_no_expression_can_say_is_asked(text: str) -> None:
    found = schedule(text)
    assert not found.value
    assert found.question


@given(st.text(alphabet="every day at 0123456789:,.amonth st/-*$;\n", max_size=60))
def test_a_schedule_is_made_by_the_builder_alone(text: str) -> None:
    value = schedule(f"every {text}").value
    if value:
        assert check(_REPEAT, {"schedule": value})


def test_parsedatetime_is_not_loaded_for_what_the_grammar_knows() -> None:
    code = (
        "import sys; from agentd.routing.slot_times import when; from bench.slot_world import NOW;"
        "when('tomorrow at 9', NOW); when('in 20 Minuten', NOW); assert 'parsedatetime' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
