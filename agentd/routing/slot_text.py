"""Text as the finders of arguments look at it: without case and accents, at the same places.

Not for: what words mean (the other slot_ files).
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# What of a request is looked at: a sentence or two, not a pasted file.
LONGEST = 1000
_EDGES = " \t\r\n,;:.!?…-–—\"'“”„‚‘’«»()"  # noqa: RUF001 - marks that people type
_QUOTED = re.compile(
    '"([^"\n]{1,300})"|“([^”\n]{1,300})”|„([^“”\n]{1,300})[“”]|«\\s*([^»\n]{1,300}?)\\s*»'
    "|`([^`\n]{1,300})`|(?<!\\w)'([^'\n]{1,300})'(?!\\w)"
)
WORD = re.compile(r"[^\W_]+(?:[-'’.][^\W_]+)*")  # noqa: RUF001
# Words that lead to a time and go with it when the rest of the sentence is taken.
_LEADING = re.compile(
    r"(?:\b(?:at|on|in|by|um|am|ab|the|this|next|for|il|le|el|em|op|per|from|coming|à|às|a|las?|para|pour"
    r"|für)\s+)+$",
    re.IGNORECASE,
)
_POLITE = (
    r"please|pls|plz|pleas|plaese|thanks|thank you|thx|dear|would you|will you|if you (?:can|would|please"
    r"|don'?t mind)"
    r"|for me|ok(?:ay)?|bitte|danke|mal|s'il (?:te|vous) plait|stp|svp|merci|por favor|gracias|per favore"
    r"|grazie|if that'?s (?:ok(?:ay)?|alright)|alsjeblieft"
)
_POLITE_END = re.compile(rf"[\s,;.!?]+(?:{_POLITE})$")
_POLITE_START = re.compile(
    rf"(?:{_POLITE}|hey|hi|hello|so|oh|well|and|but|just|now|yeah|(?:could|can|would|will|might) (?:you|u)"
    r"|be so (?:kind|nice) (?:and|as to)|i(?:'d| would) like(?: you)? to|i want you to|kindly|perhaps"
    r"|kannst du|konntest du|peux-tu|puedes|podrias|puoi|podes)\b[\s,:;]*"
)


@dataclass(frozen=True, slots=True)
class Found:
    """What stands for an argument: its value and its places in the text as (start, end).

    `candidates` are several that it may be, when there is no value; `question` is one that says more.
    """

    value: Any = None
    spans: tuple[tuple[int, int], ...] = ()
    candidates: tuple[str, ...] = ()
    question: str = ""


NOTHING = Found()


def plain(text: str) -> str:
    """The text in lower case and without accents; each character stays at its place."""
    if text.isascii():
        return text.lower()
    return "".join(map(_plain, text))


def _plain(one: str) -> str:
    if one.isascii():
        return one.lower()
    if one in "‘’":  # noqa: RUF001
        return "'"
    return (unicodedata.normalize("NFKD", one)[:1].lower() or one)[:1]


def quoted(text: str) -> list[str]:
    """What stands in quotation marks, in its order."""
    return [next(filter(None, found.groups())).strip() for found in _QUOTED.finditer(text)]


def trim(text: str) -> str:
    """The text without marks and polite words around it; one in quotation marks as a whole without these."""
    text = text.strip(_EDGES)
    while True:
        low = plain(text)
        start, end = _POLITE_START.match(low), _POLITE_END.search(low)
        if start and start.end() < len(text):
            text = text[start.end() :].strip(_EDGES)
        elif end:
            text = text[: end.start()].strip(_EDGES)
        else:
            return text


def widened(text: str, span: tuple[int, int]) -> tuple[int, int]:
    """A place of the text together with the small words that lead to it."""
    start, end = span
    leading = _LEADING.search(text[max(0, start - 40) : start])
    return (start - len(leading[0]) if leading else start), end


def without(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """The text without some of its places."""
    kept, at = [], 0
    for start, end in sorted(spans):
        kept.append(text[at:start] if start > at else "")
        at = max(at, end)
    return " ".join(" ".join([*kept, text[at:]]).split())


def is_near(word: str, other: str) -> bool:
    """Whether one typo lies between them: a letter too many, missing, or wrong, or two in the wrong order.

    The first letters have to be the same, and short words have no wrong letter: they would be other words.
    """
    if word == other:
        return True
    if re.sub(r"\D", "", word) != re.sub(r"\D", "", other):
        return False  # eth0 is no typo of eth1
    if word[:1] != other[:1] and not (len(word) > 6 and word[1:2] == other[:1]):
        return False
    longer, shorter = (word, other) if len(word) >= len(other) else (other, word)
    if len(shorter) < 3 or len(longer) - len(shorter) > 1:
        return False
    at = 0
    while at < len(shorter) and longer[at] == shorter[at]:
        at += 1
    if len(longer) > len(shorter):
        return longer[at + 1 :] == shorter[at:]
    if longer[at + 2 :] == shorter[at + 2 :] and longer[at : at + 2] == shorter[at : at + 2][::-1]:
        return True
    return len(word) > 4 and longer[at + 1 :] == shorter[at + 1 :]
