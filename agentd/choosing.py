"""From a person's words to a tool with its arguments, or to talk.

Exact words first: a line "/family.verb NAME=VALUE ..." is what it says. Else the router chooses, or a model
that may, among the router's best tools; and code finds the arguments. One that is missing, or two tools that
are close, become one short question. Nothing is done here: acting.py does it.
"""

import re
import shlex
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentd import log
from agentd.call import Watch
from agentd.recollection import is_about_the_person
from agentd.tools.tool import Level, Tool
from agentd.worker import ContextExceededError, ModelWorker, WorkerError

if TYPE_CHECKING:
    from agentd.routing.head import Head
    from agentd.routing.router import Route, Router
    from agentd.routing.slots import World

# A longer text is no request to a tool: it tells or asks something.
LONGEST = 600
MOST_ASKED = 100
RECALL = "memory.recall"
# "And of big?" goes on with what was talked about; a request that begins so has to be as plain as this.
CERTAIN = 0.8
_CONTINUES = re.compile(r"(?:and|or|but|und|oder|aber|et|ou|mais|y|o|pero|e|ma|en|of|maar)\b", re.IGNORECASE)
# Words by which somebody asks the memory itself.
_OF_MEMORY = re.compile(r"\b(?:remember|recall|know|told|tell|said|mention|memor|noted?\b)", re.IGNORECASE)
# What the router is certain of by its rules, and no model is asked about: a tool is only mentioned.
MENTIONED = ("negated", "about", "reported")


@dataclass(frozen=True, slots=True)
class Choice:
    """What a text is taken to mean; without a `tool` it is talk.

    `question` is what has to be asked before anything can be done, `missing` the argument that it is about.
    `reason` is the router's, or "model" where a model chose, "command" for exact words, "long" for a text
    too long to be a request.
    """

    text: str
    tool: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    question: str = ""
    missing: str = ""
    confidence: float = 1.0
    runner_up: str | None = None
    runner_up_confidence: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool said in an earlier step: data, whoever wrote it."""

    tool: str
    text: str


class Choosing:
    """The router with this machine's tools; without its file only exact words choose.

    Its patterns are many: they are compiled with the first request, or by warm().
    """

    def __init__(
        self,
        head: Path | None,
        tools: Callable[[], Mapping[str, Tool]],
        worlds: "Callable[[], Callable[[str], World]]",
        worker: ModelWorker,
        *,
        by_model: bool = False,
    ) -> None:
        """`by_model`: the worker's model is good enough to choose; the router is there for when it is not
        ready."""
        self._by_model = by_model
        self._file = head
        self._tools = tools
        self._make_worlds = worlds
        self._worlds: Callable[[str], World] | None = None
        self._worker = worker
        self._router: Router | None = None
        self._head: Head | None = None
        self._loading = threading.Lock()
        # What was asked last, by session.
        self._asked: dict[str, Choice] = {}

    def choose(self, text: str, person: str, watch: Watch, session: str | None = None) -> Choice:
        """What a text is taken to mean; in a session it may be what was asked for there last."""
        choice = self._choose(text, person, watch)
        asked = self._asked.pop(session or "", None)
        if session is not None and choice.confidence < CERTAIN and _CONTINUES.match(text):
            choice = replace(choice, tool=None, arguments={}, question="", missing="", reason="talk")
        if asked is None or choice.reason in ("command", "sure"):
            return choice
        return self._answered(asked, text, person) or choice

    def keep(self, session: str, choice: Choice) -> None:
        """Remember what was asked in a session: the next thing said in it may be the answer."""
        self._asked[session] = choice
        while len(self._asked) > MOST_ASKED:
            self._asked.pop(next(iter(self._asked)), None)

    def _choose(self, text: str, person: str, watch: Watch) -> Choice:
        if text.startswith("/") and (command := self._command(text)) is not None:
            return command
        router = self._loaded()
        if router is None or len(text) > LONGEST:
            return Choice(text, reason="long" if router else "no router")
        meanings: list[Sequence[float] | None] = []

        def encode(part: str) -> Sequence[float] | None:
            meanings.append(self._meaning(part, watch))
            return meanings[-1]

        route = router.route(text, encode)
        if None in meanings and route.confidence < CERTAIN:
            # The encoder is not there yet: of words alone only what is plain is believed.
            return Choice(text, confidence=route.confidence, reason="talk")
        if route.reason not in MENTIONED and (chosen := self._chosen_by_model(text, person, watch)):
            if route.tool is None or route.tool == chosen.tool:
                return chosen
            return replace(chosen, runner_up=route.tool, runner_up_confidence=route.confidence)
        tool = self._tools().get(route.tool or "")
        if tool is None or (tool.name == RECALL and _is_for_an_answer(text)):
            return _choice(text, route, None, {}, "")
        from agentd.routing import slots

        filled = slots.fill(tool, text, self._world(person))
        question, missing = filled.question, filled.missing.name if filled.missing else ""
        if not question and route.reason == "close" and route.runner_up in self._tools():
            question = _which(tool, self._tools()[route.runner_up or ""])
        return replace(_choice(text, route, tool.name, filled.arguments, question), missing=missing)

    def go_on(self, text: str, results: Sequence[Result], person: str, watch: Watch) -> Choice | None:
        """The tool that the model uses next for what a person said, after what tools said to it; None if it
        has done what it could."""
        choice = self._chosen_by_model(text, person, watch, results)
        return choice if choice is not None and choice.tool is not None else None

    def _chosen_by_model(
        self, text: str, person: str, watch: Watch, results: Sequence[Result] = ()
    ) -> Choice | None:
        """What the model takes a text to mean; None where no model may choose, or it cannot now."""
        if not self._by_model or self._head is None or self._worker.status(watch=watch).state != "ready":
            return None
        from agentd.routing import model_choice

        tools, wish = self._tools(), model_choice.wish(text)
        chances = model_choice.chances(self._head, text, lambda part: self._meaning(part, watch))
        among = model_choice.best(chances, tools)
        try:
            proposal = model_choice.propose(self._worker, wish, tools, among, watch, results)
        except (WorkerError, ContextExceededError) as error:
            log.warning(f"the model cannot choose a tool: {error}")
            return None
        if proposal is None:
            return None
        tool = tools.get(proposal.tool or "")
        if tool is None or model_choice.only_mentions(tool, wish):
            return Choice(text, reason="model", confidence=chances[model_choice.TALK])
        filled = model_choice.settle(tool, proposal.arguments, text, self._world(person), results)
        missing = filled.missing.name if filled.missing else ""
        return Choice(
            text, tool.name, filled.arguments, filled.question, missing, chances[tool.name], reason="model"
        )

    def _command(self, text: str) -> Choice | None:
        try:
            name, *words = shlex.split(text[1:])
        except ValueError:
            return None
        tool = self._tools().get(name)
        if tool is None:
            return None
        given: dict[str, str] = {}
        names = [argument.name for argument in tool.arguments]
        for word in words:
            key, equals, value = word.partition("=")
            if equals and key in names:
                given[key] = value
            elif left := [one for one in names if one not in given]:
                given[left[0]] = word
            else:
                question = f"{name} takes {len(names)} arguments; what is {word!r}?"
                return Choice(text, name, given, question, reason="command")
        return Choice(text, name, given, reason="command")

    def warm(self) -> None:
        """Load what the first request would wait for."""
        if self._loaded() is not None:
            import agentd.routing.slots  # noqa: F401 - to have it

    def _answered(self, asked: Choice, text: str, person: str) -> Choice | None:
        """What was asked about, with the argument that it lacked; None if the text does not tell it."""
        from agentd.routing import slots

        tool = self._tools()[asked.tool or ""]
        lacking = next((one for one in tool.arguments if one.name == asked.missing), None)
        value = lacking and slots.answer(tool, lacking, text, self._world(person))
        if lacking is None or value is None:
            return None
        return replace(asked, arguments={**asked.arguments, lacking.name: value}, question="", missing="")

    def _world(self, person: str) -> "World":
        if self._worlds is None:
            self._worlds = self._make_worlds()
        return self._worlds(person)

    def _loaded(self) -> "Router | None":
        with self._loading:
            if self._router is None and self._file is not None:
                from agentd.routing.head import HeadError, load
                from agentd.routing.router import Router

                try:
                    head = load(self._file)
                except HeadError as error:
                    log.error(f"requests cannot be told from talk: {error}")
                    self._file = None
                    return None
                changing = [tool.name for tool in self._tools().values() if tool.level is not Level.READ]
                self._router, self._head = Router(head, changing), head
            return self._router

    def _meaning(self, text: str, watch: Watch) -> Sequence[float] | None:
        try:
            return self._worker.embed([text], watch)[0]
        except WorkerError:
            return None


def _is_for_an_answer(text: str) -> bool:
    """Whether a question wants what is remembered in words ("who is my dentist?"), not as a list of it."""
    return is_about_the_person(text) and not _OF_MEMORY.search(text)


def _choice(
    text: str, route: "Route", tool: str | None, arguments: Mapping[str, Any], question: str
) -> Choice:
    return Choice(
        text,
        tool,
        arguments,
        question,
        confidence=route.confidence,
        runner_up=route.runner_up,
        runner_up_confidence=route.runner_up_confidence,
        reason=route.reason,
    )


def _which(one: Tool, other: Tool) -> str:
    return f"Do you mean: {one.purpose} (/{one.name}), or: {other.purpose} (/{other.name})?"
