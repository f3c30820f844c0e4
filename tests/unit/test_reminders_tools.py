"""Reminders as tools: what is asked, which steps are done, the way back, and whose they are."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from reminders_fixture import OWNER, World, zone

from agentd.errors import InvalidArguments
from agentd.policy import Origin
from agentd.tools.reminder_words import matching, timer
from agentd.tools.tool import Context, Lacking

STRANGER = Origin("mallory", False, "console")
MUM = {"text": "call mum", "when": "2026-11-25T10:00:00+01:00"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with zone("Europe/Berlin"):
        world = World(tmp_path, "2026-11-25 08:00")
        yield world
        world.database.close()


def texts(world: World) -> list[str]:
    return [one.text for one in world.store.of("owner")]


def test_a_reminder_is_shown_and_set_after_a_yes(world: World) -> None:
    assert world.ask("time.remind", **MUM) == "Remind of “call mum” on Wed 2026-11-25 10:00?"
    assert world.waiting is not None
    assert world.waiting.action.plan.effects[0] == "It comes in 1 hour."
    assert (texts(world), world.timers()) == ([], [])
    assert world.say_yes() == (
        "I will remind you on Wed 2026-11-25 10:00: call mum. To take it back: agent undo"
    )
    assert (texts(world), world.timers()) == (["call mum"], ["2026-11-25T09:00:00Z"])


def test_the_broker_is_told_nothing_but_an_id_and_a_time(world: World) -> None:
    id = world.set("time.remind", **MUM)
    [step] = world.broker.steps
    assert (step.verb, step.arguments) == ("timer.set", {"id": id, "when": "2026-11-25T09:00:00Z"})


def test_the_audit_keeps_none_of_the_words(world: World) -> None:
    world.set("time.remind", **{**MUM, "text": "xyzzy one"})
    world.set("time.remind", **{**MUM, "text": "xyzzy two"})
    world.ask("time.cancel", which="xyzzy")
    world.do("time.cancel", which="two")
    entries = world.acting.audit.entries(100)
    assert len(entries) > 8
    assert not any("xyzzy" in str(entry.about) for entry in entries)


def test_undo_takes_a_reminder_back_and_again_brings_it_back(world: World) -> None:
    world.set("time.remind", **MUM)
    assert "Taken back" in world.do("agent.undo")
    assert (texts(world), world.timers()) == ([], [])
    world.set("time.remind", **MUM)
    world.do("time.cancel", which="mum")
    assert (texts(world), world.timers()) == ([], [])
    assert "Taken back" in world.do("agent.undo")
    assert (texts(world), world.timers()) == (["call mum"], ["2026-11-25T09:00:00Z"])


def test_nothing_stays_behind_where_no_timer_can_be_set(world: World) -> None:
    world.broker.problem = "the broker is not there."
    told = world.do("time.remind", **MUM)
    assert told.endswith("the broker is not there. Now: it is not set.")
    assert (texts(world), world.timers()) == ([], [])
    assert world.ask("agent.undo") == "there is no change that could be taken back (agent log)"


def test_a_timer_whose_reminder_was_lost_is_used_again(world: World) -> None:
    id = world.set("time.remind", **MUM)
    world.store.drop(id, "owner")
    assert world.set("time.remind", **MUM) == id
    assert [step.verb for step in world.broker.steps] == ["timer.set"]


def test_a_reminder_that_lost_its_timer_is_told_and_can_be_cancelled(world: World) -> None:
    world.set("time.remind", **MUM)
    next(world.broker.folder.iterdir()).unlink()
    assert "call mum  (has no timer: it will not ring)" in world.ask("time.list")
    assert world.do("time.cancel", which="mum").startswith("Cancelled: call mum.")


def test_a_timer_without_a_reminder_is_taken_away_by_its_id(world: World) -> None:
    id = world.set("time.remind", **MUM)
    world.store.drop(id, "owner")
    assert world.do("time.cancel", which=id) == f"The timer {id} was taken away."
    assert world.timers() == []


def test_the_same_reminder_is_not_set_twice(world: World) -> None:
    id = world.set("time.remind", **MUM)
    assert world.ask("time.remind", **MUM) == f"there is this reminder already, as {id} (agent reminders)"


@pytest.mark.parametrize(
    "text", ["100 % done\nand \x1b[2J more\t%i %h", "é\u202e x", "a" * 4000, "'; DROP TABLE--"]
)
def test_any_words_are_kept_as_they_are_and_shown_on_one_line(world: World, text: str) -> None:
    asked = world.ask("time.remind", **{**MUM, "text": text})
    assert asked.isprintable()
    assert len(asked) < 120
    world.say_yes()
    assert texts(world) == [text]
    assert all(line.isprintable() for line in world.ask("time.list").split("\n"))
    assert world.timers() == ["2026-11-25T09:00:00Z"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({**MUM, "when": "2026-11-25T08:59:00+01:00"}, "that moment has passed"),
        ({**MUM, "when": "2099-01-01T00:00:00+01:00"}, "that is more than fifty years away"),
        ({**MUM, "text": "   "}, "what shall the reminder say?"),
        ({**MUM, "text": "half \ud800"}, "that is no text"),
    ],
)
def test_what_cannot_be_set_is_told_before_anything_is_asked(
    world: World, arguments: dict[str, str], why: str
) -> None:
    assert world.ask("time.remind", **arguments) == why
    assert world.waiting is None


def test_a_yes_after_the_moment_comes_too_late(world: World) -> None:
    world.ask("time.remind", **MUM)
    world.clock.set("2026-11-25 09:00:01")
    assert world.say_yes() == "that moment has passed"
    assert texts(world) == []


def test_a_timer_runs_from_when_it_was_asked_for(world: World) -> None:
    world.clock.set("2026-11-25 08:00:00.25")
    assert world.ask("time.timer", duration=600) == "Set a timer of 10 minutes?"
    world.clock.set("2026-11-25 08:02:00")
    assert world.say_yes().startswith("Timer of 10 minutes: it ends on Wed 2026-11-25 09:10:01.")
    assert world.timers() == ["2026-11-25T08:10:01Z"]
    # Another one of the same length is another one, also when the first was refused or forgotten.
    world.ask("time.timer", duration=600)
    world.clock.set("2026-11-25 08:03:00")
    world.do("time.timer", duration=600)
    assert sorted(world.timers()) == ["2026-11-25T08:10:01Z", "2026-11-25T08:13:00Z"]


def test_a_repeated_reminder_shows_when_it_comes(world: World) -> None:
    asked = world.ask("time.repeat", text="pills", schedule="Mon..Fri *-*-* 20:00:00")
    assert asked == "Remind of “pills” again and again: Mon..Fri 20:00?"
    assert world.waiting is not None
    assert world.waiting.action.plan.effects[0] == (
        "It comes on Wed 2026-11-25 20:00, on Thu 2026-11-26 20:00, on Fri 2026-11-27 20:00 ..."
    )
    # It is the same plan when it came in between.
    world.clock.set("2026-11-25 19:00:01")
    world.say_yes()
    assert world.timers() == ["Mon..Fri *-*-* 20:00:00"]


def test_a_schedule_that_never_comes_is_told(world: World) -> None:
    assert (
        world.ask("time.repeat", text="x", schedule="*-02-30 20:00:00") == "'*-02-30 20:00:00' never comes"
    )
    with pytest.raises(InvalidArguments):
        world.ask("time.repeat", text="x", schedule="*-*-* 20:00:00\nUnit=x")


def test_reminders_are_listed_with_what_comes_next_first(world: World) -> None:
    assert world.ask("time.list") == "No reminder, timer or recurring task is set."
    rang = world.set("time.timer", duration=60)
    world.set("time.repeat", text="pills", schedule="*-*-* 20:00:00")
    world.set("time.remind", **MUM)
    world.clock.set("2026-11-25 08:01:00")
    world.store.ring(rang)
    found = world.acting.do("time.list", {}, OWNER)
    assert [line.split(maxsplit=1)[1].lstrip() for line in found.text.splitlines()] == [
        "next                       comes        what",
        "Wed 2026-11-25 10:00       once         call mum",
        "Wed 2026-11-25 20:00       daily 20:00  pills",
        "rang Wed 2026-11-25 09:01  once         Timer of 1 minute",
    ]
    assert [one.get("next") for one in found.facts] == ["2026-11-25T09:00:00Z", "2026-11-25T19:00:00Z", None]


def test_what_should_have_rung_and_did_not_is_told(world: World) -> None:
    world.set("time.remind", **MUM)
    world.clock.set("2026-11-25 12:00")
    assert "was due Wed 2026-11-25 10:00, did not ring" in world.ask("time.list")


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ("the reminder about mum", ["call mum"]),
        ("reminder dentist", ["dentist, Dr. Weber"]),
        ("the pill reminders", ["take the pills"]),
        ("my 7am alarm", ["take the pills"]),
        ("the daily one", ["take the pills"]),
        ("the one at 10", ["call mum"]),
        ("the Friday reminder", ["dentist, Dr. Weber"]),
        ("dentist on friday", ["dentist, Dr. Weber"]),
        ("the timer", ["Timer of 10 minutes"]),
        ("the ten minute timer", ["Timer of 10 minutes"]),
        ("the 20 minute timer", []),
        ("the cat", []),
        ("all", []),
        ("mum on friday", []),
        ("it", ["call mum", "Timer of 10 minutes", "take the pills", "dentist, Dr. Weber"]),
    ],
)
def test_a_reminder_is_found_by_what_people_call_it(world: World, which: str, expected: list[str]) -> None:
    world.set("time.remind", **MUM)
    world.set("time.remind", text="dentist, Dr. Weber", when="2026-11-27T15:30:00+01:00")
    world.set("time.repeat", text="take the pills", schedule="*-*-* 07:00:00")
    world.set("time.timer", duration=600)
    found = matching(which, world.store.of("owner"), world.clock())
    assert sorted(one.text for one in found) == sorted(expected)


def test_two_that_fit_are_named_and_none_is_cancelled(world: World) -> None:
    mum = world.set("time.remind", **MUM)
    dad = world.set("time.repeat", text="call dad", schedule="*-*-* 20:00:00")
    told = world.ask("time.cancel", which="call")
    assert told == (
        "2 fit this: say which, by its id"
        f" ({mum}: call mum, Wed 2026-11-25 10:00; {dad}: call dad, daily 20:00)"
    )
    assert world.ask("time.cancel", which="the cat").startswith("none that is set fits this (")
    assert world.do("time.cancel", which=dad).startswith("Cancelled: call dad.")
    assert texts(world) == ["call mum"]


def test_what_rang_cannot_be_cancelled(world: World) -> None:
    id = world.set("time.remind", **MUM)
    world.clock.set("2026-11-25 09:00")
    world.store.ring(id)
    assert world.ask("time.cancel", which="mum") == "no reminder, timer or recurring task is set"


def test_what_rings_while_it_is_being_cancelled_is_not(world: World) -> None:
    id = world.set("time.remind", **MUM)
    world.ask("time.cancel", which="mum")
    world.clock.set("2026-11-25 09:00")
    world.store.ring(id)
    assert world.say_yes() == "no reminder, timer or recurring task is set"
    assert texts(world) == ["call mum"]


def test_people_see_and_cancel_only_their_own(world: World) -> None:
    id = world.set("time.remind", **MUM)
    assert world.ask("time.list", STRANGER) == "No reminder, timer or recurring task is set."
    assert "only the owner" in world.ask("time.cancel", STRANGER, which=id)
    # Where a rule lets them change things, too.
    tools = world.acting.tools()
    world.store.keep("theirs", "mallory", "steal", "2026-11-28T13:37:00Z", None)
    plan = tools["time.cancel"].plan
    assert plan is not None
    for which in (id, "mum", "call mum", "at 10"):
        with pytest.raises(Lacking, match="none that is set fits"):
            plan(Context(None, "mallory"), {"which": which})  # type: ignore[arg-type]
    assert texts(world) == ["call mum"]


def test_a_database_that_takes_nothing_is_told(world: World) -> None:
    world.ask("time.remind", **MUM)
    with world.database.writing() as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON reminders BEGIN SELECT RAISE(FAIL, 'full'); END"
        )
    assert "full" in world.say_yes()
    assert texts(world) == []
    with world.database.writing() as connection:
        connection.execute("DROP TRIGGER full")
    # Its timer is there already.
    world.set("time.remind", **MUM)
    assert world.timers() == ["2026-11-25T09:00:00Z"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(1, "1 second"), (5, "5 seconds"), (90, "1 minute 30 seconds"), (3600, "1 hour")]
)
def test_a_timer_is_called_by_its_length(seconds: int, text: str) -> None:
    assert timer(seconds) == f"Timer of {text}"
