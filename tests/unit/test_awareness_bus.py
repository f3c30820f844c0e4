"""What systemd and logind say, on a real private bus that goes away and comes back."""

import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agentd_process import eventually
from awareness_fixture import notices_in
from dbus_fast.message import Message
from dbus_fast.signature import Variant
from private_bus import DAEMON, Denial, PrivateBus, Reply, Service

from agentd.awareness import bus_events
from agentd.awareness.bus_events import LOGIND, LOGIND_PATH, PROPERTIES, TIMEDATE, UNITS, BusEvents
from agentd.awareness.event import Event
from agentd.tools import bus as bus_module
from agentd.tools.bus import Bus
from agentd.tools.services import SYSTEMD, UNIT

SECONDS = 10.0
NGINX = f"{UNITS}/nginx_2eservice"
SESSION = f"{LOGIND_PATH}/session/_31"

pytestmark = pytest.mark.skipif(DAEMON is None, reason="there is no dbus-daemon here")


class Systemd:
    """systemd and logind as far as they are asked; a test changes what they answer."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.sessions: list[list[Any]] = []
        self.session = {"Name": "ada", "Class": "user", "Remote": True, "RemoteHost": "10.0.0.7", "TTY": ""}
        self.subscribed = 0
        self.asked = 0

    def answer(self, message: Message) -> Reply | None:
        match message.member:
            case "Subscribe":
                self.subscribed += 1
                return "", []
            case "ListUnitsByPatterns":
                rows = [
                    [name, "", "loaded", "failed", "failed", "", path(name), 0, "", "/"]
                    for name in self.failed
                ]
                return "a(ssssssouso)", [rows]
            case "ListSessions":
                return "a(susso)", [self.sessions]
            case "GetAll" if (message.path or "").startswith(UNITS):
                self.asked += 1
                crashed = {"Result": Variant("s", "signal"), "ExecMainCode": Variant("i", 2)}
                return "a{sv}", [{**crashed, "ExecMainStatus": Variant("i", 11)}]
            case "GetAll":
                kinds = {bool: "b", str: "s"}
                return "a{sv}", [{k: Variant(kinds[type(v)], v) for k, v in self.session.items()}]
            case "Get":
                return "v", [Variant("s", "running")]
        raise Denial("org.example.Broken", "not played here")


def path(unit: str) -> str:
    return f"{UNITS}/" + "".join(c if c.isalnum() else f"_{ord(c):02x}" for c in unit)


@pytest.fixture
def private(tmp_path: Path) -> Iterator[PrivateBus]:
    found = PrivateBus(tmp_path)
    found.start()
    yield found
    found.stop()


@pytest.fixture
def played() -> Systemd:
    return Systemd()


@pytest.fixture
def systemd(private: PrivateBus, played: Systemd) -> Iterator[Service]:
    service = Service(private.address, SYSTEMD, played.answer)
    yield service
    service.close()


@pytest.fixture
def logind(private: PrivateBus, played: Systemd) -> Iterator[Service]:
    service = Service(private.address, LOGIND, played.answer)
    yield service
    service.close()


class Heard:
    """The events that came."""

    def __init__(self) -> None:
        self.queue: queue.Queue[Event] = queue.Queue()

    def next(self) -> tuple[str, str, str]:
        event = self.queue.get(timeout=SECONDS)
        return event.kind, event.subject, event.detail

    def nothing_before(self, kind: str) -> None:
        assert self.next()[0] == kind
        assert self.queue.empty()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def bus(private: PrivateBus) -> Iterator[Bus]:
    found = Bus(private.address)
    yield found
    found.close()


def listening(bus: Bus, heard: Heard, *failed: str) -> BusEvents:
    events = BusEvents(bus, heard.queue.put, failed)
    events.start()
    return events


def changed(service: Service, unit: str, state: str) -> None:
    values = {"ActiveState": Variant("s", state)}
    service.emit(path(unit), PROPERTIES, "PropertiesChanged", "sa{sv}as", UNIT, values, [])


def ready(played: Systemd) -> None:
    eventually(lambda: played.subscribed > 0)


def test_a_unit_that_fails_is_told_once_with_its_reason_and_again_when_it_recovers(
    bus: Bus, systemd: Service, played: Systemd, heard: Heard
) -> None:
    listening(bus, heard)
    ready(played)
    changed(systemd, "nginx.service", "activating")
    changed(systemd, "nginx.service", "failed")
    changed(systemd, "nginx.service", "failed")
    changed(systemd, "nginx.service", "active")
    assert heard.next() == ("unit.failed", "nginx.service", "it was killed (SIGSEGV)")
    assert heard.next() == ("unit.recovered", "nginx.service", "")
    changed(systemd, "dev-disk-by\\x2did.device", "failed")
    assert heard.next()[1] == "dev-disk-by\\x2did.device"


def test_a_unit_that_is_started_and_fails_again_failed_twice(
    bus: Bus, systemd: Service, played: Systemd, heard: Heard
) -> None:
    listening(bus, heard)
    ready(played)
    for state in ("failed", "activating", "failed"):
        changed(systemd, "nginx.service", state)
    assert [heard.next()[0], heard.next()[0]] == ["unit.failed", "unit.failed"]


def test_what_had_failed_and_what_has_recovered_while_nobody_listened_is_told(
    bus: Bus, systemd: Service, played: Systemd, heard: Heard
) -> None:
    played.failed = ["known.service", "new.service"]
    listening(bus, heard, "known.service", "mended.service")
    assert heard.next()[:2] == ("unit.recovered", "mended.service")
    assert heard.next()[:2] == ("unit.failed", "new.service")


def test_a_bus_that_goes_and_comes_back_is_listened_to_again(
    private: PrivateBus, played: Systemd, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "PAUSES", (0.05, 0.1))
    from agentd.tools import bus_link

    monkeypatch.setattr(bus_link, "PAUSES", (0.05, 0.1))
    service = Service(private.address, SYSTEMD, played.answer)
    found = Bus(private.address)
    events = listening(found, heard)
    ready(played)
    private.stop()
    service.close()
    played.failed = ["meanwhile.service"]
    private.start()
    service = Service(private.address, SYSTEMD, played.answer)
    assert heard.next()[:2] == ("unit.failed", "meanwhile.service")
    changed(service, "nginx.service", "failed")
    assert heard.next()[:2] == ("unit.failed", "nginx.service")
    events.stop()
    found.close()
    service.close()


def test_agentd_without_a_bus_starts_and_listens_once_there_is_one(
    private: PrivateBus, played: Systemd, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agentd.tools import bus_link

    monkeypatch.setattr(bus_link, "PAUSES", (0.05, 0.1))
    private.stop()
    found = Bus(private.address)
    listening(found, heard)
    private.start()
    played.failed = ["early.service"]
    service = Service(private.address, SYSTEMD, played.answer)
    assert heard.next()[:2] == ("unit.failed", "early.service")
    found.close()
    service.close()


def test_a_signal_in_systemds_words_from_somebody_else_is_not_believed(
    private: PrivateBus, bus: Bus, systemd: Service, played: Systemd, heard: Heard
) -> None:
    listening(bus, heard)
    ready(played)
    liar = Service(private.address, "org.example.Liar", played.answer)
    changed(liar, "sshd.service", "failed")
    changed(systemd, "nginx.service", "failed")
    assert heard.next()[:2] == ("unit.failed", "nginx.service")
    liar.close()


def test_logins_are_told_with_who_and_from_where(
    bus: Bus, systemd: Service, logind: Service, played: Systemd, heard: Heard
) -> None:
    listening(bus, heard)
    ready(played)
    manager = f"{LOGIND}.Manager"
    logind.emit(LOGIND_PATH, manager, "SessionNew", "so", "1", SESSION)
    assert heard.next() == ("login", "ada", "from 10.0.0.7")
    logind.emit(LOGIND_PATH, manager, "SessionRemoved", "so", "1", SESSION)
    assert heard.next() == ("logout", "ada", "from 10.0.0.7")
    played.session = {"Name": "eve\n- x", "Class": "user", "Remote": False, "RemoteHost": "", "TTY": "tty1"}
    logind.emit(LOGIND_PATH, manager, "SessionNew", "so", "2", SESSION)
    assert heard.next() == ("login", "eve\\n- x", "at tty1")
    played.session["Class"] = "manager"
    logind.emit(LOGIND_PATH, manager, "SessionNew", "so", "3", SESSION)
    logind.emit(LOGIND_PATH, manager, "PrepareForSleep", "b", True)
    heard.nothing_before("sleep")


def test_who_was_there_before_agentd_is_no_news(
    bus: Bus, systemd: Service, logind: Service, played: Systemd, heard: Heard
) -> None:
    played.sessions = [["1", 1000, "ada", "seat0", SESSION]]
    listening(bus, heard)
    ready(played)
    logind.emit(LOGIND_PATH, f"{LOGIND}.Manager", "PrepareForSleep", "b", False)
    heard.nothing_before("wake")


def test_sleep_shutdown_and_another_time_zone_are_told(
    private: PrivateBus, bus: Bus, systemd: Service, logind: Service, played: Systemd, heard: Heard
) -> None:
    timedate = Service(private.address, TIMEDATE, played.answer)
    listening(bus, heard)
    ready(played)
    for member, value, kind in (
        ("PrepareForSleep", True, "sleep"),
        ("PrepareForSleep", False, "wake"),
        ("PrepareForShutdown", True, "shutdown"),
    ):
        logind.emit(LOGIND_PATH, f"{LOGIND}.Manager", member, "b", value)
        assert heard.next()[0] == kind
    zone = {"Timezone": Variant("s", "Asia/Tokyo")}
    timedate.emit(
        "/org/freedesktop/timedate1", PROPERTIES, "PropertiesChanged", "sa{sv}as", TIMEDATE, zone, []
    )
    assert heard.next() == ("clock.changed", "time zone", "it is Asia/Tokyo now")
    timedate.close()


def test_a_flood_of_failures_is_bounded_and_a_login_is_still_told(
    bus: Bus, systemd: Service, logind: Service, played: Systemd, tmp_path: Path
) -> None:
    notices = notices_in(tmp_path)
    done = threading.Event()

    def take(event: Event) -> None:
        notices.take(event)
        if event.kind == "login":
            done.set()

    BusEvents(bus, take).start()
    ready(played)
    for number in range(500):
        changed(systemd, f"u{number}.service", "failed")
    began = time.monotonic()
    logind.emit(LOGIND_PATH, f"{LOGIND}.Manager", "SessionNew", "so", "1", SESSION)
    assert done.wait(SECONDS)
    assert time.monotonic() - began < SECONDS
    assert played.asked <= 60  # for each the properties of a unit, and of its kind
    assert "ada logged in from 10.0.0.7." in [one.text for one in notices.notices()]
    assert len(notices.notices()) < 100


def test_whether_the_boot_is_over_is_asked_of_systemd(
    private: PrivateBus,
    bus: Bus,
    systemd: Service,
    heard: Heard,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events = BusEvents(bus, heard.queue.put)
    assert events.is_settled()
    private.stop()
    for booted in (tmp_path, tmp_path / "nothing"):
        monkeypatch.setattr(bus_events, "BOOTED", booted)
        assert events.is_settled() is not booted.exists()
