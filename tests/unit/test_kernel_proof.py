"""After compiling: a driver that is not in the kernel is told, whatever kind of code it is."""

from pathlib import Path

import pytest

from builder import kernel_proof
from builder.drivers import Named
from builder.errors import Mistakes

PROFILE = Path("machines/lab.yaml")


def command(output: Path, place: str, modules: str) -> str:
    """The record that kbuild keeps of an object's compilation; the object's path."""
    path = output / f"{place}.o"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(f".{path.name}.cmd").write_text(
        f"savedcmd := gcc -DKBUILD_MODFILE='\"{modules}\"' -c -o {place}.o\n"
    )
    return f"{place}.o"


def kernel_folder(tmp_path: Path) -> Path:
    (tmp_path / "modules.builtin").write_text("kernel/drivers/nvme/host/nvme-core.ko\n")
    (tmp_path / "modules.linked").write_text("drivers/nvme/host/nvme-core\ndrivers/pci/pcie/pcieportdrv\n")
    return tmp_path


def test_an_object_stands_for_every_module_that_it_is_a_part_of(tmp_path: Path) -> None:
    objects = [
        command(tmp_path, "drivers/nvme/host/pci", "drivers/nvme/host/nvme"),
        command(tmp_path, "drivers/net/shared", "drivers/net/one drivers/net/two"),
        command(tmp_path, "kernel/fork", "kernel/fork"),
        "usr/made-by-other-means.o",
    ]
    command(
        tmp_path, "drivers/left/over", "drivers/left/over"
    )  # of an earlier build, not linked in this one
    assert kernel_proof.linked(tmp_path, objects) == [
        "drivers/net/one",
        "drivers/net/two",
        "drivers/nvme/host/nvme",
        "kernel/fork",
    ]


def test_a_driver_is_found_in_either_list_and_with_either_dash(tmp_path: Path) -> None:
    named = [
        Named("nvme-core", PROFILE, 5),
        Named("nvme_core", PROFILE, 6),
        Named("pcieportdrv", PROFILE, 7),
    ]
    assert kernel_proof.missing(named, kernel_folder(tmp_path)) == []


def test_every_driver_that_is_missing_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    named = [Named("e1000e", PROFILE, 5), Named("pcieportdrv", PROFILE, 6), Named("i915", PROFILE, 7)]
    with pytest.raises(Mistakes) as caught:
        kernel_proof.prove(named, kernel_folder(tmp_path))
    assert [(one.path, one.line, one.message) for one in caught.value.mistakes] == [
        (PROFILE, 5, "the driver e1000e is not in the compiled kernel"),
        (PROFILE, 7, "the driver i915 is not in the compiled kernel"),
    ]
