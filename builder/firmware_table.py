"""The table of kernel-config/firmware.yaml: who has which firmware, and who needs what of it.

Data that people write. Not for: choosing a kernel's files (firmware_choice.py), fetching them (firmware.py).
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

from pydantic import Field

from builder.errors import Mistakes
from builder.yamlfile import Written, check, read

TABLE = Path(__file__).parent.parent / "kernel-config" / "firmware.yaml"


class FirmwarePackage(Written):
    """A Debian package that has firmware."""

    files: tuple[str, ...] = Field(description="patterns of the files that it has")
    names: dict[str, str] = Field(default={}, description="name that the kernel asks for -> file in it")
    what: str
    licence: str


class More(Written):
    """Files that modules ask for beyond what they name."""

    when: tuple[str, ...] = Field(description="patterns of module names")
    files: tuple[str, ...]
    reason: str


class Case(Written):
    """The files that devices of these modaliases need."""

    match: tuple[str, ...]
    files: tuple[str, ...]


class Narrowing(Written):
    """Which files of `modules` a machine needs, by the devices that `driver` has."""

    driver: str
    modules: tuple[str, ...]
    reason: str
    cases: tuple[Case, ...]


class Table(Written):
    """The whole file."""

    packages: dict[str, FirmwarePackage]
    more: tuple[More, ...]
    narrow: tuple[Narrowing, ...]


@lru_cache(maxsize=4)
def load(path: Path = TABLE) -> Table:
    """The table of a file; raises Mistakes with every mistake in it."""
    document, mistakes = read(path)
    table, more = check(Table, document)
    if mistakes or more or table is None:
        raise Mistakes(f"the table of firmware {path.name}", [*mistakes, *more])
    return table


def fixed_start(pattern: str) -> str:
    """What every name that fits a shell pattern begins with."""
    ends = [pattern.find(sign) for sign in "*?[" if sign in pattern]
    return pattern[: min(ends)] if ends else pattern


def may_share(one: str, other: str) -> bool:
    """Whether a name could fit both shell patterns, as far as their beginnings tell."""
    first, second = fixed_start(one), fixed_start(other)
    return first.startswith(second) or second.startswith(first)


def packages_of(wanted: Iterable[str], table: Table) -> dict[str, list[str]]:
    """For each name or pattern that is wanted, the packages that may have it; none: an empty list."""
    found = {}
    for name in wanted:
        is_pattern = fixed_start(name) != name
        found[name] = [
            package
            for package, one in table.packages.items()
            if any(
                may_share(name, pattern) if is_pattern else fnmatchcase(name, pattern)
                for pattern in one.files
            )
        ]
    return found
