"""The rules of kernel-config/driver-rules.yaml: what follows from a machine's devices and drivers.

Data that people write, each rule with its reason. Not for: applying them to a report (driver_choice.py) or
to a profile's drivers (drivers.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field

from builder.errors import Mistakes
from builder.yamlfile import Document, Written, check, read

RULES = Path(__file__).parent.parent / "kernel-config" / "driver-rules.yaml"


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name matches any of the shell patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


class Companion(Written):
    """What drivers need beside them to be of use."""

    when: tuple[str, ...] = Field(description="patterns of module names")
    unless: tuple[str, ...] = Field(default=(), description="module names that make the rule needless")
    want: tuple[str, ...] = Field(default=(), description="kernel symbols")
    packages: tuple[str, ...] = Field(default=(), description="Debian packages of the running system")
    reason: str


class DeviceRule(Written):
    """Drivers of devices that no module's alias tells."""

    match: tuple[str, ...] = Field(description="patterns of modaliases")
    drivers: tuple[str, ...]
    reason: str


class Preference(Written):
    """Which of several drivers that know a device is taken."""

    take: str
    over: tuple[str, ...]
    reason: str


class Needless(Written):
    """Modules that are taken only for a device that they drove when the report was written."""

    modules: tuple[str, ...]
    unless_bound: Literal[True]
    reason: str


class Core(Written):
    """Devices that need no driver of their own."""

    match: tuple[str, ...]
    reason: str


class Provider(Written):
    """What brings along a symbol that drivers depend on and nobody can ask for, if nothing else does."""

    symbol: str
    take: str = Field(description="a symbol that selects it")
    reason: str


class MachineRule(Written):
    """What the machine as a whole wants."""

    where: dict[Literal["virtualisation", "vendor", "kind"], tuple[str, ...]]
    want: tuple[str, ...] = ()
    drivers: tuple[str, ...] = ()
    reason: str


class Rules(Written):
    """The whole file."""

    companions: tuple[Companion, ...]
    devices: tuple[DeviceRule, ...]
    prefer: tuple[Preference, ...]
    needless: tuple[Needless, ...]
    core: tuple[Core, ...]
    providers: tuple[Provider, ...] = ()
    machines: tuple[MachineRule, ...]


@dataclass(frozen=True)
class Book:
    """The rules, and where each is written."""

    rules: Rules
    document: Document

    def line(self, section: str, index: int) -> int:
        """The line that a rule begins in."""
        return self.document.place((section, index)).line

    def companions(self, modules: Iterable[str]) -> list[tuple[int, Companion, str]]:
        """The companion rules of these modules: index, rule, and the module that each is for."""
        names = list(modules)
        found = []
        for index, rule in enumerate(self.rules.companions):
            if any(matches(name, rule.unless) for name in names):
                continue
            for name in names:
                if matches(name, rule.when):
                    found.append((index, rule, name))
                    break
        return found

    def machine(self, facts: Mapping[str, str]) -> list[MachineRule]:
        """The machine rules whose every fact holds."""
        return [
            rule
            for rule in self.rules.machines
            if all(facts.get(fact, "") in values for fact, values in rule.where.items())
        ]


@lru_cache(maxsize=4)
def load(path: Path = RULES) -> Book:
    """The rules of a file; raises Mistakes with every mistake in it."""
    document, mistakes = read(path)
    rules, more = check(Rules, document)
    if mistakes or more or rules is None:
        raise Mistakes(f"the driver rules {path.name}", [*mistakes, *more])
    return Book(rules, document)
