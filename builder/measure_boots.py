"""`aether report MACHINE --measure`: boot a machine and the generic image in turns, and keep the times.

Both see the same virtual hardware, the machine's, with a disk of their own that is thrown away; the
person's own disk is not touched. In turns, so that a host that is slow for a while is slow for both. Not
for: what is measured (boot_phases.py), or what comes of it (machine_report.py).
"""

import dataclasses
import shutil
from pathlib import Path

from builder import boot_record, machine_drivers, vmdisk
from builder.build import BuiltImage, build
from builder.cache import lock
from builder.machine_report import GENERIC
from builder.progress import step
from builder.qemu_command import MachineSpec, memory_bytes
from builder.qemu_process import ShutdownReason
from builder.run import Options, spec_of
from builder.vm import Machine

REPEAT = 3
READY_SECONDS = 1200.0  # Debian's kernel and initramfs, every instruction emulated, on a busy host


def measure(built: BuiltImage, repeat: int = REPEAT) -> None:
    """Boot each system once unmeasured, then `repeat` times, and keep the records in the machine's folder.

    Builds the generic image if need be. MachineFailed if one does not come up; what was measured until
    then is kept.
    """
    images = [built] if built.machine.name == GENERIC else [built, build(GENERIC)]
    home = vmdisk.state_dir(built.machine.name)
    folders = {one.machine.name: home / f"measure-{one.machine.name}" for one in images}
    with lock(home / "measure.lock", wait=False, busy=f"boots of {built.machine.name} are being measured"):
        try:
            specs = [subject(built, one, folders[one.machine.name]) for one in images]
            for turn in range(repeat + 1):
                for one, spec in zip(images, specs, strict=True):
                    _boot(built, one, spec, turn, repeat)
        finally:
            for folder in folders.values():
                _throw_away(folder)


def subject(built: BuiltImage, booted: BuiltImage, folder: Path) -> MachineSpec:
    """The virtual machine of `built` with a fresh disk of another image, or of its own."""
    _throw_away(folder)
    size = memory_bytes(built.machine.qemu.disk)
    disk = vmdisk.prepare(booted.image, booted.layout, folder, size)
    return dataclasses.replace(
        spec_of(built, folder, disk, Options()),
        name=booted.machine.name,
        kernel=booted.kernel,
        initrd=booted.initrd,
        command_line=booted.command_line,
    )


def _boot(built: BuiltImage, booted: BuiltImage, spec: MachineSpec, turn: int, repeat: int) -> None:
    """Boot once and keep the times; the first turn is the disk's first boot."""
    which = f"{turn} of {repeat}" if turn else "its first time, which does not count"
    with step(f"Boot {spec.name}, {which}", f"measure {spec.name}"):
        with Machine(spec, tools=built.toolchain) as machine:
            machine.start()
            machine.wait_ready(READY_SECONDS)
            boot = machine.read_boot(READY_SECONDS)
            if boot is None:
                raise machine.failure(f"{spec.name} does not tell how it booted")
            record = boot_record.of(machine, boot, booted.key, first=turn == 0)
            boot_record.add(boot_record.place(built.machine.name), record)
            if turn == repeat:
                said = machine.succeed(machine_drivers.ASK)
                machine_drivers.keep(built.machine.name, spec.name, booted.key, said)
            reason = machine.powerdown()
            if reason is not ShutdownReason.GUEST_SHUTDOWN:
                raise machine.failure(f"{spec.name} did not shut down by itself: {reason}")


def _throw_away(folder: Path) -> None:
    """Remove the disk; logs and what is known of a failure stay."""
    for name in ("disk.raw", ".disk.raw.partial", "disk.json", "OVMF_VARS.fd"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "tpm", ignore_errors=True)
