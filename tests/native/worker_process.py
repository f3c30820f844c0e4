"""agentd's processes as the native tests run them: started, waited for by their log, signalled, ended."""

import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from agentd.call import calling

PATIENCE = 120.0


class Process:
    """A process of agentd's, its log read as it comes."""

    def __init__(self, argv: list[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self.log = log
        self._file = log.open("wb")
        reading, writing = os.pipe()
        self._pipe = reading
        self._seen = b""
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=writing, env=env)
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
