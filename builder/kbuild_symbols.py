"""Which CONFIG symbols a module is made by, and which drivers it registers: read from a kernel tree.

The few forms that Kbuild documents (kernel: Documentation/kbuild/makefiles.rst) are understood:
`obj-$(CONFIG_X) += foo.o`, composite objects (`foo-y`, `foo-objs`, `foo-$(CONFIG_Y)`), folders
(`obj-$(CONFIG_DIR) += dir/`), `include $(src)/...`, and the symbol of a surrounding `ifdef`. Whatever else
a Makefile computes is passed over.
Not for: what depends on what (kconfig_symbols.py), or modaliases (modalias.py).
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# The folders of the tree that hold drivers of an x86 machine; tools, samples and other processors do not.
FOLDERS = (
    *("arch/x86", "block", "crypto", "drivers", "fs", "init", "io_uring", "kernel", "lib", "mm", "net"),
    *("security", "sound", "virt"),
)

_RULE = re.compile(r"([\w.-]+)-(y|m|objs|\$[({].+[)}])\s*[:+?]?=\s*(.*)")
_SYMBOL = re.compile(r"\$[({]CONFIG_(\w+)")
_LIST = re.compile(r"\$\(([\w.-]+)-(?:y|m|objs)\)")
_IF = re.compile(r"(?:ifdef|ifeq|ifneq)\b(.*)")


@dataclass(frozen=True)
class KernelObject:
    """An object that Kbuild makes into a module, or links into the kernel.

    `name` is the module's, with `_` for `-`. `symbols` are those of its own `obj-$(CONFIG_X)` lines: any
    of them makes it. `inside` are the symbols of the folders around it, outermost first: all must be on.
    Both are empty for what every kernel has.
    """

    name: str
    path: str  # relative to the tree, without .o: drivers/net/ethernet/intel/e1000e/e1000e
    symbols: tuple[str, ...]
    inside: tuple[str, ...]


@dataclass(frozen=True)
class Driver:
    """A driver as /sys/bus/BUS/drivers shows it, and the module that registers it."""

    bus: str  # of `struct BUS_driver`: pci, usb, platform, i2c, ...
    name: str
    module: str


@dataclass(frozen=True)
class _Line:
    target: str  # of `TARGET-SUFFIX += words`
    symbol: str | None  # of `$(CONFIG_X)`, None where the line always counts
    guards: tuple[str, ...]  # symbols of the conditions around it
    words: tuple[str, ...]


def module_name(text: str) -> str:
    """The name of a module as the kernel writes it, from its file's or its object's name."""
    return re.sub(r"\.(o|ko(\.\w+)?)$", "", text.rpartition("/")[2]).replace("-", "_")


def _lines(path: Path, source: Path) -> Iterator[_Line]:
    """The rules of a Makefile that add objects; of conditions only the symbols are kept."""
    guards: list[tuple[str, ...]] = []
    text = re.sub(r"\\\n", " ", path.read_text(errors="replace"))
    for raw in text.splitlines():
        line = raw.partition("#")[0].strip()
        if match := _IF.match(line):
            negated = line.startswith("ifneq") and not re.search(r",\s*\)$", line)
            guards.append(() if negated else tuple(_guard_symbols(match[1])))
        elif line.startswith("ifndef"):
            guards.append(())
        elif line.startswith("else") and guards:
            guards[-1] = ()
        elif line.startswith("endif") and guards:
            guards.pop()
        elif match := re.match(r"include \$\(src\)/(\S+)", line):
            if (included := source / match[1]).is_file():
                yield from _lines(included, source)
        elif match := _RULE.fullmatch(line):
            symbols = _SYMBOL.findall(match[2])
            if match[2].startswith("$") and not symbols:
                continue  # `foo-$(bar)`: computed
            around = tuple(symbol for guard in guards for symbol in guard)
            if re.match(r"\$\(subst y,", match[2]):
                around += tuple(symbols[:-1])  # `$(subst y,$(CONFIG_A),$(CONFIG_B))`: B, and A with it
                symbols = symbols[-1:]
            symbol = symbols[0] if symbols else None
            if match[1] == "obj" and match[2] == "m":
                symbol = "MODULES"  # never linked into the kernel
            yield _Line(match[1], symbol, around, tuple(match[3].split()))


def _guard_symbols(condition: str) -> list[str]:
    """The symbols that a condition wants on: `CONFIG_X` of ifdef, `$(CONFIG_X)` of ifeq and ifneq."""
    found: list[str] = re.findall(r"CONFIG_(\w+)", condition)
    # `ifeq ($(CONFIG_A)$(CONFIG_B),y)` and the like mean either one: none of them is certain.
    return found if len(found) == 1 and not condition.rstrip().endswith(",n)") else []


@dataclass(frozen=True)
class Tree:
    """What the Makefiles of a tree say."""

    objects: Mapping[str, tuple[KernelObject, ...]]  # by module name
    owners: Mapping[str, str]  # source file, without its ending, -> the module that it is part of


def read_tree(tree: Path) -> Tree:
    """Every object of the tree's Makefiles; two seconds."""
    rules = {folder: list(_lines(path, path.parent)) for folder, path in _makefiles(tree).items()}
    conditions = _folder_conditions(rules)
    found: dict[str, dict[str, tuple[list[str], tuple[str, ...]]]] = {}
    owners: dict[str, str] = {}
    for folder, lines in rules.items():
        inside = _around(folder, conditions)
        parts: dict[str, list[str]] = {}
        for line in lines:
            parts.setdefault(line.target, []).extend(line.words)
        for line in _object_lines(lines):
            for word in line.words:
                if not re.fullmatch(r"[\w./+-]+\.o", word):
                    continue
                name, path = module_name(word), f"{folder}/{word[:-2]}"
                symbols, _ = found.setdefault(name, {}).setdefault(path, ([], (*inside, *line.guards)))
                if line.symbol and line.symbol not in symbols:
                    symbols.append(line.symbol)
                for part in _parts(word[:-2], parts, set()):
                    owners.setdefault(f"{folder}/{part}", name)
                owners.setdefault(path, name)
    objects = {
        name: tuple(KernelObject(name, path, tuple(own), inside) for path, (own, inside) in paths.items())
        for name, paths in found.items()
    }
    return Tree(objects, owners)


def _object_lines(lines: Sequence[_Line]) -> Iterator[_Line]:
    """The `obj-` lines, and those of the lists that they name: `obj-$(CONFIG_X) += $(foo-y)`."""
    for line in lines:
        if line.target == "obj":
            yield line
            named = {match[1] for word in line.words if (match := _LIST.fullmatch(word))}
            yield from (other for other in lines if other.target in named)


def _makefiles(tree: Path) -> dict[str, Path]:
    """The file that Kbuild reads in each folder: `Kbuild`, else `Makefile`."""
    found: dict[str, Path] = {}
    for top in FOLDERS:
        for name in ("Makefile", "Kbuild"):
            for path in sorted((tree / top).rglob(name)):
                found[str(path.parent.relative_to(tree))] = path
    return found


def _folder_conditions(rules: Mapping[str, Iterable[_Line]]) -> dict[str, set[tuple[str, ...]]]:
    """For each folder, the symbols of every line that enters it."""
    conditions: dict[str, set[tuple[str, ...]]] = {}
    for folder, lines in rules.items():
        for line in lines:
            if line.target in ("obj", "drivers", "core", "libs"):
                symbols = (*line.guards, *([line.symbol] if line.symbol else []))
                for word in line.words:
                    if word.endswith("/") and "$" not in word:
                        # arch/x86/Makefile names its folders from the top of the tree.
                        place = word if word.startswith("arch/") else f"{folder}/{word}"
                        conditions.setdefault(place.rstrip("/"), set()).add(symbols)
    return conditions


def _around(folder: str, conditions: Mapping[str, set[tuple[str, ...]]]) -> tuple[str, ...]:
    """The symbols without which no line enters a folder or one around it, outermost first."""
    found: list[str] = []
    steps = folder.split("/")
    for count in range(1, len(steps) + 1):
        if ways := conditions.get("/".join(steps[:count])):
            # Where several lines enter a folder, no one of their symbols is needed, only those of all.
            common = set.intersection(*map(set, ways))
            found += sorted(common - set(found))
    return tuple(found)


def _parts(name: str, parts: Mapping[str, Iterable[str]], seen: set[str]) -> Iterator[str]:
    """The objects that a composite object is linked from, without .o."""
    seen.add(name)
    for word in parts.get(name, ()):
        if word.endswith(".o"):
            yield word[:-2]
        elif (match := _LIST.fullmatch(word)) and match[1] not in seen:
            yield from _parts(match[1], parts, seen)


_DRIVER = re.compile(r"struct\s+(\w+)_driver\s+\w+(?:\s+__\w+)?\s*=\s*\{(.*?)\n\s*\}\s*;", re.DOTALL)
_NAME = re.compile(r"\.(?:\w+\.)*name\s*=\s*(\"[^\"\n]*\"|\w+)")
_DEFINED = r'(?:#\s*define\s+{0}|\b{0}\s*\[\]\s*=)\s+("[^"\n]*"|KBUILD_MODNAME)'


def read_drivers(tree: Path, owners: Mapping[str, str]) -> list[Driver]:
    """The drivers that C files of the tree define, by the names they have in /sys; ten seconds.

    Names that are written out, KBUILD_MODNAME, and a macro or a constant of the same file are understood.
    """
    found: dict[Driver, None] = {}
    for part, module in owners.items():
        path = tree / f"{part}.c"
        if not path.is_file():
            continue
        text = path.read_text(errors="replace")
        if "_driver" not in text:
            continue
        for match in _DRIVER.finditer(text):
            if name := _driver_name(match[2], text, module):
                bus = match[1].removesuffix("_device")
                found[Driver(bus, name, module)] = None
    return list(found)


def _driver_name(body: str, text: str, module: str) -> str:
    named = _NAME.search(body)
    if named is None:
        return ""
    word = named[1]
    if not word.startswith('"') and word != "KBUILD_MODNAME":
        defined = re.search(_DEFINED.format(re.escape(word)), text)
        word = defined[1] if defined else ""
    return module if word == "KBUILD_MODNAME" else word.strip('"')
