"""Drivers tried against this kernel: which of them it refuses, or refuses beside the others, and why.

What Kconfig says of each driver alone is known before (drivers.py). Here all of them are configured
together, as the build will do it, and a driver that loses its symbols, or takes away what the layers below
want, is found and left out. Not for: which driver a device gets (driver_choice.py), a profile's own mistakes
(kconfig_proof.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from builder import drivers, kconfig, kconfig_proof
from builder.driver_database import Database
from builder.driver_rules import Book
from builder.drivers import Named, Resolution
from builder.errors import Mistake
from builder.kconfig import Configuration, Wanted
from builder.kernel_source import Source
from builder.toolchain import Toolchain

MOST_TRIES = 30  # configurations until no driver is refused; each takes half a second


@dataclass(frozen=True)
class Proven:
    """What is left of the drivers: their symbols, the configuration, and those refused with the reason."""

    resolution: Resolution
    configuration: Configuration
    refused: dict[str, str]


@dataclass(frozen=True)
class _Attempt:
    resolution: Resolution
    configuration: Configuration
    refused: dict[str, str]  # drivers that cannot be, or whose own symbols were lost
    lost: list[Mistake]  # what others want and do not get

    @property
    def is_sound(self) -> bool:
        return not self.refused and not self.lost


@dataclass(frozen=True)
class Trial:
    """The kernel that drivers are tried against: `decided` is what all layers below them want."""

    tools: Toolchain
    tree: Source
    database: Database
    book: Book
    decided: Sequence[Wanted]
    place: Path  # of the profile that the drivers will stand in

    def prove(self, names: Sequence[str]) -> Proven:
        """Leave out one refused driver after the other until all that is wanted holds.

        Raises Mistakes if that comes to no end.
        """
        left = list(dict.fromkeys(names))
        refused: dict[str, str] = {}
        for _ in range(MOST_TRIES):
            attempt = self._attempt(left)
            more = attempt.refused
            if attempt.lost and not more:
                more = self._guilty(left, attempt.lost)
            if not more:
                break
            refused |= more
            left = [name for name in left if name not in refused]
        kconfig_proof.raise_mistakes(attempt.lost)
        return Proven(attempt.resolution, attempt.configuration, refused)

    def _attempt(self, names: Sequence[str]) -> _Attempt:
        below = kconfig.configure(self.tools, self.tree, self.decided)
        named = [Named(name, self.place, number) for number, name in enumerate(names, 1)]
        resolution = drivers.wanted(named, self.database, below.symbols, self.decided, self.book)
        wanted = drivers.between(self.decided, resolution.wanted)
        configuration = kconfig.configure(self.tools, self.tree, wanted)
        refused = {names[one.line - 1]: _refusal(one.message) for one in resolution.mistakes}
        lost = []
        if not kconfig_proof.holds(wanted, configuration.values):
            lost = kconfig_proof.lost(wanted, configuration.symbols)
        if not refused:
            own = [one for one in lost if one.path == self.place and one.line]
            refused = {names[one.line - 1]: one.message for one in own}
        return _Attempt(resolution, configuration, refused, lost)

    def _guilty(self, names: Sequence[str], lost: Sequence[Mistake]) -> dict[str, str]:
        """The driver with which something is lost that holds with those before it; {} if it never holds."""
        if not self._attempt([]).is_sound:
            return {}
        sound, broken = 0, len(names)
        while broken - sound > 1:
            middle = (sound + broken) // 2
            if self._attempt(names[:middle]).lost:
                broken = middle
            else:
                sound = middle
        return {names[broken - 1]: f"with it {lost[0].message}"}


def _refusal(message: str) -> str:
    return message.partition(" cannot be built in: ")[2] or message
