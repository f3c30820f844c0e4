"""agentd as a process: start, systemd, one agentd for one state folder, a damaged database, the end."""

import fcntl
import os
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import varlink
from agentd_process import DEADLINE, FAKE_WORKER, environment, eventually, running

from agentd import log
from agentd.call import calling
from agentd.child import death_signal_setter
from agentd.database import MIGRATIONS, Database
from agentd.errors import StoreUnavailable
from agentd.session import Conversations


def is_running(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agentd.daemon", *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        env={**environment(), **more},
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "agentd needs --state DIR"),
        (("--state", "/tmp/x"), "which model?"),
        (
            ("--state", "/tmp/x", "--model", "nosuch", "--models", "/nowhere"),
            "no model 'nosuch' in /nowhere",
        ),
        (("--state", "/tmp/x", "--model", "a.gguf", "--context", "-5"), "--context -5 makes no sense"),
        (("--state", "/tmp/" + "x" * 120, "--model", "a.gguf"), "is too long for a socket"),
        (("--state", "/proc/nothing", "--model", "a.gguf"), "cannot use /proc/nothing"),
        (("--nonsense",), "unrecognized arguments: --nonsense"),
    ],
)
def test_a_wrong_command_line_ends_in_one_line_and_a_hint(arguments: tuple[str, ...], message: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert message in lines[0]
    assert lines[1].startswith("agentd: hint: ")
    assert len(lines) == 2


def test_help_and_version_are_there() -> None:
    assert "example:" in run("--help").stdout
    assert run("--version").stdout.startswith("agentd ")


def test_one_state_folder_has_one_agentd(tmp_path: Path) -> None:
    with running(tmp_path / "state") as agentd:
        done = run("--state", str(agentd.state), "--model", "a.gguf")
        assert done.returncode == 2
        assert f"another agentd (pid {agentd.process.pid}) uses {agentd.state}" in done.stderr
        assert agentd.call("Health")["healthy"]


def test_the_core_is_light(tmp_path: Path) -> None:
    program = (
        "import sys, agentd.daemon\n"
        "heavy = {'numpy', 'llama_cpp', 'pydantic', 'jinja2', 'requests', 'asyncio', 'logging'}\n"
        "print(*heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment())
    assert done.stdout.strip() == ""
    with running(tmp_path / "state") as agentd:
        agentd.ask("hello")
        status = Path(f"/proc/{agentd.process.pid}/status").read_text()
        memory = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    print(f"agentd holds {memory / 1024:.1f} MiB")
    assert memory < 40 * 1024


@contextmanager
def started_by_systemd(folder: Path, state: Path) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """agentd as a service with the socket `folder`/agent.sock, and the socket that it notifies."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(folder / "agent.sock"))
    listening.listen()
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(folder / "notify"))
    manager.settimeout(DEADLINE)
    # What systemd does before it executes a service: sd_listen_fds(3).
    program = (
        "import os, sys\n"
        f"os.dup2({listening.fileno()}, 3)\n"
        "os.environ['LISTEN_PID'] = str(os.getpid())\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'agentd.daemon'])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        pass_fds=[3, listening.fileno()] if listening.fileno() != 3 else [3],
        env={
            **environment(),
            "LISTEN_FDS": "1",
            "NOTIFY_SOCKET": str(folder / "notify"),
            "WATCHDOG_USEC": "400000",
            "STATE_DIRECTORY": str(state),
        },
    )
    try:
        yield process, manager
    finally:
        process.kill()
        process.wait()
        listening.close()
        manager.close()


def test_systemd_passes_the_socket_and_is_told_of_every_step(tmp_path: Path) -> None:
    with started_by_systemd(tmp_path, tmp_path / "state") as (process, manager):
        assert manager.recv(4096).startswith(b"READY=1\n")
        assert manager.recv(4096) == b"WATCHDOG=1"
        with calling(str(tmp_path / "agent.sock"), "io.aetheros.Agent", DEADLINE) as agent:
            assert agent.Health()["healthy"]
            assert agent.Status()["model"]["state"] == "unavailable"
        process.terminate()
        said = b""
        while not said.startswith(b"STOPPING=1"):
            said = manager.recv(4096)
        assert process.wait(DEADLINE) == 0
        assert (tmp_path / "agent.sock").exists(), "systemd's socket outlives agentd"
        assert (tmp_path / "state" / "agent.db").exists()


def test_a_service_whose_state_folder_cannot_be_used_stays_up_and_says_so(tmp_path: Path) -> None:
    with started_by_systemd(tmp_path, Path("/proc/nothing")) as (_, manager):
        assert manager.recv(4096).startswith(b"READY=1\n")
        with calling(str(tmp_path / "agent.sock"), "io.aetheros.Agent", DEADLINE) as agent:
            health = agent.Health()
            assert not health["healthy"]
            assert "/proc/nothing/agent.db cannot be used" in health["detail"]
            assert agent.Status()["problem"] == health["detail"]


def test_a_disk_that_is_full_at_the_start_refuses_questions_until_it_has_room(tmp_path: Path) -> None:
    state = tmp_path / "state"
    command = [sys.executable, "-m", "agentd.daemon", "--state", str(state), "--model-socket", "/nowhere"]
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    # No file may grow beyond 0 bytes: each write fails, as on a full disk.
    process = subprocess.Popen(
        command,
        env=environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, unlimited)),
    )
    try:
        eventually((state / "agent.sock").exists)
        with calling(str(state / "agent.sock"), "io.aetheros.Agent", DEADLINE) as agent:
            assert not agent.Health()["healthy"]
            with pytest.raises(varlink.VarlinkError) as caught:
                agent.Ask(text="hello")
            assert caught.value.error() == "io.aetheros.Agent.StoreUnavailable"
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))
            assert agent.Health()["healthy"]
            assert "problem" not in agent.Status()
    finally:
        process.terminate()
        assert process.wait(DEADLINE) == 0


def test_answers_cut_off_before_a_late_opening_are_marked_interrupted(tmp_path: Path) -> None:
    folder, away = tmp_path / "state", tmp_path / "away"
    folder.mkdir()
    before = Database(folder / "agent.db")
    cut_off = Conversations(before).begin("one", None)
    before.close()
    folder.rename(away)
    database = Database(folder / "agent.db")
    conversations = Conversations(database)
    with pytest.raises(StoreUnavailable, match="unable to open"):
        conversations.interrupt_unanswered()
    away.rename(folder)
    begun = conversations.begin("two", cut_off.session)
    assert conversations.interrupt_unanswered() == 0, "an answer of now is left alone"
    states = {turn.id: turn.status for turn in conversations.history(cut_off.session, 9)[0]}
    assert (states[cut_off.answer], states[begun.answer]) == ("interrupted", "answering")
    database.close()


def test_what_was_said_is_for_its_owner_alone_in_a_folder_that_others_may_enter(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o755)
    with running(tmp_path / "state") as agentd:
        agentd.ask("hello")
        modes = {path.name: path.stat().st_mode & 0o077 for path in agentd.state.iterdir()}
        assert set(modes) >= {"agent.db", "agent.db-wal", "agent.sock", "model.sock"}
        assert set(modes.values()) == {0}


def test_a_log_line_is_one_line_of_printable_text(capfd: pytest.CaptureFixture[str]) -> None:
    log.warning("a model\x1b]0;named\x07\nin two lines")
    assert capfd.readouterr().err.endswith("a model?]0;named? in two lines\n")


def test_a_killed_agentd_leaves_no_worker(tmp_path: Path) -> None:
    with running(tmp_path / "state") as agentd:
        agentd.ask("hello")
        worker = agentd.worker_pid()
        agentd.kill()
        eventually(lambda: not is_running(worker))


def test_a_stopped_agentd_leaves_no_worker_and_no_socket(tmp_path: Path) -> None:
    with running(tmp_path / "state") as agentd:
        agentd.ask("hello")
        worker = agentd.worker_pid()
        agentd.stop()
        assert not is_running(worker)
        assert not Path(agentd.socket).exists()


def test_ctrl_c_stops_a_developers_agentd(tmp_path: Path) -> None:
    with running(tmp_path / "state") as agentd:
        agentd.process.send_signal(signal.SIGINT)
        assert agentd.process.wait(DEADLINE) == 0


def test_a_damaged_database_is_left_alone_and_said(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "agent.db").write_bytes(b"this is no database, but somebody may still want it\n" * 100)
    before = (state / "agent.db").read_bytes()
    with running(state) as agentd:
        health = agentd.call("Health")
        assert not health["healthy"]
        assert "was left as it is: file is not a database" in health["detail"]
        assert agentd.call("Status")["problem"] == health["detail"]
        with pytest.raises(varlink.VarlinkError) as caught:
            agentd.ask("hello")
        assert caught.value.error() == "io.aetheros.Agent.StoreUnavailable"
    assert (state / "agent.db").read_bytes() == before


def test_a_database_with_damaged_pages_is_given_up_when_they_are_read(tmp_path: Path) -> None:
    database = Database(tmp_path / "agent.db")
    with database.writing() as connection:
        connection.execute(
            "INSERT INTO sessions (id, title, created, updated) VALUES ('a', ?, '', '')", ["x" * 50_000]
        )
    database.close()
    with (tmp_path / "agent.db").open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    damaged = Database(tmp_path / "agent.db")
    with pytest.raises(StoreUnavailable, match="was left as it is"), damaged.reading() as connection:
        connection.execute("SELECT * FROM sessions").fetchall()
    assert damaged.problem is not None


def test_a_database_of_a_newer_agentd_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "agent.db") as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    before = (tmp_path / "agent.db").read_bytes()
    database = Database(tmp_path / "agent.db")
    assert f"it has schema {len(MIGRATIONS) + 1}" in str(database.problem)
    assert (tmp_path / "agent.db").read_bytes() == before


def test_a_failed_transaction_leaves_nothing_behind(tmp_path: Path) -> None:
    database = Database(tmp_path / "agent.db")
    with pytest.raises(RuntimeError), database.writing() as connection:
        connection.execute("INSERT INTO sessions (id, title, created, updated) VALUES ('a', '', '', '')")
        raise RuntimeError
    with database.reading() as connection:
        assert connection.execute("SELECT count(*) FROM sessions").fetchone() == (0,)
    with (
        pytest.raises(StoreUnavailable, match="the database refused: NOT NULL"),
        database.writing() as connection,
    ):
        connection.execute("INSERT INTO sessions (id) VALUES ('a')")
    database.close()


def test_every_commit_waits_for_the_disk(tmp_path: Path) -> None:
    database = Database(tmp_path / "agent.db")
    with database.reading() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,), "2 is FULL"
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    database.close()


def test_a_full_disk_refuses_the_question_and_recovers(tmp_path: Path) -> None:
    database = Database(tmp_path / "agent.db")
    with database.reading() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreUnavailable, match="full"), database.writing() as connection:
        connection.execute(
            "INSERT INTO sessions (id, title, created, updated) VALUES ('a', ?, '', '')", ["x" * 100_000]
        )
    assert database.problem is None
    with database.reading() as connection:
        connection.execute(f"PRAGMA max_page_count = {pages + 100}")
    with database.writing() as connection:
        connection.execute(
            "INSERT INTO sessions (id, title, created, updated) VALUES ('a', ?, '', '')", ["x" * 100_000]
        )
    database.close()


def test_the_lock_is_held_by_the_process_and_not_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "lock").write_text("1\n")
    with running(tmp_path / "state") as agentd:
        assert (agentd.state / "lock").read_text().strip() == str(agentd.process.pid)
        with (agentd.state / "lock").open() as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_worker_somebody_else_runs_is_used_and_not_started(tmp_path: Path) -> None:
    worker = subprocess.Popen([sys.executable, str(FAKE_WORKER), "--socket", str(tmp_path / "model.sock")])
    agentd: subprocess.Popen[bytes] | None = None
    try:
        agentd = subprocess.Popen(
            [
                *(sys.executable, "-m", "agentd.daemon", "--state", str(tmp_path / "state")),
                *("--model-socket", str(tmp_path / "model.sock")),
            ],
            env=environment(),
        )
        path = str(tmp_path / "state" / "agent.sock")
        eventually(lambda: os.path.exists(path))  # noqa: PTH110
        with calling(path, "io.aetheros.Agent", DEADLINE) as agent:
            assert agent.Ask(text="hello")["text"] == "You said: hello "
    finally:
        for process in (agentd, worker):
            if process is not None:
                process.terminate()
                process.wait(DEADLINE)


def test_a_worker_whose_agentd_died_before_it_began_does_not_begin() -> None:
    another = os.getppid()
    process = subprocess.Popen(["sleep", "60"], preexec_fn=death_signal_setter(another))
    try:
        assert process.wait(timeout=15) == 1
    finally:
        process.kill()
    process = subprocess.Popen(["true"], preexec_fn=death_signal_setter(os.getpid()))
    assert process.wait(timeout=15) == 0
