"""A kernel configuration to be looked at: a machine's own, proven and not compiled, or Debian's.

Not for: saying anything about it (kernel_explain.py, kernel_diff.py, kernel_command.py).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from builder import build, driver_database, kconfig, kernel, kernel_reasons, kernel_source, toolchain
from builder.kconfig import Configuration, Wanted
from builder.kconfig_symbols import Symbol
from builder.kernel_reasons import DEBIAN_LAYER, Decided
from builder.kernel_source import Source
from builder.profile import Profile
from builder.toolchain import Toolchain

_LINE = re.compile(r"(?:CONFIG_(\w+)=(.*)|# CONFIG_(\w+) is not set)")


@dataclass(frozen=True)
class Subject:
    """A configuration with all that is known of it.

    `wanted` are the layers' wishes in their order, of Debian's kernel its own lines. `values` are what is
    set, as the `.config` writes it.
    """

    name: str  # of the machine, or `debian`
    stock: bool  # Debian's own
    source: str  # the package and its version
    config: Path
    wanted: tuple[Wanted, ...]
    values: Mapping[str, str]
    configuration: Configuration  # that Kconfig makes of what is wanted

    @property
    def symbols(self) -> Mapping[str, Symbol]:
        """All symbols of the tree, as Kconfig sees them."""
        return self.configuration.symbols

    @cached_property
    def decided(self) -> dict[str, Decided]:
        """Every symbol that is set, and those that a layer wanted off."""
        if self.stock:
            return {
                one.symbol: Decided(one.symbol, one.value, one.layer, one.reason, str(one.file), one.line)
                for one in self.wanted
                if one.value != "n"
            }
        return kernel_reasons.every(self.wanted, self.values, self.symbols)

    def count(self, value: str) -> int:
        """How many symbols are set to `y` or `m`."""
        return list(self.values.values()).count(value)


def parts() -> tuple[Toolchain, Source]:
    """The tools and the source that every configuration is made with."""
    tools = toolchain.ensure()
    return tools, kernel_source.ensure(tools)


def of_machine(machine: Profile) -> Subject:
    """The configuration of a machine's kernel; about 10 s, a second from the cache.

    Raises Mistakes for every wanted symbol that is lost and every driver that cannot be built in.
    """
    if machine.kernel.stock:
        return debian(machine.name)
    build.wanted(machine)  # mistakes in it are told before anything is fetched
    tools, source = parts()
    wanted = build.wanted_with_drivers(machine, tools, source)
    configuration = kernel.configured(tools, source, wanted)
    return Subject(
        name=machine.name,
        stock=False,
        source=f"{source.package.name} {source.package.version}",
        config=configuration.config,
        wanted=tuple(wanted),
        values=configuration.values,
        configuration=configuration,
    )


def debian(name: str = DEBIAN_LAYER) -> Subject:
    """Debian's stock configuration of the same version; its symbols as the same tree's Kconfig sees them."""
    tools, source = parts()
    config = driver_database.ensure(tools, source).stock_config
    wanted = stock_lines(config)
    return Subject(
        name=name,
        stock=True,
        source=f"Debian's kernel {source.package.version}",
        config=config,
        wanted=tuple(wanted),
        values={one.symbol: one.value for one in wanted if one.value != "n"},
        configuration=kconfig.configure(tools, source, wanted),
    )


def stock_lines(config: Path) -> Sequence[Wanted]:
    """Debian's `.config` line by line, as one layer."""
    found = []
    for number, line in enumerate(config.read_text().splitlines(), 1):
        if match := _LINE.fullmatch(line):
            symbol, value, off = match.groups()
            name, text = (off, "n") if off else (symbol, value)
            reason = "Debian's kernel has it so"
            found.append(Wanted(name, text, reason, config, number, DEBIAN_LAYER))
    return found
