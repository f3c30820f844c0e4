"""Who is let in by the broker: agentd, by its user and its unit, and nobody else."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import varlink
from exec_fixture import HERE, FakeBus, running

from agentd.acting import StepFailed
from agentd.call import calling
from agentd.exec import peer
from agentd.exec.peer import AGENTD_CGROUP, Stranger
from builder.image import TEMPLATES


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as found:
        found.bind(str(tmp_path / "s"))
        found.listen()
        yield found


def connected(listener: socket.socket) -> tuple[socket.socket, socket.socket]:
    client = socket.socket(socket.AF_UNIX)
    client.connect(listener.getsockname())
    return client, listener.accept()[0]


def test_the_user_in_the_right_unit_is_let_in(listener: socket.socket) -> None:
    client, connection = connected(listener)
    with client, connection:
        peer.check(connection, os.getuid(), HERE)


def test_a_user_that_is_not_the_one_is_refused(listener: socket.socket) -> None:
    client, connection = connected(listener)
    with client, connection, pytest.raises(Stranger, match="runs as user"):
        peer.check(connection, os.getuid() + 1, HERE)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_process_of_another_user_is_refused() -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("")  # an abstract name, which everybody may connect to
        listener.listen()
        child = os.fork()
        if child == 0:
            os.setuid(65534)
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(listener.getsockname())
                client.recv(1)
            os._exit(0)
        with listener.accept()[0] as connection, pytest.raises(Stranger, match="runs as user 65534"):
            peer.check(connection, os.getuid(), HERE)
        os.waitpid(child, 0)


def test_the_right_user_in_another_cgroup_is_refused(listener: socket.socket) -> None:
    client, connection = connected(listener)
    with client, connection, pytest.raises(Stranger, match=r"not in /system\.slice/agentd\.service"):
        peer.check(connection, os.getuid())


@pytest.mark.parametrize(
    "lines",
    [
        "0::/user.slice/user-1000.slice/user@1000.service/app.slice/agentd.service\n",
        "0::/system.slice/agentd.service/below\n",
        "0::/system.slice/agentd-model.service\n",
        "1:cpu:/system.slice/agentd.service\n0::/\n",
        "",
    ],
)
def test_only_the_very_unit_counts(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch, lines: str
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda _path: lines)
    client, connection = connected(listener)
    with client, connection, pytest.raises(Stranger, match="not in"):
        peer.check(connection, os.getuid())


def test_a_process_that_has_ended_is_refused_as_its_number_may_be_anothers(listener: socket.socket) -> None:
    code = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])"
    child = subprocess.Popen([sys.executable, "-c", code, listener.getsockname()])
    with listener.accept()[0] as connection:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(Stranger, match=r"has ended|names no process"):
            peer.check(connection, os.getuid(), HERE)
        child.wait(10)
        with pytest.raises(Stranger, match=r"has ended|names no process"):
            peer.check(connection, os.getuid(), HERE)


def test_a_stranger_is_answered_and_nothing_is_done(tmp_path: Path) -> None:
    bus = FakeBus()

    def nobody(connection: socket.socket) -> None:
        peer.check(connection, os.getuid())

    with running(tmp_path, bus, nobody) as world:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(world.path)
            assert b"io.aetheros.Exec.NotAllowed" in client.recv(4096)
            assert client.recv(4096) == b""
        with pytest.raises(StepFailed):
            world.run()
        with pytest.raises((varlink.VarlinkError, OSError)):
            with calling(world.path, "io.aetheros.Exec", 10) as broker:
                broker.Verbs()
    assert bus.calls == []


def test_the_cgroup_is_the_one_that_systemd_gives_agentd() -> None:
    unit = (TEMPLATES / "files/usr/lib/systemd/system/agentd.service").read_text()
    assert AGENTD_CGROUP == "/system.slice/agentd.service"
    # Any of these would put it elsewhere.
    assert not any(word in unit for word in ("\nSlice=", "\nDelegate=", "\nDelegateSubgroup="))
