"""The process agentd-exec: its socket from systemd, its life. It ends when nobody wants anything of it.

Started by agentd-exec.service when agentd connects to agentd-exec.socket. Not for: what it does
(service.py, verbs.py).
"""

import os
import pwd
import select
import signal
import sys
from functools import partial
from pathlib import Path

import varlink.server

from agentd import __version__, log
from agentd.exec import peer
from agentd.exec.key import PublicKey
from agentd.exec.nonces import Nonces
from agentd.exec.service import ExecMethods, ExecServer
from agentd.exec.verbs import Machine
from agentd.notify import notify
from agentd.tools.bus import Bus

USER = "agentd"
AGENTD_STATE = Path("/var/lib/agentd")
STATE = Path("/var/lib/agentd-exec")
# Seconds without a connection after which it ends, and that a call has to end when it is told to.
IDLE = 30.0
STOP_TIME = 10.0


def main() -> int:
    """The command `agentd-exec`; its exit status."""
    if varlink.server.get_listen_fd() is None:
        log.error("agentd-exec is started by systemd, with its socket")
        return 2
    os.umask(0o077)
    try:
        user = pwd.getpwnam(USER).pw_uid
    except KeyError:
        log.error(f"there is no user {USER}")
        return 1
    nonces = Nonces(Path(os.environ.get("STATE_DIRECTORY", STATE)))
    bus = Bus()
    methods = ExecMethods(Machine(bus), PublicKey(AGENTD_STATE, user).get, nonces)
    with ExecServer("", methods, partial(peer.check, user=user)) as server:
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(writing)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: None)
        notify("READY=1")
        log.info(f"agentd-exec {__version__} listens")
        serve(server, reading, IDLE)
        notify("STOPPING=1")
        if not methods.wait_idle(STOP_TIME):
            log.warning("ending in the middle of a step")
    bus.close()
    return 0


def serve(server: ExecServer, stop_fd: int, idle: float) -> None:
    """Accept until `stop_fd` is readable, or nobody has been connected for `idle` seconds.

    Who connects meanwhile waits in the socket's queue, for which systemd starts the next broker.
    """
    while True:
        ready = select.select([server.fileno(), stop_fd], [], [], idle)[0]
        if stop_fd in ready or (not ready and server.is_idle()):
            return
        if ready:
            server.handle_request()


if __name__ == "__main__":
    sys.exit(main())
