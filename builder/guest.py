"""Commands inside a guest, through the QEMU guest agent (qemu-ga) on a virtio-serial port or a serial line.

The protocol is QMP without a greeting (QEMU's docs/interop/qemu-ga.rst), spoken by qemu.qmp. It works
without a network and before logins. Not for: the agent's own conversation (that is `agent` in the guest).
"""

import asyncio
import base64
import contextlib
import os
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qemu.qmp import QMPClient, QMPError
from qemu.qmp.qmp_client import ExecInterruptedError, ExecuteError

from builder.errors import AetherError

# How often a running command is asked whether it has ended: the guest agent has no event for it.
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5  # seconds
SYNC_SECONDS = 15.0  # until the first answer on a connection; less than a second unless it was lost


@dataclass(frozen=True)
class Completed:
    """A guest command that ended; `status` is its exit status, or minus the signal that ended it."""

    argv: tuple[str, ...]
    status: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.stdout.decode(errors="replace")


class GuestRefused(AetherError):
    """The guest agent answered with an error (no such program, for one)."""


def listener(path: Path) -> socket.socket:
    """A listening unix socket at `path`, however long the path is."""
    path.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX)
    with _short(path) as address:
        made.bind(address)
    path.chmod(0o600)
    made.listen(1)
    return made


@contextlib.contextmanager
def _short(path: Path) -> Any:
    """An address for a unix socket whose path may be longer than the 107 bytes of unix(7)."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


@dataclass
class GuestAgent:
    """The guest's qemu-ga behind the socket at `path`; connects when first used and after a reset."""

    path: Path
    _client: QMPClient | None = field(default=None)

    async def _connected(self) -> QMPClient:
        if self._client is not None and self._client.runstate.name == "RUNNING":
            return self._client
        while True:
            # A serial line keeps nothing for who is not there yet, and carries what firmware says on it: a
            # first question without an answer is asked anew, on a new connection.
            await self.disconnect()
            with contextlib.suppress(TimeoutError, ExecInterruptedError, ExecuteError):
                async with asyncio.timeout(SYNC_SECONDS):
                    return await self._connect()
            await asyncio.sleep(LONGEST_PAUSE)

    async def _connect(self) -> QMPClient:
        client = QMPClient("guest")
        client.await_greeting = client.negotiate = False
        with socket.socket(socket.AF_UNIX) as plug:
            with _short(self.path) as address:
                plug.connect(address)
            await client.connect(socket.socket(fileno=plug.detach()))
        self._client = client
        # Answers to an earlier connection may still arrive; after our own number, no more can.
        number = secrets.randbelow(2**31)
        while await client.execute("guest-sync", {"id": number}) != number:
            pass
        return client

    async def disconnect(self) -> None:
        """Forget the connection; what was asked on it is not waited for."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(QMPError, OSError, EOFError):
                await client.disconnect()

    async def command(self, name: str, arguments: dict[str, object] | None = None) -> Any:
        """The answer to one guest agent command. No deadline of its own: the caller sets one."""
        try:
            return await (await self._connected()).execute(name, arguments)
        except ExecuteError as error:
            raise GuestRefused(f"the guest refused {name}: {error}") from None
        except BaseException:
            # A half-read answer, or one that may still come: the next command begins afresh.
            await self.disconnect()
            raise

    async def spawn(self, argv: Sequence[str], *, stdin: bytes | None = None) -> int:
        """Start a command in the guest, as root; its process number there."""
        arguments: dict[str, object] = {"path": argv[0], "arg": list(argv[1:]), "capture-output": True}
        if stdin is not None:
            arguments["input-data"] = base64.b64encode(stdin).decode()
        started: dict[str, int] = await self.command("guest-exec", arguments)
        return started["pid"]

    async def wait(self, argv: Sequence[str], pid: int) -> Completed:
        """Wait for a command that `spawn` started."""
        pause = FIRST_PAUSE
        while not (state := await self.command("guest-exec-status", {"pid": pid}))["exited"]:
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)
        status = -state["signal"] if "signal" in state else state.get("exitcode", 0)
        if state.get("out-truncated") or state.get("err-truncated"):
            raise GuestRefused(f"{argv[0]}: more output than the guest agent keeps (16 MB)")
        out, err = (base64.b64decode(state.get(name, "")) for name in ("out-data", "err-data"))
        return Completed(tuple(argv), status, out, err)

    async def execute(self, argv: Sequence[str], *, stdin: bytes | None = None) -> Completed:
        """Run a command in the guest, as root, to its end."""
        return await self.wait(argv, await self.spawn(argv, stdin=stdin))
