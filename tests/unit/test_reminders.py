"""A reminder rings once for each time it is due, whatever the clock and its unit do."""

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reminders_fixture import World, at, zone

from agentd.database import Database
from agentd.reminders import Reminder, ReminderStore

MUM = {"text": "call mum", "when": "2026-11-25T10:00:00+01:00"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with zone("Europe/Berlin"):
        world = World(tmp_path, "2026-11-25 08:00")
        yield world
        world.database.close()


def ring(world: World, id: str) -> str:
    return world.store.ring(id, patience=0).state


def unseen(world: World) -> list[tuple[str, bool, int]]:
    return [(one.text, one.missed, one.unseen) for one in world.store.of("owner", unseen=True)]


def test_a_reminder_rings_once_when_it_is_due(world: World) -> None:
    id = world.set("time.remind", **MUM)
    world.clock.set("2026-11-25 09:00:00")
    assert ring(world, id) == "rung"
    assert unseen(world) == [("call mum", False, 1)]
    assert ring(world, id) == "again"
    assert unseen(world) == [("call mum", False, 1)]
    [found] = world.store.of("owner")
    assert (found.state, found.due, found.rung) == ("rung", "2026-11-25T09:00:00Z", "2026-11-25T09:00:00Z")


def test_a_unit_that_is_started_by_hand_too_early_is_refused(world: World) -> None:
    id = world.set("time.remind", **MUM)
    world.clock.set("2026-11-25 08:59:59")
    early = world.store.ring(id, patience=0)
    assert early.text == f"reminder {id} does not ring yet: it is due Wed 2026-11-25 10:00"
    assert (early.state, early.seconds, unseen(world)) == ("early", 1.0, [])
    daily = world.set("time.repeat", text="pills", schedule="*-*-* 08:00:00")
    assert (ring(world, daily), unseen(world)) == ("early", [])


def test_a_reminder_that_was_due_while_the_machine_was_off_is_missed(world: World) -> None:
    id = world.set("time.remind", **MUM)
    world.clock.set("2026-11-28 12:00")
    assert world.store.ring(id).text == f"reminder {id} was missed: was due at Wed 2026-11-25 10:00"
    assert unseen(world) == [("call mum", True, 1)]
    assert world.store.of("owner")[0].state == "missed"


def test_five_minutes_late_is_not_missed(world: World) -> None:
    first = world.set("time.remind", **MUM)
    second = world.set("time.remind", **{**MUM, "text": "call dad"})
    world.clock.set("2026-11-25 09:05:00")
    assert ring(world, first) == "rung"
    world.clock.set("2026-11-25 09:05:01")
    assert ring(world, second) == "missed"


def test_what_comes_again_and_was_missed_several_times_rings_once(world: World) -> None:
    id = world.set("time.repeat", text="pills", schedule="*-*-* 08:00:00")
    world.clock.set("2026-11-29 12:00")
    assert (ring(world, id), ring(world, id)) == ("missed", "again")
    assert unseen(world) == [("pills", True, 1)]
    world.clock.set("2026-11-30 07:00")
    assert ring(world, id) == "rung"
    [found] = world.store.of("owner", unseen=True)
    assert (found.state, found.due, found.unseen) == ("set", "2026-11-30T07:00:00Z", 2)
    assert found.next(world.clock()) == at("2026-12-01 07:00")


def test_a_clock_that_jumps_back_rings_nothing_twice(world: World) -> None:
    once = world.set("time.remind", **MUM)
    daily = world.set("time.repeat", text="pills", schedule="*-*-* 10:00:00")
    for day in ("25", "26"):
        world.clock.set(f"2026-11-{day} 09:00:01")
        ring(world, daily)
    assert ring(world, once) == "missed"
    for now in ("2026-11-25 08:30", "2026-11-25 09:00", "2026-11-26 08:00", "2026-11-26 09:00:00"):
        world.clock.set(now)
        assert {ring(world, once), ring(world, daily)} <= {"again", "early"}
    assert unseen(world) == [("pills", False, 2), ("call mum", True, 1)]


def test_a_clock_that_was_years_ahead_silences_nothing(world: World) -> None:
    world.clock.set("2031-01-01 08:59")
    daily = world.set("time.repeat", text="pills", schedule="*-*-* 10:00:00")
    world.clock.set("2031-01-01 09:00")
    assert ring(world, daily) == "rung"
    world.clock.set("2026-11-25 09:00")
    assert (ring(world, daily), ring(world, daily)) == ("rung", "again")


def test_the_same_hour_of_the_day_is_kept_when_summer_time_ends(world: World) -> None:
    world.clock.set("2026-10-23 12:00")
    id = world.set("time.repeat", text="pills", schedule="*-*-* 10:00:00")
    for now, state in (
        ("2026-10-24 08:00", "rung"),
        ("2026-10-25 08:00", "again"),
        ("2026-10-25 09:00", "rung"),
    ):
        world.clock.set(now)
        assert ring(world, id) == state


def test_an_hour_that_comes_twice_rings_once(world: World) -> None:
    world.clock.set("2026-10-24 22:00")
    id = world.set("time.repeat", text="pills", schedule="*-*-* 02:30:00")
    world.clock.set("2026-10-25 00:30")
    assert ring(world, id) == "rung"
    world.clock.set("2026-10-25 01:30")
    assert ring(world, id) == "again"


def test_a_zone_that_was_changed_meanwhile_is_that_of_the_ring(world: World) -> None:
    id = world.set("time.repeat", text="pills", schedule="*-*-* 10:00:00")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TZ", "America/New_York")
        world.clock.set("2026-11-25 15:00")
        found = world.store.ring(id)
    assert (found.state, found.seconds) == ("rung", 86400.0)


def test_a_timer_without_a_reminder_says_so_and_changes_nothing(world: World) -> None:
    world.set("time.remind", **MUM)
    found = world.store.ring("0123456789ab", patience=0)
    assert found.state == "unknown"
    assert found.text.startswith("there is no reminder 0123456789ab")
    assert len(world.store.of("owner")) == 1


def test_a_timer_that_is_faster_than_its_reminder_waits_for_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.clock.set("2026-11-25 09:00:01")
    states: list[str] = []
    looked, find = threading.Event(), world.store.find

    def look(id: str) -> Reminder | None:
        found = find(id)
        looked.set()
        return found

    monkeypatch.setattr(world.store, "find", look)
    ringing = threading.Thread(target=lambda: states.append(world.store.ring("abc", patience=20).state))
    ringing.start()
    assert looked.wait(10)
    world.store.keep("abc", "owner", "tea", "2026-11-25T09:00:00Z", None)
    ringing.join(10)
    assert states == ["rung"]


def test_two_units_at_once_ring_once(world: World) -> None:
    id = world.set("time.remind", **MUM)
    world.clock.set("2026-11-25 09:00:01")
    states: list[str] = []
    threads = [threading.Thread(target=lambda: states.append(ring(world, id))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(states) == ["again"] * 7 + ["rung"]


def test_what_was_seen_is_told_no_more_and_what_rang_since_is(world: World) -> None:
    id = world.set("time.repeat", text="pills", schedule="*-*-* *:00:00")
    world.clock.set("2026-11-25 09:00")
    ring(world, id)
    [shown] = world.store.of("owner", unseen=True)
    assert shown.ring is not None
    world.clock.set("2026-11-25 10:00")
    ring(world, id)
    world.store.see("stranger", shown.ring)
    assert unseen(world) == [("pills", False, 2)]
    world.store.see("owner", shown.ring)
    assert unseen(world) == [("pills", False, 1)]
    world.store.see("owner", 1 << 80)
    assert unseen(world) == []


def test_what_came_and_was_seen_is_kept_for_a_month(world: World) -> None:
    id = world.set("time.remind", **MUM)
    world.clock.set("2026-11-25 09:00")
    ring(world, id)
    world.store.see("owner", 1)
    assert [one.id for one in world.store.of("owner")] == [id]
    world.clock.set("2026-12-26 09:00")
    world.store.see("owner", 1)
    assert world.store.of("owner") == []


def test_rings_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.reminders.MOST_RINGS", 3)
    id = world.set("time.repeat", text="pills", schedule="*-*-* *:00:00")
    for hour in range(9, 15):
        world.clock.set(f"2026-11-25 {hour:02}:00")
        assert ring(world, id) == "rung"
    assert unseen(world) == [("pills", False, 3)]
    assert ring(world, id) == "again"


def test_reminders_survive_a_restart(world: World) -> None:
    id = world.set("time.remind", **MUM)
    world.database.close()
    world.clock.set("2026-11-25 09:00")
    database = Database(world.database.path)
    store = ReminderStore(database, world.broker.folder, world.clock)
    assert [(one.id, one.text, one.timer) for one in store.of("owner")] == [(id, "call mum", True)]
    assert store.ring(id).state == "rung"
    database.close()


def test_what_a_power_cut_left_alone_is_logged(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    id = world.set("time.remind", **MUM)
    capfd.readouterr()
    world.store.compare()
    assert capfd.readouterr().err == ""
    [file] = world.broker.folder.iterdir()
    file.rename(file.with_name("agentd-reminder-0123.timer"))
    world.store.compare()
    told = capfd.readouterr().err
    assert f"reminders without a timer: {id}" in told
    assert "timers without a reminder: 0123" in told
    assert "mum" not in told


@settings(deadline=None, max_examples=60)
@given(
    text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
    moment=st.datetimes(
        at("2026-11-26 00:00").replace(tzinfo=None), at("2070-01-01 00:00").replace(tzinfo=None)
    ),
)
def test_what_is_kept_is_what_is_found(text: str, moment: object) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), "2026-11-25 08:00")
        told = f"{moment:%Y-%m-%dT%H:%M:%S}Z"
        assert world.store.keep("a", "owner", text, told, None)
        assert not world.store.keep("a", "owner", "other", told, None)
        [found] = world.store.of("owner")
        assert (found.text, found.moment, found.schedule, found.state) == (text, told, None, "set")
        assert world.store.of("stranger") == []
        world.store.drop("a", "stranger")
        assert world.store.find("a") == found
        world.store.drop("a", "owner")
        assert world.store.find("a") is None
        world.database.close()
