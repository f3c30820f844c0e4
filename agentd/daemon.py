"""agentd's start and end: where its state is, its socket, systemd, signals.

On an image it is started by agentd.service without arguments: the socket comes from systemd, the state is
$STATE_DIRECTORY and the worker has a unit of its own. On a developer's host `agentd --state DIR` makes
its sockets in DIR and keeps the worker running itself. What agentd does is agent.py's and service.py's.
"""

import fcntl
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agentd import __version__, identity, log
from agentd.assembly import assemble
from agentd.database import Database
from agentd.errors import AgentError, Busy, StoreUnavailable
from agentd.notify import notify, watchdog_seconds
from agentd.server import BoundedServer, StrictService
from agentd.service import as_error, create_service
from agentd.session import Conversations
from agentd.worker import ModelWorker

if TYPE_CHECKING:
    from agentd.child import Child

IMAGE_STATE = Path("/var/lib/agentd")
IMAGE_MODEL_SOCKET = "/run/agentd/model.sock"
# sun_path in unix(7) has 108 bytes, the last of them NUL.
SOCKET_PATH_BYTES = 107
IMAGE_ROUTING = Path("/usr/lib/aetheros/routing.bin")
# Seconds that a running answer has to be stored when agentd stops.
STOP_TIME = 5.0


@dataclass(frozen=True, slots=True)
class Configuration:
    """Where agentd keeps its state, where it listens, where its worker is.

    `listen` is None when systemd passes the socket; `worker_command` is None when the worker is not
    agentd's to start. `routing` is the file that routes requests to tools; None where there is none.
    `tool_model`: the model is good enough to choose tools itself.
    """

    state: Path
    listen: Path | None
    model_socket: str
    model_name: str
    worker_command: tuple[str, ...] | None
    routing: Path | None = None
    tool_model: bool = False


def main(arguments: list[str] | None = None) -> int:
    """The command `agentd`; its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments or "LISTEN_FDS" not in os.environ:
            # argparse costs a tenth of the start; on an image nothing needs it.
            from agentd.options import parse

            configuration = parse(arguments)
        else:
            configuration = image_configuration()
        run(configuration)
    except AgentError as error:
        log.error(error.message)
        if error.hint:
            log.error(f"hint: {error.hint}")
        return error.status
    return 0


def image_configuration() -> Configuration:
    """What agentd.service says through its environment."""
    # STATE_DIRECTORY lists several separated by colons if the unit names several (systemd.exec(5)).
    state = os.environ.get("STATE_DIRECTORY", "").split(":")[0] or str(IMAGE_STATE)
    # A machine without a sentence encoder has no such file.
    routing = IMAGE_ROUTING if IMAGE_ROUTING.exists() else None
    tool_model = identity.model_chooses(identity.manifest())
    return Configuration(Path(state), None, IMAGE_MODEL_SOCKET, "", None, routing, tool_model)


def run(configuration: Configuration) -> None:
    """Serve until SIGTERM or SIGINT. Raises AgentError when agentd cannot start."""
    # What was said is its owner's alone, also in a folder that others may enter.
    os.umask(0o077)
    with ExitStack() as ending:
        _lock_state(configuration, ending)
        stop_fd = os.eventfd(0, os.EFD_CLOEXEC)
        ending.callback(os.close, stop_fd)

        database = Database(configuration.state / "agent.db")
        ending.callback(database.close)
        conversations = Conversations(database)
        with suppress(StoreUnavailable):  # logged when the database was opened; Health says it too
            interrupted = conversations.interrupt_unanswered()
            if interrupted:
                log.warning(f"{interrupted} answers were cut off when agentd last ended; marked interrupted")

        worker = ModelWorker(configuration.model_socket)
        parts = assemble(
            configuration.state,
            configuration.routing,
            database,
            conversations,
            worker,
            by_model=configuration.tool_model,
        )
        ending.callback(parts.bus.close)
        agent = parts.agent
        server = _listen(configuration, create_service(parts, configuration.model_name, stop_fd), ending)
        wake_fd = _catch_signals(ending)
        accepting = threading.Thread(target=_accept, args=(server,), name="accept", daemon=True)
        accepting.start()
        child = _start_worker(configuration, ending)
        # What memory needs is read while nothing waits for it.
        agent.memory.start()
        notify(f"READY=1\nSTATUS=agentd {__version__} answers")
        where = configuration.listen or "the socket from systemd"
        log.info(f"agentd {__version__} answers on {where}, state in {configuration.state}")
        parts.watching.start()
        select.select([wake_fd], [], [])
        notify("STOPPING=1\nSTATUS=agentd stops")
        # Readable for ever from now on: every wait of agent.py ends and stores what it has.
        os.eventfd_write(stop_fd, 1)
        if not agent.admission.wait_idle(STOP_TIME):
            log.warning("an answer could not be ended in time; the next start marks it interrupted")
        parts.watching.stop(STOP_TIME)
        agent.memory.stop(STOP_TIME)
        if child is not None:
            child.stop()
        log.info("agentd ends")


def _catch_signals(ending: ExitStack) -> int:
    """A file descriptor that becomes readable on SIGTERM and SIGINT, whichever thread the kernel gave
    them to and whatever the main thread waits for."""
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    ending.callback(os.close, reading)
    ending.callback(os.close, writing)
    ending.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(writing))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    return reading


def _accept(server: BoundedServer) -> None:
    try:
        server.serve_forever(poll_interval=_poll_interval())
    except Exception as error:
        # Without this loop agentd is deaf: better ended and started again.
        log.error(f"agentd cannot accept connections any more: {type(error).__name__}: {error}")
        os._exit(1)


def _lock_state(configuration: Configuration, ending: ExitStack) -> None:
    """Create the state folder and hold its lock until the end. Raises AgentError.

    With systemd's socket a folder that cannot be used is no reason to end: systemd runs one agentd only,
    and one that is up can say in Health and Status what is wrong.
    """
    state = configuration.state
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = ending.enter_context((state / "lock").open("a+b", buffering=0))
    except OSError as error:
        if configuration.listen is None:
            log.error(f"cannot use {state}: {error.strerror}")
            return
        raise AgentError(
            f"cannot use {state}: {error.strerror}", "choose another --state DIR, or make it yours"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        pid = lock.read(20).decode("ascii", "replace").strip()
        raise AgentError(
            f"another agentd{f' (pid {pid})' if pid.isdigit() else ''} uses {state}",
            "stop it, or choose another --state DIR",
        ) from None
    # For the message above only: it must not keep agentd from starting on a full disk.
    with suppress(OSError):
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n".encode())


def _listen(configuration: Configuration, service: StrictService, ending: ExitStack) -> BoundedServer:
    full = as_error(Busy("too many connections are open"))
    address = ""
    if configuration.listen is not None:
        path = configuration.listen
        if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
            raise AgentError(
                f"the path {path} is too long for a socket ({SOCKET_PATH_BYTES} bytes at most)",
                "choose a shorter --state DIR",
            )
        # Left by an agentd that was killed: the lock says that nobody uses it.
        path.unlink(missing_ok=True)
        address = f"unix:{path};mode=0600"
    try:
        server = BoundedServer(address, service, full, _watchdog())
    except OSError as error:
        raise AgentError(f"cannot listen on {configuration.listen}: {error.strerror}") from error
    ending.callback(server.server_close)
    return server


def _start_worker(configuration: Configuration, ending: ExitStack) -> "Child | None":
    if configuration.worker_command is None:
        return None
    from agentd.child import Child

    child = Child(configuration.worker_command)
    ending.callback(child.stop)
    child.start()
    return child


def _poll_interval() -> float:
    wanted = watchdog_seconds()
    return min(5.0, wanted / 4) if wanted else 5.0


def _watchdog() -> Callable[[], None]:
    """A function that tells systemd, twice per watchdog time at most, that the accepting loop turns."""
    wanted = watchdog_seconds()
    last = 0.0

    def tick() -> None:
        nonlocal last
        now = time.monotonic()
        if wanted and now - last >= wanted / 4:
            last = now
            notify("WATCHDOG=1")

    return tick


if __name__ == "__main__":
    sys.exit(main())
