"""io.aetheros.Agent on Varlink: its methods in terms of agent.py, its errors by name.

The names and the order of parameters are those of the interface file. Robustness against bad clients is
server.py's concern.
"""

import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, TypeVar

import varlink

from agentd import __version__, identity, introduction, tools_service
from agentd.agent import Agent, Question
from agentd.assembly import Parts
from agentd.awareness import service as awareness_service
from agentd.call import INTERFACES, Watch
from agentd.errors import AgentError, InvalidMemory, InvalidQuestion, NotOwner, Refusal, StoreUnavailable
from agentd.machine_key import MachineKey
from agentd.memory import service as memory_service
from agentd.origin import origin_of
from agentd.people import Person, owner_uids, peer_uid, person_of
from agentd.policy import Origin
from agentd.server import StrictService
from agentd.session import clean, utc_now

INTERFACE = "io.aetheros.Agent"
T = TypeVar("T")

# The most rows one reply carries, and how many when the caller does not say.
MAX_ROWS = 1000
# And of their text in UTF-8, in bytes, but for one turn: the reply is built in memory, where JSON's escapes
# make it up to six times as long.
MAX_TEXT = 1 << 20
_PLAIN = ("session", "turn", "delta", "done", "text", "status")
# Seconds that Status waits for the worker's own.
STATUS_PATIENCE = 3.0


def as_error(refusal: Refusal) -> varlink.VarlinkError:
    """The Varlink error of the same name."""
    name = "InvalidQuestion" if isinstance(refusal, InvalidMemory) else type(refusal).__name__
    return varlink.VarlinkError({"error": f"{INTERFACE}.{name}", "parameters": refusal.parameters})


def who(connection: socket.socket | None) -> Person:
    """The person at the other end of a connection; nobody's user id is no owner."""
    uid = peer_uid(connection) if connection is not None else os.geteuid()
    return person_of(uid, owner_uids())


def create_service(parts: Parts, model_name: str, stop_fd: int) -> StrictService:
    """The service with io.aetheros.Agent, io.aetheros.Memory and io.aetheros.Tools.

    `stop_fd` becomes readable when agentd stops.
    """
    agent = parts.agent

    def origin(connection: socket.socket | None) -> Origin:
        return origin_of(connection, parts.bus)

    service = StrictService(
        vendor="AetherOS", product="agentd", version=__version__, interface_dir=str(INTERFACES)
    )
    service.interface(INTERFACE)(lambda: AgentMethods(agent, parts.key, origin, model_name, stop_fd))
    memory = memory_service.MemoryMethods(agent.memory, parts.transfer, who, stop_fd)
    service.interface(memory_service.INTERFACE)(lambda: memory)
    tools = tools_service.ToolsMethods(
        agent.acting, agent.choosing, origin, stop_fd, agent.library, parts.reminders
    )
    service.interface(tools_service.INTERFACE)(lambda: tools)
    awareness = awareness_service.AwarenessMethods(parts.watching.notices, who, stop_fd)
    service.interface(awareness_service.INTERFACE)(lambda: awareness)
    return service


class AgentMethods:
    """The methods of io.aetheros.Agent; see the interface file for what each does."""

    def __init__(
        self,
        agent: Agent,
        key: MachineKey,
        origin: Callable[[socket.socket | None], Origin],
        model_name: str,
        stop_fd: int,
    ) -> None:
        self._agent = agent
        self._key = key
        self._origin = origin
        self._model_name = model_name
        self._stop_fd = stop_fd
        self._started = utc_now()

    def Ask(  # noqa: N802
        self,
        text: str,
        session: str | None,
        attachment: str | None,
        left_out: int | None,
        max_tokens: int | None,
        why: bool | None,
        _more: bool = False,
        _request: socket.socket | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Ask and stream the answer; without "more" only the last reply."""
        origin = self._origin(_request)
        question = Question(
            text,
            session,
            attachment or "",
            left_out or 0,
            max_tokens,
            person=origin.person,
            why=bool(why),
            origin=origin,
        )
        watch = Watch(_request, self._stop_fd)
        try:
            for reply in self._agent.ask(question, watch):
                out = {name: getattr(reply, name) for name in _PLAIN}
                out["notes"] = list(reply.notes) or None
                out["outcome"] = reply.outcome and tools_service.outcome(reply.outcome)
                out["sources"] = [asdict(source) for source in reply.sources or ()] or None
                if _more:
                    yield {**out, "_continues": not reply.done}
                elif reply.done:
                    yield out
        except Refusal as refusal:
            raise as_error(refusal) from refusal

    def Sessions(  # noqa: N802
        self, limit: int | None, _request: socket.socket | None = None
    ) -> dict[str, Any]:
        """The person's sessions, newest first."""
        person = who(_request).name
        found = _do(lambda: self._agent.conversations.sessions(_rows(limit), person))
        return {"sessions": [asdict(session) for session in found]}

    def Rename(  # noqa: N802
        self, session: str, title: str, _request: socket.socket | None = None
    ) -> dict[str, Any]:
        """Give a session another title."""
        person = who(_request).name
        _do(lambda: self._agent.conversations.rename(clean(session), clean(title), person))
        return self._session(session, person)

    def Fork(  # noqa: N802
        self, session: str, turn: int | None, _request: socket.socket | None = None
    ) -> dict[str, Any]:
        """A new session with the same turns."""
        person = who(_request).name
        fork = _do(lambda: self._agent.conversations.fork(clean(session), turn, person))
        self._agent.memory.wake()
        return self._session(fork, person)

    def _session(self, session: str, person: str) -> dict[str, Any]:
        found = _do(lambda: self._agent.conversations.session(clean(session), person))
        return {"session": asdict(found)}

    def Delete(self, session: str, _request: socket.socket | None = None) -> dict[str, Any]:  # noqa: N802
        """Remove a session and everything said in it."""
        person = who(_request).name
        turns, forks = _do(lambda: self._agent.memory.forgetting.delete_session(clean(session), person))
        return {"turns": turns, "forks": forks}

    def Forks(self, session: str, _request: socket.socket | None = None) -> dict[str, Any]:  # noqa: N802
        """The forks that have copies of a session's turns."""
        person = who(_request).name
        found = _do(lambda: self._agent.conversations.forks(clean(session), person))
        return {"sessions": [asdict(fork) for fork in found]}

    def History(  # noqa: N802
        self,
        session: str,
        limit: int | None,
        before: int | None,
        _request: socket.socket | None = None,
    ) -> dict[str, Any]:
        """The turns of one session, oldest first."""
        person = who(_request).name
        found, older = _do(
            lambda: self._agent.conversations.history(
                clean(session), _rows(limit), before=before, size=MAX_TEXT, person=person
            )
        )
        return {"turns": [asdict(turn) for turn in found], "older": older}

    def Lines(self, limit: int | None, _request: socket.socket | None = None) -> dict[str, Any]:  # noqa: N802
        """The last questions in one line, the newest last."""
        person = who(_request).name
        return {"lines": _do(lambda: self._agent.conversations.lines(_rows(limit), person))}

    def Whoami(self, _request: socket.socket | None = None) -> dict[str, Any]:  # noqa: N802
        """Who this machine is and who is asking."""
        person = who(_request)
        machine = identity.machine_name(identity.manifest())
        known = _do(lambda: introduction.read(self._agent.memory.introduced, machine))
        try:
            key, fingerprint = self._key.public(), self._key.fingerprint()
        except AgentError:
            key = fingerprint = ""  # Status says what is wrong with it
        return {
            **asdict(known),
            "machine": machine,
            "key": key,
            "fingerprint": fingerprint,
            "person": person.name,
            "is_owner": person.is_owner,
        }

    def Introduce(  # noqa: N802
        self,
        owner: str | None,
        address: str | None,
        name: str | None,
        _request: socket.socket | None = None,
    ) -> dict[str, Any]:
        """The owner tells who they are."""
        machine = identity.machine_name(identity.manifest())

        def tell() -> dict[str, Any]:
            if not who(_request).is_owner:
                raise NotOwner("only the owner tells who the owner is")
            memories = self._agent.memory.introduced
            return asdict(introduction.tell(memories, machine, owner=owner, address=address, name=name))

        return _do(tell)

    def Status(self) -> dict[str, Any]:  # noqa: N802
        """What this machine and its agent are."""
        manifest = identity.manifest()
        problem = None
        try:
            sessions, turns = self._agent.conversations.counts()
        except StoreUnavailable as unavailable:
            sessions, turns = 0, 0
            problem = str(unavailable.parameters["detail"])
        model = self._agent.worker.status(STATUS_PATIENCE)
        out: dict[str, Any] = {
            "version": __version__,
            "machine": identity.machine_name(manifest),
            "started": self._started,
            "sessions": sessions,
            "turns": turns,
            "model": {
                "name": model.name or self._model_name or identity.named(manifest, "model"),
                "state": model.state,
                "detail": model.detail,
            },
        }
        if model.context is not None:
            out["model"]["context"] = model.context
        if model.built_for:
            out["model"]["built_for"] = model.built_for
        if problem is not None:
            out["problem"] = problem
        if manifest is not None:
            out["manifest"] = manifest
        return out

    def Health(self) -> dict[str, Any]:  # noqa: N802
        """Whether agentd and its store work, proven by a write."""
        try:
            self._agent.conversations.probe()
        except StoreUnavailable as unavailable:
            return {"healthy": False, "detail": str(unavailable.parameters["detail"])}
        return {"healthy": True, "detail": f"agentd {__version__} (pid {os.getpid()}) answers and stores"}


def _do(work: Callable[[], T]) -> T:
    """What `work` returns, its refusal as the Varlink error."""
    try:
        return work()
    except Refusal as refusal:
        raise as_error(refusal) from refusal


def _rows(limit: int | None) -> int:
    if limit is not None and limit < 1:
        raise InvalidQuestion(f"limit is {limit}; it must be at least 1")
    return min(limit or MAX_ROWS, MAX_ROWS)
