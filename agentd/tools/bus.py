"""The system bus for threads: calls with a time limit, properties, and signals that survive a new bus.

dbus-fast runs on one asyncio thread of its own. It starts with the first call and neither it nor asyncio is
imported before: an agentd that is never asked about its machine costs nothing for this. Handlers of signals
run one after the other on another thread, where they may call the bus. Not for: what a service's answers
mean (services.py, boot.py ...).
"""

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentd import log
from agentd.tools.tool import Lacking

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future

    from dbus_fast.message import Message

    from agentd.tools.bus_link import Link

# Seconds for one answer. systemd answers in milliseconds; an emulated machine that boots takes its time.
PATIENCE = 10.0
# Seconds between attempts to come back to a bus that is gone: the first pause, and the longest.
PAUSES = (0.5, 30.0)
# Signals that wait for their handlers; more than that is a flood, and the rest of it is dropped.
MOST_WAITING = 1000

# What people call who answers.
SERVICES = {
    "org.freedesktop.DBus": "the system bus",
    "org.freedesktop.systemd1": "systemd",
    "org.freedesktop.login1": "logind",
    "org.freedesktop.UDisks2": "udisks2",
}
# Errors by which the bus says that nobody answers under a name.
_NOBODY = {
    "org.freedesktop.DBus.Error.ServiceUnknown": "it does not run",
    "org.freedesktop.DBus.Error.NameHasNoOwner": "it does not run",
    "org.freedesktop.DBus.Error.NoReply": "it ended before it answered",
    "org.freedesktop.DBus.Error.Disconnected": "the connection was closed",
    "org.freedesktop.DBus.Error.Timeout": "it took too long",
    "org.freedesktop.DBus.Error.TimedOut": "it took too long",
}
_CANNOT_START = "org.freedesktop.DBus.Error.Spawn."


class Refused(Lacking):
    """A service answered with an error: `name` is D-Bus's ("org.freedesktop.systemd1.NoSuchUnit")."""

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True, slots=True)
class Match:
    """Which signals; an empty field is any. `sender` is a well-known name and is always checked."""

    sender: str
    interface: str
    member: str = ""
    path: str = ""
    path_namespace: str = ""  # this path and all below it

    def rule(self) -> str:
        """The match rule, as the D-Bus specification writes it."""
        fields = ("sender", "interface", "member", "path", "path_namespace")
        found = ((name, getattr(self, name)) for name in fields)
        return ",".join(("type='signal'", *(f"{name}='{value}'" for name, value in found if value)))


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal that came in; `body` without D-Bus's variants."""

    path: str
    interface: str
    member: str
    body: list[Any]


@dataclass(frozen=True, slots=True)
class Subscription:
    """A match with its handler; `begin` runs whenever it stands anew, for what was missed meanwhile."""

    match: Match
    handler: Callable[[Signal], None]
    begin: Callable[[], None] | None = None


class Bus:
    """The system bus, or the one at `address` (D-Bus's form: unix:path=...). Any thread may use it."""

    def __init__(self, address: str = "") -> None:
        self._address = address
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._link: Link | None = None
        self._signals: queue.Queue[Callable[[], None] | None] = queue.Queue(MOST_WAITING)
        self._handling: threading.Thread | None = None
        self._flooded = False

    def call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        *body: Any,
        patience: float = PATIENCE,
    ) -> list[Any]:
        """Call a method and return its results without D-Bus's variants, within `patience` seconds.

        Raises Refused if the service answers with an error, and Lacking if there is no bus, nobody has that
        name or no answer came in time. Raises ValueError or TypeError for what D-Bus cannot say.
        """
        from dbus_fast.message import Message
        from dbus_fast.unpack import unpack_variants

        message = Message(
            destination=destination,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=list(body),
        )
        who = SERVICES.get(destination, destination)
        reply = self._wait(self._started().exchange(message), who, patience)
        if reply.error_name:
            raise _error(who, reply.error_name, str(reply.body[0]) if reply.body else "")
        return list(unpack_variants(reply.body))

    def get(self, destination: str, path: str, interface: str, name: str) -> Any:
        """One property. Raises as `call` does."""
        properties = "org.freedesktop.DBus.Properties"
        return self.call(destination, path, properties, "Get", "ss", interface, name)[0]

    def get_all(self, destination: str, path: str, interface: str) -> dict[str, Any]:
        """All properties of an interface. Raises as `call` does."""
        properties = "org.freedesktop.DBus.Properties"
        found: dict[str, Any] = self.call(destination, path, properties, "GetAll", "s", interface)[0]
        return found

    def subscribe(
        self, match: Match, handler: Callable[[Signal], None], begin: Callable[[], None] | None = None
    ) -> Callable[[], None]:
        """Have `handler` called for each such signal, until the returned function is called.

        `begin` is called first, and again when the bus or the sender was away and is back: signals were
        missed then, and some services want to be told that somebody listens (systemd1's Subscribe, which
        refuses with AlreadySubscribed what it knows already). Both run on one thread for all subscriptions.
        Without a bus it begins once there is one.
        """
        link = self._started()
        with self._lock:
            if self._handling is None:
                self._handling = threading.Thread(target=self._handle, name="bus-signals", daemon=True)
                self._handling.start()
        subscription = Subscription(match, handler, begin)
        self._run(link.add(subscription))

        def end() -> None:
            self._run(link.remove(subscription))

        return end

    def close(self) -> None:
        """Leave the bus and end its threads; the bus is not to be used afterwards."""
        with self._lock:
            loop, link, handling = self._loop, self._link, self._handling
        if loop is not None and link is not None:
            with suppress(Lacking):
                self._wait(link.close(), "the system bus", PATIENCE)
            loop.call_soon_threadsafe(loop.stop)
        if handling is not None and handling is not threading.current_thread():
            self._signals.put(None)
            handling.join(PATIENCE)

    def _started(self) -> "Link":
        with self._lock:
            if self._link is None:
                import asyncio

                from agentd.tools.bus_link import Link

                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_turn, args=(self._loop,), name="bus", daemon=True).start()
                self._link = Link(self._address, self._deliver)
            return self._link

    def _run(self, work: Any) -> "Future[Any]":
        import asyncio

        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _wait(self, work: Any, who: str, patience: float) -> "Message":
        running = self._run(work)
        try:
            return running.result(patience)  # type: ignore[no-any-return]
        except TimeoutError:
            running.cancel()
            raise Lacking(f"{who} does not answer: nothing came within {patience:g} seconds") from None

    def _deliver(self, subscription: Subscription, signal: Signal | None) -> None:
        """Have a signal handled, or `begin` run for None."""
        if signal is None:
            if subscription.begin is None:
                return
            work = subscription.begin
        else:
            work = _bound(subscription.handler, signal)
        try:
            self._signals.put_nowait(work)
            self._flooded = False
        except queue.Full:
            if not self._flooded:
                log.warning("too many signals on the system bus: some are dropped")
            self._flooded = True

    def _handle(self) -> None:
        while (work := self._signals.get()) is not None:
            try:
                work()
            except Lacking as lacking:
                log.warning(f"a signal of the system bus was not handled: {lacking.message}")
            except Exception as error:  # of any handler: the others still have theirs to do
                log.error(f"a signal of the system bus was not handled: {type(error).__name__}: {error}")


def _turn(loop: "asyncio.AbstractEventLoop") -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


def _bound(handler: Callable[[Signal], None], signal: Signal) -> Callable[[], None]:
    return lambda: handler(signal)


def _error(who: str, name: str, text: str) -> Lacking:
    if name in _NOBODY:
        return Lacking(f"{who} does not answer: {_NOBODY[name]}")
    if name.startswith(_CANNOT_START):
        return Lacking(f"{who} does not answer: it could not be started")
    return Refused(f"{who} refuses: {text or name}", name)
