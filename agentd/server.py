"""A Varlink server that bad clients cannot hurt: python-varlink's, with limits.

The library's server reads byte by byte without an end, keeps every connection for ever and prints a
traceback for each malformed message. Here a message has a largest size and a longest time, connections
are bounded (the one idle for longest makes room), a client that does not read its replies is let go, and
whatever goes wrong is one log line and one error reply or a closed connection.

Knows nothing of any interface; service.py has the methods.
"""

import json
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import varlink

from agentd import log

MAX_MESSAGE = 4 << 20
# All messages that are being read, together: 200 clients with a large one each must not fill the memory.
MAX_UNREAD = 32 << 20
MAX_CONNECTIONS = 256
# Seconds: for the rest of a message once it began, between messages, and for a client to take a reply.
MESSAGE_TIME = 30.0
IDLE_TIME = 600.0
REPLY_TIME = 30.0


class BadMessageError(Exception):
    """A message that is no Varlink call; the text says why. The connection ends."""


class StrictService(varlink.Service):  # type: ignore[misc]
    """The library's service behind a check that the message is a call at all."""

    def handle(self, message: bytes, _server: Any = None, _request: Any = None) -> Iterator[bytes]:
        """The replies to one message. Raises BadMessageError."""
        oneway = check_call(message)
        with closing(super().handle(message, _server, _request)) as replies:
            for reply in replies:
                if not oneway:
                    yield reply


def check_call(message: bytes) -> bool:
    """Whether the call is "oneway". Raises BadMessageError when `message` is no call."""
    try:
        call = json.loads(message.decode("utf-8"))
    except UnicodeDecodeError:
        raise BadMessageError("the message is not UTF-8") from None
    except RecursionError:
        raise BadMessageError("the message is nested too deeply") from None
    except ValueError:
        raise BadMessageError("the message is not JSON") from None
    if not isinstance(call, dict) or not isinstance(call.get("method"), str):
        raise BadMessageError("the message is not an object with a method")
    if not isinstance(call.get("parameters"), dict | None):
        raise BadMessageError("the parameters are not an object")
    if call.get("upgrade"):
        raise BadMessageError("upgrade is not supported")
    return bool(call.get("oneway"))


class Connection(varlink.RequestHandler):  # type: ignore[misc]
    """One client's connection, on a thread of its own."""

    server: "BoundedServer"
    request: socket.socket

    def handle(self) -> None:
        """Answer the client's calls, one after the other, until it leaves."""
        buffer = bytearray()
        try:
            while (message := self._next_message(buffer)) is not None:
                self.server.mark_busy(self.request)
                self.request.settimeout(REPLY_TIME)
                with closing(self.server.service.handle(message, self.server, self.request)) as replies:
                    for reply in replies:
                        self.request.sendall(reply + b"\0")
                self.server.mark_idle(self.request)
        except BadMessageError as bad:
            log.warning(f"refused {self._peer()}: {bad}")
            self._refuse(str(bad))
        except TimeoutError:
            log.warning(f"let go {self._peer()}: it did not send or read for too long")
        except ConnectionError:
            log.info(f"{self._peer()} left in the middle of an answer")
        finally:
            self.server.unread.give_back(len(buffer))

    def _next_message(self, buffer: bytearray) -> bytes | None:
        """The next message without its NUL byte; None when the client is done."""
        scanned = 0
        deadline = time.monotonic() + MESSAGE_TIME
        while (end := buffer.find(0, scanned)) < 0:
            scanned = len(buffer)
            if scanned > MAX_MESSAGE:
                raise BadMessageError(f"the message is longer than {MAX_MESSAGE} bytes")
            if scanned:
                self.request.settimeout(max(0.001, deadline - time.monotonic()))
            else:
                self.request.settimeout(IDLE_TIME)
            try:
                chunk = self.request.recv(1 << 16)
            except TimeoutError:
                if scanned:
                    raise
                return None
            except ConnectionResetError:
                chunk = b""
            if not chunk:
                if scanned:
                    raise BadMessageError("the connection ended inside a message")
                return None
            if not scanned:
                deadline = time.monotonic() + MESSAGE_TIME
            if not self.server.unread.take(len(chunk)):
                raise BadMessageError("too many large messages at once")
            buffer += chunk
        message = bytes(buffer[:end])
        del buffer[: end + 1]
        self.server.unread.give_back(end + 1)
        return message

    def _refuse(self, why: str) -> None:
        with suppress(OSError):
            self.request.settimeout(1.0)
            self.request.sendall(encoded(varlink.InvalidParameter(why)))

    def _peer(self) -> str:
        try:
            packed = self.request.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        except OSError:
            return "a client"
        pid, uid, _gid = struct.unpack("3i", packed)
        return f"a client (pid {pid}, uid {uid})"


class Allowance:
    """A number of bytes that all connections share."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Whether `size` bytes were left; they are taken then."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True

    def give_back(self, size: int) -> None:
        """Return what was taken."""
        with self._lock:
            self._left += size


class BoundedServer(varlink.ThreadingServer):  # type: ignore[misc]
    """Listens at `address` ("unix:PATH") or on the socket that systemd passed, a thread per connection.

    `full_error` is what a client reads when all connections are in use; `tick` is called every few seconds
    from the accepting loop: while it is called, the server accepts.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 512

    def __init__(
        self,
        address: str,
        service: varlink.Service,
        full_error: varlink.VarlinkError,
        tick: Callable[[], None],
    ) -> None:
        self.service = service
        self.unread = Allowance(MAX_UNREAD)
        self._full_error = full_error
        self._tick = tick
        # Open connections and since when each is idle; None while it is being answered.
        self._idle_since: dict[socket.socket, float | None] = {}
        self._lock = threading.Lock()
        super().__init__(address, Connection)

    def service_actions(self) -> None:
        """Called by the accepting loop."""
        self._tick()

    def process_request(self, request: socket.socket, client_address: Any) -> None:
        """Start a thread for a new connection, if there is room for it."""
        if self._make_room():
            with self._lock:
                self._idle_since[request] = time.monotonic()
            super().process_request(request, client_address)
        else:
            log.warning(f"refused a client: all {MAX_CONNECTIONS} connections are in use")
            request.settimeout(0)
            # A fresh connection has room for one small message; if not, closing it says enough.
            with suppress(OSError):
                request.sendall(encoded(self._full_error))
            self.shutdown_request(request)

    def _make_room(self) -> bool:
        with self._lock:
            if len(self._idle_since) < MAX_CONNECTIONS:
                return True
            idle = [(since, request) for request, since in self._idle_since.items() if since is not None]
            if not idle:
                return False
            _, oldest = min(idle, key=lambda pair: pair[0])
            del self._idle_since[oldest]
            with suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)
        log.info("let go the client that was silent for longest, to make room")
        return True

    def mark_busy(self, request: socket.socket) -> None:
        """The connection's call is being answered."""
        with self._lock:
            if request in self._idle_since:
                self._idle_since[request] = None

    def mark_idle(self, request: socket.socket) -> None:
        """The connection waits for a call."""
        with self._lock:
            if request in self._idle_since:
                self._idle_since[request] = time.monotonic()

    def shutdown_request(self, request: socket.socket) -> None:
        """End a connection."""
        with self._lock:
            self._idle_since.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what a connection's thread did not expect, in one line."""
        error = sys.exception() if sys.version_info >= (3, 12) else sys.exc_info()[1]
        trace = error.__traceback__ if error is not None else None
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else "?"  # noqa: PTH119
        log.error(f"a call ended unexpectedly: {type(error).__name__}: {error} ({where})")


def encoded(error: varlink.VarlinkError) -> bytes:
    """The error as a message."""
    return json.dumps(error.as_dict()).encode() + b"\0"
