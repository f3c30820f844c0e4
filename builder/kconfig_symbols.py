"""All symbols of a kernel tree as its own Kconfig sees them: the database behind proofs and explanations.

Reads the JSON lines of kconfig_dump.c. Not for: running Kconfig (kconfig.py).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class Operand(NamedTuple):
    """One operand of a dependency's `&&` chain, or of the `||` chain of selects, and its value now.

    A tuple: there are 176,000 of them, and they are made five times as fast.
    """

    text: str
    value: str  # y, m or n

    def __str__(self) -> str:
        return f"{self.text} (={self.value})"


@dataclass(frozen=True)
class Prompt:
    """A question that Kconfig would ask; it can be answered only where all its operands hold."""

    text: str
    visible: tuple[Operand, ...]


@dataclass(frozen=True)
class Symbol:
    """A Kconfig symbol with its value in one configuration.

    `type` is bool, tristate, integer, hex or string; `value` is y, m, n, or the text without quotes
    (empty where a number or string has no value). `file` is relative to the source tree. A symbol
    without a prompt cannot be set, only selected or computed; of `defaults`, each an expression and its
    condition (empty for none), the first whose condition holds counts. `choice` names the choice that the
    symbol is a member of, by the place of its definition.
    """

    name: str
    type: str
    value: str
    file: str
    line: int
    prompts: tuple[Prompt, ...]
    depends: tuple[Operand, ...]
    selected_by: tuple[Operand, ...]
    implied_by: tuple[Operand, ...]
    range: tuple[str, str] | None
    choice: str | None
    defaults: tuple[tuple[str, str], ...] = ()

    @property
    def unmet(self) -> list[Operand]:
        """The operands that keep the symbol from being set: of its dependency, else of its prompts."""
        if missing := [one for one in self.depends if one.value == "n"]:
            return missing
        if any(all(one.value != "n" for one in prompt.visible) for prompt in self.prompts):
            return []
        return list(dict.fromkeys(one for p in self.prompts for one in p.visible if one.value == "n"))

    @property
    def selectors(self) -> list[Operand]:
        """What selects the symbol now."""
        return [one for one in self.selected_by if one.value != "n"]


def _operands(pairs: list[list[str]]) -> tuple[Operand, ...]:
    return tuple(map(Operand._make, pairs))


def read_symbols(path: Path) -> dict[str, Symbol]:
    """The symbols by name, from the file that kconfig_dump wrote."""
    symbols = {}
    for line in path.read_text(errors="replace").splitlines():
        raw = json.loads(line)
        symbols[raw["name"]] = Symbol(
            name=raw["name"],
            type=raw["type"],
            value=raw["value"],
            file=raw["file"],
            line=raw["line"],
            prompts=tuple(Prompt(text, _operands(visible)) for text, visible in raw["prompts"]),
            depends=_operands(raw["depends"]),
            defaults=tuple((value, condition) for value, condition in raw["defaults"]),
            selected_by=_operands(raw["selected_by"]),
            implied_by=_operands(raw["implied_by"]),
            range=tuple(raw["range"]) if "range" in raw else None,
            choice=raw.get("choice"),
        )
    return symbols
