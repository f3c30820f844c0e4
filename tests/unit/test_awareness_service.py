"""io.aetheros.Awareness over a socket, the commands that speak it, and all sources together."""

import argparse
import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import varlink
from agentd_process import DEADLINE, eventually
from awareness_fixture import CRITICAL, failed, texts
from fake_journalctl import FakeJournalctl, record

from agentd import awareness_command
from agentd.awareness import service as awareness_service
from agentd.awareness.event import Event
from agentd.awareness.notices import Notices
from agentd.awareness.service import INTERFACE, AwarenessMethods
from agentd.awareness.store import Store
from agentd.awareness.watching import Watching, keep
from agentd.call import INTERFACES, calling
from agentd.database import Database
from agentd.errors import AgentError, StoreUnavailable
from agentd.people import Person
from agentd.server import BoundedServer, StrictService
from agentd.tools.bus import Bus
from agentd.tools.tool import Lacking


class Served:
    """A server with this interface alone; `person` is who everybody is."""

    def __init__(self, folder: Path) -> None:
        self.socket = str(folder / "agent.sock")
        self.person = Person("owner", True)
        self.notices = Notices(Store(Database(folder / "agent.db")))
        self._stop = os.eventfd(0)
        service = StrictService(vendor="a", product="b", version="1", interface_dir=str(INTERFACES))
        methods = AwarenessMethods(self.notices, lambda connection: self.person, self._stop)
        service.interface(INTERFACE)(lambda: methods)
        full = varlink.VarlinkError({"error": "full", "parameters": {}})
        self._server = BoundedServer(f"unix:{self.socket};mode=0600", service, full, lambda: None)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.notices.start()

    def stop_agentd(self) -> None:
        os.eventfd_write(self._stop, 1)

    def close(self) -> None:
        self.stop_agentd()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
        self.notices.stop(5)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        with calling(self.socket, INTERFACE, DEADLINE) as found:
            reply: dict[str, Any] = getattr(found, method)(**parameters)
        return reply

    def command(self, *words: str) -> int:
        parser = argparse.ArgumentParser()
        commands = parser.add_subparsers(dest="command")

        def command(name: str, text: str) -> argparse.ArgumentParser:
            made: argparse.ArgumentParser = commands.add_parser(name)
            made.add_argument("--json", action="store_true")
            return made

        awareness_command.add_parsers(command, parser, argparse.ArgumentParser)
        given = parser.parse_args(words)
        given.socket = self.socket
        return awareness_command.run(given)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    found = Served(tmp_path)
    yield found
    found.close()


def test_a_notice_is_listed_acknowledged_and_gone(served: Served) -> None:
    served.notices.take(failed(time=1795608000.25))
    [one] = served.call("Notices")["notices"]
    assert one["text"] == "nginx.service failed: it crashed (SIGSEGV)."
    assert one["first"] == "2026-11-25T12:00:00Z"
    assert one["proposal"] == {
        "tool": "services.restart",
        "arguments": {"unit": "nginx.service"},
        "command": "agent tool services.restart unit=nginx.service",
    }
    assert served.call("Acknowledge", id=one["id"])["notice"]["state"] == "acknowledged"
    assert served.call("Notices")["notices"] == []
    assert len(served.call("Notices", all=True)["notices"]) == 1
    for id in (one["id"], 99, -1, 1 << 63):
        with pytest.raises(varlink.VarlinkError, match="NoSuchNotice"):
            served.call("Acknowledge", id=id)


def test_events_are_listed_newest_first_and_by_kind(served: Served) -> None:
    for event in (failed(), Event("link.up", "eth0"), Event("sleep", "the machine")):
        served.notices.take(event)
        served.notices.flush()
    assert [one["kind"] for one in served.call("Events")["events"]] == ["sleep", "link.up", "unit.failed"]
    assert [one["subject"] for one in served.call("Events", kind="link.up")["events"]] == ["eth0"]
    with pytest.raises(varlink.VarlinkError, match="InvalidArguments"):
        served.call("Events", kind="nonsense")


def test_a_guest_sees_the_machines_notices_and_changes_nothing(served: Served) -> None:
    served.notices.take(failed())
    served.notices.take(Event("error", "a.service", "hunter2", trust="untrusted"))
    served.notices.take(Event("login", "ada", "from 10.0.0.7", facts={"remote": True}))
    served.person = Person("eve", False)
    assert [one["kind"] for one in served.call("Notices", all=True)["notices"]] == ["unit.failed"]
    assert [one["kind"] for one in served.call("Events")["events"]] == ["unit.failed"]
    assert "hunter2" not in json.dumps(served.call("Brief"))
    for method, parameters in (("Acknowledge", {"id": 1}), ("Settings", {"quiet_hours": "00:00-23:59"})):
        with pytest.raises(varlink.VarlinkError, match="NotOwner"):
            served.call(method, **parameters)
    assert served.call("Settings") == {"quiet_hours": ""}


def test_quiet_hours_are_set_by_the_owner_and_kept(served: Served) -> None:
    assert served.call("Settings", quiet_hours="22:00-07:00") == {"quiet_hours": "22:00-07:00"}
    assert served.call("Settings") == {"quiet_hours": "22:00-07:00"}
    with pytest.raises(varlink.VarlinkError, match="InvalidArguments"):
        served.call("Settings", quiet_hours="late")
    assert served.notices.store.mark("awareness.quiet") == "22:00-07:00"


def test_watch_streams_what_happens_until_agentd_stops(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(awareness_service, "HEARTBEAT", 0.05)
    seen: list[str] = []
    with calling(served.socket, INTERFACE, DEADLINE) as found:
        for reply in found.Watch(_more=True):
            if not seen and not reply["events"]:
                served.notices.take(failed())
            seen += [one["kind"] for one in reply["events"]] + [one["text"] for one in reply["notices"]]
            if seen:
                served.stop_agentd()
    assert seen == ["unit.failed", "nginx.service failed: it crashed (SIGSEGV)."]
    assert served.call("Watch") == {"events": [], "notices": [], "missed": 0}


def test_who_watches_and_leaves_is_forgotten(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    with calling(served.socket, INTERFACE, DEADLINE) as found:
        next(iter(found.Watch(_more=True)))
        assert len(served.notices._streams) == 1
    eventually(lambda: not served.notices._streams)


def test_the_commands_show_notices_events_and_the_brief(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert served.command("notices") == 0
    assert "no notice is open" in capsys.readouterr().err
    for _ in range(3):
        served.notices.take(failed())
    assert served.command("notices") == 0
    shown = capsys.readouterr().out
    assert "nginx.service failed: it crashed (SIGSEGV).  (3 times)" in shown
    assert "may help: agent tool services.restart unit=nginx.service" in shown
    assert served.command("notices", "--json") == 0
    [one] = json.loads(capsys.readouterr().out)
    assert served.command("notices", "--events") == 0
    assert "unit.failed" in capsys.readouterr().out
    assert served.command("brief") == 0
    assert "Failed now: nginx.service." in capsys.readouterr().out
    assert served.command("brief", "--json") == 0
    assert json.loads(capsys.readouterr().out)["failed_units"] == ["nginx.service"]
    assert served.command("notices", "--ack", str(one["id"])) == 0
    assert served.command("notices", "--all") == 0
    assert "[acknowledged]" in capsys.readouterr().out
    with pytest.raises(AgentError, match="no notice 99 is open"):
        served.command("notices", "--ack", "99")


def test_the_command_sets_quiet_hours(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert served.command("notices", "--quiet", "22:00-07:00", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"quiet_hours": "22:00-07:00"}
    assert served.command("notices", "--quiet", "off") == 0
    assert served.call("Settings") == {"quiet_hours": ""}


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_the_command_watches_until_agentd_ends(
    served: Served, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    def happen() -> None:
        eventually(lambda: bool(served.notices._streams))
        served.notices.take(Event("disk.full", "/var", "99 % used", CRITICAL))
        eventually(lambda: bool(served.notices.store.notices()))
        eventually(lambda: not any(stream._waiting for stream in served.notices._streams))
        served.stop_agentd()

    thread = threading.Thread(target=happen)
    thread.start()
    with pytest.raises(AgentError, match="agentd ended"):
        served.command("watch", *options)
    thread.join()
    shown = capsys.readouterr().out
    if options:
        event, notice = map(json.loads, shown.splitlines())
        assert (event["event"]["kind"], notice["notice"]["severity"]) == ("disk.full", "critical")
    else:
        assert "disk.full        /var  99 % used" in shown
        assert "CRITICAL:" in shown


# ---- all sources


class Source:
    """A source that fails a few times."""

    name = "the source"

    def __init__(self, *failures: Exception | None) -> None:
        self.failures = list(failures)
        self.runs = 0

    def run(self, stop_fd: int) -> None:
        self.runs += 1
        if self.failures and (failure := self.failures.pop(0)) is not None:
            raise failure
        select.select([stop_fd], [], [])


def test_a_source_that_fails_says_so_once_and_is_tried_again(capfd: pytest.CaptureFixture[str]) -> None:
    stop = os.eventfd(0)
    same = [Lacking("there is no journal here") for _ in range(3)]
    source = Source(*same, RuntimeError("odd"), StoreUnavailable("full"))
    thread = threading.Thread(target=keep, args=(source, stop, (0.001, 0.01)))
    thread.start()
    eventually(lambda: source.runs == 6)
    os.eventfd_write(stop, 1)
    thread.join(5)
    assert not thread.is_alive()
    said = capfd.readouterr().err
    assert said.count("there is no journal here") == 1
    assert "the source: RuntimeError: odd" in said
    assert "the source: full" in said
    os.close(stop)


class NoMemory:
    """Memory that is not open."""

    @property
    def memories(self) -> Any:
        raise StoreUnavailable("memory is being opened")

    def wake(self) -> None: ...


def test_everything_starts_and_stops_on_any_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    program = FakeJournalctl(tmp_path / "bin", monkeypatch)
    program.says([record("an odd thing", unit="odd.service")], waits=True)
    state = tmp_path / "state"
    state.mkdir()

    def watching(database: Database) -> Watching:
        bus = Bus(f"unix:path={tmp_path}/nobody")
        memory: Any = NoMemory()
        return Watching(state, database, bus, memory, {"version": "1", "build": "b"})

    database = Database(state / "agent.db")
    first = watching(database)
    first.start()
    eventually(lambda: "odd.service reported an error: an odd thing" in texts(first.notices))
    assert (state / "running").exists()
    before = threading.active_count()
    first.stop(5)
    eventually(lambda: threading.active_count() < before)
    assert not (state / "running").exists()
    [boot] = first.store.boots(9)
    assert boot.clean is True
    second = watching(database)
    second.start()
    second.stop(5)
    assert [one.event.kind for one in second.notices.events(9)].count("boot") == 1
    assert "Traceback" not in capfd.readouterr().err


def test_awareness_brings_no_heavy_module_into_agentd() -> None:
    code = (
        "import sys, agentd.awareness.watching, agentd.awareness.service, agentd.awareness.tools\n"
        "print([m for m in ('numpy', 'asyncio', 'dbus_fast', 'psutil', 'yaml') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
