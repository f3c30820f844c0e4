"""Modaliases: what a device says of itself, matched with the patterns of modules as kmod does.

A device's modalias (`pci:v00008086d00005917sv...`) is in /sys; a module's patterns are in its .modinfo
section (depmod writes them into modules.alias). A pattern is a shell pattern, `-` and `_` are one and the
same outside brackets (kmod: libkmod-util.c, alias_normalize).
Not for: where the patterns come from (driver_database.py), or which match is taken (driver_choice.py).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

# A modalias fills at most one page of /sys; what is longer was not written by a kernel.
LONGEST = 4096


@dataclass(frozen=True)
class Match:
    """A pattern that a modalias matches, and the module that it is of."""

    pattern: str
    module: str

    @property
    def specific(self) -> int:
        """How many characters the pattern names: an exact model more than a class of devices."""
        return sum(char not in "*?" for char in self.pattern)


def flaw(modalias: str) -> str:
    """Why a text is no modalias that a kernel writes; "" for a sound one.

    Only SMBIOS texts may hold `*`, `?` and `[` as they are.
    """
    if len(modalias) > LONGEST:
        return f"its modalias is longer than {LONGEST} characters"
    if any(char in modalias for char in "*?[") and not modalias.startswith("dmi:"):
        return "its modalias has wildcard characters, which stand in patterns only"
    return ""


def normalized(text: str) -> str:
    """A modalias or pattern with `_` for `-` outside brackets."""
    return "".join(
        part if part.startswith("[") else part.replace("-", "_") for part in re.split(r"(\[[^]]*\])", text)
    )


class AliasIndex:
    """Patterns by what stands before their first wildcard, so that few are compared with a modalias."""

    def __init__(self, aliases: Iterable[tuple[str, str]]) -> None:
        self._patterns: dict[str, list[Match]] = {}
        for pattern, module in aliases:
            plain = normalized(pattern)
            start = re.split(r"[*?[]", plain, maxsplit=1)[0]
            self._patterns.setdefault(start, []).append(Match(plain, module))
        self._longest = max(map(len, self._patterns), default=0)

    def matches(self, modalias: str) -> list[Match]:
        """The matches of a modalias, the most specific first, one of each module."""
        if flaw(modalias):
            return []
        text = normalized(modalias)
        found: dict[str, Match] = {}
        for end in range(min(len(text), self._longest) + 1):
            for one in self._patterns.get(text[:end], ()):
                if fnmatchcase(text, one.pattern):
                    known = found.get(one.module)
                    if known is None or one.specific > known.specific:
                        found[one.module] = one
        return sorted(found.values(), key=lambda one: (-one.specific, one.module))
