"""What the verbs do: jobs that are waited for, units that are kept, timers, settings, links."""

import os
import queue
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agentd_process import environment
from dbus_fast.message import Message
from dbus_fast.signature import Variant
from exec_fixture import FakeBus
from private_bus import DAEMON, Denial, PrivateBus, Reply, Service

from agentd.exec import timers, units
from agentd.exec.verbs import Machine, act, check
from agentd.tools.bus import Bus
from agentd.tools.tool import Lacking, Step
from builder.image import TEMPLATES


@pytest.fixture
def bus() -> FakeBus:
    return FakeBus()


@pytest.fixture
def machine(tmp_path: Path, bus: FakeBus) -> Machine:
    (tmp_path / "units").mkdir()
    return Machine(bus.as_bus(), tmp_path / "units", tmp_path / "backlights")


def do(machine: Machine, verb: str, **given: Any) -> None:
    step = Step(verb, given)
    check(step)
    act(machine, step)


# ---- units


class Systemd:
    """systemd on a bus of its own: jobs end by a signal, a moment after they were asked for."""

    def __init__(self, address: str) -> None:
        self.result = "done"
        self.subscribed = False
        self._jobs: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._service = Service(address, units.SYSTEMD, self._answer)

    def _answer(self, message: Message) -> Reply | None:
        match message.member:
            case "LoadUnit":
                return "o", ["/unit"]
            case "GetAll":
                relations = ("Conflicts", "ConflictedBy", "RequiredBy", "BoundBy", "ConsistsOf")
                found = {"Id": Variant("s", "a.service"), "Names": Variant("as", ["a.service"])}
                return "a{sv}", [{**found, **{name: Variant("as", []) for name in relations}}]
            case "Get":
                return "v", [Variant("b", True)]
            case "Subscribe":
                if self.subscribed:
                    raise Denial(f"{units.SYSTEMD}.AlreadySubscribed", "already")
                self.subscribed = True
                return "", []
            case "StartUnit" | "StopUnit":
                assert self.subscribed
                self._jobs.put(message.body[0])
                return "o", ["/job/7"]
        raise Denial(f"{units.SYSTEMD}.NoSuchUnit", f"Unit {message.body[0]} not found.")

    def end_job(self) -> None:
        unit = self._jobs.get(timeout=10)
        for job, result in ((6, "failed"), (7, self.result)):
            body = ("uoss", job, f"/job/{job}", unit, result)
            self._service.emit(units.PATH, units.MANAGER, "JobRemoved", *body)

    def close(self) -> None:
        self._service.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[tuple[Systemd, Bus]]:
    if DAEMON is None:
        pytest.skip("there is no dbus-daemon here")
    private = PrivateBus(tmp_path)
    private.start()
    service, bus = Systemd(private.address), Bus(private.address)
    yield service, bus
    bus.close()
    service.close()
    private.stop()


def ended(systemd: Systemd) -> Any:
    from threading import Thread

    thread = Thread(target=systemd.end_job)
    thread.start()
    return thread


def test_a_job_is_waited_for_and_its_result_is_told(systemd: tuple[Systemd, Bus]) -> None:
    service, bus = systemd
    ending = ended(service)
    units.start(bus, "a.service")
    ending.join(10)
    service.result = "dependency"
    ending = ended(service)
    with pytest.raises(Lacking, match="something that it needs failed"):
        units.stop(bus, "a.service")
    ending.join(10)


def test_what_systemd_refuses_is_told_in_its_words(systemd: tuple[Systemd, Bus]) -> None:
    with pytest.raises(Lacking, match=r"systemd refuses: Unit a\.service not found\."):
        units.restart(systemd[1], "a.service")


def test_a_job_that_does_not_end_is_told_in_time(
    systemd: tuple[Systemd, Bus], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "JOB_TIME", 0.2)
    with pytest.raises(Lacking, match="has not got there after 0 seconds; it goes on"):
        units.start(systemd[1], "a.service")


def test_a_unit_whose_condition_is_not_met_was_not_started(machine: Machine, bus: FakeBus) -> None:
    bus.properties["a.service"] = {"ConditionResult": False}
    with pytest.raises(Lacking, match="a condition of its own is not met"):
        do(machine, "unit.start", unit="a.service")


@pytest.mark.parametrize("verb", ["unit.start", "unit.stop", "unit.restart", "unit.enable", "unit.disable"])
def test_another_name_of_a_unit_of_the_agent_is_refused(machine: Machine, bus: FakeBus, verb: str) -> None:
    for names in ({"Id": "agentd.service"}, {"Names": ["a.service", "dbus.service"]}):
        bus.properties["a.service"] = names
        with pytest.raises(Lacking, match="belongs to the agent"):
            do(machine, verb, unit="a.service")
    assert set(bus.members()) == {"LoadUnit"}


@pytest.mark.parametrize(
    ("verb", "relation"),
    [
        ("unit.start", "Conflicts"),
        ("unit.start", "ConflictedBy"),
        ("unit.stop", "RequiredBy"),
        ("unit.stop", "BoundBy"),
        ("unit.stop", "ConsistsOf"),
        ("unit.stop", "PropagatesStopTo"),
        ("unit.stop", "RequisiteOf"),
        ("unit.restart", "RequiredBy"),
        ("unit.restart", "Conflicts"),
    ],
)
def test_what_would_stop_the_agent_on_its_way_is_refused(
    machine: Machine, bus: FakeBus, verb: str, relation: str
) -> None:
    bus.properties["a.service"] = {relation: ["shutdown.target", "agentd.service"]}
    with pytest.raises(Lacking, match=r"would stop agentd\.service"):
        do(machine, verb, unit="a.service")
    assert set(bus.members()) == {"LoadUnit"}


def test_a_service_of_systemds_that_others_hang_on_can_be_restarted(machine: Machine, bus: FakeBus) -> None:
    bound = {"BoundBy": ["systemd-networkd-wait-online.service"]}
    bus.properties["systemd-networkd.service"] = bound
    do(machine, "unit.restart", unit="systemd-networkd.service")
    assert bus.calls[-1] == ("RestartUnit", ["systemd-networkd.service", "replace"])


def test_enabling_is_for_units_that_can_be(machine: Machine, bus: FakeBus) -> None:
    do(machine, "unit.enable", unit="a.service")
    assert bus.calls[1:] == [("EnableUnitFiles", [["a.service"], False, False]), ("Reload", [])]
    bus.has_install = False
    with pytest.raises(Lacking, match=r"no \[Install\] section"):
        do(machine, "unit.enable", unit="a.service")


# ---- timers


def test_a_reminder_is_a_timer_that_says_when_and_nothing_else(
    machine: Machine, bus: FakeBus, tmp_path: Path
) -> None:
    do(machine, "timer.set", id="a1b2", when="2027-01-02T03:04:05Z")
    file = tmp_path / "units" / "agentd-reminder-a1b2.timer"
    text = file.read_text()
    assert "\nOnCalendar=2027-01-02 03:04:05 UTC\nPersistent=yes\n" in text
    assert "\nUnit=agentd-reminder@a1b2.service\n" in text
    assert file.stat().st_mode & 0o777 == 0o644
    assert list((tmp_path / "units").iterdir()) == [file]
    name = file.name
    assert bus.calls[:3] == [
        ("EnableUnitFiles", [[name], False, False]),
        ("Reload", []),
        ("StartUnit", [name, "replace"]),
    ]
    assert "agentd-reminder@a1b2.service" not in str(bus.calls)
    do(machine, "timer.set", id="week", schedule="Mon..Fri 07:30")
    assert "\nOnCalendar=Mon..Fri 07:30\n" in (tmp_path / "units" / "agentd-reminder-week.timer").read_text()


def test_systemd_understands_a_timer_of_ours(machine: Machine, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("there is no systemd-analyze here")
    do(machine, "timer.set", id="a1", schedule="Sat,Sun *-*-1..7 10:00:30")
    calendars = [
        "Sat,Sun *-*-1..7 10:00:30",
        "2027-01-02 03:04:05 UTC",
        "*:0/15",
        "minutely",
        "semiannually",
    ]
    done = subprocess.run([analyze, "calendar", *calendars], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shutil.copy(
        TEMPLATES / "files/usr/lib/systemd/system/agentd-reminder@.service",
        tmp_path / "units" / "agentd-reminder@.service",
    )
    unit = tmp_path / "units" / "agentd-reminder-a1.timer"
    said = subprocess.run(
        [analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert [line for line in said.stderr.splitlines() if unit.name in line] == []


def test_a_reminder_that_is_there_is_not_replaced(machine: Machine, tmp_path: Path) -> None:
    do(machine, "timer.set", id="a", schedule="daily")
    with pytest.raises(Lacking, match="there is a reminder a already"):
        do(machine, "timer.set", id="a", schedule="weekly")
    assert "OnCalendar=daily" in (tmp_path / "units" / "agentd-reminder-a.timer").read_text()


def test_a_moment_that_passed_is_now(machine: Machine, bus: FakeBus) -> None:
    bus.properties["agentd-reminder-a.timer"] = {"NextElapseUSecRealtime": 2**64 - 1}
    do(machine, "timer.set", id="a", when="2020-01-02T03:04:05Z")
    assert bus.calls[-1] == ("StartUnit", ["agentd-reminder@a.service", "replace"])


def test_a_timer_that_came_at_once_does_not_come_twice(machine: Machine, bus: FakeBus) -> None:
    bus.properties["agentd-reminder-a.timer"] = {"NextElapseUSecRealtime": 0, "LastTriggerUSec": 5}
    do(machine, "timer.set", id="a", when="2020-01-02T03:04:05Z")
    assert ("StartUnit", ["agentd-reminder@a.service", "replace"]) not in bus.calls


def test_what_never_comes_or_systemd_does_not_take_leaves_nothing(
    machine: Machine, bus: FakeBus, tmp_path: Path
) -> None:
    bus.properties["agentd-reminder-a.timer"] = {"NextElapseUSecRealtime": 2**64 - 1}
    with pytest.raises(Lacking, match="2020-1-1 10:00 never comes"):
        do(machine, "timer.set", id="a", schedule="2020-1-1 10:00")
    bus.refused["StartUnit"] = f"{units.SYSTEMD}.BadUnitSetting"
    with pytest.raises(Lacking, match="systemd refuses: StartUnit"):
        do(machine, "timer.set", id="b", schedule="*-13-1 10:00")
    assert bus.members().count("DisableUnitFiles") == 2
    assert list((tmp_path / "units").iterdir()) == []


def test_a_reminder_is_removed_with_all_that_it_left(machine: Machine, bus: FakeBus, tmp_path: Path) -> None:
    do(machine, "timer.set", id="a", schedule="daily")
    bus.calls.clear()
    do(machine, "timer.remove", id="a")
    assert bus.members() == ["DisableUnitFiles", "StopUnit", "CleanUnit", "Reload"]
    assert list((tmp_path / "units").iterdir()) == []
    with pytest.raises(Lacking, match="there is no reminder a"):
        do(machine, "timer.remove", id="a")


def test_there_is_an_end_to_reminders(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timers, "MOST", 2)
    for id in ("a", "b"):
        do(machine, "timer.set", id=id, schedule="daily")
    with pytest.raises(Lacking, match="there are 2 reminders already"):
        do(machine, "timer.set", id="c", schedule="daily")


def test_a_folder_that_cannot_be_written_is_told(machine: Machine, bus: FakeBus, tmp_path: Path) -> None:
    (tmp_path / "units").rmdir()
    with pytest.raises(Lacking, match="No such file or directory"):
        do(machine, "timer.set", id="a", schedule="daily")
    assert bus.calls == []


# ---- settings, power, links


@pytest.mark.parametrize(
    ("verb", "given", "call"),
    [
        ("power.off", {}, ("PowerOff", [False])),
        ("power.reboot", {}, ("Reboot", [False])),
        ("power.suspend", {}, ("Suspend", [False])),
        ("zone.set", {"zone": "Europe/Berlin"}, ("SetTimezone", ["Europe/Berlin", False])),
        ("host_name.set", {"name": "kitchen"}, ("SetStaticHostname", ["kitchen", False])),
        ("locale.set", {"locale": "C.UTF-8"}, ("SetLocale", [["LANG=C.UTF-8"], False])),
        ("keyboard.set", {"layout": "de"}, ("SetVConsoleKeyboard", ["de", "", True, False])),
    ],
)
def test_settings_and_power_are_asked_of_systemds_services(
    machine: Machine, bus: FakeBus, verb: str, given: dict[str, Any], call: tuple[str, list[Any]]
) -> None:
    do(machine, verb, **given)
    assert bus.calls == [call]


def test_brightness_is_set_up_to_the_most_that_the_device_has(machine: Machine) -> None:
    folder = machine.backlights / "screen"
    folder.mkdir(parents=True)
    (folder / "max_brightness").write_text("7500\n")
    (folder / "brightness").write_text("9999\n")
    do(machine, "brightness.set", device="screen", level=3000)
    assert (folder / "brightness").read_text() == "3000\n"
    with pytest.raises(Lacking, match="goes up to 7500, not 7501"):
        do(machine, "brightness.set", device="screen", level=7501)
    with pytest.raises(Lacking, match="there is no screen other"):
        do(machine, "brightness.set", device="other", level=40)
    assert not (machine.backlights / "other").exists()


def test_a_link_goes_up_and_down() -> None:
    # In a network of its own, where nothing but "lo" is, and is down.
    code = (
        "from pathlib import Path; from agentd.exec import links; from agentd.tools.tool import Lacking\n"
        "import socket, fcntl, struct\n"
        "def up():\n"
        "    with socket.socket(socket.AF_UNIX) as s:\n"
        "        found = fcntl.ioctl(s, 0x8913, struct.pack('16sH22x', b'lo', 0))\n"
        "        return struct.unpack_from('H', found, 16)[0] & 1\n"
        "said = [up()]\n"
        "for wanted in (True, True, False): links.set_up('lo', wanted); said.append(up())\n"
        "try: links.set_up('eth7', True)\n"
        "except Lacking as lacking: said.append(lacking.message)\n"
        "print(said)"
    )
    unshare = shutil.which("unshare")
    if unshare is None or os.getuid() != 0:
        pytest.skip("a network of its own takes root and unshare")
    done = subprocess.run(
        [unshare, "--net", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=30,
        check=False,
    )
    assert done.stdout.strip() == "[0, 1, 1, 0, 'there is no link eth7']", done.stderr
