"""Boots, clean or not, and the brief of what somebody missed across them."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from awareness_fixture import failed, notices_in

from agentd.awareness.boots import Boots, boot_id
from agentd.awareness.brief import PAUSE, compose, last_here
from agentd.awareness.event import Event
from agentd.awareness.notices import Notices
from agentd.awareness.store import Boot
from agentd.awareness.tools import AwarenessTools
from agentd.errors import StoreUnavailable
from agentd.session import Conversations
from agentd.tools.bus import Bus
from agentd.tools.tool import Context, Lacking

NOON = 1795608000.0
HOUR = 3600.0


class Machine:
    """A state folder that boots; the clock is the test's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = NOON
        self.notices = notices_in(folder, now=lambda: self.now)
        self.kernel = "6.12.1"
        self.manifest: dict[str, Any] = {"version": "1.0", "build": "aaaa"}

    def boot(self, id: str) -> tuple[Boots, list[Event]]:
        boots = Boots(
            self.folder,
            self.notices.store,
            id,
            self.manifest,
            kernel=self.kernel,
            now=lambda: self.now,
            up=lambda: 10.0,
        )
        events = boots.begin()
        if any(event.kind == "boot" for event in events):
            self.notices.store.new_boot(self.now)
        for event in events:
            self.notices.take(event)
        return boots, events

    def power_cut(self) -> None:
        os.utime(self.folder / "running", (self.now, self.now))

    def say(self, text: str, person: str = "owner") -> None:
        conversations = Conversations(self.notices.store._database)
        begun = conversations.begin(text, None, person)
        conversations.finish(begun, "yes", "complete", None)
        with self.notices.store._database.writing() as connection:
            when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.now))
            connection.execute("UPDATE turns SET time = ? WHERE id >= ?", (when, begun.question))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_first_boot_is_an_event_and_no_notice(machine: Machine) -> None:
    [event] = machine.boot("one")[1]
    assert (event.kind, event.facts["first"]) == ("boot", True)
    assert machine.notices.notices() == []


def test_a_clean_end_says_nothing_in_the_next_boot(machine: Machine) -> None:
    machine.boot("one")[0].end()
    [event] = machine.boot("two")[1]
    assert event.facts["clean"] is True
    assert machine.notices.notices() == []
    assert [boot.clean for boot in machine.notices.store.boots(9)] == [None, True]


def test_a_power_cut_is_a_warning_in_the_next_boot_with_when_it_was(machine: Machine) -> None:
    machine.boot("one")
    machine.power_cut()
    machine.now += HOUR
    machine.boot("two")
    [notice] = machine.notices.notices()
    assert notice.text.startswith("The machine was not shut down cleanly; it was last seen at 2026-11-25")
    assert notice.severity == "warning"
    [_, first] = machine.notices.store.boots(9)
    assert (first.clean, first.ended) == (False, NOON)


def test_agentd_that_was_killed_is_told_as_such_and_not_as_a_boot(machine: Machine) -> None:
    machine.boot("one")
    [event] = machine.boot("one")[1]
    assert (event.kind, event.subject, event.trust) == ("error", "agentd.service", "system")
    assert len(machine.notices.store.boots(9)) == 1


def test_agentd_that_was_restarted_says_nothing(machine: Machine) -> None:
    machine.boot("one")[0].end()
    assert machine.boot("one")[1] == []
    assert [boot.clean for boot in machine.notices.store.boots(9)] == [None]


def test_another_kernel_and_another_image_are_told(machine: Machine) -> None:
    machine.boot("one")[0].end()
    machine.kernel, machine.manifest = "6.12.2", {"version": "1.1", "build": "bbbb"}
    [event] = machine.boot("two")[1]
    assert event.facts["changes"] == {"kernel": ("6.12.1", "6.12.2"), "image": ("1.0 aaaa", "1.1 bbbb")}
    [notice] = machine.notices.notices()
    assert "The kernel changed from 6.12.1 to 6.12.2." in notice.text


def test_a_boot_ends_the_notices_that_cannot_outlive_it(machine: Machine) -> None:
    machine.boot("one")
    machine.notices.take(failed())
    machine.notices.take(Event("disk.full", "/var", "99 % used"))
    machine.notices.flush()
    machine.boot("two")
    assert sorted(one.kind for one in machine.notices.notices()) == ["boot", "disk.full"]


def test_a_state_folder_that_cannot_be_written_is_one_line(
    machine: Machine, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from agentd.awareness import boots

    def refuse(*given: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(boots, "write_file", refuse)
    assert len(machine.boot("one")[1]) == 1
    assert "Read-only file system" in capfd.readouterr().err


def test_the_kernels_boot_id_is_read_where_it_is_shown(tmp_path: Path) -> None:
    assert boot_id(tmp_path / "nothing") == ""
    assert boot_id() == "" or len(boot_id()) == 36


# ---- the brief


def iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def boot_at(seconds: float, number: int = 1) -> Boot:
    return Boot(number, str(number), seconds, None, None, "6.12", "")


@pytest.mark.parametrize(
    ("turns", "boots", "since"),
    [
        ([], [], None),
        # Being here: the question itself, and one a minute before it.
        ([NOON, NOON - 60], [], None),
        ([NOON, NOON - 60, NOON - 60 - PAUSE - 1], [], NOON - 60 - PAUSE - 1),
        # A boot is an end of being here, however short.
        ([NOON, NOON - 60, NOON - 300], [boot_at(NOON - 200)], NOON - 300),
        ([NOON - HOUR], [boot_at(NOON - 60)], NOON - HOUR),
        # A clock that was set back.
        ([NOON, NOON + HOUR, NOON - 10], [], None),
    ],
)
def test_when_somebody_was_last_here(turns: list[float], boots: list[Boot], since: float | None) -> None:
    assert last_here([iso(one) for one in turns], boots, NOON) == since


def test_a_brief_tells_what_happened_across_reboots_and_nothing_from_before(machine: Machine) -> None:
    machine.boot("one")
    machine.notices.take(failed("before.service", time=NOON - HOUR))
    machine.notices.take(Event("unit.recovered", "before.service", time=NOON - HOUR))
    machine.say("good night")
    machine.now += HOUR
    machine.notices.take(Event("disk.full", "/var", "98 % used", time=machine.now))
    for _ in range(3):
        machine.notices.take(
            Event("login", "eve", "from 10.0.0.7", time=machine.now, facts={"remote": True})
        )
    machine.notices.flush()
    machine.power_cut()
    machine.now += HOUR
    machine.kernel = "6.12.2"
    machine.boot("two")
    machine.notices.take(failed(time=machine.now))
    machine.now += HOUR
    machine.say("what happened since I was last here?")
    brief = compose(machine.notices, "owner", True, machine.now)
    assert brief.facts["since"] == iso(NOON)
    [boot] = brief.facts["boots"]
    assert boot["began"] == iso(NOON + 2 * HOUR - 10)
    assert boot["last_ended_cleanly"] is False
    assert boot["changes"] == {"kernel": ["6.12.1", "6.12.2"]}
    assert brief.facts["failed_units"] == ["nginx.service"]
    assert brief.facts["logins"] == [{"who": "eve", "where": "from 10.0.0.7", "times": 3}]
    for words in (
        "ended without being shut down",
        "The kernel changed from 6.12.1 to 6.12.2.",
        "The disk at /var is filling up: 98 % used.",
        "Failed now: nginx.service.",
        "eve logged in from 10.0.0.7, 3 times.",
    ):
        assert words in brief.text
    assert "before.service" not in brief.text
    json.dumps(brief.facts)


def test_a_brief_of_nothing_says_so(machine: Machine) -> None:
    machine.say("good night")
    machine.now += HOUR
    assert "Nothing happened" in compose(machine.notices, "owner", True, machine.now).text


def test_a_guest_sees_no_logins_and_nothing_that_programs_wrote(machine: Machine) -> None:
    for event in (
        Event("login", "ada", "from 10.0.0.7", facts={"remote": True}),
        Event("error", "sshd.service", "password of ada: hunter2", trust="untrusted"),
        failed(),
    ):
        machine.notices.take(event)
    for is_owner, seen in ((True, True), (False, False)):
        brief = compose(machine.notices, "eve", is_owner, machine.now)
        assert ("hunter2" in brief.text) is seen
        assert ("ada" in brief.text) is seen
        assert "nginx.service failed" in brief.text


def test_a_long_time_is_told_shortly(machine: Machine) -> None:
    for number in range(60):
        machine.notices.take(failed(f"u{number}.service"))
    brief = compose(machine.notices, "owner", True, machine.now)
    assert len(brief.text.splitlines()) < 25
    assert "... and 45 more." in brief.text
    assert len(brief.facts["notices"]) == 60


# ---- tools


@pytest.fixture
def context(tmp_path: Path) -> Callable[[str], Context]:
    bus = Bus(f"unix:path={tmp_path}/nobody")
    return lambda person: Context(bus, person)


def run(notices: Notices, name: str, context: Context) -> Any:
    [tool] = [one for one in AwarenessTools(notices).tools() if one.name == name]
    assert tool.run is not None
    assert tool.level == "read"
    return tool.run(context, {})


def test_the_tool_shows_the_worst_first_and_what_may_help(
    machine: Machine, context: Callable[[str], Context]
) -> None:
    assert run(machine.notices, "agent.notices", context("owner")).text == "No notice is open."
    machine.notices.take(Event("login", "ada", "from 10.0.0.7", facts={"remote": True}))
    machine.notices.take(failed())
    answer = run(machine.notices, "agent.notices", context("owner"))
    assert [one["kind"] for one in answer.facts] == ["unit.failed", "login"]
    assert "may be helped by: agent tool services.restart unit=nginx.service" in answer.text
    assert [one["kind"] for one in run(machine.notices, "agent.notices", context("eve")).facts] == [
        "unit.failed"
    ]
    assert "nginx.service failed" in run(machine.notices, "agent.brief", context("owner")).text


def test_a_store_that_cannot_be_read_is_one_line(
    machine: Machine, context: Callable[[str], Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object, **named: object) -> None:
        raise StoreUnavailable("the disk is gone")

    monkeypatch.setattr(machine.notices.store, "notices", refuse)
    for name in ("agent.notices", "agent.brief"):
        with pytest.raises(Lacking, match="the disk is gone"):
            run(machine.notices, name, context("owner"))
