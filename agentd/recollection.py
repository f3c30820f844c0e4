"""What an answer may rest on: recalled for a question, chosen, and told with the answer.

Chosen is what is likely to be about the question; what the model has in its context already counts, but is
not read to it again. A question about the person's own life of which nothing is remembered is one that the
model would invent an answer to: agentd answers it itself. Not for: finding (memory/recall.py).
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from agentd.memory.items import Item
from agentd.memory.memories import Search
from agentd.memory.recall import Hit

# The most that is read to the model, and how near to the best a hit must be to be among it.
MOST = 5
NEAR_BEST = 0.6
LOOKED_AT = 10
# Characters of one of them.
LONGEST = 300

UNKNOWN = "I don't know: nothing that I remember says so."

_QUESTION = re.compile(
    r"^(?:and |so |but |ok |okay |hey )*(?:what|which|who|whose|whom|where|when|how (?:many|much|old|long"
    r"|often|far|big|tall)|did|do|does|have|has|had|is|are|was|were|am)\b",
    re.IGNORECASE,
)
_MINE = re.compile(
    r"\b(?:my|our|mine|ours)\b"
    r"|\b(?:did|do|have|had|am|was|were|are)\s+(?:i|we)\b"
    r"|\bi(?:'ve| have)? (?:told|tell|said|say|mentioned|mention)\b"
    r"|\bdo you (?:remember|recall|know)\b.*\b(?:i|me|my|we|our)\b",
    re.IGNORECASE,
)
# "What can I do about ...", "how do I ...": about the world, whoever asks. And about this machine itself.
_GENERAL = re.compile(
    r"\bhow (?:do|can|should|could|would|to)\b|\b(?:can|could|should|would|may|shall) (?:i|we)\b"
    r"|\b(?:do|am|are) (?:i|we) (?:need|have to|supposed|allowed)\b"
    r"|\bmy (?:machine|computer|system|disk|kernel|memory|cpu|code|script|program|file|server|logs?)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Source:
    """One hit; the fields are those of io.aetheros.Agent's Source."""

    id: str
    type: str
    text: str
    time: str
    score: float
    lexical: float
    semantic: float
    used: bool


@dataclass(frozen=True, slots=True)
class Recollection:
    """What was recalled for a question; `used` is what the model reads.

    `unknown`: only the person could have told it, and nothing that was found tells it.
    """

    hits: tuple[Hit, ...] = ()
    used: tuple[Item, ...] = ()
    unknown: bool = False

    def cut(self, most: int) -> Self:
        """The same with only so many read by the model."""
        return replace(self, used=self.used[:most])

    def sources(self, *, why: bool) -> list[Source]:
        """What was used, and with `why` what was not, best first."""
        used = {item.row for item in self.used}
        return [_source(hit, hit.item.row in used) for hit in self.hits if why or hit.item.row in used]


def choose(question: str, search: Search, session: str, read_from: int) -> Recollection:
    """What of a search is used; the model reads `session` from the turn `read_from` on already.

    For a question that is not about the person only memories and notes are, not what was once said.
    """
    hits = search.recalled.hits
    personal = is_about_the_person(question)
    least = NEAR_BEST * hits[0].score if hits else 0.0
    near = [
        hit.item
        for hit in hits
        if search.confident
        and hit.score >= least
        and _tells(hit.item)
        and (personal or hit.item.type != "turn")
    ]
    fresh = [item for item in near if item.session != session or item.position < read_from]
    return Recollection(hits, tuple(fresh[:MOST]), unknown=personal and not near)


def is_about_the_person(question: str) -> bool:
    """Whether a question asks for what only the person could have told."""
    line = " ".join(question.split())
    return bool(_QUESTION.search(line) and _MINE.search(line)) and not _GENERAL.search(line)


def notes(used: Sequence[Item]) -> list[str]:
    """What is used as lines for the model, each with its id and date."""
    return [f"{_said(item)} [{item.id}{f', {item.time[:10]}' if item.time else ''}]" for item in used]


def stored(sources: Sequence[Source]) -> str:
    """Sources as they are kept with an answer: ids and scores, never a text."""
    return json.dumps([{"id": one.id, "score": round(one.score, 3)} for one in sources if one.used])


def _said(item: Item) -> str:
    text = " ".join(item.text.split())
    text = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return f"{item.speaker}: {text}" if item.type == "turn" and item.speaker != "you" else text


def _tells(item: Item) -> bool:
    """Whether an item says something: a person's question does not, and the model's words prove nothing."""
    return item.type != "turn" or not (item.speaker == "agent" or item.text.rstrip().endswith("?"))


def _source(hit: Hit, used: bool) -> Source:
    item = hit.item
    scores = (round(hit.score, 3), round(hit.lexical, 3), round(hit.semantic, 3))
    return Source(item.id, item.type, _said(item), item.time, *scores, used)
