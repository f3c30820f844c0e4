"""The model worker as a child process, for a developer's host where no systemd starts it.

Starts the worker, starts it again when it dies (slower each time), and stops it at the end. On an
image agentd-model.service does this.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from agentd import log

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
# A worker that lived this long, in seconds, was well: the next pause is the first again.
WELL_AFTER = 60.0
STOP_TIME = 5.0
_PR_SET_PDEATHSIG = 1  # prctl(2)


class Child:
    """A command that is kept running on a thread of its own until `stop`."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._keep_running, name="model worker", daemon=True)

    def start(self) -> None:
        """Start the command."""
        # logging has hooks around a fork, and what memory imports brings it in: if that happened on its
        # thread while this one forks, half of the hooks would run.
        import logging  # noqa: F401

        self._thread.start()

    def stop(self) -> None:
        """End the command: SIGTERM, and after STOP_TIME seconds SIGKILL."""
        self._stopping.set()
        with self._lock:
            process = self._process
        if process is not None:
            process.terminate()
            try:
                process.wait(STOP_TIME)
            except subprocess.TimeoutExpired:
                process.kill()
        self._thread.join(STOP_TIME)

    def _keep_running(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            began = time.monotonic()
            ending = self._run_once()
            if self._stopping.is_set():
                return
            if time.monotonic() - began > WELL_AFTER:
                pause = FIRST_PAUSE
            log.warning(f"the model worker {ending}; it is started again in {pause:g} s")
            self._stopping.wait(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _run_once(self) -> str:
        die_with_parent = death_signal_setter(os.getpid())
        with self._lock:
            if self._stopping.is_set():
                return "was not needed"
            try:
                # The parent of PR_SET_PDEATHSIG is this thread, which lives as long as agentd.
                process = subprocess.Popen(
                    self._command, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent
                )
            except (OSError, subprocess.SubprocessError) as error:
                return f"cannot be started ({error})"
            self._process = process
        log.info(f"the model worker is started (pid {process.pid})")
        status = process.wait()
        if status < 0:
            with suppress(ValueError):
                return f"was ended by {signal.Signals(-status).name}"
        return f"ended with status {status}"


def death_signal_setter(parent: int) -> Callable[[], None]:
    """A function that makes its process die with `parent`, so that a killed agentd leaves no worker."""
    import ctypes  # only here: the core on an image never needs it

    prctl = ctypes.CDLL(None).prctl

    def die_with_parent() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
        # A parent that died before this sends no signal any more.
        if os.getppid() != parent:
            os._exit(1)

    return die_with_parent
