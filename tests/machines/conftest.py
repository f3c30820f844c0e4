"""Machines that have little in common, each on its way from the generic image to one of its own.

A way takes ten minutes where every instruction is emulated, so all tests of a machine share it. What was
measured is printed at the end.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from three_machines import GENERIC, THREE, Hardware, Way, walk

from builder.build import BuiltImage, build

WAYS: dict[str, Way] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything below this folder boots machines."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.boot)


@pytest.fixture(scope="session")
def generic() -> BuiltImage:
    """The generic image; built now if it is not in the cache."""
    return build(GENERIC)


@pytest.fixture(scope="session", params=THREE, ids=lambda hardware: hardware.name)
def hardware(request: pytest.FixtureRequest) -> Hardware:
    """One of the machines."""
    found: Hardware = request.param
    return found


@pytest.fixture(scope="session")
def way(hardware: Hardware, generic: BuiltImage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    """What became of the machine."""
    WAYS[hardware.name] = walk(hardware, generic, tmp_path_factory.mktemp(hardware.name))
    yield WAYS[hardware.name]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A table with a line a machine."""
    if not WAYS:
        return
    terminalreporter.section("machines: from the generic image to their own")
    heads = ["machine", "devices", "bound", "drivers", "symbols =y", "bzImage", "compile"]
    rows: list[list[str]] = []
    for name, way in WAYS.items():
        bound = sum(bool(one.driver) for one in way.tuned_report.devices)
        drivers = {module for one in way.detected["devices"] for module in one["modules"]}
        kernel = way.kernel
        rows.append(
            [
                *(name, str(len(way.tuned_report.devices)), str(bound), str(len(drivers))),
                *(f"{kernel['symbols_y']}", f"{kernel['size_bytes'] / 1e6:.2f} MB"),
                *(f"{kernel['seconds']:.0f} s", *(f"{taken:.0f} s" for taken in way.seconds.values())),
            ]
        )
    table = [[*heads, *next(iter(WAYS.values())).seconds], *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        terminalreporter.write_line(
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        )
