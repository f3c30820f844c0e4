"""From words to a tool: what is exact, and what is better answered than listed."""

from typing import Any, cast

import pytest

from agentd.call import Watch
from agentd.choosing import RECALL, Choosing
from agentd.routing.router import Route
from agentd.routing.slots import World
from agentd.tools.tool import Answer, Argument, Kind, Level, Tool

TOOLS = {
    RECALL: Tool(
        RECALL,
        "what is remembered",
        Level.READ,
        run=lambda context, arguments: Answer("", None),
        arguments=(Argument("query", Kind.WORDS, "what to look for"),),
    )
}


class AlwaysRecall:
    """A router that takes everything for a question to the memory."""

    confidence = 0.9

    def route(self, text: str, encode: Any) -> Route:
        return Route(RECALL, self.confidence, None, 0.0, "sure")


@pytest.fixture
def choosing(monkeypatch: pytest.MonkeyPatch) -> Choosing:
    nobody: Any = None
    world = World(units=dict, now=cast(Any, None))
    made = Choosing(None, lambda: TOOLS, lambda: lambda person: world, nobody)
    monkeypatch.setattr(AlwaysRecall, "confidence", 0.9)
    monkeypatch.setattr(made, "_loaded", AlwaysRecall)
    monkeypatch.setattr(made, "_chosen_by_model", lambda *_: None)
    return made


@pytest.mark.parametrize(
    ("text", "tool"),
    [
        ("who is my dentist?", None),
        ("What is the favourite colour of my dentist Quentin?", None),
        ("when did I last see my sister?", None),
        ("what do you know about my dentist?", RECALL),
        ("do you remember my gate code?", RECALL),
        ("what did I tell you about my boat?", RECALL),
        ("memories of our boat", RECALL),
        ("anything on the boat in your memory?", RECALL),
    ],
)
def test_a_question_about_a_life_is_answered_and_one_to_the_memory_is_listed(
    choosing: Choosing, text: str, tool: str | None
) -> None:
    assert choosing.choose(text, "owner", Watch()).tool == tool


@pytest.mark.parametrize(
    ("text", "arguments", "question"),
    [
        ("/memory.recall query=boat", {"query": "boat"}, ""),
        ('/memory.recall "the green boat"', {"query": "the green boat"}, ""),
        ("/memory.recall a b", {"query": "a"}, "memory.recall takes 1 arguments; what is 'b'?"),
    ],
)
def test_a_line_with_a_slash_is_what_it_says(
    choosing: Choosing, text: str, arguments: dict[str, str], question: str
) -> None:
    choice = choosing.choose(text, "owner", Watch())
    assert (choice.tool, choice.arguments, choice.question) == (RECALL, arguments, question)
    assert choice.reason == "command"


@pytest.mark.parametrize("text", ["/etc is full", '/memory.recall "open', "/"])
def test_another_line_with_a_slash_is_a_sentence(choosing: Choosing, text: str) -> None:
    assert choosing.choose(text, "owner", Watch()).reason != "command"


@pytest.mark.parametrize(
    ("text", "confidence", "session", "tool"),
    [
        ("And of the boat?", 0.43, "s1", None),
        ("und was ist mit dem Boot?", 0.7, "s1", None),
        ("and recall the boat", 0.9, "s1", RECALL),
        ("And of the boat?", 0.43, None, RECALL),
        ("recall the boat", 0.43, "s1", RECALL),
        ("Andrea and the boat", 0.43, "s1", RECALL),
    ],
)
def test_what_goes_on_with_a_conversation_is_talk_unless_it_is_plain(
    choosing: Choosing, text: str, confidence: float, session: str | None, tool: str | None
) -> None:
    AlwaysRecall.confidence = confidence
    assert choosing.choose(text, "owner", Watch(), session).tool == tool


@pytest.mark.parametrize(("confidence", "tool"), [(0.39, None), (0.9, RECALL)])
def test_without_an_encoder_only_what_is_plain_is_a_request(
    choosing: Choosing, monkeypatch: pytest.MonkeyPatch, confidence: float, tool: str | None
) -> None:
    def route(self: AlwaysRecall, text: str, encode: Any) -> Route:
        encode(text)
        return Route(RECALL, confidence, None, 0.0, "close")

    monkeypatch.setattr(AlwaysRecall, "route", route)
    monkeypatch.setattr(choosing, "_meaning", lambda part, watch: None)
    assert choosing.choose("Tell me a long story about the sea.", "owner", Watch()).tool == tool
