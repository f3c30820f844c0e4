"""A message bus of a test's own: dbus-daemon in a folder, and services of dbus-fast on it.

Not for: what the services answer (the tests say it), or agentd's own connection (agentd/tools/bus.py).
"""

import asyncio
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dbus_fast.aio.message_bus import MessageBus
from dbus_fast.constants import MessageType
from dbus_fast.message import Message

DAEMON = shutil.which("dbus-daemon")
CONFIGURATION = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""
# What a service does with a call: a signature and the values of its reply, or an error's name and text.
Reply = tuple[str, list[Any]]


class Denial(Exception):
    """An error that a service answers with: its name and text."""


class PrivateBus:
    """A bus in `folder`; `start` and `stop` as often as a test wants."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "bus"
        self.address = f"unix:path={self._socket}"
        self._configuration = folder / "bus.conf"
        self._configuration.write_text(CONFIGURATION.format(socket=self._socket))
        self._daemon: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the bus; it answers when this returns."""
        assert DAEMON is not None
        self._socket.unlink(missing_ok=True)
        command = [DAEMON, f"--config-file={self._configuration}", "--nofork", "--print-address"]
        self._daemon = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._daemon.stdout is not None
        assert self._daemon.stdout.readline()  # the address is written once it listens

    def stop(self) -> None:
        """End the bus, if it runs."""
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.communicate()
            self._daemon = None


class Service:
    """A service with a name on a bus: `answer` has each call's reply, `emit` sends signals."""

    def __init__(self, address: str, name: str, answer: Callable[[Message], Reply | None]) -> None:
        self._answer = answer
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._bus: MessageBus | None = None
        self._run(self._begin(address, name))

    def emit(self, path: str, interface: str, member: str, signature: str = "", *body: Any) -> None:
        """Send a signal to everybody."""
        message = Message.new_signal(path, interface, member, signature, list(body))
        self._run(self._send(message))

    def tell(self, to: str, path: str, interface: str, member: str, signature: str = "", *body: Any) -> None:
        """Send a signal to one connection alone, as nobody asked for."""
        message = Message(
            message_type=MessageType.SIGNAL,
            destination=to,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=list(body),
        )
        self._run(self._send(message))

    def close(self) -> None:
        """Leave the bus; more than once does no harm."""
        if self._loop.is_running():
            self._end()

    def _end(self) -> None:
        self._run(self._leave())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _begin(self, address: str, name: str) -> None:
        self._bus = await MessageBus(address).connect()
        self._bus.add_message_handler(self._take)
        await self._bus.request_name(name)

    async def _send(self, message: Message) -> None:
        assert self._bus is not None
        await self._bus.send(message)

    async def _leave(self) -> None:
        assert self._bus is not None
        self._bus.disconnect()

    def _take(self, message: Message) -> Message | bool:
        if message.message_type is not MessageType.METHOD_CALL:
            return False
        try:
            reply = self._answer(message)
        except Denial as denial:
            return Message.new_error(message, *denial.args)
        return True if reply is None else Message.new_method_return(message, *reply)
