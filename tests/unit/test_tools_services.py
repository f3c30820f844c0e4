"""Units as systemd 257 tells of them over a real bus."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_journalctl import FakeJournalctl, record
from private_bus import DAEMON, PrivateBus
from recorded_systemd import PATH, RecordedSystemd

from agentd.tools import journal, services
from agentd.tools.bus import Bus
from agentd.tools.tool import Answer, Context, Lacking, Unfit
from agentd.tools.unit_result import why

pytestmark = pytest.mark.skipif(DAEMON is None, reason="there is no dbus-daemon here")


@pytest.fixture
def systemd() -> RecordedSystemd:
    return RecordedSystemd()


@pytest.fixture
def context(tmp_path: Path, systemd: RecordedSystemd) -> Iterator[Context]:
    private = PrivateBus(tmp_path)
    private.start()
    service = systemd.start(private.address)
    bus = Bus(private.address)
    yield Context(bus, "ada")
    bus.close()
    service.close()
    private.stop()


@pytest.fixture(autouse=True)
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeJournalctl:
    folder = tmp_path / "journal/id"
    folder.mkdir(parents=True)
    (folder / "system.journal").touch()
    monkeypatch.setattr(journal, "FOLDERS", (tmp_path / "journal",))
    return FakeJournalctl(tmp_path / "bin", monkeypatch)


def fit_for_json(answer: Answer) -> Answer:
    json.dumps(answer.facts)
    assert answer.sources
    return answer


def test_running_services_are_listed_by_name(context: Context) -> None:
    answer = fit_for_json(services.list_running(context, {}))
    names = [one["unit"] for one in answer.facts]
    assert names == ["dbus-broker.service", "systemd-journald.service", "systemd-logind.service"]
    assert answer.text.startswith("3 services run:\nService")


def test_a_running_service_is_told_with_its_process_and_last_lines(
    context: Context, systemd: RecordedSystemd, program: FakeJournalctl
) -> None:
    systemd.set(systemd.path("dbus-broker.service"), "Service", MemoryCurrent=12_500_000)
    program.says([record("dbus-broker.service: Ready \x1b[31m", unit="dbus-broker.service", priority=6)])
    answer = fit_for_json(services.status(context, {"unit": "dbus-broker"}))
    assert answer.text.startswith(
        "dbus-broker.service (D-Bus System Message Bus) is active (running) since "
    )
    for words in (
        "Main process  144",
        "Memory        12.5 MB",
        "At boot       enabled",
        "Last result   success",
    ):
        assert words in answer.text
    assert answer.text.endswith("  Ready \\x1b[31m")
    assert answer.facts["main_pid"] == 144
    assert "--unit=dbus-broker.service" in program.calls[0]


def test_a_failed_service_is_told_with_why(context: Context) -> None:
    answer = fit_for_json(services.status(context, {"unit": "console-getty.service"}))
    assert answer.text.startswith("console-getty.service (Console Getty) failed at ")
    assert "(exit status 208: its standard input cannot be set up)" in answer.text
    assert "Restarts     5" in answer.text
    assert answer.facts["memory_bytes"] is None  # systemd's word for unknown is 2^64-1


def test_a_socket_has_a_status_too(context: Context) -> None:
    answer = fit_for_json(services.status(context, {"unit": "systemd-journald.socket"}))
    assert "is active (running) since" in answer.text


def test_units_that_failed_are_told_with_why(context: Context) -> None:
    answer = fit_for_json(services.failed(context, {}))
    assert answer.text.startswith("1 unit failed:\nUnit")
    (failed,) = answer.facts
    assert (failed["unit"], failed["result"], failed["restarts"]) == (
        *("console-getty.service", "start-limit-hit", 5),
    )
    assert "it was started too often in a short time (exit status 208" in answer.text


def test_no_failed_unit_is_said_to_be_none(context: Context, systemd: RecordedSystemd) -> None:
    systemd.units = [unit for unit in systemd.units if unit[3] != "failed"]
    assert services.failed(context, {}).text == "No unit has failed."


def test_a_description_cannot_steer_a_terminal(context: Context, systemd: RecordedSystemd) -> None:
    systemd.set(systemd.path("dbus-broker.service"), "Unit", Description="\x1b[2Jgone\n\u202e")
    systemd.set(systemd.path("dbus-broker.service"), "Service", StatusText="\x1b]52;c;aGk=\x07")
    answer = services.status(context, {"unit": "dbus-broker"})
    assert all(line.isprintable() for line in answer.text.splitlines())


def test_a_masked_unit_is_told_to_be(context: Context, systemd: RecordedSystemd) -> None:
    path = systemd.path("dbus-broker.service")
    systemd.set(path, "Unit", LoadState="masked", ActiveState="inactive", SubState="dead")
    systemd.set(path, "Unit", StateChangeTimestamp=0, UnitFileState="masked")
    answer = services.status(context, {"unit": "dbus-broker"})
    assert answer.text.splitlines()[0].endswith(" is inactive (dead), masked.")
    assert answer.facts["since"] is None


def test_a_unit_that_is_not_there_is_one_line(context: Context) -> None:
    with pytest.raises(Unfit, match=r"^there is no service nonsense\.service here$"):
        services.status(context, {"unit": "nonsense"})


@pytest.mark.parametrize(
    "unit", ["; reboot", "a\nb", "../../etc/passwd", "a b", "*", "", None, 7, "x" * 1000, "\x1b[31m"]
)
def test_what_cannot_be_a_unit_is_one_line(context: Context, unit: object) -> None:
    for run in (services.status, services.logs):
        with pytest.raises(Unfit) as caught:
            run(context, {"unit": unit})
        assert caught.value.message.isprintable()
        assert len(caught.value.message) < 120


def test_a_status_without_a_journal_says_why_it_has_no_log(
    context: Context, program: FakeJournalctl
) -> None:
    program.says(complaint="No journal files were opened due to insufficient permissions.", status=1)
    answer = fit_for_json(services.status(context, {"unit": "dbus-broker"}))
    assert answer.text.endswith("Its log is not shown: agentd may not read the journal.")


def test_the_log_of_a_unit_is_its_lines_with_their_priority(
    context: Context, program: FakeJournalctl
) -> None:
    program.says([record("second", at=2, priority=3), record("first", at=1, priority=6)])
    answer = fit_for_json(services.logs(context, {"unit": "a", "since": 1}))
    assert answer.text.startswith("2 lines of a.service since ")
    assert [entry["message"] for entry in answer.facts["entries"]] == ["first", "second"]
    assert "error     second" in answer.text
    assert {"--unit=a.service", "--since=@1.000000"} <= set(program.calls[0])


def test_a_machine_without_systemd_is_one_line(tmp_path: Path) -> None:
    bus = Bus(f"unix:path={tmp_path}/nothing")
    for tool in services.TOOLS[:3]:
        assert tool.run is not None
        with pytest.raises(Lacking, match="the system bus does not answer"):
            tool.run(Context(bus, "ada"), {"unit": "a"})
    bus.close()


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({"Result": "success"}, "success"),
        ({}, ""),
        ({"Result": "exit-code", "ExecMainCode": 1, "ExecMainStatus": 1}, "exit status 1"),
        (
            {"Result": "exit-code", "ExecMainCode": 1, "ExecMainStatus": 203},
            "its program cannot be executed",
        ),
        ({"Result": "signal", "ExecMainCode": 2, "ExecMainStatus": 9}, "it was killed (SIGKILL)"),
        ({"Result": "core-dump", "ExecMainCode": 3, "ExecMainStatus": 11}, "it crashed (SIGSEGV)"),
        ({"Result": "oom-kill", "ExecMainCode": 2, "ExecMainStatus": 9}, "memory ran out"),
        ({"Result": "signal", "ExecMainCode": 2, "ExecMainStatus": 200}, "signal 200"),
        ({"Result": "resources"}, "what it needs could not be had"),
        ({"Result": "something-new"}, "something-new"),
    ],
)
def test_results_are_told_in_words(properties: dict[str, object], words: str) -> None:
    assert words in why(properties)


def test_the_recorded_manager_is_where_the_tools_ask(context: Context) -> None:
    version = context.bus.get(
        "org.freedesktop.systemd1", PATH, "org.freedesktop.systemd1.Manager", "Version"
    )
    assert version.startswith("257")
