"""The proof of a kernel configuration: every wanted symbol has its wanted value, or it is said why not.

Not for: running Kconfig (kconfig.py).
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

from builder.errors import Mistake, Mistakes
from builder.kconfig import Wanted, effective
from builder.kconfig_symbols import Operand, Symbol

_FORMS = {
    "bool": (r"y|n", "y or n"),
    "tristate": (r"y|m|n", "y, m or n"),
    "integer": (r"-?\d+", "a whole number"),
    "hex": (r"0[xX][0-9a-fA-F]+", "a number in hex, 0x..."),
    "string": (r'".*"', 'text in double quotes, "..."'),
}


def holds(wanted: Iterable[Wanted], values: Mapping[str, str]) -> bool:
    """Whether a `.config` with these values has every wanted one, to the letter; enough, not necessary."""
    return all(values.get(one.symbol, "n") == one.value for one in effective(wanted).values())


def malformed(wanted: Iterable[Wanted], symbols: Mapping[str, Symbol]) -> dict[Wanted, Mistake]:
    """What no configuration satisfies: a symbol that this kernel does not have, a value of a wrong type."""
    found = {one: _malformed(one, symbols) for one in wanted}
    return {one: mistake for one, mistake in found.items() if mistake is not None}


def lost(wanted: Iterable[Wanted], symbols: Mapping[str, Symbol]) -> list[Mistake]:
    """The wanted symbols that do not have their wanted value, each with what stands in the way.

    A member of a choice that a later layer decided otherwise is not lost: the later layer wins.
    """
    last = effective(wanted)
    return [
        mistake
        for one in last.values()
        if one.symbol in symbols
        and not _is_overruled(one, last, symbols)
        and (mistake := _lost(one, symbols[one.symbol], symbols))
    ]


def raise_mistakes(mistakes: Sequence[Mistake]) -> None:
    """Raise them all at once, if there are any."""
    if mistakes:
        raise Mistakes(
            "the kernel's configuration",
            sorted(mistakes, key=lambda one: (str(one.path), one.line)),
            hint="nothing was compiled; correct these symbols, or what they depend on",
        )


def _is_overruled(one: Wanted, last: Mapping[str, Wanted], symbols: Mapping[str, Symbol]) -> bool:
    """Whether another member of the same choice was wanted later, in another layer."""
    symbol = symbols.get(one.symbol)
    if symbol is None or symbol.choice is None or one.value != "y":
        return False
    names = list(last)
    later = (last[name] for name in names[names.index(one.symbol) + 1 :])
    return any(
        other.value == "y"
        and other.layer != one.layer
        and other.symbol in symbols
        and symbols[other.symbol].choice == symbol.choice
        for other in later
    )


def _malformed(one: Wanted, symbols: Mapping[str, Symbol]) -> Mistake | None:
    symbol = symbols.get(one.symbol)
    if symbol is None:
        if one.value == "n":
            return None  # what is wanted off and does not exist is off
        return Mistake(
            one.file, one.line, f"CONFIG_{one.symbol} does not exist in this kernel", _near(one, symbols)
        )
    form, said = _FORMS[symbol.type]
    if re.fullmatch(form, one.value) or one.value == "n":
        return None
    return Mistake(
        one.file, one.line, f"{one}: {one.symbol} is of type {symbol.type}", f"its value is {said}"
    )


def _lost(one: Wanted, symbol: Symbol, symbols: Mapping[str, Symbol]) -> Mistake | None:
    is_away = one.value == "n" and not symbol.value  # a number or string may be wanted away
    if is_away or _plain(one.value, symbol.type) == _plain(symbol.value, symbol.type):
        return None
    reason, hint = _why(one, symbol, symbols)
    return Mistake(one.file, one.line, f"{one} was lost, it is {symbol.value or 'not set'}: {reason}", hint)


def _near(one: Wanted, symbols: Mapping[str, Symbol]) -> str:
    near = difflib.get_close_matches(one.symbol.upper(), symbols, 3, 0.75)
    return f"did you mean {' or '.join(near)}?" if near else ""


def _plain(value: str, kind: str) -> str:
    if kind == "string":
        return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
    return str(int(value, 16)) if kind == "hex" and value else value


def _why(one: Wanted, symbol: Symbol, symbols: Mapping[str, Symbol]) -> tuple[str, str]:
    """Why a symbol does not have the value that was wanted, as a sentence and a hint."""
    if one.value == "n" and symbol.selectors:
        by = [_first_symbol(operand) for operand in symbol.selectors]
        return f"selected by {_listed(by)}", f"set {by[0]} to n, or leave {one.symbol} out"
    if unmet := symbol.unmet:
        return f"depends on {_listed([str(operand) for operand in unmet])}", _remedy(unmet, symbols)
    if one.value == "m" and symbol.value == "y":
        return "there are no modules (MODULES=n)", "want y"
    if not symbol.prompts:
        by = [_first_symbol(operand) for operand in symbol.selected_by[:5]]
        selected = f"want one of those that select it: {', '.join(by)}" if by else ""
        return "it has no prompt, the kernel decides it by itself", selected
    if symbol.range is not None and one.value.lstrip("-").isdigit():
        return f"the range is {symbol.range[0]} to {symbol.range[1]}", ""
    if symbol.choice is not None:
        chosen = [s.name for s in symbols.values() if s.choice == symbol.choice and s.value == "y"]
        return f"only one of its choice can be y, and {_listed(chosen)} is", ""
    return f"Kconfig decided otherwise ({symbol.file}:{symbol.line})", ""


def _remedy(unmet: Sequence[Operand], symbols: Mapping[str, Symbol]) -> str:
    """What to set so that the unmet operands hold, where that is one plain symbol each."""
    plain = [one.text for one in unmet if one.text in symbols]
    barred = [one.text[1:] for one in unmet if one.text.startswith("!") and one.text[1:] in symbols]
    words = [f"{name}=y" for name in plain] + [f"{name}=n" for name in barred]
    return f"set {', '.join(words)}" if words else ""


def _first_symbol(operand: Operand) -> str:
    """The symbol that selects, of `FOO && BAR && ...`."""
    return operand.text.split()[0].strip("()")


def _listed(words: Sequence[str]) -> str:
    shown = list(words[:4])
    more = len(words) - len(shown)
    return " and ".join(shown) + (f" and {more} more" if more else "")
