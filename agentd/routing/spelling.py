"""Words that were mistyped, put right: "restrat ngnix" is "restart nginx".

Only a word that nobody knows and that is one slip away from a word of the examples is changed. What is
routed is the corrected text; what a tool is given is the person's own. Not for: grammar, words of two slips.
"""

import re
import string
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

# Shorter words are one slip of that kind (see slips) away from too many others.
LETTERS_OF_KIND = (3, 5, 6)
# How many words of a vocabulary are taken for words; rare ones are as often slips. A word of so many
# examples needs no vocabulary.
KNOWN = 12000
OFTEN = 4
LETTERS = min(LETTERS_OF_KIND)
_WORD = re.compile(r"(?<![\w./@~-])[^\W\d_]+(?![\w./@-]*[\w/@])")
# Words of other languages; what looks mistyped beside them is that language's own.
_FOREIGN = re.compile(
    r"\b(?:le|les|une|des|du|est|et|mon|ma|mes|sur|pour|dans|je|tu|il|moi|au|aux|cette|c'est|qu'\w+|l'\w+"
    r"|el|los|las|una|del|por|mi|qu[eé]|en|para|lo|con|il|gli|che|di|della|mio|mia|per|o|os|as|um|uma|meu"
    r"|minha|não|da"
    r"|der|das|den|dem|ein|eine|und|ist|nicht|ich|mir|mein|meine|wie|bitte|im|zum|auf|het|een|de|mijn|ik"
    r"|van|op|voor)\b",
    re.IGNORECASE,
)


class Spelling:
    """Corrects towards `common` words (each with how often it is used); `others` are known and stay."""

    def __init__(self, common: Mapping[str, int], others: Iterable[str]) -> None:
        self._common = dict(common)
        self._others = frozenset(others)

    @property
    def words(self) -> dict[str, Any]:
        """What this is made of, for JSON: the arguments of Spelling."""
        return {"common": self._common, "others": sorted(self._others)}

    def corrected(self, text: str) -> str:
        """The text with its mistyped words put right, in lower case; other words as they were."""
        if _FOREIGN.search(text):
            return text
        return _WORD.sub(lambda found: self._word(found[0]), text)

    def _word(self, word: str) -> str:
        plain = word.casefold()
        if len(plain) < LETTERS or plain in self._common or plain in self._others:
            return word
        # A swap is the likeliest slip, and the first letter is seldom wrong. One letter more is an ending.
        near = [
            (kind, one[0] != plain[0], -self._common[one], one)
            for kind, one in slips(plain)
            if one in self._common and len(plain) >= LETTERS_OF_KIND[kind] and plain[:-1] != one
        ]
        return min(near)[-1] if near else word


def learnt(texts: Iterable[str], vocabulary: Sequence[str]) -> Spelling:
    """The spelling of what these texts use more than once; `vocabulary` has words, common ones first.

    Of the other known words those are kept that a slip would make one of the common ones.
    """
    used = Counter(word.casefold() for text in texts for word in _WORD.findall(text))
    known = set(vocabulary[:KNOWN])
    common = {
        word: count
        for word, count in sorted(used.items())
        if len(word) >= LETTERS and (count >= OFTEN or (count > 1 and word in known))
    }
    # Examples have typing mistakes of their own, so a word that one of them uses is not known for that.
    known.update(word for word, count in used.items() if count > 1 or not word.isascii())
    return Spelling(common, {one for word in common for _, one in slips(word) if one in known} - set(common))


def slips(word: str) -> Iterator[tuple[int, str]]:
    """Every text that is one slip away: swapped letters (0), one too many or too few (1), another (2)."""
    pairs = [(word[:at], word[at:]) for at in range(len(word) + 1)]
    for before, after in pairs:
        if len(after) > 1:
            yield 0, before + after[1] + after[0] + after[2:]
        if after:
            yield 1, before + after[1:]
        for letter in string.ascii_lowercase:
            yield 1, before + letter + after
            if after:
                yield 2, before + letter + after[1:]
