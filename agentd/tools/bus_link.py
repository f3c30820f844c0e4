"""The connection to the bus on its asyncio thread: made when needed, made again when it was lost.

Everything here runs on that thread. Not for: waiting from other threads, or running handlers (bus.py).
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from dbus_fast.aio.message_bus import MessageBus
from dbus_fast.constants import BusType, MessageType
from dbus_fast.errors import AuthError, InvalidAddressError
from dbus_fast.message import Message
from dbus_fast.unpack import unpack_variants

from agentd import log
from agentd.tools.bus import PATIENCE, PAUSES, Match, Signal, Subscription
from agentd.tools.tool import Lacking

DBUS, DBUS_PATH = "org.freedesktop.DBus", "/org/freedesktop/DBus"
_HINT = "systemctl status dbus"


class _Connection(MessageBus):
    gone: asyncio.Task[None]  # done when the connection has ended

    async def _auth_readline(self) -> str:
        # dbus-fast up to 2.46 (at least) reads for ever when a bus that is full closes the connection.
        assert self._sock is not None
        line = b""
        while not line.endswith(b"\r\n"):
            piece = await self._loop.sock_recv(self._sock, 1024)
            if not piece:
                raise EOFError("it closed the connection")
            line += piece
        return line[:-2].decode("ascii", "replace")

    async def until_gone(self) -> None:
        """Wait until the connection has ended, however it did."""
        with suppress(Exception):
            await self.wait_for_disconnect()  # type: ignore[no-untyped-call]


class Link:
    """The connection and who listens on it; `deliver` gets a signal, or None when signals may be missing."""

    def __init__(self, address: str, deliver: Callable[[Subscription, Signal | None], None]) -> None:
        self._address = address
        self._deliver = deliver
        self._connection: _Connection | None = None
        self._connecting = asyncio.Lock()
        self._subscriptions: list[Subscription] = []
        # What stands on this connection; unique names by the well-known names that are listened to.
        self._standing: list[Subscription] = []
        self._owners: dict[str, str] = {}
        self._listening = asyncio.Lock()
        self._keeper: asyncio.Task[None] | None = None

    async def exchange(self, message: Message) -> Message:
        """The reply to a method call. Raises Lacking if there is no bus or it goes away meanwhile."""
        return await self._ask(await self._connected(), message)

    async def add(self, subscription: Subscription) -> None:
        """Listen from now on, or from when there is a bus."""
        self._subscriptions.append(subscription)
        connection = self._connection
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep())
        elif connection is not None and connection.connected:
            try:
                await self._listen(connection)
            except (Lacking, TimeoutError):
                connection.disconnect()  # the keeper does everything again

    async def remove(self, subscription: Subscription) -> None:
        """Listen no more; what was already delivered is still handled."""
        for where in (self._subscriptions, self._standing):
            if subscription in where:
                where.remove(subscription)
        connection = self._connection
        if connection is not None and connection.connected:
            with suppress(Lacking, TimeoutError):
                await self._say(connection, "RemoveMatch", subscription.match.rule())

    async def close(self) -> None:
        """Leave the bus."""
        self._subscriptions.clear()
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
        if self._connection is not None:
            self._connection.disconnect()
            await asyncio.wait((self._connection.gone,), timeout=PATIENCE)

    async def _connected(self) -> _Connection:
        async with self._connecting:
            if self._connection is None or not self._connection.connected:
                self._connection = await self._connect()
            return self._connection

    async def _connect(self) -> _Connection:
        connection = None
        try:
            connection = _Connection(self._address or None, BusType.SYSTEM)
            await asyncio.wait_for(connection.connect(), PATIENCE)
        except (OSError, EOFError, AuthError, InvalidAddressError) as error:
            if connection is not None:
                connection.disconnect()
            why = getattr(error, "strerror", "") or str(error) or "it took too long"
            raise Lacking(f"the system bus does not answer: {why}", _HINT) from error
        connection.gone = asyncio.create_task(connection.until_gone())
        connection.add_message_handler(self._take)
        self._standing.clear()
        self._owners.clear()
        return connection

    async def _ask(self, connection: _Connection, message: Message) -> Message:
        try:
            reply = await connection.call(message)
        except Exception:  # dbus-fast passes on whatever ended the connection
            if connection.connected:
                raise
            reply = None
        if reply is None:  # so it does when the connection was closed from here
            raise Lacking("the system bus does not answer: it went away", _HINT)
        return reply

    async def _say(self, connection: _Connection, member: str, word: str) -> Message:
        message = Message(
            destination=DBUS, path=DBUS_PATH, interface=DBUS, member=member, signature="s", body=[word]
        )
        return await asyncio.wait_for(self._ask(connection, message), PATIENCE)

    async def _keep(self) -> None:
        """Have a connection for those who listen, for ever."""
        pause, told = PAUSES[0], False
        while True:
            try:
                connection = await self._connected()
                await self._listen(connection)
            except (Lacking, TimeoutError) as error:
                if not told:
                    log.warning(
                        f"{getattr(error, 'message', 'the system bus does not answer')}; trying again"
                    )
                told = True
                await asyncio.sleep(pause)
                pause = min(2 * pause, PAUSES[1])
                continue
            if told:
                log.info("the system bus answers again")
            pause, told = PAUSES[0], False
            await asyncio.wait((connection.gone,))

    async def _listen(self, connection: _Connection) -> None:
        """Have the bus pass on what is wanted and does not stand yet."""
        async with self._listening:
            for subscription in [one for one in self._subscriptions if one not in self._standing]:
                await self._watch_owner(connection, subscription.match.sender)
                rule = subscription.match.rule()
                reply = await self._say(connection, "AddMatch", rule)
                if reply.message_type is MessageType.ERROR:
                    log.error(f"the system bus does not pass on {rule}: {reply.body}")
                self._standing.append(subscription)
                self._deliver(subscription, None)

    async def _watch_owner(self, connection: _Connection, name: str) -> None:
        if name in self._owners or name == DBUS:
            return
        await self._say(connection, "AddMatch", _owner_rule(name))
        self._owners[name] = ""
        reply = await self._say(connection, "GetNameOwner", name)
        if reply.message_type is MessageType.METHOD_RETURN:
            self._owners[name] = reply.body[0]

    def _take(self, message: Message) -> bool:
        if message.message_type is not MessageType.SIGNAL:
            return False
        if message.sender == DBUS and message.member == "NameOwnerChanged" and len(message.body) == 3:
            name, _, owner = message.body
            if name in self._owners and self._owners[name] != owner:
                self._owners[name] = owner
                for subscription in self._subscriptions:
                    if owner and subscription.match.sender == name:
                        self._deliver(subscription, None)
        for subscription in self._subscriptions:
            if self._is_meant(subscription.match, message):
                body = list(unpack_variants(message.body))
                signal = Signal(message.path or "", message.interface or "", message.member or "", body)
                self._deliver(subscription, signal)
        return False

    def _is_meant(self, match: Match, message: Message) -> bool:
        # Anybody on the bus may send agentd a signal in another's words: who sent it decides.
        sender = match.sender if match.sender == DBUS else self._owners.get(match.sender)
        path, space = message.path or "", match.path_namespace.rstrip("/")
        return (
            bool(sender)
            and message.sender == sender
            and message.interface == match.interface
            and match.member in ("", message.member)
            and match.path in ("", path)
            and (not match.path_namespace or path == space or path.startswith(f"{space}/"))
        )


def _owner_rule(name: str) -> str:
    return f"type='signal',sender='{DBUS}',interface='{DBUS}',member='NameOwnerChanged',arg0='{name}'"
