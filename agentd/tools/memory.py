"""The memory as tools: remembering, recalling, forgetting. What they do is memory/'s concern.

Their steps are agentd's own: no privilege is needed for them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from agentd.acting import StepFailed
from agentd.call import Watch
from agentd.errors import Refusal
from agentd.memory.background import Background
from agentd.memory.items import Item
from agentd.tools.render import table
from agentd.tools.tool import Answer, Argument, Arguments, Context, Kind, Lacking, Level, Plan, Step, Tool

T = TypeVar("T")
ADD, FORGET = "memory.add", "memory.forget"
SHOWN = 10
_LETTERS = 200


class MemoryTools:
    """The tools, and who does their steps: an acting.Executor."""

    def __init__(self, memory: Background) -> None:
        self._memory = memory

    def tools(self) -> tuple[Tool, ...]:
        """The declarations."""
        return (
            Tool(
                "memory.recall",
                "what is remembered about something",
                Level.READ,
                run=self._recall,
                arguments=(Argument("query", Kind.WORDS, "what to look for"),),
            ),
            Tool(
                "memory.remember",
                "remember something",
                Level.CHANGE,
                plan=self._remember,
                arguments=(Argument("text", Kind.WORDS, "what to remember"),),
            ),
            Tool(
                "memory.forget",
                "forget something for good",
                Level.DANGER,
                plan=self._forget,
                arguments=(Argument("query", Kind.WORDS, "words that all of it has"),),
            ),
        )

    def can(self, verb: str) -> bool:
        """Whether a step is one of these."""
        return verb in (ADD, FORGET)

    def run(self, steps: Sequence[Step], token: Mapping[str, str]) -> None:
        """Do the steps. Raises StepFailed."""
        for step in steps:
            try:
                if step.verb == ADD:
                    self._memory.memories.add(step.arguments["text"], step.arguments["person"])
                    self._memory.wake()
                else:
                    self._really_forget(step.arguments)
            except Refusal as refusal:
                raise StepFailed(f"{refusal.parameters.get('detail', refusal)}.") from refusal

    def _recall(self, context: Context, arguments: Arguments) -> Answer:
        search = _lacking(
            lambda: self._memory.memories.search(arguments["query"], context.person, SHOWN, watch=Watch())
        )
        items = [hit.item for hit in search.recalled.hits]
        facts = [{"id": item.id, "type": item.type, "time": item.time, "text": item.text} for item in items]
        if not items:
            return Answer("Nothing about it is remembered.", [], ("the memory",))
        rows = [[item.id, item.time[:10], _short(item)] for item in items]
        return Answer(table(("id", "date", "text"), rows), facts, ("the memory",))

    def _remember(self, context: Context, arguments: Arguments) -> Plan:
        text = arguments["text"]
        return Plan(
            f"Remember: {text}",
            (Step(ADD, {"text": text, "person": context.person}),),
            done=f"I will remember: {text}",
        )

    def _forget(self, context: Context, arguments: Arguments) -> Plan:
        items = _lacking(lambda: self._found(arguments["query"], context.person)[1])
        if not items:
            raise Lacking("nothing that is remembered has all of these words", "agent memory search")
        return Plan(
            f"Forget {len(items)} thing{'s' if len(items) > 1 else ''} for good",
            (
                Step(
                    FORGET,
                    {
                        "query": arguments["query"],
                        "ids": [item.id for item in items],
                        "person": context.person,
                    },
                ),
            ),
            tuple(f"{item.id} ({item.time[:10]}): {item.text}" for item in items),
            basis=" ".join(item.id for item in items),
            done="Forgotten.",
        )

    def _found(self, query: str, person: str) -> tuple[str, list[Item]]:
        return self._memory.forgetting.preview(person, Watch(), id=None, query=query, turns=False)

    def _really_forget(self, arguments: Mapping[str, Any]) -> None:
        token, items = self._found(arguments["query"], arguments["person"])
        if [item.id for item in items] != arguments["ids"]:
            raise StepFailed("something else would be forgotten by now.")
        self._memory.forgetting.forget(token, arguments["person"])


def _short(item: Item) -> str:
    text = " ".join(item.text.split())
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"


def _lacking(work: Callable[[], T]) -> T:
    """What `work` returns, its refusal as Lacking."""
    try:
        return work()
    except Refusal as refusal:
        raise Lacking(str(refusal.parameters.get("detail", refusal))) from refusal
