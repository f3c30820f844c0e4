"""The built machine, booted in QEMU.

A boot takes 15-45 s where every instruction is emulated, so the tests of a module share one machine and
run in the order in which they are written: the gentle ones first.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder import vmdisk
from builder.build import BuiltImage, build
from builder.qemu_command import memory_bytes
from builder.run import Options, spec_of
from builder.vm import Machine

MACHINE = "qemu-x86_64"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything below this folder boots machines."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.boot)


@pytest.fixture(scope="session")
def built() -> BuiltImage:
    """The machine's newest image; built now if it is not in the cache."""
    return build(MACHINE)


@pytest.fixture(scope="module")
def disk(built: BuiltImage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk as a person's first run makes it: the image, with room to grow."""
    folder = tmp_path_factory.mktemp("state")
    return vmdisk.prepare(built.image, built.layout, folder, memory_bytes("2G"))


@pytest.fixture(scope="module")
def machine(built: BuiltImage, disk: Path) -> Iterator[Machine]:
    """The machine, booted from its disk by UEFI, with a write log so that its power can be cut honestly."""
    spec = spec_of(built, disk.parent / "run", disk, Options())
    spec = dataclasses.replace(spec, write_log=disk.with_name("writes.log"))
    with Machine(spec, tools=built.toolchain) as made:
        made.start()
        made.wait_ready()
        yield made
