"""A running agentd for tests: the real daemon as a process, with the scripted worker of this folder.

Every wait has a deadline. Its log is kept in `lines`, and `stop` checks that it has no traceback.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agentd.call import calling

REPOSITORY = Path(__file__).parents[2]
FAKE_WORKER = Path(__file__).with_name("fake_model_worker.py")
DEADLINE = 15.0


def environment() -> dict[str, str]:
    """The environment of a child: the package importable, nothing of the caller's agentd or systemd."""
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("AGENTD", "LISTEN", "NOTIFY"))
    }
    return {**kept, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}


class Agentd:
    """agentd on the folder `state`; `script` is for the fake worker."""

    def __init__(self, state: Path, /, **script: Any) -> None:
        self.state = state
        self.socket = str(state / "agent.sock")
        self.lines: list[str] = []
        self._script = script
        self._changed = threading.Condition()
        self.process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        worker = [sys.executable, str(FAKE_WORKER), "--script", json.dumps(self._script)]
        process = subprocess.Popen(
            [
                *(
                    sys.executable,
                    "-m",
                    "agentd.daemon",
                    "--state",
                    str(self.state),
                    "--model",
                    "/nowhere/fake.gguf",
                ),
                *("--worker-command", shlex.join(worker)),
            ],
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            env=environment(),
        )
        threading.Thread(target=self._read, args=(process,), daemon=True).start()
        return process

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self.lines.append("END")
            self._changed.notify_all()

    def wait_for(self, text: str, times: int = 1) -> None:
        """Return once `times` log lines contain `text`."""
        with self._changed:
            found = self._changed.wait_for(
                lambda: sum(text in line for line in self.lines) >= times, timeout=DEADLINE
            )
        assert found, f"no log line has {text!r}: {self.lines}"

    def wait_until_it_answers(self) -> "Agentd":
        self.wait_for("answers on")
        return self

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        with calling(self.socket, "io.aetheros.Agent", DEADLINE) as agent:
            reply: dict[str, Any] = getattr(agent, method)(**parameters)
        return reply

    def ask(self, text: str, **parameters: Any) -> list[dict[str, Any]]:
        """All replies to one question."""
        with calling(self.socket, "io.aetheros.Agent", DEADLINE) as agent:
            return list(agent.Ask(text=text, **parameters, _more=True))

    def worker_pid(self) -> int:
        started = [line for line in self.lines if "the model worker is started (pid" in line]
        return int(started[-1].split("(pid ")[1].rstrip(")"))

    def kill(self) -> None:
        """A power cut, as far as agentd can tell."""
        self.process.kill()
        self.process.wait(DEADLINE)
        self.wait_for("END")
        self.lines.clear()

    def restart(self) -> None:
        self.lines.clear()
        self.process = self._start()
        self.wait_until_it_answers()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(DEADLINE) == 0
        assert not any("Traceback" in line for line in self.lines), self.lines


@contextmanager
def running(state: Path, /, **script: Any) -> Iterator[Agentd]:
    """An agentd that answers, stopped at the end."""
    agentd = Agentd(state, **script)
    try:
        yield agentd.wait_until_it_answers()
    finally:
        try:
            agentd.stop()
        finally:
            agentd.process.kill()


def eventually(condition: Callable[[], bool], seconds: float = DEADLINE) -> None:
    """Return once `condition` holds; for what has no event to wait for."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)
