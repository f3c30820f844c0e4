"""How fast memory is filled and searched, with as many turns as a talkative person makes in some years.

`python -m bench.recall_speed [--turns N]` indexes made-up turns, random words by Zipf's law in sessions of
30, and asks random words of them: harder than speech, whose frequent words are stop words. Not for: whether
what is found is right (recall.py), or embedding.
"""

import argparse
import itertools
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from agentd.memory.index import Index
from agentd.memory.items import Scope, TurnItem
from agentd.memory.memory import OWNER
from agentd.memory.recall import recall, understand
from agentd.memory.vectors import DIMENSIONS
from bench.table import Row, Section, text

WORDS = 20_000
SESSION = 30
AT_ONCE = 2_000
QUESTIONS = 200
NOW = "2026-01-01T00:00:00Z"


class Speech:
    """Random words: the one of rank r is 1/r as frequent as the first."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        syllables = [first + second for first in "bcdfghklmnprst" for second in "aeiou"]
        lengths = [self.random.randint(1, 4) for _ in range(WORDS)]
        self._words = ["".join(self.random.choices(syllables, k=length)) for length in lengths]
        self._weights = list(itertools.accumulate(1 / rank for rank in range(1, WORDS + 1)))

    def words(self, count: int) -> str:
        """So many words."""
        return " ".join(self.random.choices(self._words, cum_weights=self._weights, k=count))

    def turn(self, row: int) -> TurnItem:
        """A turn of 5 to 30 words."""
        day = row // (10 * SESSION)
        when = f"{2000 + day // 336 % 100}-{day // 28 % 12 + 1:02}-{day % 28 + 1:02}T10:00:00Z"
        said = self.words(self.random.randint(5, 30))
        return TurnItem(f"t{row}", row, f"s{row // SESSION}", OWNER, ("Anna", "Ben")[row % 2], when, said)

    def vector(self) -> list[float]:
        """A vector that is near to none."""
        return [byte - 127.5 for byte in self.random.randbytes(DIMENSIONS)]


def measure(turns: int) -> Section:
    """Fill an index, search it without vectors, add vectors, and search it with them."""
    speech = Speech(1)
    said = [speech.turn(row) for row in range(1, turns + 1)]
    with tempfile.TemporaryDirectory(prefix="recall-") as folder:
        path = Path(folder) / "index.db"
        index = Index(path)
        began = time.perf_counter()
        for at in range(0, turns, AT_ONCE):
            index.add_turns(said[at : at + AT_ONCE])
        rows = [Row("index_turns", "turns indexed", "1/s", [turns / (time.perf_counter() - began)])]
        rows += times("words", "search by words", search(index, speech, with_vector=False))
        while pending := index.pending_vectors(AT_ONCE):
            index.put_vectors([(row, speech.vector()) for row, _ in pending])
        began = time.perf_counter()
        index.nearest(0, OWNER, 1)
        rows.append(
            Row("codes_load", "sign codes read at the first use", "s", [time.perf_counter() - began])
        )
        rows += times("fused", "search by words and meaning", search(index, speech, with_vector=True))
        index.vacuum()
        rows.append(Row("index_size", "size of the file", "MB", [path.stat().st_size / 1e6]))
        index.close()
    return Section(
        f"Recall among {turns} turns", rows, "Limits: p50 15 ms, p95 40 ms, embedding not counted."
    )


def search(index: Index, speech: Speech, *, with_vector: bool) -> list[float]:
    """Milliseconds of QUESTIONS searches of 3 to 12 words."""

    def once() -> Callable[[], object]:
        question = speech.words(speech.random.randint(3, 12))
        vector = speech.vector() if with_vector else None
        scope = Scope(OWNER, NOW)
        return lambda: recall(index, understand(index, question), vector, scope, 25)

    taken = []
    for _ in range(QUESTIONS):
        asked = once()
        began = time.perf_counter()
        asked()
        taken.append(1000 * (time.perf_counter() - began))
    return taken


def times(key: str, title: str, taken: Sequence[float]) -> list[Row]:
    """Median and 95th percentile."""
    in_order = sorted(taken)
    return [
        Row(f"{key}_p{share}", f"{title}, p{share}", "ms", [in_order[len(in_order) * share // 100]])
        for share in (50, 95)
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.recall_speed")
    parser.add_argument("--turns", type=int, default=100_000)
    args = parser.parse_args(argv)
    print(text([], [measure(args.turns)]), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
