"""From a typed action to its result: policy, a yes where one is needed, the audit, the steps, the way back.

Whoever chose the action, a person by a command, a sentence through routing/, or a model, it comes through
here. An entry of the audit is on the disk before anything is done. What the audit keeps of an action is what
was decided and done, never the words of a person, which they may want forgotten.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, Protocol

from agentd.approval import Action, Approvals, Waiting, mint
from agentd.audit import Audit, Entry
from agentd.database import Database
from agentd.errors import NoSuchTool
from agentd.machine_key import MachineKey
from agentd.policy import Origin, Policy, Verdict
from agentd.session import utc_now
from agentd.tools import arguments as tool_arguments
from agentd.tools.tool import Context, Kind, Lacking, Level, Plan, Step, Tool

UNDO = "agent.undo"
_PRIVATE = (Kind.WORDS,)


class StepFailed(Exception):
    """A step was not done, or nobody knows; `detail` is one line for a person."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Executor(Protocol):
    """Who does steps: the broker, or agentd itself for what it may do."""

    def can(self, verb: str) -> bool: ...

    def run(self, steps: Sequence[Step], token: Mapping[str, str]) -> None:
        """Do the steps in their order, with an approval for exactly these. Raises StepFailed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went: `state` is done, asks, denied or failed; `text` says it to a person.

    `waiting` is what a yes is asked for; `verdict` what policy said.
    """

    state: str
    text: str
    verdict: Verdict
    facts: Any = None
    sources: tuple[str, ...] = ()
    effects: tuple[str, ...] = ()
    waiting: Waiting | None = None
    entry: int | None = None


class Acting:
    """What the agent does. Methods raise StoreUnavailable, and AgentError if the machine's key is no use."""

    def __init__(
        self,
        database: Database,
        key: MachineKey,
        policy: Policy,
        tools: Callable[[], Mapping[str, Tool]],
        context: Callable[[Origin], Context],
        executors: Sequence[Executor],
    ) -> None:
        self._database = database
        self._key = key
        self.tools = tools
        self._context = context
        self._executors = executors
        self.policy = policy
        self.audit = Audit(database, key)
        self.approvals = Approvals()

    def tool(self, name: str) -> Tool:
        """The tool of that name. Raises NoSuchTool."""
        try:
            return self.tools()[name]
        except KeyError:
            raise NoSuchTool(name) from None

    def verdict(self, name: str, given: Mapping[str, Any], origin: Origin) -> Verdict:
        """What policy says of a tool, whether or not its arguments are all there. Raises NoSuchTool."""
        return self.policy.judge(name, self.tool(name).level, _plain(given), origin)

    def judge(
        self, name: str, given: Mapping[str, Any], origin: Origin
    ) -> tuple[Tool, dict[str, Any], Verdict]:
        """The tool, its checked arguments, and what policy says. Raises NoSuchTool, InvalidArguments."""
        tool = self.tool(name)
        checked = tool_arguments.check(tool, given)
        return tool, checked, self.policy.judge(name, tool.level, _plain(checked), origin)

    def do(self, name: str, given: Mapping[str, Any], origin: Origin) -> Outcome:
        """Do it, ask for a yes, or say why not. Raises NoSuchTool, InvalidArguments."""
        tool, checked, verdict = self.judge(name, given, origin)
        if verdict.decision == "deny":
            if tool.level is not Level.READ:
                self._note("denied", tool, checked, origin, rule=verdict.rule)
            return Outcome("denied", f"{tool.name} is not allowed: {verdict.why} ({verdict.rule})", verdict)
        try:
            if tool.run is not None and verdict.decision == "allow":
                found = tool.run(self._context(origin), checked)
                return Outcome("done", found.text, verdict, found.facts, found.sources)
            action = self._planned(tool, checked, origin)
        except Lacking as lacking:
            return Outcome("failed", _with_hint(lacking), verdict)
        if verdict.decision == "allow":
            return self._perform(action, origin, verdict, f"policy:{verdict.rule}")
        waiting = self.approvals.ask(action, origin, verdict.rule, verdict.approve)
        self._note("asked", tool, checked, origin, rule=verdict.rule, summary=action.plan.summary)
        return Outcome(
            "asks", f"{action.plan.summary}?", verdict, effects=action.plan.effects, waiting=waiting
        )

    def answer(self, id: str, yes: bool, origin: Origin) -> Outcome:
        """A person's yes or no to what waits. Raises NoSuchApproval."""
        waiting = self.approvals.take(id, origin)
        action, tool = waiting.action, self.tool(waiting.action.tool)
        verdict = Verdict("ask", waiting.rule, "", waiting.places)
        if not yes:
            self._note("refused", tool, action.arguments, origin, rule=waiting.rule)
            return Outcome("denied", f"Not done: {action.plan.summary}.", verdict)
        # What was agreed to rests on how things were then.
        try:
            now = self._planned(tool, action.arguments, waiting.origin)
        except Lacking as lacking:
            return Outcome("failed", _with_hint(lacking), verdict)
        if now.digest() != action.digest():
            basis = now.plan.basis or now.plan.summary
            return Outcome("failed", f"Not done: it is not as it was shown any more ({basis}).", verdict)
        self._note("approved", tool, action.arguments, origin, rule=waiting.rule)
        return self._perform(action, waiting.origin, verdict, f"person:{origin.person}")

    # ---- doing

    def _planned(self, tool: Tool, checked: Mapping[str, Any], origin: Origin) -> Action:
        if tool.name == UNDO:
            number, plan = self._undo_plan(checked["change"], origin)
            return Action(tool.name, {"change": number}, plan)
        if tool.plan is None:
            # A rule may ask even before something is read.
            return Action(tool.name, checked, Plan(f"Run {tool.name}", ()))
        return Action(tool.name, checked, tool.plan(self._context(origin), checked))

    def _perform(self, action: Action, origin: Origin, verdict: Verdict, by: str) -> Outcome:
        tool = self.tool(action.tool)
        if tool.run is not None:
            found = tool.run(self._context(origin), action.arguments)
            return Outcome("done", found.text, verdict, found.facts, found.sources)
        plan = action.plan
        verbs = [step.verb for step in plan.steps]
        began = self._note(
            "began",
            tool,
            action.arguments,
            origin,
            by=by,
            summary=plan.summary,
            verbs=verbs,
            basis=plan.basis,
        )
        try:
            self._run(plan.steps, action, by)
        except StepFailed as failed:
            state = self._state_now(tool, action, origin)
            detail = f"{failed.detail}{f' Now: {state}.' if state else ''}"
            self._note("failed", tool, action.arguments, origin, of=began.number, detail=detail)
            return Outcome("failed", f"{plan.summary}: {detail}", verdict, entry=began.number)
        with self._database.writing() as connection:
            if plan.undo:
                connection.execute(
                    "INSERT INTO undo (number, person, time, summary, steps, back)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        began.number,
                        origin.person,
                        utc_now(),
                        plan.summary,
                        _stored(plan.steps),
                        _stored(plan.undo),
                    ),
                )
            if tool.name == UNDO:
                connection.execute(
                    "UPDATE undo SET taken_back = 1 WHERE number = ?", (action.arguments["change"],)
                )
        self._note("done", tool, action.arguments, origin, of=began.number)
        way = " To take it back: agent undo" if plan.undo else ""
        return Outcome("done", f"{plan.done or plan.summary}{way}", verdict, entry=began.number)

    def _run(self, steps: Sequence[Step], action: Action, by: str) -> None:
        doers = [next((one for one in self._executors if one.can(step.verb)), None) for step in steps]
        if None in doers:
            raise StepFailed("there is nobody on this machine who can do it.")
        for executor, group in groupby(zip(doers, steps, strict=True), key=itemgetter(0)):
            mine = tuple(step for _, step in group)
            assert executor is not None, "seen above"
            executor.run(mine, mint(self._key, action, mine, by))

    def _state_now(self, tool: Tool, action: Action, origin: Origin) -> str:
        """How things are after a step failed, as far as planning it again tells."""
        if tool.plan is None:
            return ""
        try:
            return tool.plan(self._context(origin), action.arguments).basis
        except Lacking as lacking:
            return lacking.message

    # ---- the way back

    def _undo_plan(self, change: int | None, origin: Origin) -> tuple[int, Plan]:
        """The plan that takes back a change of the person's, or the last, and its number. Raises Lacking."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT number, summary, steps, back FROM undo WHERE person = ? AND NOT taken_back"
                " AND ifnull(? = number, TRUE) ORDER BY number DESC LIMIT 1",
                (origin.person, change),
            ).fetchone()
        if row is None:
            which = "there is no change" if change is None else f"{change} is no change"
            raise Lacking(f"{which} that could be taken back", "agent log")
        number, summary, steps, back = row
        return number, Plan(
            f"Take back: {summary}",
            _steps(back),
            undo=_steps(steps),
            basis=f"change {number}",
            done=f"Taken back: {summary}.",
        )

    # ---- the audit

    def _note(self, what: str, tool: Tool, given: Mapping[str, Any], origin: Origin, **more: Any) -> Entry:
        private = {argument.name for argument in tool.arguments if argument.kind in _PRIVATE}
        if private:
            # A summary may repeat them.
            more.pop("summary", None)
        about = {
            "tool": tool.name,
            "arguments": {
                name: "(not kept)" if name in private and value else value for name, value in given.items()
            },
            "person": origin.person,
            "place": origin.place,
            "trust": origin.trust,
            **more,
        }
        return self.audit.add(what, about)


def _plain(checked: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in checked.items() if value is not None}


def _with_hint(lacking: Lacking) -> str:
    return f"{lacking.message}{f' ({lacking.hint})' if lacking.hint else ''}"


def _stored(steps: Sequence[Step]) -> str:
    return json.dumps([[step.verb, dict(step.arguments)] for step in steps])


def _steps(stored: str) -> tuple[Step, ...]:
    return tuple(Step(verb, arguments) for verb, arguments in json.loads(stored))
