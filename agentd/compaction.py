"""A long conversation as a few lines that point to its turns: what the model reads of what no longer fits.

Extractive, without a model: `[t12] what was asked -> the most telling sentence of the answer`. Nothing is
lost by it: the turns stay, and are found by these ids. Old lines are shortened first, then merged. A summary
only grows at its end until it is full, so that the worker need not read its beginning again; then room is
made for several lines at once. Not for: when to compact (prompt.py), where it is kept (session.py).
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from agentd.memory.query import STOP_WORDS
from agentd.session import Exchange

# The tokens of each text.
Count = Callable[[Sequence[str]], list[int]]

_ASKED_CHARACTERS = 160
_ANSWERED_CHARACTERS = 200
_SHORT_CHARACTERS = 60
# Words that stay of one line, and of all lines that were merged.
_FEW_WORDS = 4
_MERGED_WORDS = 24
# A first sentence is more often the answer than a later one; of two that say as much, the shorter is better.
_FIRST_SENTENCE = 1.25
_SENTENCE_WORDS = 8

_ANSWER = " -> "
_LINE = re.compile(r"\[t(\d+)(?:-t(\d+))?\] ?(.*)")
_SENTENCE_END = re.compile(r"(?<=[.!?])(?<!\bMr\.)(?<!\bDr\.)(?<!\bMs\.)(?<!\bMrs\.)\s+|\n+")
_WORD = re.compile(r"[^\W_]+(?:['.:-][^\W_]+)*")


def summarise(exchanges: Sequence[Exchange], previous: str, budget: int, count: Count) -> str:
    """The summary `previous`, then a line for each of `exchanges`; in at most `budget` tokens.

    `exchanges` are the oldest first, and newer than what `previous` is about. Empty if not even the first
    and the last id fit.
    """
    rarity = _rarity(exchanges)
    lines = previous.splitlines() + [_line(exchange, rarity) for exchange in exchanges]
    room = budget
    while lines and count(["\n".join(lines)])[0] > budget:
        room = room * 3 // 4
        lines = _shrunk(lines, room, count)
    return "\n".join(lines)


def _shrunk(lines: Sequence[str], room: int, count: Count) -> list[str]:
    """The lines in about `room` tokens: the older half gives way, down to one line; then again."""
    lines = list(lines)
    old = 0
    while old < len(lines):
        old = (len(lines) + 1) // 2 if len(lines) > 2 else len(lines)
        for shorten in (_without_answer, _few_words):
            sizes = _sizes(lines, count)
            shorter = [shorten(line) for line in lines[:old]]
            for at, size in enumerate(_sizes(shorter, count)):
                if sum(sizes) <= room:
                    return lines
                lines[at], sizes[at] = shorter[at], size
        if sum(sizes) <= room:
            return lines
        lines[:old] = [_merged(lines[:old], _MERGED_WORDS)]
        old = 1
    for words in (_MERGED_WORDS, _MERGED_WORDS // 2, _FEW_WORDS, 0):
        lines = [_merged(lines, words)]
        if sum(_sizes(lines, count)) <= room:
            return lines
    return []


def _sizes(lines: Sequence[str], count: Count) -> list[int]:
    # And a line end each.
    return [size + 1 for size in count(lines)] if lines else []


def _line(exchange: Exchange, rarity: Mapping[str, float]) -> str:
    asked = exchange.asked
    if len(asked) > _ASKED_CHARACTERS:
        # A question comes after what it is about.
        asked = asked.rstrip().rpartition("\n\n")[2]
    line = f"[t{exchange.question}] {_cut(asked, _ASKED_CHARACTERS)}"
    answer = _cut(_most_telling(exchange.answered, rarity), _ANSWERED_CHARACTERS)
    return f"{line}{_ANSWER}{answer}" if answer else line


def _cut(text: str, characters: int) -> str:
    """The beginning of `text` in one line, cut between words where there are any."""
    text = " ".join(text.split())
    if len(text) <= characters:
        return text
    kept = text[: characters - 1]
    return (kept.rpartition(" ")[0] or kept) + "…"


def _rarity(exchanges: Sequence[Exchange]) -> dict[str, float]:
    """How much a word says, from how few of the exchanges have it."""
    found = Counter(
        word
        for exchange in exchanges
        for word in set(_WORD.findall(f"{exchange.asked} {exchange.answered}".lower()))
    )
    return {word: math.log((len(exchanges) + 1) / times) for word, times in found.items()}


def _most_telling(text: str, rarity: Mapping[str, float]) -> str:
    sentences = [sentence for sentence in _SENTENCE_END.split(text) if sentence.strip()]

    def score(at: int) -> float:
        words = _WORD.findall(sentences[at])
        telling = sum(_weight(word, at_start, rarity) for word, at_start in _told(words))
        return telling / (_SENTENCE_WORDS + len(words)) * (1.0 if at else _FIRST_SENTENCE)

    return sentences[max(range(len(sentences)), key=score)] if sentences else ""


def _told(words: Sequence[str]) -> Iterable[tuple[str, bool]]:
    """Each word that says something once, and whether a sentence begins with it."""
    first = words[0] if words else ""
    return ((word, word == first) for word in dict.fromkeys(words) if word.lower() not in STOP_WORDS)


def _weight(word: str, at_start: bool, rarity: Mapping[str, float]) -> float:
    is_number = any(letter.isdigit() for letter in word)
    is_name = word[0].isupper() and not at_start
    return rarity.get(word.lower(), 1.0) + is_number + is_name


def _best_words(text: str, most: int) -> str:
    """The words of `text` that say most, in their order; of equal ones the later."""
    words = list(_told(_WORD.findall(text)))
    best = sorted(range(len(words)), key=lambda at: (_weight(*words[at], {}), at), reverse=True)[:most]
    return " ".join(words[at][0] for at in sorted(best))


def _taken_apart(line: str) -> tuple[str, str, str]:
    """The first and the last id, and the text."""
    found = _LINE.fullmatch(line)
    if found is None:
        raise ValueError(f"not a line of a summary: {line!r}")
    first, last, text = found.groups()
    return first, last or first, text


def _put_together(first: str, last: str, text: str) -> str:
    ids = f"[t{first}]" if first == last else f"[t{first}-t{last}]"
    return f"{ids} {text}" if text else ids


def _without_answer(line: str) -> str:
    first, last, text = _taken_apart(line)
    return (
        _put_together(first, last, _cut(text.partition(_ANSWER)[0], _SHORT_CHARACTERS))
        if first == last
        else line
    )


def _few_words(line: str) -> str:
    first, last, text = _taken_apart(line)
    return _put_together(first, last, _best_words(text, _FEW_WORDS)) if first == last else line


def _merged(lines: Sequence[str], words: int) -> str:
    apart = [_taken_apart(line) for line in lines]
    text = " ".join(text for _, _, text in apart)
    return _put_together(apart[0][0], apart[-1][1], _best_words(text, words))
