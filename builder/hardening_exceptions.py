"""The rules of kernel-config/hardening-exceptions.yaml: failing checks that are accepted, with reasons.

Data that people write. Not for: running the checks, or judging by these rules (hardening.py).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from builder.errors import Mistakes
from builder.kbuild_symbols import module_name
from builder.yamlfile import Document, Place, Written, check, read, wrong

EXCEPTIONS = Path(__file__).parent.parent / "kernel-config" / "hardening-exceptions.yaml"

Kind = Literal["kconfig", "cmdline"]
KINDS: tuple[Kind, ...] = ("kconfig", "cmdline")


def _says_something(text: str) -> str:
    if not text.strip():
        raise wrong("there is no reason", "say why the machine is better off without it")
    return text


class Accepted(Written):
    """Checks that fail for one reason, and why that is accepted."""

    kconfig: dict[str, str] = Field(
        default={}, description="kernel symbols without CONFIG_, and what the checker wants of each"
    )
    cmdline: dict[str, str] = Field(
        default={}, description="words that are not on the kernel's command line, and what the checker wants"
    )
    where: tuple[str, ...] = Field(
        default=(), description="kernel symbols: accepted where one of them is on; without it everywhere"
    )
    drivers: tuple[str, ...] = Field(
        default=(), description="modules: accepted where the machine has one of them as a driver"
    )
    machines: tuple[str, ...] = Field(
        default=(), description="patterns of machines' names; without it every machine"
    )
    reason: Annotated[str, AfterValidator(_says_something)]
    measured: str = Field(default="", description="what it would cost, where the reason is speed")

    @model_validator(mode="after")
    def _names_a_check(self) -> "Accepted":
        if not self.kconfig and not self.cmdline:
            raise wrong("it names no check", "kconfig: {SYMBOL: what is wanted}, or cmdline:")
        for symbol in self.kconfig:
            if symbol.startswith("CONFIG_"):
                raise wrong(f"'{symbol}' begins with CONFIG_", f"write {symbol.removeprefix('CONFIG_')}")
        return self

    def holds(self, machine: str, drivers: Collection[str], values: Mapping[str, str]) -> bool:
        """Whether it is for this machine, with these drivers and these values of its configuration."""
        return (
            (not self.machines or any(fnmatchcase(machine, pattern) for pattern in self.machines))
            and (not self.drivers or any(module_name(name) in drivers for name in self.drivers))
            and (not self.where or any(values.get(symbol) in ("y", "m") for symbol in self.where))
        )


class _File(Written):
    """The whole file."""

    exceptions: tuple[Accepted, ...]


@dataclass(frozen=True)
class Entry:
    """One check of an exception: its name, what is wanted of it, and where that is written."""

    kind: Kind
    name: str
    wants: str
    rule: Accepted
    place: Place

    @property
    def key(self) -> tuple[Kind, str, str]:
        """The check that it is for."""
        return self.kind, self.name, self.wants


@lru_cache(maxsize=4)
def load(path: Path = EXCEPTIONS) -> tuple[Entry, ...]:
    """The exceptions of a file, one for each check; raises Mistakes with every mistake in it."""
    document, mistakes = read(path)
    found, more = check(_File, document, incomplete=bool(mistakes))
    if mistakes or more or found is None:
        raise Mistakes(f"the hardening exceptions {path.name}", [*mistakes, *more])
    return tuple(
        Entry(kind, name, wants, rule, _place(document, index, kind, name))
        for index, rule in enumerate(found.exceptions)
        for kind in KINDS
        for name, wants in getattr(rule, kind).items()
    )


def _place(document: Document, index: int, kind: Kind, name: str) -> Place:
    return document.place(("exceptions", index, kind, name))
