"""`aether kernel MACHINE --explain SYMBOL`: why a symbol is as it is, and what would make it otherwise.

Not for: all symbols at once (kernel_reasons.py), or what is a mistake (kconfig_proof.py).
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from builder.errors import AetherError
from builder.kconfig import Wanted, effective
from builder.kconfig_needs import Impossible, Needs, bare, split
from builder.kconfig_symbols import Operand, Symbol
from builder.kernel_layers import as_values, contradictions, place
from builder.kernel_reasons import KCONFIG_LAYER, Decided, decide, selecting, switched_on
from builder.kernel_subject import Subject

DEEPEST = 6  # levels of what stands in the way
MOST_SELECTORS = 12  # of one symbol, in the text; JSON has all


@dataclass(frozen=True)
class Obstacle:
    """An expression that does not hold and why, with what stands in its own way.

    `can_be_set`: nothing stands in the way of this one, a person can set it.
    """

    expression: str
    value: str
    why: str
    can_be_set: bool = False
    below: tuple["Obstacle", ...] = ()

    def as_values(self) -> dict[str, object]:
        """As JSON has it."""
        return {
            "expression": self.expression,
            "value": self.value,
            "why": self.why,
            "can_be_set": self.can_be_set,
            "below": [one.as_values() for one in self.below],
        }


@dataclass(frozen=True)
class Explanation:
    """Everything about one symbol of a configuration."""

    machine: str
    stock: bool  # of Debian's kernel, which is taken as it is
    symbol: Symbol
    decided: Decided  # its value in the end
    lost: tuple[Wanted, ...]  # what other layers said
    beaten_by: Wanted | None  # of a member of a choice that a layer wants: the one that a later layer wants
    chain: tuple[Decided, ...]  # of a selected symbol: who selected it, up to the first that a layer wants
    choice: tuple[Symbol, ...]  # the members of its choice
    obstacles: tuple[Obstacle, ...]  # of a symbol that is off
    steps: tuple[str, ...]  # of a symbol that is off: what to set, in this order
    impossible: str  # why it cannot be set here, "" if it can

    @property
    def is_off(self) -> bool:
        """Whether the symbol is not set."""
        return self.decided.value == "n"

    @property
    def is_switched_off(self) -> bool:
        """Whether a layer wants it off."""
        return self.is_off and self.decided.layer != KCONFIG_LAYER


def find(name: str, subject: Subject) -> Symbol:
    """The symbol of a name, with or without CONFIG_; AetherError with the nearest names."""
    plain = name.removeprefix("CONFIG_")
    for form in (plain, plain.upper()):
        if form in subject.symbols:
            return subject.symbols[form]
    near = difflib.get_close_matches(plain.upper(), subject.symbols, 3, 0.7)
    raise AetherError(
        f"'{plain}' is no symbol of {subject.source}",
        hint=f"did you mean {' or '.join(near)}?" if near else "the names are those of .config files",
    )


def explain(name: str, subject: Subject) -> Explanation:
    """Why a symbol is as it is; AetherError for one that does not exist."""
    symbol = find(name, subject)
    last = effective(subject.wanted)
    on = switched_on(subject.symbols)
    decided = subject.decided.get(symbol.name) or decide(symbol.name, "n", last, subject.symbols, on)
    lost: list[Wanted] = []
    beaten_by = None
    for one in contradictions(subject.wanted, subject.symbols):
        own = [two for two in one.lost if two.symbol == symbol.name]
        if one.won.symbol == symbol.name:
            lost += one.lost
        elif own:
            lost += own
            beaten_by = one.won
    way = Way(subject, last)
    is_off = decided.value == "n"
    steps, impossible = way.steps(symbol) if is_off and not subject.stock else ((), "")
    return Explanation(
        machine=subject.name,
        stock=subject.stock,
        symbol=symbol,
        decided=decided,
        lost=tuple(lost),
        beaten_by=beaten_by,
        chain=() if is_off else tuple(_chain(symbol, decided, subject)),
        choice=tuple(
            one for one in subject.symbols.values() if symbol.choice and one.choice == symbol.choice
        ),
        obstacles=way.obstacles(symbol.name) if is_off else (),
        steps=steps,
        impossible=impossible,
    )


def _chain(symbol: Symbol, decided: Decided, subject: Subject) -> Iterator[Decided]:
    """Who selected a symbol that no layer names, and who selected that one, up to one that a layer wants."""
    seen = {symbol.name}
    while decided.layer == KCONFIG_LAYER:
        ways = [one for one in selecting(symbol.selected_by) if one in subject.decided and one not in seen]
        if not ways:
            return
        # One that a layer wants says more than one that came along.
        ways.sort(key=lambda one: subject.decided[one].layer == KCONFIG_LAYER)
        seen.add(ways[0])
        symbol, decided = subject.symbols[ways[0]], subject.decided[ways[0]]
        yield decided


class Way:
    """What has to be done so that a symbol that is off is on."""

    def __init__(self, subject: Subject, last: Mapping[str, Wanted]) -> None:
        self.subject, self.last = subject, last
        self.off = {
            one.symbol: f"{place(one)}: {one.reason}"
            for one in last.values()
            if one.value == "n" and not subject.stock
        }
        # Only on and off are told apart here: a module is on.
        self.symbols = {
            name: replace(symbol, value="y") if symbol.value == "m" else symbol
            for name, symbol in subject.symbols.items()
        }
        self.needs = Needs(self.symbols, self.off)

    def steps(self, symbol: Symbol) -> tuple[tuple[str, ...], str]:
        """What to set, in this order; or why it cannot be set."""
        if symbol.type not in ("bool", "tristate"):
            return (), ""
        off = {name: why for name, why in self.off.items() if name != symbol.name}
        try:
            added = Needs(self.symbols, off).add(symbol.name)
        except Impossible as error:
            return (), str(error)
        return tuple(f"{one.symbol}=y" for one in added if self.symbols[one.symbol].prompts), ""

    def obstacles(self, name: str, seen: frozenset[str] = frozenset()) -> tuple[Obstacle, ...]:
        """What stands in the way of a symbol that is off, each with what stands in its own."""
        symbol = self.symbols[name]
        if len(seen) >= DEEPEST:
            return ()
        return tuple(self._obstacle(one.text, seen | {name}) for one in symbol.unmet)

    def _obstacle(self, text: str, seen: frozenset[str]) -> Obstacle:
        text = bare(text)
        if len(ways := split(text, "||")) > 1:
            return Obstacle(text, "n", "one of these is needed", below=self._each(ways, seen))
        if len(parts := split(text, "&&")) > 1:
            missing = [one for one in parts if not self.needs.holds(one)]
            return Obstacle(text, "n", "all of these are needed", below=self._each(missing, seen))
        if match := re.fullmatch(r"!\s*(\w+)|(\w+)=n", text):
            return self._must_be_off(text, match[1] or match[2])
        if match := re.fullmatch(r"(\w+)(?:=y|!=n)?", text):
            return self._must_be_on(text, match[1], seen)
        return Obstacle(text, "n", "does not hold")

    def _each(self, texts: Sequence[str], seen: frozenset[str]) -> tuple[Obstacle, ...]:
        return tuple(self._obstacle(one, seen) for one in texts)

    def _must_be_off(self, text: str, name: str) -> Obstacle:
        decided = self.subject.decided.get(name)
        if decided is None:
            return Obstacle(text, "n", "does not hold")
        why = f"{name} is {decided.value}: {decided.layer}, {decided.reason}"
        return Obstacle(text, "n", why, can_be_set=not _comes_along(self.symbols.get(name)))

    def _must_be_on(self, text: str, name: str, seen: frozenset[str]) -> Obstacle:
        if name in ("m", "n", "y"):
            return Obstacle(text, "n", "there are no modules" if name == "m" else "never holds")
        symbol = self.symbols.get(name)
        if symbol is None:
            return Obstacle(text, "n", "does not exist for this processor")
        if why := self.off.get(name):
            return Obstacle(text, "n", f"switched off in {why}", can_be_set=not symbol.unmet)
        if not symbol.prompts:
            by = [split(bare(one.text), "&&")[0] for one in symbol.selected_by]
            names = list(dict.fromkeys(by))
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            comes = f"it comes with {', '.join(names[:5])}{more}" if names else "Kconfig computes it"
            return Obstacle(text, "n", f"cannot be set, {comes}", below=self._below(name, seen))
        below = self._below(name, seen)
        if below or symbol.unmet:
            return Obstacle(text, "n", _prompt(symbol), below=below)
        return Obstacle(text, "n", f"can be set: {_prompt(symbol)}", can_be_set=True)

    def _below(self, name: str, seen: frozenset[str]) -> tuple[Obstacle, ...]:
        return () if name in seen else self.obstacles(name, seen)


def _prompt(symbol: Symbol) -> str:
    return symbol.prompts[0].text.strip()


def _comes_along(symbol: Symbol | None) -> bool:
    return symbol is None or bool(symbol.selectors) or not symbol.prompts


def lines(one: Explanation) -> list[str]:
    """The explanation for a person."""
    symbol, decided = one.symbol, one.decided
    asked = f'"{_prompt(symbol)}"' if symbol.prompts else "no prompt, it cannot be set by itself"
    said = [
        f"CONFIG_{symbol.name}{' is not set' if one.is_off else f'={decided.value}'}",
        f"  {symbol.type}, {asked}, {symbol.file}:{symbol.line}",
    ]
    if symbol.range:
        said.append(f"  from {symbol.range[0]} to {symbol.range[1]}")
    if one.is_switched_off:
        said.append(f"  switched off by the layer {decided.layer}, {_place(decided)}: {decided.reason}")
    elif decided.layer == KCONFIG_LAYER:
        said.append(f"  no layer decided it: {decided.reason}")
    else:
        said.append(f"  layer {decided.layer}, {_place(decided)}: {decided.reason}")
    said += [f"    {two.symbol}={two.value}: {two.layer}, {two.reason}" for two in one.chain]
    word = "wanted" if one.beaten_by else "instead of"
    if one.beaten_by:
        won = one.beaten_by
        said.append(f"  {won.symbol}={won.value} won: {won.layer}, {place(won)}: {won.reason}")
    said += [
        f"  {word} {two.symbol}={two.value}: {two.layer}, {place(two)}: {two.reason}" for two in one.lost
    ]
    said += _operands("depends on", symbol.depends, len(symbol.depends))
    said += _operands("selected by", _on_first(symbol.selected_by), MOST_SELECTORS)
    said += _operands("implied by", _on_first(symbol.implied_by), MOST_SELECTORS)
    if one.choice:
        words = [f"{two.name}{' (=y)' if two.value == 'y' else ''}" for two in one.choice]
        said += ["  one of a choice", f"    {', '.join(words)}"]
    if one.is_off:
        said += _to_have_it(one)
    return said


def _place(decided: Decided) -> str:
    return place(Wanted(decided.symbol, decided.value, "", Path(decided.file), decided.line, decided.layer))


def _on_first(operands: Sequence[Operand]) -> list[Operand]:
    return sorted(operands, key=lambda one: one.value == "n")


def _operands(title: str, operands: Sequence[Operand], most: int) -> list[str]:
    if not operands:
        return []
    said = [f"    {'no ' if one.value == 'n' else 'yes'}  {one.text}" for one in operands[:most]]
    more = len(operands) - most
    return [f"  {title}", *said, *([f"    and {more} more"] if more > 0 else [])]


def _to_have_it(one: Explanation) -> list[str]:
    said = []
    if one.obstacles:
        said += ["  in the way", *_tree(one.obstacles, 2)]
    if one.impossible:
        said.append(f"  it cannot be had here: {one.impossible}")
    elif one.steps:
        said.append(f"  to have it, write into kernel.config: {', '.join(one.steps)}")
    elif one.symbol.prompts and not one.obstacles and not one.stock:
        said.append(f"  to have it, write {one.symbol.name} into kernel.config")
    return said


def _tree(obstacles: Sequence[Obstacle], depth: int) -> list[str]:
    said = []
    for one in obstacles:
        said.append(f"{'  ' * depth}{one.expression} (={one.value}): {one.why}")
        said += _tree(one.below, depth + 1)
    return said


def values(one: Explanation) -> dict[str, object]:
    """The explanation as JSON has it."""
    symbol = one.symbol
    return {
        "machine": one.machine,
        "stock": one.stock,
        **one.decided.as_values(),
        "type": symbol.type,
        "prompt": _prompt(symbol) if symbol.prompts else None,
        "defined": f"{symbol.file}:{symbol.line}",
        "range": symbol.range,
        "switched_off": one.is_switched_off,
        "lost": [as_values(two) for two in one.lost],
        "beaten_by": one.beaten_by and as_values(one.beaten_by),
        "depends": _as_pairs(symbol.depends),
        "selected_by": _as_pairs(symbol.selected_by),
        "implied_by": _as_pairs(symbol.implied_by),
        "defaults": [{"value": value, "if": condition} for value, condition in symbol.defaults],
        "because": [two.as_values() for two in one.chain],
        "choice": [{"symbol": two.name, "value": two.value} for two in one.choice],
        "in_the_way": [two.as_values() for two in one.obstacles],
        "to_have_it": list(one.steps),
        "impossible": one.impossible,
    }


def _as_pairs(operands: Sequence[Operand]) -> list[dict[str, object]]:
    return [{"expression": one.text, "value": one.value, "holds": one.value != "n"} for one in operands]
