"""The system bus for threads, on a real private bus."""

import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from dbus_fast.message import Message
from dbus_fast.signature import Variant
from private_bus import DAEMON, Denial, PrivateBus, Reply, Service

from agentd.tools import bus_link
from agentd.tools.bus import Bus, Match, Refused, Signal
from agentd.tools.tool import Lacking

NAME, PATH, INTERFACE = "org.example.Clock", "/org/example/Clock", "org.example.Clock"
SECONDS = 10.0

pytestmark = pytest.mark.skipif(DAEMON is None, reason="there is no dbus-daemon here")


def answer(message: Message) -> Reply | None:
    match message.member:
        case "Echo":
            return message.signature, message.body
        case "Get":
            return "v", [Variant("(sv)", ["ten", Variant("t", 10)])]
        case "GetAll":
            return "a{sv}", [{"Hours": Variant("as", ["ten"]), "Minutes": Variant("u", 5)}]
        case "Silent":
            return None
    raise Denial("org.example.Broken", "the spring broke")


@pytest.fixture
def private(tmp_path: Path) -> Iterator[PrivateBus]:
    found = PrivateBus(tmp_path)
    found.start()
    yield found
    found.stop()


@pytest.fixture
def clock(private: PrivateBus) -> Iterator[Service]:
    service = Service(private.address, NAME, answer)
    yield service
    service.close()


@pytest.fixture
def bus(private: PrivateBus) -> Iterator[Bus]:
    found = Bus(private.address)
    yield found
    found.close()


def test_a_call_returns_what_the_service_answers(bus: Bus, clock: Service) -> None:
    assert bus.call(NAME, PATH, INTERFACE, "Echo", "sasb", "hour", ["a", "b"], True) == [
        *("hour", ["a", "b"], True)
    ]


def test_properties_come_without_variants(bus: Bus, clock: Service) -> None:
    assert bus.get(NAME, PATH, INTERFACE, "Time") == ["ten", 10]
    assert bus.get_all(NAME, PATH, INTERFACE) == {"Hours": ["ten"], "Minutes": 5}


def test_many_threads_share_one_connection(bus: Bus, clock: Service) -> None:
    found: queue.Queue[object] = queue.Queue()
    threads = [
        threading.Thread(
            target=lambda number=number: found.put(bus.call(NAME, PATH, INTERFACE, "Echo", "u", number))
        )
        for number in range(20)
    ]
    for thread in threads:
        thread.start()
    assert sorted(str(found.get(timeout=SECONDS)) for _ in threads) == sorted(f"[{n}]" for n in range(20))


def test_a_services_error_has_its_name_and_words(bus: Bus, clock: Service) -> None:
    with pytest.raises(Refused, match="the spring broke") as caught:
        bus.call(NAME, PATH, INTERFACE, "Wind")
    assert caught.value.name == "org.example.Broken"


def test_a_name_that_nobody_has_is_one_line(bus: Bus) -> None:
    with pytest.raises(Lacking) as caught:
        bus.get("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.example.X", "Version")
    assert caught.value.message == "systemd does not answer: it does not run"


def test_an_answer_that_does_not_come_ends_in_time(bus: Bus, clock: Service) -> None:
    with pytest.raises(Lacking, match=r"nothing came within 0\.2 seconds"):
        bus.call(NAME, PATH, INTERFACE, "Silent", patience=0.2)
    assert bus.call(NAME, PATH, INTERFACE, "Echo", "s", "after") == ["after"]


def test_no_bus_is_one_line_with_a_hint(tmp_path: Path) -> None:
    bus = Bus(f"unix:path={tmp_path}/nothing")
    with pytest.raises(Lacking, match="the system bus does not answer: No such file") as caught:
        bus.call(NAME, PATH, INTERFACE, "Echo")
    assert caught.value.hint
    bus.close()


def test_a_bus_that_closes_the_door_at_once_does_not_hold_up_the_thread(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{tmp_path}/full")
        listening.listen()

        def refuse() -> None:
            for _ in range(2):
                connection = listening.accept()[0]
                # What is left unread would be an error at the other end, not the end of the stream.
                while not connection.recv(1024).endswith(b"\r\n"):
                    pass
                connection.close()

        threading.Thread(target=refuse, daemon=True).start()
        bus = Bus(f"unix:path={tmp_path}/full")
        for _ in range(2):
            with pytest.raises(Lacking, match="the system bus does not answer"):
                bus.call(NAME, PATH, INTERFACE, "Echo", patience=SECONDS)
        bus.close()


def test_what_d_bus_cannot_say_is_an_error_of_the_caller(bus: Bus, clock: Service) -> None:
    with pytest.raises((ValueError, TypeError)):
        bus.call(NAME, "/../etc", INTERFACE, "Echo")
    with pytest.raises((ValueError, TypeError)):
        bus.call(NAME, PATH, INTERFACE, "Echo", "u", "words")


def test_a_call_works_again_once_the_bus_is_back(bus: Bus, private: PrivateBus, clock: Service) -> None:
    assert bus.call(NAME, PATH, INTERFACE, "Echo", "s", "one") == ["one"]
    private.stop()
    with pytest.raises(Lacking):
        bus.call(NAME, PATH, INTERFACE, "Echo", "s", "two")
    private.start()
    service = Service(private.address, NAME, answer)
    assert bus.call(NAME, PATH, INTERFACE, "Echo", "s", "three") == ["three"]
    service.close()


def test_a_call_under_way_ends_when_the_bus_goes(bus: Bus, private: PrivateBus, clock: Service) -> None:
    bus.call(NAME, PATH, INTERFACE, "Echo")
    ending = threading.Timer(0.2, private.stop)
    ending.start()
    with pytest.raises(Lacking, match="it went away"):
        bus.call(NAME, PATH, INTERFACE, "Silent", patience=SECONDS)
    ending.join()


class Ear:
    """What a subscription heard, in order; "begin" for each beginning."""

    def __init__(self, bus: Bus, match: Match) -> None:
        self.heard: queue.Queue[str | Signal] = queue.Queue()
        self.end = bus.subscribe(match, self.heard.put, lambda: self.heard.put("begin"))

    def next(self) -> str | Signal:
        return self.heard.get(timeout=SECONDS)


def test_a_subscriber_hears_its_senders_signals_after_it_began(bus: Bus, clock: Service) -> None:
    ear = Ear(bus, Match(NAME, INTERFACE, "Tick", path_namespace="/org/example"))
    assert ear.next() == "begin"
    clock.emit(PATH, INTERFACE, "Chime")
    clock.emit("/org/other", INTERFACE, "Tick")
    clock.emit(PATH, INTERFACE, "Tick", "a{sv}", {"n": Variant("u", 1)})
    assert ear.next() == Signal(PATH, INTERFACE, "Tick", [{"n": 1}])


def test_a_signal_in_anothers_name_is_not_heard(bus: Bus, private: PrivateBus, clock: Service) -> None:
    asked: queue.Queue[str] = queue.Queue()

    def note(message: Message) -> Reply:
        asked.put(message.sender or "")
        return "", []

    stranger = Service(private.address, "org.example.Stranger", note)
    bus.call("org.example.Stranger", "/", "org.example.Stranger", "Hello")
    ear = Ear(bus, Match(NAME, INTERFACE))
    assert ear.next() == "begin"
    stranger.tell(asked.get(timeout=SECONDS), PATH, INTERFACE, "Tick", "s", "false")
    # Once the stranger was answered its signal has come in: one connection's messages keep their order.
    bus.call("org.example.Stranger", "/", "org.example.Stranger", "Hello")
    clock.emit(PATH, INTERFACE, "Tick", "s", "true")
    heard = ear.next()
    assert isinstance(heard, Signal)
    assert heard.body == ["true"]
    stranger.close()


def test_a_subscription_begins_anew_when_the_sender_and_when_the_bus_is_back(
    bus: Bus, private: PrivateBus, monkeypatch: pytest.MonkeyPatch, clock: Service
) -> None:
    monkeypatch.setattr(bus_link, "PAUSES", (0.05, 0.1))
    ear = Ear(bus, Match(NAME, INTERFACE))
    assert ear.next() == "begin"
    clock.close()
    second = Service(private.address, NAME, answer)
    assert ear.next() == "begin"
    second.emit(PATH, INTERFACE, "Tick")
    assert isinstance(ear.next(), Signal)
    private.stop()
    private.start()
    assert ear.next() == "begin"
    third = Service(private.address, NAME, answer)
    assert ear.next() == "begin"
    third.emit(PATH, INTERFACE, "Tick")
    assert isinstance(ear.next(), Signal)
    third.close()


def test_a_subscription_made_without_a_bus_begins_once_there_is_one(tmp_path: Path) -> None:
    private = PrivateBus(tmp_path)
    bus = Bus(private.address)
    ear = Ear(bus, Match(NAME, INTERFACE))
    private.start()
    assert ear.next() == "begin"
    bus.close()
    private.stop()


def test_an_ended_subscription_hears_nothing_more(bus: Bus, clock: Service) -> None:
    first, second = Ear(bus, Match(NAME, INTERFACE)), Ear(bus, Match(NAME, INTERFACE))
    assert first.next() == second.next() == "begin"
    first.end()
    bus.call(NAME, PATH, INTERFACE, "Echo")
    clock.emit(PATH, INTERFACE, "Tick")
    assert isinstance(second.next(), Signal)
    assert first.heard.empty()


def test_a_handler_may_call_the_bus_and_may_fail(bus: Bus, clock: Service) -> None:
    heard: queue.Queue[object] = queue.Queue()

    def handle(signal: Signal) -> None:
        if signal.member == "Bad":
            raise KeyError("of the handler")
        heard.put(bus.call(NAME, PATH, INTERFACE, "Echo", "s", "from the handler"))

    bus.subscribe(Match(NAME, INTERFACE), handle, lambda: heard.put("begin"))
    assert heard.get(timeout=SECONDS) == "begin"
    clock.emit(PATH, INTERFACE, "Bad")
    clock.emit(PATH, INTERFACE, "Good")
    assert heard.get(timeout=SECONDS) == ["from the handler"]


def test_the_module_alone_loads_neither_asyncio_nor_d_bus() -> None:
    code = "import sys; from agentd.tools.bus import Bus; Bus(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"agentd.tools.bus", "asyncio", "dbus_fast"} & set(done.stdout.split()) == {"agentd.tools.bus"}
