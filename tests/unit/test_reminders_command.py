"""`agent reminder` and `agent reminders` against the real methods on a socket; what a chat tells."""

import argparse
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import varlink
from reminders_fixture import OWNER, World, zone

from agentd import client, console, reminder_command
from agentd.call import INTERFACES, calling
from agentd.errors import AgentError, Busy
from agentd.policy import Origin
from agentd.server import BoundedServer, StrictService
from agentd.service import as_error
from agentd.tools_service import INTERFACE, ToolsMethods

MUM = {"text": "call mum", "when": "2026-11-25T10:00:00+01:00"}


class Served:
    """The methods of a world's reminders at `path`, for whoever `origin` says is calling."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder, "2026-11-25 08:00")
        self.origin = OWNER
        self.path = str(folder / "agent.sock")
        unused: Any = None
        methods = ToolsMethods(
            self.world.acting, unused, lambda _: self.origin, -1, unused, self.world.store
        )
        service = StrictService(vendor="x", product="x", version="1", interface_dir=str(INTERFACES))
        service.interface(INTERFACE)(lambda: methods)
        self.server = BoundedServer(f"unix:{self.path}", service, as_error(Busy("full")), lambda: None)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def run(self, *arguments: str) -> int:
        """The exit status of `agent ARGUMENTS`."""
        parser = argparse.ArgumentParser()
        commands = parser.add_subparsers(dest="command")
        reminder_command.add_parsers(
            lambda name, text: commands.add_parser(name, help=text), commands.add_parser
        )
        given = parser.parse_args(arguments, argparse.Namespace(socket=self.path, json=False))
        return reminder_command.run(given)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        with calling(self.path, INTERFACE, 15) as tools:
            reply: dict[str, Any] = getattr(tools, method)(**parameters)
        return reply


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with zone("Europe/Berlin"):
        served = Served(tmp_path)
        yield served
        served.server.shutdown()
        served.server.server_close()
        served.world.database.close()


def test_a_unit_rings_its_reminder_without_its_words(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    id = served.world.set("time.remind", **MUM)
    served.world.clock.set("2026-11-25 09:00")
    assert served.run("ring-reminder", id) == 0
    assert capsys.readouterr().out == f"reminder {id} rings\n"
    assert served.run("ring-reminder", id) == 0
    assert capsys.readouterr().out == f"reminder {id} rang for Wed 2026-11-25 10:00 already\n"


def test_a_unit_that_can_do_nothing_does_not_fail_and_is_not_tried_for_ever(
    served: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentd.reminders.ReminderStore.ring.__defaults__", (0.0,))
    id = served.world.set("time.remind", **MUM)
    assert served.run("ring-reminder", id) == 0
    assert "does not ring yet" in capsys.readouterr().out
    assert served.run("ring-reminder", "0123456789ab") == 0
    assert "there is no reminder 0123456789ab" in capsys.readouterr().out


def test_a_unit_fails_and_is_tried_again_when_agentd_cannot_keep_it(served: Served) -> None:
    id = served.world.set("time.remind", **MUM)
    served.world.clock.set("2026-11-25 09:00")
    served.world.database.close()
    with pytest.raises(AgentError) as caught:
        served.run("ring-reminder", id)
    assert caught.value.status == client.FAILED


def test_a_clock_that_was_set_back_a_little_just_then_is_waited_for(
    served: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    id = served.world.set("time.remind", **MUM)
    served.world.clock.set("2026-11-25 08:59:40")
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        served.world.clock.set("2026-11-25 09:00")

    monkeypatch.setattr("time.sleep", sleep)
    assert served.run("ring-reminder", id) == 0
    assert capsys.readouterr().out == f"reminder {id} rings\n"
    assert slept == [20.5]


def test_only_the_owner_has_reminders_ring(served: Served) -> None:
    id = served.world.set("time.remind", **MUM)
    served.world.clock.set("2026-11-25 09:00")
    served.origin = Origin("mallory", False, "socket")
    with pytest.raises(varlink.VarlinkError, match="NotOwner"):
        served.call("Ring", id=id)
    assert served.call("Reminders") == {"reminders": []}
    served.call("Seen", ring=1000)
    served.origin = OWNER
    assert served.call("Ring", id=id)["state"] == "rung"
    assert len(served.call("Reminders", unseen=True)["reminders"]) == 1


@pytest.mark.parametrize("id", ["", "half \ud800", "'; --", "x" * 100_000, "../../x"])
def test_any_id_may_be_asked_for(served: Served, monkeypatch: pytest.MonkeyPatch, id: str) -> None:
    monkeypatch.setattr("agentd.reminders.ReminderStore.ring.__defaults__", (0.0,))
    assert served.call("Ring", id=id)["state"] == "unknown"
    served.call("Seen", ring=-(1 << 80))


def test_the_list_tells_what_rang_first_and_then_it_is_seen(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert served.run("reminders") == 0
    assert "no reminder is set" in capsys.readouterr().err
    id = served.world.set("time.remind", **MUM)
    pills = served.world.set("time.repeat", text="pills\x1b[2J", schedule="*-*-* *:00:00")
    for now in ("2026-11-25 09:00", "2026-11-25 10:00", "2026-11-25 11:30"):
        served.world.clock.set(now)
        served.world.store.ring(pills)
    served.world.store.ring(id)
    assert served.run("reminders", "--unseen") == 0
    assert capsys.readouterr().out == (
        "Missed reminder: pills\\x1b[2J; it was due Wed 2026-11-25 12:00 (and 2 times before)\n"
        "Missed reminder: call mum; it was due Wed 2026-11-25 10:00\n"
    )
    assert served.run("reminders", "--unseen") == 0
    assert capsys.readouterr().out == ""
    assert served.run("reminders") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[2].split()[:2] == [id, "missed,"]


def test_a_program_that_reads_has_seen_nothing(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    id = served.world.set("time.remind", **MUM)
    served.world.clock.set("2026-11-25 09:00")
    served.world.store.ring(id)
    given = argparse.Namespace(command="reminders", socket=served.path, json=True, unseen=True)
    for _ in range(2):
        assert reminder_command.run(given) == 0
        [found] = json.loads(capsys.readouterr().out)
        assert found == {
            "id": id,
            "text": "call mum",
            "when": "2026-11-25T09:00:00Z",
            "comes": "once",
            "created": "2026-11-25T08:00:00Z",
            "state": "rung",
            "due": "2026-11-25T09:00:00Z",
            "rung": "2026-11-25T09:00:00Z",
            "missed": False,
            "ring": 1,
            "unseen": 1,
            "timer": True,
        }


def test_a_chat_tells_what_rang_before_its_next_prompt_and_once(
    served: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    id = served.world.set("time.remind", **MUM)
    served.world.clock.set("2026-11-25 09:00")
    prompts: list[str] = []

    def typed(prompt: str) -> str:
        prompts.append(capsys.readouterr().out)
        if len(prompts) == 1:
            served.world.store.ring(id)
        if len(prompts) == 3:
            raise EOFError
        return "/new"

    monkeypatch.setattr("builtins.input", typed)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr(console.Chat, "_greet", lambda self: None)
    monkeypatch.setattr(console, "_remove_old_history", lambda: None)
    assert console.Chat(served.path, None, on_console=False).run() == 0
    assert prompts == ["", "Reminder: call mum (Wed 2026-11-25 10:00)\n", ""]


def test_a_chat_goes_on_while_agentd_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    console.Chat(str(tmp_path / "nowhere"), None, on_console=False)._tell_reminders()
