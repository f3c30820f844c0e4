"""From a sentence to the one tool that it asks for, or to talk.

The head knows words and meaning; what it cannot know is said by rules: what is forbidden is not asked for
(negation.py), and what is only talked about changes nothing (about.py). Not for: what a tool is, or whether
it may be used.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from agentd.routing.about import is_about, is_general, is_reported, unquoted
from agentd.routing.head import TALK, Head
from agentd.routing.negation import wish_of

# Chosen on tests/data/routing/dev.jsonl. With so much probability of talk a sentence is talk:
# the tools share the rest, so the best of them may well have less.
TALK_LEAST = 0.5
# A tool weaker than this is no better than a guess among sixty.
TOOL_LEAST = 0.1
# Below this the best tool, and beside a second one of more than this share of it, the person is asked.
SURE_LEAST = 0.4
CLOSE = 0.5

# The one tool that is asked what something means.
EXPLAINS = "logs.explain"
# More of a text is not looked at, so that no pattern takes long over a whole file.
CHARACTERS = 1000

Encode = Callable[[str], Sequence[float] | None]


@dataclass(frozen=True, slots=True)
class Route:
    """Where a sentence goes: to `tool`, or to talk if that is None; `confidence` from 0 to 1.

    `runner_up` is the next best tool, None if there is none. `reason` is one word. Of a tool: "sure", or
    "close", when the person should be asked whether it or the runner-up is meant. Of talk: "talk", what the
    head took for it; "unsure", where no tool is likely enough; "negated", "about", "reported", what only
    mentions a tool.
    """

    tool: str | None
    confidence: float
    runner_up: str | None
    runner_up_confidence: float
    reason: str


class Router:
    """Chooses among a head's tools; `changing` are the names of those that change something."""

    def __init__(self, head: Head, changing: Collection[str]) -> None:
        self._head = head
        self._changing = frozenset(changing)

    def route(self, text: str, encode: Encode) -> Route:
        """Where a text goes. `encode` gives the encoder's vector of a text, or None when it is not ready.

        It is called once, and a second time for a text that quotes something and asks for a change. What it
        raises goes through.
        """
        wish = wish_of(self._head.spelling.corrected(text[:CHARACTERS]))
        if not wish.text.strip():
            return Route(None, 1.0, None, 0.0, "negated" if wish.negated else "talk")
        chances = self._head.probabilities(wish.text, encode(wish.text))
        best, second = _best_tools(chances)
        if best is None:
            return Route(None, chances[TALK], None, 0.0, "talk")
        changes = best in self._changing
        if changes and (told := self._only_mentioned(best, wish.text, encode)):
            return Route(None, 1 - chances[best], best, chances[best], told)
        if best != EXPLAINS and is_general(wish.text):
            return Route(None, 1 - chances[best], best, chances[best], "about")
        if chances[TALK] >= TALK_LEAST:
            return Route(None, chances[TALK], best, chances[best], "talk")
        if chances[best] < TOOL_LEAST:
            return Route(None, chances[TALK], best, chances[best], "unsure")
        next_best = chances[second] if second else 0.0
        sure = chances[best] >= SURE_LEAST and next_best < CLOSE * chances[best]
        return Route(best, chances[best], second, next_best, "sure" if sure else "close")

    def _only_mentioned(self, tool: str, text: str, encode: Encode) -> str:
        """Why a text that looks like a request for a change is none; "" if it is one."""
        if is_about(text):
            return "about"
        if is_reported(text):
            return "reported"
        outside = unquoted(text)
        if outside != text:
            chances = self._head.probabilities(outside, encode(outside))
            if chances[TALK] > chances[tool]:
                return "reported"
        return ""


def _best_tools(chances: dict[str, float]) -> tuple[str | None, str | None]:
    """The most probable tool and the next one."""
    tools = sorted((name for name in chances if name != TALK), key=lambda name: -chances[name])
    return (*tools[:2], None, None)[:2]  # type: ignore[return-value]
