"""The kernel's configuration: fragments -> wanted symbols with reasons -> `.config` -> proof.

A fragment is a file in `kernel-config/` in Kconfig's own `.config` syntax (kernel:
Documentation/kbuild/kconfig.rst). Every symbol carries its reason: the comment above it, which covers
all symbols down to the next blank line. Layers come in an order and the later one wins. Everything that
no layer names is off (`allnoconfig`, as the tree's own tinyconfig does).

Kconfig is run by the tree itself; kconfig_proof.py compares each wanted value with the one in the end.
Not for: compiling (kernel.py), drivers' names (drivers.py), hardening checks (hardening.py).
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from builder import kconfig_program
from builder.cache import digest, product
from builder.errors import Mistake, Mistakes
from builder.kconfig_symbols import Symbol, read_symbols
from builder.kernel_source import Source
from builder.progress import step
from builder.toolchain import Toolchain

FRAGMENTS = Path(__file__).parent.parent / "kernel-config"
DETECTED_LAYER = "detected"  # what the profile's drivers need
USER_LAYER = "kernel.config"

_SET = re.compile(r"CONFIG_(?P<symbol>\w+)=(?P<value>.*)")
_UNSET = re.compile(r"# CONFIG_(?P<symbol>\w+) is not set")
_VALUE = re.compile(r'y|m|n|-?\d+|0[xX][0-9a-fA-F]+|"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True)
class Wanted:
    """A symbol, without `CONFIG_`, that somebody wants to have a value, and why.

    `value` is as in a `.config`: `y`, `m`, `n` (not set), a number, or a string in double quotes.
    """

    symbol: str
    value: str
    reason: str
    file: Path
    line: int
    layer: str

    def __str__(self) -> str:
        return f"CONFIG_{self.symbol}={self.value}"


@dataclass(frozen=True)
class Configuration:
    """A `.config` that the tree's Kconfig made, and all symbols as it sees them (read when asked for)."""

    key: str
    config: Path

    @property
    def symbols(self) -> dict[str, Symbol]:
        """The 18,000 symbols of the tree by name; reading them takes half a second."""
        return _symbols(self.config.with_name("symbols.jsonl"))

    @property
    def text(self) -> str:
        """The `.config` itself."""
        return self.config.read_text()

    @property
    def values(self) -> dict[str, str]:
        """What is set, by symbol, as the `.config` writes it."""
        return dict(re.findall(r"^CONFIG_(\w+)=(.*)$", self.text, re.MULTILINE))

    @property
    def symbols_y(self) -> int:
        """How many symbols are set to y."""
        return list(self.values.values()).count("y")


@lru_cache(maxsize=4)
def _symbols(path: Path) -> dict[str, Symbol]:
    """The symbols of a configuration in the cache, which never changes; machines of one kind share it."""
    return read_symbols(path)


def known_fragments(folder: Path) -> list[str]:
    """The names of the fragments in a folder, sorted."""
    return sorted(path.stem for path in folder.glob("*.config"))


def load_fragment(path: Path) -> list[Wanted]:
    """Read one fragment; its layer is the file's name without `.config`.

    Raises Mistakes: a line that is not Kconfig's syntax, a symbol named twice, a symbol without a reason.
    """
    found: dict[str, Wanted] = {}
    mistakes: list[Mistake] = []
    reason: list[str] = []
    in_block = False  # a symbol has been read since the comment: the next comment starts a new reason
    for number, line in enumerate(path.read_text(errors="backslashreplace").splitlines(), 1):
        text = line.strip()
        match = _SET.fullmatch(text) or _UNSET.fullmatch(text)
        if not text:
            reason, in_block = [], False
        elif match is None and text.startswith("#"):
            if in_block:
                reason, in_block = [], False
            reason.append(text.lstrip("# "))
        elif match is None:
            mistakes.append(
                Mistake(path, number, f"not a Kconfig line: {text}", "CONFIG_X=y or # CONFIG_X is not set")
            )
        else:
            in_block = True
            symbol, value = match["symbol"], match.groupdict().get("value", "n")
            earlier = found.get(symbol)
            if not _VALUE.fullmatch(value):
                mistakes.append(
                    Mistake(path, number, f"CONFIG_{symbol}: {value or 'nothing'} is no value", VALUES)
                )
            elif earlier is not None:
                mistakes.append(
                    Mistake(path, number, f"CONFIG_{symbol} is named twice, first in line {earlier.line}")
                )
            elif not reason:
                mistakes.append(
                    Mistake(path, number, f"CONFIG_{symbol} has no reason", "say why in a comment above it")
                )
            else:
                found[symbol] = Wanted(symbol, value, " ".join(reason), path, number, path.stem)
    if mistakes:
        raise Mistakes(f"kernel fragment {path.stem}", mistakes)
    return list(found.values())


VALUES = 'y, m, n, a number, or "text" in double quotes'


def user_wanted(symbol: str, value: object, *, reason: str, file: Path, line: int) -> Wanted:
    """One entry of a profile's `kernel.config`, as the last layer.

    The symbol may carry `CONFIG_`. A value comes as YAML gives it: true/false, a number, or text; text
    that is not y, m, n or a number becomes a string.
    """
    if isinstance(value, bool):
        text = "y" if value else "n"
    else:
        text = str(value)
        if not _VALUE.fullmatch(text):
            escaped = text.replace("\\", "\\\\").replace('"', '\\"')
            text = f'"{escaped}"'
    name = symbol.removeprefix("CONFIG_")
    return Wanted(name, text, reason or "the machine's profile says so", file, line, USER_LAYER)


def layers(names: Sequence[str], folder: Path, user: Iterable[Wanted] = ()) -> list[Wanted]:
    """Everything that the named fragments want, in their order, and last what the profile wants.

    Raises Mistakes over all fragments at once; an unknown fragment comes with the nearest name.
    """
    known = known_fragments(folder)
    mistakes: list[Mistake] = []
    wanted: list[Wanted] = []
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            mistakes.append(Mistake(folder, 0, f"no kernel fragment {name}", hint))
            continue
        try:
            wanted += load_fragment(folder / f"{name}.config")
        except Mistakes as error:
            mistakes += error.mistakes
    if mistakes:
        raise Mistakes("kernel fragments", mistakes)
    return [*wanted, *user]


def effective(wanted: Iterable[Wanted]) -> dict[str, Wanted]:
    """The last word on each symbol, by its name, in the order in which the last words were spoken."""
    last: dict[str, Wanted] = {}
    for one in wanted:
        last.pop(one.symbol, None)
        last[one.symbol] = one
    return last


def seed(wanted: Iterable[Wanted]) -> str:
    """What is wanted as the text of a `.config`; of a choice, Kconfig takes the member that comes last."""
    return "".join(
        f"# CONFIG_{one.symbol} is not set\n" if one.value == "n" else f"{one}\n"
        for one in effective(wanted).values()
    )


def configure(toolchain: Toolchain, source: Source, wanted: Iterable[Wanted]) -> Configuration:
    """Run the tree's own Kconfig over what is wanted (half a second, then cached). Proves nothing."""
    text = seed(wanted)
    key = digest(text, kconfig_program.key(toolchain, source))

    def make(folder: Path) -> None:
        with step("Configure the kernel", "kernel-config"):
            kconfig_program.run(toolchain, source, folder, text)

    place = product("kernel-config", key, make)
    return Configuration(key, place / "config")
