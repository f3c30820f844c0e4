"""Bad clients: whatever one of them does, the others are answered and the log has a line, no traceback."""

import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import varlink
from agentd_process import DEADLINE, Agentd, eventually, running

from agentd import server
from agentd.server import MAX_CONNECTIONS, MAX_MESSAGE, BadMessageError, check_call

HEALTH = b'{"method": "io.aetheros.Agent.Health"}'


@pytest.fixture(scope="module")
def agentd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agentd]:
    with running(tmp_path_factory.mktemp("agentd")) as agentd:
        yield agentd


def connected(agentd: Agentd) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(DEADLINE)
    client.connect(agentd.socket)
    return client


def replies(client: socket.socket) -> list[dict[str, object]]:
    """What comes until agentd closes the connection."""
    received = b""
    # A connection that is closed with something unread ends with a reset after what was sent before.
    with suppress(ConnectionResetError):
        while chunk := client.recv(1 << 16):
            received += chunk
    return [json.loads(message) for message in received.split(b"\0")[:-1]]


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"\xff\xfe not text", "the message is not UTF-8"),
        (b"{not json", "the message is not JSON"),
        (b"[1, 2]", "the message is not an object with a method"),
        (b'{"method": 7}', "the message is not an object with a method"),
        (b'{"method": "io.aetheros.Agent.Health", "parameters": [1]}', "the parameters are not an object"),
        (b"[" * 100_000, "the message is nested too deeply"),
        (b'{"method": "io.aetheros.Agent.Health", "upgrade": true}', "upgrade is not supported"),
    ],
)
def test_a_message_that_is_no_call_gets_one_error_and_the_connection_ends(
    agentd: Agentd, message: bytes, why: str
) -> None:
    before = sum("refused" in line for line in agentd.lines)
    with connected(agentd) as client:
        client.sendall(message + b"\0")
        [error] = replies(client)
    assert error == {"error": "org.varlink.service.InvalidParameter", "parameters": {"parameter": why}}
    eventually(lambda: sum("refused" in line for line in agentd.lines) == before + 1)
    assert why in next(line for line in reversed(agentd.lines) if "refused" in line)


@pytest.mark.parametrize(
    ("message", "name"),
    [
        (b'{"method": "io.aetheros.Nothing.At"}', "org.varlink.service.InterfaceNotFound"),
        (b'{"method": "io.aetheros.Agent.Nothing"}', "org.varlink.service.MethodNotFound"),
        (b'{"method": "io.aetheros.Agent.Ask", "parameters": {}}', "org.varlink.service.InvalidParameter"),
        (
            b'{"method": "io.aetheros.Agent.Ask", "parameters": {"text": [1]}}',
            "org.varlink.service.InvalidParameter",
        ),
        (
            b'{"method": "io.aetheros.Agent.Ask", "parameters": {"tex": ""}}',
            "org.varlink.service.InvalidParameter",
        ),
        (
            b'{"method": "io.aetheros.Agent.History", "parameters": {"session": "x"}}',
            "io.aetheros.Agent.NoSuchSession",
        ),
    ],
)
def test_a_wrong_call_gets_its_error_and_the_connection_goes_on(
    agentd: Agentd, message: bytes, name: str
) -> None:
    with connected(agentd) as client:
        client.sendall(message + b"\0" + HEALTH + b"\0")
        client.shutdown(socket.SHUT_WR)
        error, health = replies(client)
    assert error["error"] == name
    assert health["parameters"]["healthy"] is True  # type: ignore[index]


def test_a_oneway_call_gets_no_reply(agentd: Agentd) -> None:
    with connected(agentd) as client:
        client.sendall(b'{"method": "io.aetheros.Agent.Nothing", "oneway": true}\0' + HEALTH + b"\0")
        client.shutdown(socket.SHUT_WR)
        [health] = replies(client)
    assert "error" not in health


def test_a_number_without_bound_ends_in_one_line(agentd: Agentd) -> None:
    with connected(agentd) as client:
        client.sendall(b'{"method": "io.aetheros.Agent.Sessions", "parameters": {"limit": 1e999}}\0')
        assert replies(client) == []
    agentd.wait_for("a call ended unexpectedly: OverflowError")
    assert agentd.call("Health")["healthy"]


def test_a_message_without_an_end_is_bounded(agentd: Agentd) -> None:
    with connected(agentd) as client:
        with pytest.raises(OSError):  # EPIPE or ECONNRESET, as it comes
            for _ in range(10 * MAX_MESSAGE // (1 << 16)):
                client.sendall(b"x" * (1 << 16))
        [error] = replies(client)
    assert error["parameters"] == {"parameter": f"the message is longer than {MAX_MESSAGE} bytes"}


def test_a_client_that_leaves_inside_a_message_is_one_line(agentd: Agentd) -> None:
    with connected(agentd) as client:
        client.sendall(b'{"method": ')
    agentd.wait_for("the connection ended inside a message")


def test_a_client_that_resets_its_connection_hurts_nobody(agentd: Agentd) -> None:
    with connected(agentd) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(HEALTH + b"\0" + HEALTH + b"\0")
    assert agentd.call("Health")["healthy"]


def test_two_hundred_clients_half_of_them_silent_are_answered(agentd: Agentd) -> None:
    silent = [connected(agentd) for _ in range(100)]
    healthy: list[bool] = []
    threads = [
        threading.Thread(target=lambda: healthy.append(agentd.call("Health")["healthy"])) for _ in range(100)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert healthy == [True] * 100
    for client in silent:
        client.close()


def test_when_all_connections_are_taken_the_silent_ones_make_room(agentd: Agentd) -> None:
    silent = [connected(agentd) for _ in range(MAX_CONNECTIONS + 20)]
    assert agentd.call("Health")["healthy"]
    assert silent[0].recv(1) == b"", "the one that was silent for longest was let go"
    for client in silent:
        client.close()


def test_the_log_never_has_what_was_said(agentd: Agentd) -> None:
    agentd.ask("a secret of mine")
    eventually(lambda: ": complete" in agentd.lines[-1])
    assert not any("secret" in line for line in agentd.lines)


def test_a_slow_message_is_let_go(agentd: Agentd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(server, "MESSAGE_TIME", 0.1)
    service = server.StrictService(interface_dir=str(tmp_path))
    address = f"unix:{tmp_path / 'slow.sock'}"
    bounded = server.BoundedServer(address, service, varlink.InvalidParameter("full"), lambda: None)
    thread = threading.Thread(target=bounded.serve_forever, args=(0.05,))
    thread.start()
    with bounded, socket.socket(socket.AF_UNIX) as client:
        client.settimeout(DEADLINE)
        client.connect(str(tmp_path / "slow.sock"))
        client.sendall(b"{")
        assert client.recv(1) == b""
        bounded.shutdown()
    thread.join(DEADLINE)


def test_a_call_is_recognised() -> None:
    assert check_call(b'{"method": "a.B", "parameters": null}') is False
    assert check_call(b'{"method": "a.B", "oneway": true}') is True
    with pytest.raises(BadMessageError):
        check_call(b"")
