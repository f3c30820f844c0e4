"""Every symbol of a final configuration with its value, the layer that decided it, and why.

What no layer names was decided by Kconfig: selected or implied by another symbol, or a default.
Not for: contradictions between layers (kernel_layers.py), one symbol in depth (kernel_explain.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from builder.kconfig import Wanted, effective
from builder.kconfig_needs import bare, is_true, split
from builder.kconfig_symbols import Operand, Symbol

KCONFIG_LAYER = "kconfig"  # nobody asked for it
DEBIAN_LAYER = "debian"  # Debian's own configuration

MOST_NAMED = 3  # of those that select a symbol


@dataclass(frozen=True)
class Decided:
    """A symbol's value in the end, who decided it and where.

    `file` is that of the layer, or of the source tree's Kconfig for the layer `kconfig`; `line` 0 for none.
    """

    symbol: str
    value: str
    layer: str
    reason: str
    file: str
    line: int

    def as_values(self) -> dict[str, object]:
        """As JSON has it."""
        return asdict(self)


def every(
    wanted: Sequence[Wanted], values: Mapping[str, str], symbols: Mapping[str, Symbol]
) -> dict[str, Decided]:
    """All symbols that are set, and those that a layer wanted off (value `n`), by name.

    A value is as the `.config` has it. A symbol that a layer wanted but that is not what the layer said, a
    member of a choice that a later layer decided, is Kconfig's.
    """
    last = effective(wanted)
    off = [name for name, one in last.items() if name not in values and name in symbols]
    off += [name for name, one in last.items() if name not in symbols and one.value == "n"]
    on = switched_on(symbols)
    return {name: decide(name, values.get(name, "n"), last, symbols, on) for name in sorted({*values, *off})}


def switched_on(symbols: Mapping[str, Symbol]) -> set[str]:
    """The symbols that are y or m."""
    return {name for name, symbol in symbols.items() if symbol.value in ("y", "m")}


def decide(
    name: str, value: str, last: Mapping[str, Wanted], symbols: Mapping[str, Symbol], on: set[str]
) -> Decided:
    """Who decided one symbol; `last` is the last word of the layers on each symbol, `on` what is y or m."""
    symbol = symbols.get(name)
    one = last.get(name)
    if one is not None and (symbol is None or _has(one, value, symbol)):
        return Decided(name, value, one.layer, one.reason, str(one.file), one.line)
    if symbol is None:
        return Decided(name, value, KCONFIG_LAYER, "a fact about the compiler or the tree", "", 0)
    reason = why_off(symbol) if value == "n" else why_on(symbol, on)
    return Decided(name, value, KCONFIG_LAYER, reason, symbol.file, symbol.line)


def _has(one: Wanted, value: str, symbol: Symbol) -> bool:
    if symbol.type == "hex" and value not in ("", "n") and one.value != "n":
        return int(one.value, 16) == int(value, 16)
    return one.value == value


def why_on(symbol: Symbol, on: set[str]) -> str:
    """Why Kconfig by itself gives a symbol a value: one line."""
    if by := selecting(symbol.selected_by):
        return f"selected by {listed(by)}"
    place = f"{symbol.file}:{symbol.line}"
    if symbol.choice is not None and symbol.value == "y":
        return f"the default of its choice ({place})"
    if by := selecting(symbol.implied_by):
        return f"implied by {listed(by)}"
    for value, condition in symbol.defaults:
        if not condition or is_true(condition, on):
            return f"default of Kconfig ({place}): {value}" + (f" if {condition}" if condition else "")
    return f"default of Kconfig ({place})"


def why_off(symbol: Symbol) -> str:
    """Why a symbol is off that a layer may have wanted: one line."""
    if symbol.choice is not None and not symbol.unmet:
        return "another member of its choice is on"
    if unmet := symbol.unmet:
        return f"depends on {listed([str(one) for one in unmet])}"
    return "nobody asked for it"


def selecting(operands: Sequence[Operand]) -> list[str]:
    """The symbols of those operands `FOO && CONDITION` that hold now."""
    found = [split(bare(one.text), "&&")[0] for one in operands if one.value != "n"]
    return list(dict.fromkeys(found))


def listed(words: Sequence[str]) -> str:
    """`A, B, C and 4 more`."""
    more = len(words) - MOST_NAMED
    return ", ".join(words[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
