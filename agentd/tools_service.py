"""io.aetheros.Tools on Varlink: its methods in terms of acting.py and choosing.py, its errors by name."""

import socket
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, TypeVar

import varlink

from agentd import approval
from agentd.acting import Acting, Outcome
from agentd.approval import Waiting
from agentd.audit import journal_heads
from agentd.call import Watch
from agentd.choosing import Choice, Choosing
from agentd.errors import AgentError, InvalidArguments, NotOwner, Refusal, StoreUnavailable
from agentd.policy import Origin, Verdict
from agentd.reminders import ReminderStore
from agentd.session import clean
from agentd.skills.command import Command
from agentd.skills.library import Library
from agentd.skills.skill import Skill
from agentd.tools.reminders import facts_of
from agentd.tools.tool import Lacking, Tool

INTERFACE = "io.aetheros.Tools"
MOST_TEXTS = 1000
MOST_ENTRIES = 1000
T = TypeVar("T")


class ToolsMethods:
    """The methods of io.aetheros.Tools; see the interface file for what each does."""

    def __init__(
        self,
        acting: Acting,
        choosing: Choosing,
        origin: Callable[[socket.socket | None], Origin],
        stop_fd: int,
        library: Library,
        reminders: ReminderStore,
    ) -> None:
        self._acting = acting
        self._choosing = choosing
        self._origin = origin
        self._stop_fd = stop_fd
        self._library = library
        self._reminders = reminders

    def List(self) -> dict[str, Any]:  # noqa: N802
        """The tools of this machine."""
        return {"tools": [_tool(tool) for tool in self._acting.tools().values()]}

    def Route(  # noqa: N802
        self, texts: list[str], _request: socket.socket | None = None
    ) -> dict[str, Any]:
        """What sentences would be taken to mean."""

        def work() -> dict[str, Any]:
            if not isinstance(texts, list) or not 1 <= len(texts) <= MOST_TEXTS:
                raise InvalidArguments(f"from 1 to {MOST_TEXTS} texts are taken")
            watch, person = Watch(_request, self._stop_fd), self._origin(_request).person
            return {"routes": [_route(self._choosing.choose(str(text), person, watch)) for text in texts]}

        return _do(work)

    def Skills(self, _request: socket.socket | None = None) -> dict[str, Any]:  # noqa: N802
        """The caller's skills and commands."""

        def work() -> dict[str, Any]:
            listing = self._library.listing(self._origin(_request).person)
            return {"skills": [_skill(one) for one in listing.found], "problems": list(listing.problems)}

        return _do(work)

    def Do(  # noqa: N802
        self, tool: str, arguments: Any, _request: socket.socket | None = None
    ) -> dict[str, Any]:
        """Do it, or ask for a yes, or say why not."""
        return _do(
            lambda: {"outcome": outcome(self._acting.do(tool, _object(arguments), self._origin(_request)))}
        )

    def Answer(  # noqa: N802
        self, id: str, yes: bool, _request: socket.socket | None = None
    ) -> dict[str, Any]:
        """A person's yes or no to what waits."""
        return _do(
            lambda: {"outcome": outcome(self._acting.answer(id, yes is True, self._origin(_request)))}
        )

    def Waiting(self, _request: socket.socket | None = None) -> dict[str, Any]:  # noqa: N802
        """What waits for a yes of the caller."""
        found = self._acting.approvals.waiting(self._origin(_request).person)
        return {"waiting": [waiting(one) for one in found]}

    def Check(  # noqa: N802
        self,
        text: str | None,
        tool: str | None,
        arguments: Any,
        _request: socket.socket | None = None,
    ) -> dict[str, Any]:
        """What would happen, and by which rule."""

        def work() -> dict[str, Any]:
            reply: dict[str, Any] = {}
            name, given = tool, _object(arguments)
            if text is not None and tool is not None:
                raise InvalidArguments("give a text or a tool")
            if text is not None:
                person = self._origin(_request).person
                choice = self._choosing.choose(text, person, Watch(_request, self._stop_fd))
                reply["route"] = _route(choice)
                name, given = choice.tool, choice.arguments
            if name is not None:
                # An argument that is still asked for changes nothing of the rule, unless a rule names it.
                verdict = self._acting.verdict(name, given, self._origin(_request))
                reply["verdict"] = _verdict(verdict)
            # A file that has changed is read by it.
            self._acting.policy.rules()
            if self._acting.policy.problem is not None:
                reply["problem"] = self._acting.policy.problem
            return reply

        return _do(work)

    def Log(  # noqa: N802
        self, limit: int | None, before: int | None, _request: socket.socket | None = None
    ) -> dict[str, Any]:
        """The audit, newest first."""

        def work() -> dict[str, Any]:
            self._owner_only(_request)
            most = min(limit or MOST_ENTRIES, MOST_ENTRIES)
            return {"entries": [asdict(entry) for entry in self._acting.audit.entries(most, before)]}

        return _do(work)

    def Verify(self, _request: socket.socket | None = None) -> dict[str, Any]:  # noqa: N802
        """Whether the audit is as it was written."""

        def work() -> dict[str, Any]:
            self._owner_only(_request)
            heads: dict[int, str] = {}
            told: dict[str, Any] = {}
            try:
                heads = journal_heads()
            except Lacking as lacking:
                told["problem"] = lacking.message
            count, wrong = self._acting.audit.verify(heads)
            return {"entries": count, "journal": len(heads), "wrong": wrong, **told}

        return _do(work)

    def Ring(self, id: str, _request: socket.socket | None = None) -> dict[str, Any]:  # noqa: N802
        """Have a reminder ring."""

        def work() -> dict[str, Any]:
            self._owner_only(_request, "only the owner of this machine has its reminders ring")
            ring = self._reminders.ring(clean(id))
            found: dict[str, Any] = {"state": ring.state, "text": ring.text}
            return found if ring.seconds is None else {**found, "seconds": ring.seconds}

        return _do(work)

    def Reminders(  # noqa: N802
        self, unseen: bool | None, _request: socket.socket | None = None
    ) -> dict[str, Any]:
        """The caller's reminders."""

        def work() -> dict[str, Any]:
            store = self._reminders
            found = store.of(self._origin(_request).person, unseen=unseen is True)
            return {"reminders": [facts_of(one, store.clock()) for one in found]}

        return _do(work)

    def Seen(self, ring: int, _request: socket.socket | None = None) -> dict[str, Any]:  # noqa: N802
        """The caller has seen what rang."""

        def work() -> dict[str, Any]:
            self._reminders.see(self._origin(_request).person, ring)
            return {}

        return _do(work)

    def _owner_only(
        self,
        connection: socket.socket | None,
        why: str = "only the owner of this machine reads what was done on it",
    ) -> None:
        if not self._origin(connection).is_owner:
            raise NotOwner(why)


def outcome(found: Outcome) -> dict[str, Any]:
    """An outcome as the interface has it."""
    out: dict[str, Any] = {
        "state": found.state,
        "text": found.text,
        "verdict": _verdict(found.verdict),
        "sources": list(found.sources),
        "effects": list(found.effects),
    }
    if found.facts is not None:
        out["facts"] = found.facts if isinstance(found.facts, dict) else {"found": found.facts}
    if found.waiting is not None:
        out["waiting"] = waiting(found.waiting)
    if found.entry is not None:
        out["entry"] = found.entry
    return out


def waiting(found: Waiting) -> dict[str, Any]:
    """What waits for a yes, as the interface has it."""
    return {
        "id": found.id,
        "tool": found.action.tool,
        "arguments": dict(found.action.arguments),
        "summary": found.action.plan.summary,
        "effects": list(found.action.plan.effects),
        "approve": list(found.places),
        "seconds": round(max(0.0, found.expires - approval.now()), 1),
    }


def _tool(tool: Tool) -> dict[str, Any]:
    arguments = [
        {
            "name": one.name,
            "kind": one.kind.value,
            "purpose": one.purpose,
            "required": one.required,
            "choices": list(one.choices),
        }
        for one in tool.arguments
    ]
    return {
        "name": tool.name,
        "purpose": tool.purpose,
        "level": tool.level.value,
        "reversible": tool.reversible,
        "arguments": arguments,
    }


def _skill(found: Skill | Command) -> dict[str, Any]:
    out: dict[str, Any] = {
        "name": found.name,
        "kind": "command" if isinstance(found, Command) else "skill",
        "description": found.description,
        "path": found.path,
    }
    if found.allowed_tools is not None:
        out["allowed_tools"] = list(found.allowed_tools)
    return out


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {**asdict(verdict), "approve": list(verdict.approve)}


def _route(choice: Choice) -> dict[str, Any]:
    out = {
        "text": choice.text,
        "arguments": dict(choice.arguments),
        "confidence": round(choice.confidence, 3),
        "runner_up_confidence": round(choice.runner_up_confidence, 3),
        "reason": choice.reason,
    }
    for name in ("tool", "runner_up", "question"):
        if getattr(choice, name):
            out[name] = getattr(choice, name)
    return out


def _object(given: Any) -> Mapping[str, Any]:
    """Arguments as they were given; none if they were left out. Raises InvalidArguments."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise InvalidArguments("arguments are a JSON object")
    return given


def _do(work: Callable[[], T]) -> T:
    try:
        return work()
    except AgentError as error:
        raise _error(StoreUnavailable(error.message)) from error
    except Refusal as refusal:
        raise _error(refusal) from refusal


def _error(refusal: Refusal) -> varlink.VarlinkError:
    name = type(refusal).__name__
    return varlink.VarlinkError({"error": f"{INTERFACE}.{name}", "parameters": refusal.parameters})
