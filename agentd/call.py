"""Calling a Varlink method on a unix socket, with a time limit and with somebody who may give up.

Used by agentd to reach its worker and by the `agent` command to reach agentd. The protocol is
python-varlink's; this file gives it a socket that never waits for ever.
"""

import errno
import os
import select
import socket
import struct
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import varlink

# struct ucred of unix(7): process, user and group id.
_UCRED = struct.Struct("iII")

INTERFACES = Path(__file__).parent / "interfaces"


class AbandonedError(Exception):
    """Whoever waits for the result is gone, or agentd stops; the message says which."""


class Watch:
    """Somebody on whose behalf agentd waits: a client's connection and agentd's own stop signal.

    Each may be None. A client counts as gone when its connection is closed both ways; one that only
    shut down its writing side still wants its answer.
    """

    def __init__(self, client: socket.socket | None = None, stop_fd: int | None = None) -> None:
        self._client_fd = client.fileno() if client is not None else None
        self._stop_fd = stop_fd

    def wait(self, seconds: float, readable: int | None = None) -> bool:
        """Whether the file descriptor `readable` became so within `seconds`.

        Raises AbandonedError as soon as the client is gone or agentd stops.
        """
        poll = select.poll()
        if self._client_fd is not None:
            poll.register(self._client_fd, 0)
        if self._stop_fd is not None:
            poll.register(self._stop_fd, select.POLLIN)
        if readable is not None:
            poll.register(readable, select.POLLIN)
        ready = dict(poll.poll(max(0, int(seconds * 1000))))
        if self._client_fd in ready:
            raise AbandonedError("the client closed its connection")
        if self._stop_fd in ready:
            raise AbandonedError("agentd is stopping")
        return readable in ready


class _LimitedSocket:
    """A connected socket in the shape python-varlink asks for, whose every step ends in time."""

    def __init__(self, connection: socket.socket, seconds: float, watch: Watch | None) -> None:
        self._connection = connection
        self._seconds = seconds
        self._watch = watch
        connection.settimeout(seconds)

    def sendall(self, data: bytes) -> None:
        self._connection.sendall(data)

    def recv(self, size: int) -> bytes:
        if self._watch is not None and not self._watch.wait(self._seconds, self._connection.fileno()):
            raise TimeoutError(f"no answer within {self._seconds:.0f} s")
        return self._connection.recv(size)

    def close(self) -> None:
        self._connection.close()


@cache
def interface(name: str) -> Any:
    """The parsed interface `name` from interfaces/."""
    return varlink.Interface((INTERFACES / f"{name}.varlink").read_text(encoding="utf-8"))


@contextmanager
def calling(
    path: str,
    name: str,
    seconds: float,
    watch: Watch | None = None,
    listeners: Collection[int] | None = None,
) -> Iterator[Any]:
    """An object with the methods of interface `name`, connected to the socket at `path`.

    `seconds` bounds connecting, sending and each reply; `listeners` are the user ids that may listen there.
    Raises OSError (TimeoutError and PermissionError among them) and AbandonedError; the methods raise
    varlink.VarlinkError too.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(seconds)
        _connect(connection, path, seconds)
        if listeners is not None and (user := _listener(connection)) not in listeners:
            raise PermissionError(errno.EPERM, f"user {user} listens at its socket")
        limited = _LimitedSocket(connection, seconds, watch)
        yield varlink.SimpleClientInterfaceHandler(interface(name), limited)


def _connect(connection: socket.socket, path: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            connection.connect(path)
        except BlockingIOError:
            # Linux answers EAGAIN, not a wait, when a unix socket's queue of new connections is full.
            if time.monotonic() > deadline:
                raise TimeoutError(f"no free place in the queue of {os.path.basename(path)}") from None  # noqa: PTH119
            time.sleep(0.02)
        else:
            return


def _listener(connection: socket.socket) -> int:
    """The user id of whoever called listen(2) at the other end: systemd's, for a socket of its own."""
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return int(_UCRED.unpack(packed)[1])
