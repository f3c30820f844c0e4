"""io.aetheros.Agent on Varlink: its methods in terms of agent.py, its errors by name.

The names and the order of parameters are those of the interface file. Robustness against bad clients is
server.py's concern.
"""

import os
import socket
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import varlink

from agentd import __version__, identity
from agentd.agent import Agent, Question, clean
from agentd.call import INTERFACES, Watch
from agentd.errors import InvalidQuestion, Refusal, StoreUnavailable
from agentd.server import StrictService
from agentd.session import utc_now

INTERFACE = "io.aetheros.Agent"
# The most rows one reply carries, and how many when the caller does not say.
MAX_ROWS = 1000
# And of their text in UTF-8, in bytes, but for one turn: the reply is built in memory, where JSON's escapes
# make it up to six times as long.
MAX_TEXT = 1 << 20
# Seconds that Status waits for the worker's own.
STATUS_PATIENCE = 3.0


def as_error(refusal: Refusal) -> varlink.VarlinkError:
    """The Varlink error of the same name."""
    return varlink.VarlinkError(
        {"error": f"{INTERFACE}.{type(refusal).__name__}", "parameters": refusal.parameters}
    )


def create_service(agent: Agent, model_name: str, stop_fd: int) -> StrictService:
    """The service with io.aetheros.Agent. `stop_fd` becomes readable when agentd stops."""
    service = StrictService(
        vendor="AetherOS", product="agentd", version=__version__, interface_dir=str(INTERFACES)
    )
    service.interface(INTERFACE)(lambda: AgentMethods(agent, model_name, stop_fd))
    return service


class AgentMethods:
    """The methods of io.aetheros.Agent; see the interface file for what each does."""

    def __init__(self, agent: Agent, model_name: str, stop_fd: int) -> None:
        self._agent = agent
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
        _more: bool = False,
        _request: socket.socket | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Ask and stream the answer; without "more" only the last reply."""
        question = Question(text, session, attachment or "", left_out or 0, max_tokens)
        watch = Watch(_request, self._stop_fd)
        try:
            for reply in self._agent.ask(question, watch):
                out = asdict(reply)
                out["notes"] = list(reply.notes) or None
                if _more:
                    yield {**out, "_continues": not reply.done}
                elif reply.done:
                    yield out
        except Refusal as refusal:
            raise as_error(refusal) from refusal

    def Sessions(self, limit: int | None) -> dict[str, Any]:  # noqa: N802
        """The sessions, newest first."""
        try:
            found = self._agent.conversations.sessions(_rows(limit))
        except Refusal as refusal:
            raise as_error(refusal) from refusal
        return {"sessions": [asdict(session) for session in found]}

    def History(  # noqa: N802
        self, session: str, limit: int | None, before: int | None
    ) -> dict[str, Any]:
        """The turns of one session, oldest first."""
        try:
            found, older = self._agent.conversations.history(
                clean(session), _rows(limit), before=before, size=MAX_TEXT
            )
        except Refusal as refusal:
            raise as_error(refusal) from refusal
        return {"turns": [asdict(turn) for turn in found], "older": older}

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


def _rows(limit: int | None) -> int:
    if limit is not None and limit < 1:
        raise InvalidQuestion(f"limit is {limit}; it must be at least 1")
    return min(limit or MAX_ROWS, MAX_ROWS)
