"""agentd with the real worker and the real model, run natively as `aether agentd` runs it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import varlink
from worker_process import PATIENCE, Process

from agentd.call import calling
from builder import native
from builder.toolchain import Toolchain

pytestmark = pytest.mark.native

PARIS = "What is the capital of France?"


class Agentd(Process):
    """agentd in the tools tree; its sockets are on the host."""

    def __init__(
        self, argv: list[str], state: Path, log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(argv, log, env)
        self.socket = state / "agent.sock"

    def ask(self, text: str, **options: Any) -> dict[str, Any]:
        """The last reply to a question."""
        with calling(str(self.socket), "io.aetheros.Agent", PATIENCE) as agent:
            reply: dict[str, Any] = agent.Ask(text=text, **options)
        return reply

    def status(self) -> dict[str, Any]:
        """What agentd says of itself."""
        with calling(str(self.socket), "io.aetheros.Agent", PATIENCE) as agent:
            status: dict[str, Any] = agent.Status()
        return status


@pytest.fixture(scope="module")
def agentd(
    tools: Toolchain, llama_tree: Path, smollm2: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Agentd]:
    """agentd with the real model, ready to answer."""
    state = tmp_path_factory.mktemp("state")
    argv = native.agentd_argv(tools, llama_tree, smollm2, state, ["--context", "2048"], name="smollm2-135m")
    running = Agentd(argv, state, state / "agentd.log")
    try:
        running.wait_for(": ready: ")
        yield running
    finally:
        running.close()


def worker_pid(agentd: Agentd) -> int:
    """The process that maps llama.cpp below agentd."""
    children = Path(f"/proc/{agentd.pid}/task").glob("*/children")
    pids = [int(pid) for path in children for pid in path.read_text().split()]
    (pid,) = [pid for pid in pids if "libllama" in Path(f"/proc/{pid}/maps").read_text()]
    return pid


def test_a_question_on_the_hosts_socket_is_answered_by_the_model(agentd: Agentd) -> None:
    reply = agentd.ask(PARIS, max_tokens=60)
    assert reply["status"] == "complete"
    assert len(reply["text"].split()) >= 2


def test_status_names_the_model_as_the_catalogue_does(agentd: Agentd) -> None:
    model = agentd.status()["model"]
    assert (model["name"], model["state"], model["context"]) == ("smollm2-135m", "ready", 2048)


def test_agentd_itself_stays_light(agentd: Agentd) -> None:
    maps = Path(f"/proc/{agentd.pid}/maps").read_text()
    assert "libllama" not in maps
    assert "numpy" not in maps


def test_there_is_no_network_in_the_sandbox(agentd: Agentd) -> None:
    lines = Path(f"/proc/{agentd.pid}/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in lines] == ["lo"]


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_when_the_worker_dies_in_mid_answer_agentd_says_so_and_the_next_question_is_answered(
    agentd: Agentd, number: int
) -> None:
    with calling(str(agentd.socket), "io.aetheros.Agent", PATIENCE) as agent:
        replies = agent.Ask(text="Tell me a long story about a ship.", max_tokens=500, _more=True)
        while not next(replies)["delta"]:
            pass
        os.kill(worker_pid(agentd), number)
        with pytest.raises(varlink.VarlinkError) as told:
            list(replies)
    assert told.value.error() == "io.aetheros.Agent.ModelUnavailable"
    assert told.value.parameters()["detail"]
    assert agentd.ask(PARIS, max_tokens=20)["text"]


def test_ending_agentd_leaves_no_worker(
    tools: Toolchain, llama_tree: Path, smollm2: Path, tmp_path: Path
) -> None:
    argv = native.agentd_argv(tools, llama_tree, smollm2, tmp_path)
    running = Agentd(argv, tmp_path, tmp_path / "agentd.log")
    try:
        running.wait_for(": ready: ")
        pid = worker_pid(running)
        handle = os.pidfd_open(pid)
        assert running.end(signal.SIGTERM) == 0
        with pytest.raises(ProcessLookupError):
            signal.pidfd_send_signal(handle, 0)
        os.close(handle)
    finally:
        running.close()


def test_a_host_without_llama_cpp_gets_one_clear_line(tmp_path: Path) -> None:
    model = tmp_path / "tiny.gguf"
    model.write_bytes(b"GGUF" + bytes(96))
    blocked = tmp_path / "blocked/llama_cpp.py"
    blocked.parent.mkdir()
    blocked.write_text("raise ModuleNotFoundError(\"No module named 'llama_cpp'\")")
    state = tmp_path / "state"
    argv = [sys.executable, "-m", "agentd.daemon", "--state", str(state), "--model", str(model)]
    env = {**os.environ, "PYTHONPATH": f"{blocked.parent}:{native.REPOSITORY}"}
    running = Agentd(argv, state, tmp_path / "agentd.log", env)
    try:
        running.wait_for("unavailable: ")
        model_status = running.status()["model"]
        assert model_status["state"] == "unavailable"
        assert "llama.cpp is not installed" in model_status["detail"]
        assert "aether agentd" in model_status["detail"]
        assert len(model_status["detail"].splitlines()) == 1
        assert running.end(signal.SIGTERM) == 0
    finally:
        running.close()


def test_run_agentd_returns_the_exit_status_of_agentd(
    tools: Toolchain, llama_tree: Path, smollm2: Path, tmp_path: Path
) -> None:
    code = """
import sys
from pathlib import Path
from builder import native
from builder.toolchain import Toolchain
mkosi, root, tree, model, state = map(Path, sys.argv[1:])
sys.exit(native.run_agentd(Toolchain(mkosi, root, ""), tree, model, state, ["--nonsense"]))
"""
    words = [tools.mkosi, tools.root, llama_tree, smollm2, tmp_path / "new/state"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=native.REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 2
    assert "--nonsense" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "new/state").is_dir()
