"""The kernels of 49 real machines: configured, proven, and held against the drivers that ran on them.

The table of all machines is in the output of every run, each device that was missed below its machine.
"""

import pytest
from machine_coverage import NAMES, Coverage, measure_all, overall, table

from builder import driver_database, kernel_source
from builder.driver_database import Database
from builder.toolchain import Toolchain

pytestmark = pytest.mark.native


@pytest.fixture(scope="module")
def database(tools: Toolchain) -> Database:
    """Made before the machines are measured side by side."""
    return driver_database.ensure(tools, kernel_source.ensure(tools))


@pytest.fixture(scope="module")
def found(database: Database) -> dict[str, Coverage]:
    return {one.name: one for one in measure_all()}


def test_of_all_machines_devices_that_had_a_driver_99_percent_have_it_in_their_kernel(
    found: dict[str, Coverage], capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print("", *table(list(found.values())), sep="\n")
    assert len(found) == 49
    assert overall(found.values()) >= 99


@pytest.mark.parametrize("name", NAMES)
def test_a_real_machines_kernel_has_its_drivers_and_not_too_many_symbols(
    name: str, found: dict[str, Coverage]
) -> None:
    one = found[name]
    assert one.active > 0, "there is nothing to measure"
    assert one.percent >= 95, one.misses
    assert 500 < one.symbols_y <= one.limit
