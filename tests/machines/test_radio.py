"""A built-in driver finds its firmware before there is a file system, and the kernel mounts its root itself.

The radio rules of cfg80211 stand for any firmware: they are asked for while the kernel starts, and it says
so when they are not there. The radio is mac80211_hwsim's, which needs no hardware.
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

PROFILE = """\
name: radio
extends: pc
kernel:
  fragments: [virtio, firmware]
  drivers: [mac80211_hwsim]
  firmware: {microcode: ["amd-ucode/microcode_amd_fam19h.bin"]}
image: {fallback: false}
qemu: {devices: [disk, net, console, rng]}
"""
NOT_FOUND = "cfg80211: failed to load regulatory.db"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> BuiltImage:
    """The machine with a radio; compiled now if it is not in the cache."""
    path = tmp_path_factory.mktemp("profile") / "radio.yaml"
    path.write_text(PROFILE)
    return build(str(path))


@pytest.fixture(scope="module")
def machine(built: BuiltImage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The machine, booted from its disk by UEFI."""
    folder = tmp_path_factory.mktemp("radio")
    disk = vmdisk.prepare(built.image, built.layout, folder, memory_bytes("2G"))
    with Machine(spec_of(built, folder / "run", disk, Options()), tools=built.toolchain) as made:
        made.start()
        made.wait_ready()
        yield made


def test_the_unified_kernel_image_has_firmware_and_microcode(built: BuiltImage) -> None:
    unified = built.folder / "aetheros.efi"
    sections = built.toolchain.output(["objdump", "-h", unified], readable=[unified])
    assert ".initrd" in sections and ".ucode" in sections
    assert b"kernel/x86/microcode/AuthenticAMD.bin" in unified.read_bytes()


def test_the_driver_has_its_firmware_and_the_root_is_the_system(machine: Machine) -> None:
    said = machine.succeed("dmesg")
    assert "Loading compiled-in X.509 certificates for regulatory database" in said
    assert NOT_FOUND not in said
    assert "phy0" in machine.succeed("ls /sys/class/ieee80211")
    assert machine.succeed("findmnt -n -o FSTYPE /").strip() == "erofs"


def test_what_is_asked_for_later_is_in_the_system(machine: Machine) -> None:
    names = machine.succeed("ls /lib/firmware").split()
    assert {"regulatory.db.zst", "regulatory.db.p7s.zst"} <= set(names)
    assert "ISC" in machine.succeed("cat /usr/share/doc/wireless-regdb/copyright")


def test_without_the_initramfs_the_kernel_says_what_it_misses(
    built: BuiltImage, machine: Machine, tmp_path: Path
) -> None:
    """Or the tests above would pass for a kernel that asks for nothing."""
    machine.powerdown(300)
    disk = vmdisk.prepare(built.image, built.layout, tmp_path, memory_bytes("2G"))
    spec = dataclasses.replace(spec_of(built, tmp_path / "run", disk, Options(direct=True)), initrd=None)
    with Machine(spec, tools=built.toolchain) as bare:
        bare.start()
        bare.wait_ready()
        assert NOT_FOUND in bare.succeed("dmesg")
