"""Repeats counted instead of kept: in bounded memory, whatever comes.

For a minute all events of one kind and subject are one fold: the last of them, and how many. Of each kind
so many subjects are told apart; what is beyond that is one fold of its own, so that a flood of one kind
takes nothing from the others. A fold is due to be written when it is new, when it has doubled, and when its
minute is over: ten thousand events are some fourteen writes of one row.
"""

from collections import Counter
from dataclasses import dataclass, replace

from agentd.awareness.event import Event

WINDOW = 60.0
MOST_OF_A_KIND = 64
# The subject of the fold for what is beyond.
MANY = "(many)"


@dataclass(slots=True)
class Fold:
    """Events of one kind and subject; `written` of `count` are in the store, in its row `row`."""

    event: Event  # the last
    first: float  # seconds since 1970
    ends: float  # in the clock of Folding.take()
    order: int
    count: int = 1
    written: int = 0
    row: int | None = None

    @property
    def is_due(self) -> bool:
        """Whether it should be written before its minute is over."""
        return self.count >= 2 * self.written and self.count > self.written


class Folding:
    """The folds of the last minute. Not for several threads: Notices has the lock."""

    def __init__(self) -> None:
        self._folds: dict[tuple[str, str], Fold] = {}
        self._subjects: Counter[str] = Counter()
        self._order = 0

    def __len__(self) -> int:
        return len(self._folds)

    def take(self, event: Event, now: float) -> bool:
        """Count an event; whether its fold is due. `now` is of a clock that is never set."""
        key = (event.kind, event.subject)
        fold = self._folds.get(key)
        if fold is None and self._subjects[event.kind] >= MOST_OF_A_KIND:
            words = f"{event.subject} {event.detail}".strip()
            event = replace(event, subject=MANY, detail=words)
            key = (event.kind, MANY)
            fold = self._folds.get(key)
        self._order += 1
        if fold is None:
            fold = self._folds[key] = Fold(event, event.time, now + WINDOW, self._order)
            self._subjects[event.kind] += 1
        else:
            fold.event, fold.order = event, self._order
            fold.count += 1
        return fold.is_due

    def due(self, now: float, *, everything: bool = False) -> list[Fold]:
        """What is to be written, in the order of the last events; with `everything`, all that is not."""
        return sorted(
            (
                fold
                for fold in self._folds.values()
                if fold.is_due or (fold.count > fold.written and (everything or now >= fold.ends))
            ),
            key=lambda fold: fold.order,
        )

    def close(self, now: float) -> None:
        """Drop the folds whose minute is over and that are written."""
        over = [key for key, fold in self._folds.items() if now >= fold.ends and fold.written == fold.count]
        for key in over:
            del self._folds[key]
            self._subjects[key[0]] -= 1

    def next_end(self) -> float | None:
        """When the next minute is over, None if there is no fold."""
        return min((fold.ends for fold in self._folds.values()), default=None)
