"""One thread that listens to netlink: devices from udev, links from the kernel. A source of watching.py."""

import errno
import select
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from agentd.awareness import netlink
from agentd.awareness.event import Event

MOST_BYTES = 64 << 10
# Messages read before others get a turn.
_AT_ONCE = 200


class Listener(Protocol):
    """Who understands the messages of one protocol."""

    protocol: int

    def begin(self, connection: socket.socket) -> None:
        """It begins, or messages were lost: ask for how things are, if that can be asked."""

    def take(self, message: bytes, credentials: bytes, sender: int) -> Iterable[Event]:
        """The events of one message; `sender` is its port id, 0 for the kernel."""


class KernelEvents:
    """The listeners, each on the socket that was inherited or on one of its own."""

    name = "devices and links"

    def __init__(
        self,
        listeners: Iterable[Listener],
        sink: Callable[[Event], None],
        inherited: Mapping[int, socket.socket] | None = None,
    ) -> None:
        self._listeners = tuple(listeners)
        self._sink = sink
        self._inherited = dict(inherited or {})

    def run(self, stop_fd: int) -> None:
        """Listen until `stop_fd` is readable. Raises OSError where no socket can be had."""
        own: list[socket.socket] = []
        waiting: dict[int, tuple[socket.socket, Listener]] = {}
        try:
            for listener in self._listeners:
                connection = self._inherited.get(listener.protocol)
                if connection is None:
                    own.append(connection := netlink.opened(listener.protocol))
                connection.setblocking(False)
                waiting[connection.fileno()] = connection, listener
                listener.begin(connection)
            while True:
                ready, _, _ = select.select([stop_fd, *waiting], [], [])
                if stop_fd in ready:
                    return
                for descriptor in ready:
                    self._read(*waiting[descriptor])
        finally:
            for connection in own:
                connection.close()

    def _read(self, connection: socket.socket, listener: Listener) -> None:
        for _ in range(_AT_ONCE):
            try:
                message, ancillary, _, address = connection.recvmsg(MOST_BYTES, socket.CMSG_SPACE(12))
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                # More came than the kernel keeps for us.
                listener.begin(connection)
                return
            given = [data for _, kind, data in ancillary if kind == socket.SCM_CREDENTIALS]
            sender = address[0] if isinstance(address, tuple) else 0
            for event in listener.take(message, given[0] if given else b"", sender):
                self._sink(event)
