"""One QEMU process: its start, its monitor, its events, its end.

Everything is asynchronous here; the machine as a story to tell is vm.py. The monitor (QMP) and the
ready port are inherited socket pairs, so there is no path to race for. Every wait ends with what it
waits for, the end of the process, the loss of its monitor, or a deadline. An emulated TPM is a second
process (swtpm), which ends with QEMU.
"""

import asyncio
import contextlib
import ctypes
import json
import logging
import os
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from qemu.qmp import ConnectError, EventListener, QMPClient, QMPError, Runstate
from qemu.qmp.message import Message
from qemu.qmp.qmp_client import ExecuteError

from builder.errors import AetherError
from builder.qemu_command import Channels

T = TypeVar("T")

PR_SET_PDEATHSIG = 1  # prctl(2)
LAUNCH_SECONDS = 30.0  # from exec to the monitor's greeting; 0.2 s on an idle host
TPM_SECONDS = 5.0  # from the end of QEMU to the end of its TPM
EXIT_SECONDS = 10.0  # from the end of the monitor to the end of the process
# What goes wrong with a monitor is in our own errors; the library would print it a second time.
logging.getLogger("qemu.qmp").addHandler(logging.NullHandler())
LIBC = ctypes.CDLL(None, use_errno=True)


class ShutdownReason(StrEnum):
    """Why a machine ended: QEMU's ShutdownCause (qapi/run-state.json), and two ends it cannot report."""

    NONE = "none"
    HOST_ERROR = "host-error"
    HOST_QMP_QUIT = "host-qmp-quit"
    HOST_QMP_RESET = "host-qmp-system-reset"
    HOST_SIGNAL = "host-signal"
    HOST_UI = "host-ui"
    GUEST_SHUTDOWN = "guest-shutdown"
    GUEST_RESET = "guest-reset"
    GUEST_PANIC = "guest-panic"
    SUBSYSTEM_RESET = "subsystem-reset"
    SNAPSHOT_LOAD = "snapshot-load"
    KILLED = "killed"  # we cut its power
    VANISHED = "vanished"  # the process ended and did not say why


@dataclass(frozen=True)
class Event:
    """A QMP event; `at` is this process's monotonic clock in seconds."""

    name: str
    data: dict[str, Any]
    at: float


@dataclass(frozen=True)
class Ready:
    """The guest's word that its agent is up; `seconds` counts from the machine's start or reset."""

    boot_id: str
    agentd: str
    seconds: float
    raw: dict[str, Any]


class Gone(Exception):
    """The process ended, or was reset, while something was expected of it."""


class MonitorRefused(AetherError):
    """QEMU answered a monitor command with an error."""


@dataclass
class QemuProcess:
    """A started QEMU; made by `launch`."""

    process: subprocess.Popen[bytes]
    qmp: QMPClient
    serial: socket.socket | None
    tpm: subprocess.Popen[bytes] | None = None
    events: list[Event] = field(default_factory=list)
    ready_lines: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    odd_lines: list[str] = field(default_factory=list)
    loader_starts: list[float] = field(default_factory=list)  # when the firmware started something
    killed: bool = False
    started: float = 0.0  # when the processors last began to run from the start
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _disconnected: bool = False
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def exited(self) -> bool:
        """True once the process has ended and everything it said has been read."""
        return self.process.returncode is not None and self._disconnected

    @property
    def reason(self) -> ShutdownReason:
        """Why it ended; only for an exited process."""
        for event in reversed(self.events):
            if event.name == "SHUTDOWN":
                try:
                    return ShutdownReason(event.data.get("reason", "none"))
                except ValueError:
                    return ShutdownReason.NONE
        return ShutdownReason.KILLED if self.killed else ShutdownReason.VANISHED

    def changed(self) -> None:
        """Wake whoever waits."""
        self._changed.set()

    def beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something run beside the waits until the process is closed."""
        self._tasks.append(asyncio.create_task(work))

    async def wait_for(self, look: Callable[[], T | None], timeout: float) -> T:
        """What `look` returns once it is not None, asked after everything that happens.

        TimeoutError after `timeout` seconds; Gone if the process ends first.
        """
        deadline = asyncio.get_running_loop().time() + timeout
        while (found := look()) is None:
            if self.exited:
                raise Gone(f"QEMU ended ({self.reason}, exit status {self.process.returncode})")
            self._changed.clear()
            async with asyncio.timeout_at(deadline):
                await self._changed.wait()
        return found

    async def wait_event(self, names: Sequence[str], since: int, timeout: float) -> Event:
        """The first event of these names with an index of at least `since`."""
        return await self.wait_for(
            lambda: next((event for event in self.events[since:] if event.name in names), None), timeout
        )

    async def race(self, work: Awaitable[T], timeout: float) -> T:
        """What `work` returns; Gone if the machine ends, panics or is reset first, or TimeoutError."""
        task = asyncio.ensure_future(work)
        stop = ("RESET", "GUEST_PANICKED", "SHUTDOWN")
        watch = asyncio.ensure_future(self.wait_event(stop, len(self.events), timeout))
        try:
            await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            event = watch.result()  # or TimeoutError, or Gone
            raise Gone(f"the machine said {event.name} {event.data.get('reason', '')}".rstrip())
        finally:
            for each in (task, watch):
                each.cancel()
            await asyncio.gather(task, watch, return_exceptions=True)

    async def command(
        self, name: str, arguments: dict[str, object] | None = None, timeout: float = 30.0
    ) -> Any:
        """A monitor command's return value; MonitorRefused, Gone, or TimeoutError."""
        if self.qmp.runstate is not Runstate.RUNNING:
            raise Gone(f"QEMU's monitor is gone; could not say {name}")
        try:
            async with asyncio.timeout(timeout):
                return await self.qmp.execute(name, arguments)
        except ExecuteError as error:
            raise MonitorRefused(f"QEMU refused {name}: {error}") from None
        except (QMPError, OSError, EOFError) as error:
            raise Gone(f"QEMU's monitor went away during {name}: {error}") from None

    def kill(self) -> None:
        """SIGKILL, as a power cut."""
        if self.process.poll() is None:
            self.killed = True
            self.process.kill()

    async def wait_exit(self, timeout: float) -> ShutdownReason:
        """Wait for the end of the process and of its monitor."""
        await self.wait_for(lambda: True if self.exited else None, timeout)
        return self.reason

    async def close(self) -> None:
        """End the process if it runs, and everything that watches it."""
        self.kill()
        self.process.wait()
        end_tpm(self.tpm)
        with contextlib.suppress(TimeoutError):
            await self.wait_exit(EXIT_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.serial is not None:
            self.serial.close()

    # ---- what runs beside the waits

    async def _watch_monitor(self) -> None:
        while self.qmp.runstate is Runstate.RUNNING:
            await self.qmp.runstate_changed()
        with contextlib.suppress(QMPError, OSError, EOFError):
            await self.qmp.disconnect()
        self._disconnected = True
        self.changed()
        if self.process.returncode is None:
            # Without a monitor it cannot be told anything: give it time to end by itself, no more.
            with contextlib.suppress(TimeoutError):
                await self.wait_for(
                    lambda: True if self.process.returncode is not None else None, EXIT_SECONDS
                )
            self.kill()

    async def _watch_exit(self, pidfd: int) -> None:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(pidfd, ended.set)
        try:
            await ended.wait()
            self.process.wait()
            end_tpm(self.tpm)  # the next start needs what it keeps
            self.changed()
        finally:
            loop.remove_reader(pidfd)
            os.close(pidfd)

    async def _watch_ready(self, port: socket.socket) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=port)
        try:
            with contextlib.suppress(OSError):
                async for line in reader:
                    self._take_ready_line(line.strip())
        finally:
            writer.close()

    def _take_ready_line(self, line: bytes) -> None:
        if not line:
            return
        try:
            said = json.loads(line)
        except ValueError:
            said = None
        if isinstance(said, dict) and said.get("ready") is True:
            self.ready_lines.append((asyncio.get_running_loop().time(), said))
        else:
            self.odd_lines.append(line.decode(errors="replace")[:300])
        self.changed()


class _EventLog(EventListener):
    """Keeps every event of a process, in order."""

    def __init__(self, keep: Callable[[Message], None]) -> None:
        super().__init__()
        self._keep = keep

    async def put(self, event: Message) -> None:
        self._keep(event)


def die_with_parent(parent: int) -> Callable[[], None]:
    """What the child does between fork and exec, so that no QEMU outlives the process that started it."""

    def prepare() -> None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return prepare


def end_tpm(tpm: subprocess.Popen[bytes] | None) -> None:
    """Wait for the TPM of a QEMU that has ended: it ends with the connection, and is killed if it hangs."""
    if tpm is None:
        return
    try:
        tpm.wait(TPM_SECONDS)
    except subprocess.TimeoutExpired:
        tpm.kill()
        tpm.wait()


def start_process(argv: Sequence[str], log: Path, fds: Sequence[int]) -> subprocess.Popen[bytes]:
    """A process of the machine, its messages in `log`; it ends with this one."""
    with log.open("wb") as output:
        # A session of its own: the terminal's Ctrl-C is for the guest or for us, never for QEMU.
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=fds,
            start_new_session=True,
            preexec_fn=die_with_parent(os.getpid()),
        )


async def launch(
    argv_for: Callable[[Channels], list[str]],
    log: Path,
    agent_listener: socket.socket,
    *,
    terminal: bool,
    tpm_argv_for: Callable[[int], list[str]] | None = None,
) -> QemuProcess:
    """Start QEMU, paused, with a monitor that answers.

    `argv_for` makes the command line from the numbers of the inherited sockets, `tpm_argv_for` that of
    its TPM from the number of one; QEMU's own messages go to `log`, the TPM's to `swtpm.log` beside it.
    With `terminal` the serial line is the process's `serial` socket. Gone or TimeoutError if QEMU does
    not come up.
    """
    tpm: subprocess.Popen[bytes] | None = None
    tpm_log = log.with_name("swtpm.log")
    async with contextlib.AsyncExitStack() as theirs:

        def pair() -> tuple[socket.socket, socket.socket]:
            ours, other = socket.socketpair()
            theirs.enter_context(other)
            return ours, other

        qmp_ours, qmp = pair()
        ready_ours, ready = pair()
        serial_ours, serial = pair() if terminal else (None, None)
        tpm_end, tpm_other = pair() if tpm_argv_for is not None else (None, None)
        channels = Channels(
            qmp.fileno(),
            ready.fileno(),
            agent_listener.fileno(),
            serial.fileno() if serial is not None else None,
            tpm_end.fileno() if tpm_end is not None else None,
        )
        fds = [fd for fd in vars(channels).values() if fd is not None]
        if tpm_argv_for is not None and tpm_end is not None and tpm_other is not None:
            theirs.enter_context(tpm_end)
            tpm = start_process(tpm_argv_for(tpm_other.fileno()), tpm_log, [tpm_other.fileno()])
        process = start_process(argv_for(channels), log, fds)
    started = QemuProcess(process, QMPClient("qemu"), serial_ours, tpm)
    loop = asyncio.get_running_loop()

    def keep(event: Message) -> None:
        name, data = str(event["event"]), event.get("data") or {}
        assert isinstance(data, dict)
        started.events.append(Event(name, data, loop.time()))
        if name == "RESET":
            started.started = loop.time()
        started.changed()

    started.qmp.register_listener(_EventLog(keep))
    try:
        async with asyncio.timeout(LAUNCH_SECONDS):
            await started.qmp.connect(qmp_ours)
    except (ConnectError, TimeoutError) as error:
        process.kill()
        process.wait()
        end_tpm(tpm)
        qmp_ours.close()
        ready_ours.close()
        if serial_ours is not None:
            serial_ours.close()
        logs = [log, tpm_log] if tpm is not None else [log]
        said = "\n".join(one.read_text(errors="replace").strip()[-2000:] for one in logs).strip()
        raise Gone(f"QEMU did not start: {said or error}") from None
    for watch in (
        started._watch_monitor(),
        started._watch_exit(os.pidfd_open(process.pid)),
        started._watch_ready(ready_ours),
    ):
        started.beside(watch)
    return started
