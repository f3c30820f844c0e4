"""A profile's drivers, by name -> the kernel symbols that they need, each with its reason.

A driver is built in with its symbols, what these depend on, and the companions of driver-rules.yaml. What
a fragment or the profile switches off on purpose stays off: a driver that needs it is told as a mistake.
Not for: which driver a device gets (driver_choice.py), the proof after configuring (kconfig_proof.py).
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder import driver_database, driver_rules, kconfig, kconfig_proof
from builder.driver_database import Database, Module
from builder.driver_rules import Book
from builder.errors import Mistake
from builder.kconfig import DETECTED_LAYER, Wanted, effective
from builder.kconfig_needs import Impossible, Needs
from builder.kconfig_symbols import Symbol
from builder.kernel_source import Source
from builder.toolchain import Toolchain

# What makes the drivers of other machines compile, and takes checks of this one away.
NEVER = {"COMPILE_TEST": "it is for compiling drivers that this machine cannot run"}


@dataclass(frozen=True)
class Named:
    """A driver that a profile names, and where."""

    name: str
    file: Path
    line: int


@dataclass(frozen=True)
class Left:
    """A companion that this kernel cannot have, and why; the driver works without it."""

    symbol: str
    rule: str  # the rule's reason
    why: str


@dataclass(frozen=True)
class Resolution:
    """What drivers come to.

    `mistakes` are drivers that do not exist or cannot be built in. `packages` of the running system and
    `firmware` files are by the driver that asks for them.
    """

    wanted: tuple[Wanted, ...]
    mistakes: tuple[Mistake, ...]
    left: tuple[Left, ...]
    packages: Mapping[str, str]  # package -> reason
    firmware: Mapping[str, tuple[str, ...]]  # module -> files


def wanted(
    names: Sequence[Named],
    database: Database,
    symbols: Mapping[str, Symbol],
    decided: Sequence[Wanted],
    book: Book | None = None,
) -> Resolution:
    """Everything that the named drivers need beyond what is decided already.

    `symbols` are those of a configuration with `decided`, the fragments' and the profile's own symbols.
    """
    book = book or driver_rules.load()
    last = effective(decided)
    off = {
        one.symbol: f"{one.file.name}:{one.line}: {one.reason}" for one in last.values() if one.value == "n"
    }
    needs = Needs(symbols, {**NEVER, **off}, {one.symbol: one.take for one in book.rules.providers})
    found: dict[str, Wanted] = {}
    mistakes: list[Mistake] = []
    modules: list[Module] = []
    waiting: list[tuple[Module, Named]] = []
    for named in names:
        module = database.module(named.name)
        if module is None:
            mistakes.append(_unknown(named, database))
            continue
        modules.append(module)
        try:
            _build_in(module, named, needs, found)
        except Impossible:
            waiting.append((module, named))
    left, packages = _companions(book, modules, needs, found)
    # What cannot be asked for may have come with another driver, or with a companion; if not, it is taken.
    needs.takes_any = True
    for module, named in waiting:
        try:
            _build_in(module, named, needs, found)
        except Impossible as error:
            modules.remove(module)
            message = f"the driver {named.name} cannot be built in: {error}"
            hint = "take it away from kernel.drivers, or what stands in its way"
            mistakes.append(Mistake(named.file, named.line, message, hint))
    return Resolution(
        wanted=tuple(found.values()),
        mistakes=tuple(mistakes),
        left=tuple(left),
        packages=packages,
        firmware={one.name: one.firmware for one in modules if one.firmware},
    )


def complete(
    names: Sequence[Named], below: Sequence[Wanted], tools: Toolchain, tree: Source
) -> list[Wanted]:
    """What fragments and profile want, and between the two what the named drivers need.

    Raises Mistakes for every driver that does not exist or cannot be built in.
    """
    if not names:
        return list(below)
    symbols = kconfig.configure(tools, tree, below).symbols
    resolution = wanted(names, driver_database.ensure(tools, tree), symbols, below)
    kconfig_proof.raise_mistakes(resolution.mistakes)
    return between(below, resolution.wanted)


def between(below: Sequence[Wanted], more: Sequence[Wanted]) -> list[Wanted]:
    """More layers above the fragments and below the profile's own `kernel.config`, which stays last."""
    fragments = [one for one in below if one.layer != kconfig.USER_LAYER]
    own = [one for one in below if one.layer == kconfig.USER_LAYER]
    return [*fragments, *more, *own]


def _unknown(named: Named, database: Database) -> Mistake:
    drivers = database.drivers.get(named.name)
    if drivers:
        hint = f"drivers are named by their module: {' or '.join(sorted({m for _, m in drivers}))}"
    else:
        near = difflib.get_close_matches(named.name.replace("-", "_"), database.modules, 3, 0.75)
        hint = (
            f"did you mean {' or '.join(near)}?"
            if near
            else "`modinfo` or `lspci -k` tell a driver's module"
        )
    message = f"no driver {named.name} in Linux {database.version}"
    return Mistake(named.file, named.line, message, hint)


def _build_in(module: Module, named: Named, needs: Needs, found: dict[str, Wanted]) -> None:
    """Add a module's symbols; of several that make it, one that is on, else the first that can be."""
    title = f"driver {module.name}" + (f": {module.description}" if module.description else "")
    here = [one for one in module.symbols if one in needs.symbols]
    if module.symbols and not here:
        raise Impossible(f"{' or '.join(module.symbols)} does not exist for this processor")
    if any(one in needs.on for one in here):
        here = [one for one in here if one in needs.on]
    problem: Impossible | None = None
    for symbol in here:
        try:
            _add(symbol, title, named, needs, found)
        except Impossible as error:
            problem = problem or error
            continue
        problem = None
        break
    if problem is not None:
        raise problem
    # Its own symbols first: they may select those of the folders, which cannot be asked for then.
    for symbol in module.inside:
        _add(symbol, title, named, needs, found)


def _add(symbol: str, reason: str, named: Named, needs: Needs, found: dict[str, Wanted]) -> None:
    """Add a symbol with all that it depends on; one that is on already is wanted all the same."""
    for one in needs.add(symbol):
        # What has no prompt comes by itself; if it does not, the proof of what needs it tells.
        if one.symbol != symbol and needs.symbols[one.symbol].prompts:
            why = f"{one.needed_by or symbol} depends on it"
            found.setdefault(
                one.symbol, Wanted(one.symbol, "y", why, named.file, named.line, DETECTED_LAYER)
            )
    found.setdefault(symbol, Wanted(symbol, "y", reason, named.file, named.line, DETECTED_LAYER))


def _companions(
    book: Book, modules: Sequence[Module], needs: Needs, found: dict[str, Wanted]
) -> tuple[list[Left], dict[str, str]]:
    left: list[Left] = []
    packages: dict[str, str] = {}
    for index, rule, module in book.companions(one.name for one in modules):
        for package in rule.packages:
            packages.setdefault(package, f"{module}: {rule.reason}")
        here = Named(module, driver_rules.RULES, book.line("companions", index))
        for symbol in rule.want:
            try:
                _add(symbol, f"for {module}: {rule.reason}", here, needs, found)
            except Impossible as error:
                left.append(Left(symbol, rule.reason, str(error)))
    return left, packages
