"""The real llama.cpp, the real model and the real worker on this host; built or fetched if need be."""

import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from agentd.call import calling
from builder import catalogue, models, native, toolchain, wheels
from builder.toolchain import Toolchain

PATIENCE = 120.0


@pytest.fixture(scope="session")
def tools() -> Toolchain:
    """mkosi and the tools tree."""
    return toolchain.ensure()


@pytest.fixture(scope="session")
def llama_tree(tools: Toolchain) -> Path:
    """llama.cpp for the highest level that this host's CPU can run, up to that of the default machine."""
    flags = set(Path("/proc/cpuinfo").read_text().split())
    levels = ("x86-64-v3", "x86-64-v2", "x86-64")
    march = next(level for level in levels if flags.issuperset(wheels.cpu_flags(level)))
    return wheels.ensure(tools, march).tree


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The default machine's model."""
    return models.ensure(catalogue.model("smollm2-135m")).path


class Process:
    """A process of agentd's, its log read as it comes."""

    def __init__(self, argv: list[str], log: Path) -> None:
        self.log = log
        self._file = log.open("wb")
        reading, writing = os.pipe()
        self._pipe = reading
        self._seen = b""
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=writing)
        os.close(writing)

    @property
    def pid(self) -> int:
        """The process id; signals reach the process itself."""
        return self.process.pid

    def wait_for(self, words: str) -> None:
        """Read the log until `words` are in what was not waited for yet; fails after PATIENCE seconds."""
        deadline = time.monotonic() + PATIENCE
        while words.encode() not in self._seen:
            ready, _, _ = select.select([self._pipe], [], [], max(0, deadline - time.monotonic()))
            data = os.read(self._pipe, 1 << 16) if ready else b""
            self._file.write(data)
            self._file.flush()
            self._seen += data
            assert data, f"the process never said {words!r}: {self._seen.decode()}"
        self._seen = self._seen.split(words.encode(), 1)[1]

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def close(self) -> None:
        """End the process if it runs still, whatever happened to it."""
        self.end(signal.SIGKILL)
        os.close(self._pipe)
        self._file.close()


class Worker(Process):
    """A model worker and its socket."""

    def __init__(self, argv: list[str], path: Path, log: Path) -> None:
        super().__init__(argv, log)
        self.path = path

    def calling(self) -> AbstractContextManager[Any]:
        """The worker's methods, on a connection of their own."""
        return calling(str(self.path), "io.aetheros.Model", PATIENCE)

    def connect(self) -> socket.socket:
        """A bare connection."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(PATIENCE)
        connection.connect(str(self.path))
        return connection


StartWorker = Callable[..., Worker]


@pytest.fixture(scope="session")
def start_worker(
    tools: Toolchain, llama_tree: Path, smollm2: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StartWorker]:
    """Starts a worker for a model file (default: the real one), in a folder of its own or a given one."""
    started: list[Worker] = []

    def start(model: Path = smollm2, *extra: str, folder: Path | None = None) -> Worker:
        place = folder or tmp_path_factory.mktemp("worker")
        path = place / "model.sock"
        argv = native.worker_argv(tools, llama_tree, model, path, extra)
        worker = Worker(argv, path, place / "worker.log")
        started.append(worker)
        worker.wait_for("listens; ")
        return worker

    yield start
    for worker in started:
        worker.close()


@pytest.fixture(scope="module")
def worker(start_worker: StartWorker, smollm2: Path) -> Worker:
    """A worker that is ready, shared by the tests that do it no harm."""
    running = start_worker(smollm2, "--context", "4096")
    running.wait_for(": ready: ")
    return running
