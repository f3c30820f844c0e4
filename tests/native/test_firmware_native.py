"""Firmware with Debian's real packages (small ones), the real tools, and this kernel's real modules."""

import os
import shutil
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from builder import (
    build,
    detected_profile,
    driver_database,
    firmware,
    firmware_choice,
    firmware_table,
    kernel,
    kernel_source,
    profile,
    report_file,
)
from builder.driver_database import Database, Module
from builder.firmware import Firmware
from builder.kernel_source import Source
from builder.toolchain import Toolchain

pytestmark = pytest.mark.native

REPORTS = Path(__file__).parent.parent / "data" / "hardware"
SMALL = ("wireless-regdb", "amd64-microcode", "firmware-bnx2", "firmware-linux-free")
NEEDED = ("BLK_DEV_INITRD", "FW_LOADER", "FW_LOADER_COMPRESS_ZSTD", "MICROCODE")


@pytest.fixture(scope="module")
def tree(tools: Toolchain) -> Source:
    return kernel_source.ensure(tools)


@pytest.fixture(scope="module")
def database(tools: Toolchain, tree: Source) -> Database:
    return driver_database.ensure(tools, tree)


@pytest.fixture(scope="module")
def packed(tools: Toolchain, database: Database) -> Firmware:
    """The firmware of a wireless stack and an old network card, and AMD's microcode."""
    modules = [database.modules[name] for name in ("cfg80211", "bnx2", "e1000e")]
    modules.append(Module("strange", "drivers/strange", ("X",), (), firmware=("strange.bin",)))
    return firmware.ensure(tools, modules, microcode=["amd-ucode/microcode_amd_fam19h.bin"])


def unpacked(tools: Toolchain, archive: Path, place: Path) -> Path:
    place.mkdir()
    command: list[str | Path] = ["sh", "-euc", 'cd "$2"; cpio -i -d --quiet < "$1"', "sh", archive, place]
    tools.output(command, readable=[archive], writable=[place])
    return place


def test_the_initramfs_holds_the_drivers_files_compressed_and_no_program(
    tools: Toolchain, packed: Firmware, tmp_path: Path
) -> None:
    root = unpacked(tools, packed.initrd, tmp_path / "root")
    found = sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())
    assert found == sorted(f"lib/firmware/{name}.zst" for name in packed.files)
    assert {"regulatory.db", "regulatory.db.p7s", "bnx2/bnx2-rv2p-06-6.0.15.fw"} <= set(packed.files)
    content = subprocess.run(
        tools.argv(["zstd", "-dc", root / "lib/firmware/regulatory.db.zst"], readable=[root]),
        capture_output=True,
        check=True,
    ).stdout
    original = firmware.listing(firmware.package("wireless-regdb"))["regulatory.db-upstream"]
    assert content == original.read_bytes()
    assert not any(path.stat().st_mode & 0o111 for path in root.rglob("*") if path.is_file())


def test_microcode_is_an_archive_that_the_kernel_reads_where_it_lies(
    tools: Toolchain, packed: Firmware, tmp_path: Path
) -> None:
    assert packed.microcode is not None
    root = unpacked(tools, packed.microcode, tmp_path / "root")
    original = firmware.listing(firmware.package("amd64-microcode"))["amd-ucode/microcode_amd_fam19h.bin"]
    content = (root / "kernel/x86/microcode/AuthenticAMD.bin").read_bytes()
    assert content == original.read_bytes()
    together = packed.together.read_bytes()
    assert together == packed.microcode.read_bytes() + packed.initrd.read_bytes()
    assert content in together  # not compressed


def test_the_system_gets_the_same_files_with_the_licence_of_each_package(packed: Firmware) -> None:
    place = packed.tree / "usr/lib/firmware"
    assert all((place / f"{name}.zst").is_file() for name in packed.files)
    assert packed.packages.keys() == {"wireless-regdb", "amd64-microcode", "firmware-bnx2"}
    copies = [packed.tree / "usr/share/doc" / name / "copyright" for name in packed.packages]
    assert all(copy.stat().st_size > 500 for copy in copies)
    assert packed.missing == {"strange": ("strange.bin",)}


def test_equal_files_make_an_equal_archive(tools: Toolchain, packed: Firmware, tmp_path: Path) -> None:
    archives = []
    for number in (1, 2):
        root = tmp_path / str(number)
        shutil.copytree(packed.tree, root, symlinks=True)
        for path in root.rglob("*"):
            os.utime(path, (number, number), follow_symlinks=False)
        (root / "usr").chmod(0o700 + 5 * number)
        firmware._pack(tools, root, tmp_path / f"{number}.cpio")
        archives.append((tmp_path / f"{number}.cpio").read_bytes())
    assert archives[0] == archives[1]


@pytest.mark.parametrize("name", SMALL)
def test_the_patterns_of_a_package_fit_its_files(name: str) -> None:
    files = firmware.listing(firmware.package(name))
    patterns = firmware_table.load().packages[name].files
    assert [one for one in patterns if not any(fnmatchcase(file, one) for file in files)] == []
    assert [file for file in files if not any(fnmatchcase(file, one) for one in patterns)] == []


def test_a_real_machines_profile_asks_for_the_files_of_the_modules_that_came_along(
    tools: Toolchain, tree: Source, database: Database, tmp_path: Path
) -> None:
    """btintel and cfg80211 are named by no one: btusb and iwlwifi bring them."""
    report = report_file.load(str(REPORTS / "lenovo-20l6s6ru00-thinkpad-t480.json"))
    (tmp_path / "t480.yaml").write_text(detected_profile.make("t480", report, tools, tree).text)
    machine = profile.load(str(tmp_path / "t480.yaml"))
    assert "firmware" in machine.kernel.fragments
    assert machine.kernel.firmware.microcode == ("intel-ucode/06-8e-*",)

    symbols = build.wanted_with_drivers(machine, tools, tree)
    values = kernel.configured(tools, tree, symbols).values
    assert {name: values.get(name) for name in NEEDED} == dict.fromkeys(NEEDED, "y")
    modules = firmware_choice.built_in(database, values)
    asks = firmware_choice.asked(modules, firmware_table.load(), machine.kernel.firmware.only)
    assert asks["iwlwifi"] == ("iwlwifi-8265-36.ucode",)
    assert asks["cfg80211"] == ("regulatory.db", "regulatory.db.p7s")
    assert "intel/ibt-12-16.sfi" in asks["btintel"]
    assert "btrtl" not in asks and "i915/kbl_dmc_ver1_04.bin" in asks["i915"]


def test_a_virtual_machines_kernel_has_no_initramfs_and_no_firmware(tools: Toolchain, tree: Source) -> None:
    machine = profile.load("qemu-x86_64")
    assert build.drivers_firmware(machine, tools, tree) is None
    values = kernel.configured(tools, tree, build.wanted(machine)).values
    assert "BLK_DEV_INITRD" not in values and "FW_LOADER_COMPRESS" not in values
