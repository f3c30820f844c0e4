"""The process agentd-exec as systemd starts it: its socket, its word to systemd, its end."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from agentd_process import environment

# What differs from the image: no user agentd here, no state in /var, and a short patience.
START = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
from pathlib import Path
from agentd.exec import broker
broker.USER, broker.AGENTD_STATE, broker.IDLE = "root", Path(sys.argv[2]), float(sys.argv[3])
sys.exit(broker.main())
"""

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="the peer check of the process is for root's user")


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as found:
        found.bind("")
        found.listen()
        yield found


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as found:
        found.bind(str(tmp_path / "n"))
        found.settimeout(15)
        yield found


def start(folder: Path, listener: socket.socket, idle: float) -> subprocess.Popen[str]:
    given = {"NOTIFY_SOCKET": str(folder / "n"), "STATE_DIRECTORY": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-c", START, str(listener.fileno()), str(folder), str(idle)],
        pass_fds=[listener.fileno()],
        env={**environment(), **given},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_it_serves_what_waits_refuses_who_is_not_agentd_and_ends_when_idle(
    tmp_path: Path, listener: socket.socket, systemd: socket.socket
) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(15)
        client.connect(listener.getsockname())
        process = start(tmp_path, listener, 0.3)
        assert systemd.recv(100) == b"READY=1"
        answer = json.loads(client.recv(4096).rstrip(b"\0"))
        assert answer["error"] == "io.aetheros.Exec.NotAllowed"
        assert "not in /system.slice/agentd.service" in answer["parameters"]["detail"]
    assert systemd.recv(100) == b"STOPPING=1"
    _, said = process.communicate(timeout=15)
    assert process.returncode == 0
    assert "refused a client" in said and "Traceback" not in said
    # Who comes meanwhile is not lost: systemd still has the socket.
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(listener.getsockname())


def test_it_ends_when_it_is_told_to(tmp_path: Path, listener: socket.socket, systemd: socket.socket) -> None:
    process = start(tmp_path, listener, 60.0)
    assert systemd.recv(100) == b"READY=1"
    began = time.monotonic()
    process.terminate()
    _, said = process.communicate(timeout=15)
    assert process.returncode == 0
    assert time.monotonic() - began < 5
    assert "Traceback" not in said


def test_without_a_socket_it_says_who_starts_it() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agentd.exec.broker"],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert "started by systemd" in done.stderr
