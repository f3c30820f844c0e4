"""Where layers want different values of a symbol: who won, who lost, with both reasons.

Nothing of this is a mistake: the later layer wins. A choice can have one member, so that a later layer's
member also beats an earlier layer's other one.
Not for: putting the layers together (kconfig.py), a symbol that Kconfig itself refuses (kconfig_proof.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.kconfig import Wanted, effective
from builder.kconfig_symbols import Symbol


@dataclass(frozen=True)
class Contradiction:
    """Layers that disagree: the last word, and what was said before it, in the order of the layers.

    `lost` wants another value of the same symbol, or another member of the same choice.
    """

    won: Wanted
    lost: tuple[Wanted, ...]


def contradictions(wanted: Iterable[Wanted], symbols: Mapping[str, Symbol]) -> list[Contradiction]:
    """Every symbol on which layers disagree, by name."""
    said = list(wanted)
    last = effective(said)
    members = _chosen(last, symbols)
    found = []
    for name, winner in last.items():
        lost = tuple(
            one
            for one in said
            if one.layer != winner.layer
            and (
                (one.symbol == name and one.value.lower() != winner.value.lower())
                or (one == last[one.symbol] and members.get(one.symbol) == name)
            )
        )
        if lost:
            found.append(Contradiction(winner, lost))
    return sorted(found, key=lambda one: one.won.symbol)


def _chosen(last: Mapping[str, Wanted], symbols: Mapping[str, Symbol]) -> dict[str, str]:
    """For each member of a choice that was wanted and lost: the member that was wanted last."""
    winners: dict[str, str] = {}
    lost: dict[str, str] = {}
    for name, one in reversed(list(last.items())):
        choice = symbols[name].choice if name in symbols else None
        if choice is not None and one.value == "y":
            winner = winners.setdefault(choice, name)
            if winner != name:
                lost[name] = winner
    return lost


def place(one: Wanted) -> str:
    """Where a wish is written, as short as the person can use it: `kernel-config/base.config:12`."""
    return f"{shown(one.file)}:{one.line}" if one.line else str(shown(one.file))


def shown(path: Path) -> Path:
    """A path relative to the current folder where it lies below that."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def lines(found: Iterable[Contradiction]) -> list[str]:
    """Contradictions for a person: a line for the last word and one for each that lost."""
    said = []
    for one in found:
        said.append(f"{one.won.symbol}={one.won.value}  {_who(one.won)}")
        said += [f"  instead of {two.symbol}={two.value}  {_who(two)}" for two in one.lost]
    return said


def _who(one: Wanted) -> str:
    return f"{one.layer}, {place(one)}: {one.reason}"


def as_values(one: Wanted) -> dict[str, object]:
    """A wish as JSON has it."""
    return {
        "symbol": one.symbol,
        "value": one.value,
        "layer": one.layer,
        "reason": one.reason,
        "file": str(one.file),
        "line": one.line,
    }
