"""What else must be set so that a symbol can be y: its dependencies, followed to the end.

Works on the symbols as Kconfig listed them for a configuration without modules, and proposes; the proof
after configuring (kconfig_proof.py) has the last word. Expressions come as Kconfig prints them:
`A && (B || !C)`, `A=y`, `A!=n`.
Not for: numbers compared in a dependency, which count as they are now.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from builder.kconfig_symbols import Symbol

_COMPARED = re.compile(r"(\w+)(!?=)(\w*)")


@dataclass(frozen=True)
class Addition:
    """A symbol to be set to y, and the symbol that depends on it (empty for one that was asked for)."""

    symbol: str
    needed_by: str


class Impossible(Exception):
    """A symbol cannot be y; the text says what stands in the way."""


class Needs:
    """The symbols that are on, growing with each `add`; `off` are those that must stay off, and why.

    `takes_any`: a dependency that nobody can ask for comes with any one of several that select it. They
    are other drivers, so it is wanted only where nothing else that is chosen brings the dependency along.
    `providers` then name the one that is taken.
    """

    def __init__(
        self,
        symbols: Mapping[str, Symbol],
        off: Mapping[str, str],
        providers: Mapping[str, str] | None = None,
    ) -> None:
        self.symbols = symbols
        self.off = off
        self.providers = providers or {}
        self.takes_any = False
        self.on = {name for name, symbol in symbols.items() if symbol.value == "y"}
        self._selects: dict[str, list[tuple[str, str]]] = {}
        for name, symbol in symbols.items():
            for operand in symbol.selected_by:
                first, *rest = split(bare(operand.text), "&&")
                self._selects.setdefault(first, []).append((name, " && ".join(rest)))

    def add(self, symbol: str) -> list[Addition]:
        """Put a symbol on, and everything that it needs: what was added, dependencies first.

        Raises Impossible, and nothing has been added then.
        """
        trial = _Trial(self)
        trial.need(symbol, "")
        self.on |= trial.on
        return trial.added

    def holds(self, expression: str, also: Iterable[str] = ()) -> bool:
        """Whether an expression is true with what is on."""
        return is_true(expression, self.on.union(also))


class _Trial:
    """One attempt: what it would add, on top of what is on."""

    def __init__(self, needs: Needs, parent: "_Trial | None" = None) -> None:
        self.needs = needs
        self.on: set[str] = set(parent.on) if parent else set()
        self.added: list[Addition] = list(parent.added) if parent else []
        self.busy: tuple[str, ...] = parent.busy if parent else ()

    def is_on(self, symbol: str) -> bool:
        return symbol in self.on or symbol in self.needs.on

    def need(self, name: str, by: str) -> None:
        """Put a symbol on; raises Impossible."""
        if self.is_on(name) or name in self.busy:
            return
        symbol = self.needs.symbols.get(name)
        if symbol is None:
            raise Impossible(f"{name} does not exist in this kernel")
        if symbol.type not in ("bool", "tristate"):
            raise Impossible(f"{name} is of type {symbol.type}")
        if reason := self.needs.off.get(name):
            raise Impossible(f"{name} is off on purpose: {reason}")
        self.busy = (*self.busy, name)
        if not symbol.prompts:
            self._come_by_itself(symbol, by)
            self.busy = self.busy[:-1]
            return
        for operand in symbol.depends:
            self.satisfy(operand.text, name)
        # A prompt is seen under more conditions than the symbol depends on: those of the menus around it.
        visible = [[operand.text for operand in prompt.visible] for prompt in symbol.prompts]
        if not self._is_default(symbol, visible):
            self._any_of(visible, name)
        self.busy = self.busy[:-1]
        self._turn_on(name, by)

    def _is_default(self, symbol: Symbol, visible: list[list[str]]) -> bool:
        """Whether nobody is asked for a symbol and its default is y: a prompt with an unmet condition."""
        on = self.needs.on | self.on
        if any(all(is_true(text, on) for text in way) for way in visible):
            return False
        for value, condition in symbol.defaults:
            if not condition or is_true(condition, on):
                return is_true(value, on)
        return False

    def _turn_on(self, name: str, by: str) -> None:
        self.added.append(Addition(name, by))
        waiting = [name]
        while waiting:
            current = waiting.pop()
            if self.is_on(current):
                continue
            self.on.add(current)
            for selected, condition in self.needs._selects.get(current, ()):
                if not condition or is_true(condition, self.needs.on | self.on):
                    waiting.append(selected)

    def _come_by_itself(self, symbol: Symbol, by: str) -> None:
        """Bring on a symbol without a prompt: by one that selects it, or by its default.

        Of several that select it, none is taken for a mere dependency (see Needs). For what was asked for
        itself (a driver whose models have a prompt each) it is the one that adds least.
        """
        selecting = [self._way(one.text) for one in symbol.selected_by]
        names = sorted({way[-1] for way in selecting} - {by})
        selecting = [way for way in selecting if way[-1] in names and not self._is_dead(way[-1])]
        by_default = [
            [*split(bare(condition), "&&"), value] if condition else [value]
            for value, condition in symbol.defaults
            if value != "n"
        ]
        by_default = [["y" if text == "m" else text for text in way] for way in by_default]
        if by and len({way[-1] for way in selecting}) > 1:
            preferred = self.needs.providers.get(symbol.name)
            selecting = [way for way in selecting if way[-1] == preferred] or selecting
            if not self.needs.takes_any:
                selecting = []
        if not selecting and not by_default:
            raise Impossible(
                f"{symbol.name} cannot be asked for, it comes with {', '.join(names[:4]) or 'nothing'}"
            )
        self._any_of([*by_default, *selecting], symbol.name)
        if not self.is_on(symbol.name):
            self._turn_on(symbol.name, by)

    def _way(self, selector: str) -> list[str]:
        """What must hold so that a selector counts: `A && B && C` is A, which selects if B and C do."""
        first, *conditions = split(bare(selector), "&&")
        return [*conditions, first]

    def _is_dead(self, name: str) -> bool:
        """Whether nothing in this tree can put a symbol on: it is another processor's."""
        symbol = self.needs.symbols.get(name)
        return symbol is None or not (
            symbol.prompts or symbol.selected_by or symbol.defaults or self.is_on(name)
        )

    def _any_of(self, ways: list[list[str]], by: str) -> None:
        """Satisfy all the expressions of one way: that which adds least."""
        best: _Trial | None = None
        first: Impossible | None = None
        for way in ways:
            attempt = _Trial(self.needs, self)
            try:
                for text in way:
                    attempt.satisfy(text, by)
            except Impossible as error:
                first = first or error
                continue
            if best is None or len(attempt.added) < len(best.added):
                best = attempt
        if best is None:
            if first is not None:
                raise first
            return
        self.on, self.added = best.on, best.added

    def satisfy(self, text: str, by: str) -> None:
        """Make an expression true by putting symbols on; raises Impossible."""
        text = bare(text)
        if is_true(text, self.needs.on | self.on):
            return
        if len(ways := split(text, "||")) > 1:
            self._any_of([[way] for way in ways], by)
        elif len(parts := split(text, "&&")) > 1:
            for part in parts:
                self.satisfy(part, by)
        elif re.fullmatch(r"\w+", text) and text not in ("y", "m", "n"):
            self.need(text, by)
        elif (match := _COMPARED.fullmatch(text)) and (match[2], match[3]) in (("=", "y"), ("!=", "n")):
            self.need(match[1], by)
        else:
            raise Impossible(f"{by} needs {text}")


def split(text: str, operator: str) -> list[str]:
    """The operands of an expression at its top level: `A && (B && C)` has two."""
    found, depth, start = [], 0, 0
    for match in re.finditer(r"[()]|" + re.escape(operator), text):
        if match[0] in "()":
            depth += 1 if match[0] == "(" else -1
        elif depth == 0:
            found.append(text[start : match.start()].strip())
            start = match.end()
    return [*found, text[start:].strip()]


def bare(text: str) -> str:
    """An expression without brackets around the whole of it."""
    text = text.strip()
    while text.startswith("(") and text.endswith(")") and _closes_at_end(text):
        text = text[1:-1].strip()
    return text


def _closes_at_end(text: str) -> bool:
    depth = 0
    for index, char in enumerate(text):
        depth += {"(": 1, ")": -1}.get(char, 0)
        if depth == 0:
            return index == len(text) - 1
    return False


def is_true(text: str, on: set[str]) -> bool:
    """The value of an expression where every symbol is y or n, as it is in a kernel without modules."""
    text = bare(text)
    if len(ways := split(text, "||")) > 1:
        return any(is_true(way, on) for way in ways)
    if len(parts := split(text, "&&")) > 1:
        return all(is_true(part, on) for part in parts)
    if match := _COMPARED.fullmatch(text):
        left, right = (one in on if one != "y" else True for one in (match[1], match[3]))
        equal = match[3] != "m" and left == right
        return equal if match[2] == "=" else not equal
    if text.startswith("!"):
        return not is_true(text[1:], on)
    return text == "y" or text in on
