"""io.aetheros.Awareness on Varlink: its methods in terms of notices.py and brief.py, its errors by name."""

import socket
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import varlink

from agentd.awareness import quiet
from agentd.awareness.brief import compose, notice_facts
from agentd.awareness.event import KINDS
from agentd.awareness.notices import Notices, Told
from agentd.awareness.rules import PRIVATE
from agentd.awareness.store import Record
from agentd.call import AbandonedError, Watch
from agentd.errors import Busy, InvalidArguments, NoSuchNotice, NotOwner, Refusal
from agentd.people import Person
from agentd.tools.render import utc

INTERFACE = "io.aetheros.Awareness"
MOST_EVENTS = 1000
# Seconds between replies that say nothing: by them a client that is gone is noticed, and one that waits
# knows that it still listens to somebody.
HEARTBEAT = 30.0
T = TypeVar("T")


class AwarenessMethods:
    """The methods of io.aetheros.Awareness; see the interface file for what each does."""

    def __init__(
        self, notices: Notices, who: Callable[[socket.socket | None], Person], stop_fd: int
    ) -> None:
        self._notices = notices
        self._who = who
        self._stop_fd = stop_fd

    def Notices(  # noqa: N802
        self, all: bool | None, _request: socket.socket | None = None
    ) -> dict[str, Any]:
        """What is open, or all that is kept."""
        is_owner = self._who(_request).is_owner
        found = _do(lambda: self._notices.notices(all=all is True))
        return {"notices": [notice_facts(one) for one in found if is_owner or one.kind not in PRIVATE]}

    def Events(  # noqa: N802
        self, limit: int | None, kind: str | None, _request: socket.socket | None = None
    ) -> dict[str, Any]:
        """What happened, newest first."""
        is_owner = self._who(_request).is_owner

        def work() -> dict[str, Any]:
            if kind is not None and kind not in KINDS:
                raise InvalidArguments(f"there is no event '{kind}'; there are {', '.join(sorted(KINDS))}")
            most = max(1, min(limit or MOST_EVENTS, MOST_EVENTS))
            kinds = (kind,) if kind is not None else ()
            found = self._notices.events(most, kinds)
            return {"events": [event_facts(one) for one in found if is_owner or _is_open(one)]}

        return _do(work)

    def Acknowledge(self, id: int, _request: socket.socket | None = None) -> dict[str, Any]:  # noqa: N802
        """The person knows."""

        def work() -> dict[str, Any]:
            self._owner_only(_request, "acknowledges notices")
            # Beyond what SQLite can count there is no notice either.
            found = self._notices.acknowledge(id) if 0 < id < 1 << 62 else None
            if found is None:
                raise NoSuchNotice(id)
            return {"notice": notice_facts(found)}

        return _do(work)

    def Brief(self, _request: socket.socket | None = None) -> dict[str, Any]:  # noqa: N802
        """What happened since the caller was last here."""
        person = self._who(_request)
        found = _do(lambda: compose(self._notices, person.name, person.is_owner))
        return {"text": found.text, "facts": found.facts}

    def Watch(  # noqa: N802
        self, _more: bool = False, _request: socket.socket | None = None
    ) -> Iterator[dict[str, Any]]:
        """Events and notices as they come; without "more" one empty reply."""
        if not _more:
            yield {"events": [], "notices": [], "missed": 0}
            return
        is_owner = self._who(_request).is_owner
        watch = Watch(_request, self._stop_fd)
        try:
            with self._notices.watching() as stream:
                # An empty reply at once: whatever happens from now on is in the stream.
                yield {"events": [], "notices": [], "missed": 0, "_continues": True}
                while True:
                    watch.wait(HEARTBEAT, stream.descriptor)
                    told, missed = stream.taken()
                    seen = [one for one in told if is_owner or _is_open(one)]
                    yield {
                        "events": [event_facts(one) for one in seen if isinstance(one, Record)],
                        "notices": [notice_facts(one) for one in seen if not isinstance(one, Record)],
                        "missed": missed,
                        "_continues": True,
                    }
        except AbandonedError:
            yield {"events": [], "notices": [], "missed": 0}
        except RuntimeError as error:
            raise _error(Busy(str(error))) from error

    def Settings(  # noqa: N802
        self, quiet_hours: str | None, _request: socket.socket | None = None
    ) -> dict[str, Any]:
        """The quiet hours; the owner sets them."""

        def work() -> dict[str, Any]:
            if quiet_hours is not None:
                self._owner_only(_request, "sets quiet hours")
                try:
                    hours = quiet.parse(quiet_hours)
                except ValueError as error:
                    raise InvalidArguments(str(error)) from error
                self._notices.set_quiet(hours)
            return {"quiet_hours": str(self._notices.quiet)}

        return _do(work)

    def _owner_only(self, connection: socket.socket | None, what: str) -> None:
        if not self._who(connection).is_owner:
            raise NotOwner(f"only the owner of this machine {what}")


def event_facts(one: Record) -> dict[str, Any]:
    """An event as the interface has it."""
    event = one.event
    return {
        "id": one.id,
        "kind": event.kind,
        "subject": event.subject,
        "detail": event.detail,
        "severity": event.severity.value,
        "time": utc(event.time),
        "first": utc(one.first),
        "count": one.count,
        "source": event.source,
        "trust": event.trust,
        "facts": dict(event.facts),
    }


def _is_open(one: Told) -> bool:
    """Whether others than the owner may know of it."""
    return (one.event.kind if isinstance(one, Record) else one.kind) not in PRIVATE


def _do(work: Callable[[], T]) -> T:
    try:
        return work()
    except Refusal as refusal:
        raise _error(refusal) from refusal


def _error(refusal: Refusal) -> varlink.VarlinkError:
    name = type(refusal).__name__
    return varlink.VarlinkError({"error": f"{INTERFACE}.{name}", "parameters": refusal.parameters})
