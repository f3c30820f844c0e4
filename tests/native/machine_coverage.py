"""How much of a real machine its detected kernel drives: measured for the tests and shown as a table.

Counted are the devices whose driver was bound when the report was written and is in this kernel's source.
One is covered if the symbols that make its driver's module are y in the proven configuration: not in what
was wanted. Not for: choosing drivers (builder/driver_choice.py).
"""

import multiprocessing
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from builder import (
    build,
    detected_profile,
    driver_database,
    kernel,
    kernel_source,
    profile,
    report_file,
    toolchain,
)
from builder.driver_database import Database
from hardware.report import Device

REPORTS = Path(__file__).parent.parent / "data" / "hardware"
NAMES = sorted(path.stem for path in REPORTS.glob("*.json"))
MOST = {"vm": 1_500}  # symbols set to y, by the kind of machine
MOST_OF_OTHERS = 2_500


@dataclass(frozen=True)
class Coverage:
    """One machine: `active` devices had a driver that this kernel's source has; `misses` are not covered."""

    name: str
    kind: str
    devices: int
    active: int
    misses: tuple[str, ...]
    absent: tuple[str, ...]  # drivers that were bound and are not in this kernel's source
    refused: tuple[str, ...]  # chosen drivers that Kconfig refused
    symbols_y: int

    @property
    def covered(self) -> int:
        """How many of the active devices have their driver."""
        return self.active - len(self.misses)

    @property
    def percent(self) -> float:
        """Covered devices of the active ones."""
        return 100 * self.covered / self.active if self.active else 100.0

    @property
    def limit(self) -> int:
        """The most symbols that a machine of this kind may have set to y."""
        return MOST.get(self.kind, MOST_OF_OTHERS)


def drivers_of(device: Device, database: Database) -> list[list[str]]:
    """What a device's bound driver is made of, as far as this kernel's source has it.

    All the modules that the report names, or one of those that register a driver of this name.
    """
    if not device.driver:
        return []
    if told := [module.name for one in device.modules if (module := database.module(one))]:
        return [[name] for name in told]
    registered = database.of_driver(device.driver, device.bus)
    return [registered] if registered else []


def is_made(module: str, database: Database, values: Mapping[str, str]) -> bool:
    """Whether a configuration with these values makes a module's code a part of the kernel."""
    one = database.modules[module]
    own = any(values.get(symbol) == "y" for symbol in one.symbols) if one.symbols else True
    return own and all(values.get(symbol) == "y" for symbol in one.inside)


def measure(name: str) -> Coverage:
    """Detect, configure and prove one machine of tests/data/hardware from its profile; 4 s of computing."""
    tools = toolchain.ensure()
    tree = kernel_source.ensure(tools)
    database = driver_database.ensure(tools, tree)
    report = report_file.load(str(REPORTS / f"{name}.json"))
    found = detected_profile.make(name, report, tools, tree)
    with tempfile.TemporaryDirectory(prefix="coverage-") as folder:
        path = Path(folder) / f"{name}.yaml"
        path.write_text(found.text)
        machine = profile.load(str(path))
    configuration = kernel.configured(tools, tree, build.wanted_with_drivers(machine, tools, tree))
    values = configuration.values
    reasons = {id(one.device): one.reason for one in found.verdicts}
    active, misses, absent = 0, [], []
    for device in report.devices:
        parts = drivers_of(device, database)
        if device.driver and not parts:
            absent.append(device.driver)
        active += bool(parts)
        left = [
            " or ".join(ways) for ways in parts if not any(is_made(one, database, values) for one in ways)
        ]
        if left:
            why = reasons.get(id(device), "it has no verdict")
            misses.append(f"{detected_profile.title(device)}: {device.driver} ({', '.join(left)}): {why}")
    return Coverage(
        name=name,
        kind=report.kind,
        devices=len(report.devices),
        active=active,
        misses=tuple(misses),
        absent=tuple(dict.fromkeys(absent)),
        refused=tuple(
            f"{one.device.driver}: {one.reason}" for one in found.verdicts if one.kind == "kconfig"
        ),
        symbols_y=configuration.symbols_y,
    )


def measure_all() -> list[Coverage]:
    """Every machine, on as many processors as there are."""
    workers = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(measure, NAMES))


def overall(found: Iterable[Coverage]) -> float:
    """The share of all machines' active devices that are covered, in percent."""
    listed = list(found)
    return 100 * sum(one.covered for one in listed) / sum(one.active for one in listed)


def table(found: Sequence[Coverage]) -> list[str]:
    """A line a machine, each miss below its machine, and the sum."""
    width = max(len(one.name) for one in found)
    lines = [f"{'machine':{width}} {'devices':>7} {'active':>6} {'covered':>7} {'percent':>7}  symbols =y"]
    for one in found:
        lines.append(
            f"{one.name:{width}} {one.devices:7} {one.active:6} {one.covered:7} {one.percent:6.1f} %"
            f"  {one.symbols_y} of {one.limit}"
        )
        lines += [f"    missing: {miss}" for miss in one.misses]
        lines += [f"    refused: {text}" for text in one.refused]
        if one.absent:
            lines.append(f"    not in this kernel's source: {', '.join(one.absent)}")
    sums = [sum(getattr(one, key) for one in found) for key in ("devices", "active", "covered")]
    name = f"{len(found)} machines"
    lines.append(f"{name:{width}} {sums[0]:7} {sums[1]:6} {sums[2]:7} {overall(found):6.1f} %")
    return lines
