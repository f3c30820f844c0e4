"""`aether run` and `aether ask`: a machine's newest image, booted here on the machine's own disk.

Not for: parsing the command line (cli.py), building (build.py), or the virtual machine (vm.py).
"""

import dataclasses
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from builder import boot_record, terminal, vmdisk
from builder.build import BuiltImage, build
from builder.cache import write_atomically
from builder.errors import AetherError
from builder.progress import step
from builder.qemu_command import MachineSpec, memory_bytes
from builder.qemu_process import ShutdownReason
from builder.vm import Machine

LONGEST_QUESTION = 64 * 1024  # bytes; it is one argument of a command in the guest (Linux: 128 KiB)
PATIENCE = 5.0  # seconds that a person who has an answer waits for what still starts
QUESTION = "Who are you?"  # what is asked where nobody can type


@dataclass(frozen=True)
class Options:
    """How a machine is booted here, where that differs from its profile."""

    direct: bool = False  # QEMU loads the kernel; no firmware, no boot loader
    new_disk: bool = False  # begin with an empty memory; the old disk is kept
    memory: str = ""  # "" means the profile's, else like "4G"
    accel: Literal["auto", "kvm", "tcg"] = "auto"
    network: bool = False  # the host's network by NAT; otherwise nothing leaves the machine
    extra: Sequence[str] = ()  # more words for QEMU; files by absolute path
    gate: bool = True  # the kernel's hardening is checked before it is compiled


def spec_of(built: BuiltImage, folder: Path, disk: Path, options: Options) -> MachineSpec:
    """The virtual machine that a profile's `qemu:` section describes."""
    qemu = built.machine.qemu
    return MachineSpec(
        name=built.machine.name,
        folder=folder,
        disk=disk,
        firmware="direct" if options.direct else built.machine.firmware,
        kernel=built.kernel,
        initrd=built.initrd,
        command_line=built.command_line,
        memory=memory_bytes(options.memory or qemu.memory),
        cpus=qemu.cpus,
        cpu=qemu.cpu,
        machine=qemu.machine,
        secure_boot=qemu.secure_boot and not options.direct,
        # Where there is a second entry to boot, a panic is not the end.
        on_panic="reboot" if built.machine.image.fallback and not options.direct else "end",
        devices=tuple(qemu.devices),
        accel=options.accel,
        network=options.network,
        extra=tuple(options.extra),
    )


def prepared(name: str, options: Options) -> tuple[BuiltImage, MachineSpec, bool]:
    """The machine, built, its own disk, up to date with the newest image, and whether that disk is new."""
    if options.memory:
        memory_bytes(options.memory)  # a mistake in it is told before anything is built
    built = build(name, gate=options.gate)
    home = vmdisk.state_dir(built.machine.name)
    size = memory_bytes(built.machine.qemu.disk)
    is_new = options.new_disk or not (home / "disk.raw").exists()
    disk = vmdisk.prepare(built.image, built.layout, home, size, new=options.new_disk)
    spec = spec_of(built, home / "run", disk, options)
    spec = dataclasses.replace(spec, uuid=_kept_uuid(home / "uuid", new=options.new_disk))
    return built, spec, is_new


def run(name: str, options: Options | None = None) -> int:
    """Boot a machine with its agent on this terminal; the exit status.

    Without a terminal one question is asked, its answer printed, and the machine powered off.
    """
    options = options or Options()
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return ask(name, QUESTION, options)
    built, spec, is_new = prepared(name, options)
    spec = dataclasses.replace(spec, extra_kernel_words=terminal.size_words())
    with Machine(spec, tools=built.toolchain, on_terminal=True) as machine:
        _introduce(machine)
        print("‣ Ctrl-A X powers it down, Ctrl-A H shows the other keys", file=sys.stderr)
        machine.start()
        reason = machine.interact()
        if reason is ShutdownReason.VANISHED:
            raise machine.failure("QEMU ended without a reason")
    _record_boot(built, machine, is_new)
    print(f"‣ {name} ended: {reason}; its serial line is in {machine.files.serial_log}", file=sys.stderr)
    return 1 if reason in (ShutdownReason.GUEST_PANIC, ShutdownReason.HOST_ERROR) else 0


def ask(name: str, question: str, options: Options | None = None) -> int:
    """Boot a machine, ask its agent once, print the answer on standard output, power down.

    0 with an answer, 1 if the agent answered with an error. MachineFailed if the machine did not boot.
    """
    if not question.strip():
        raise AetherError("there is no question", hint='aether ask MACHINE "Who are you?"')
    if len(question.encode()) > LONGEST_QUESTION:
        raise AetherError(
            f"the question has {len(question.encode())} bytes; the limit is {LONGEST_QUESTION}",
            hint="`aether run MACHINE`, then /shell, then: agent QUESTION < FILE",
        )
    options = options or Options()
    built, spec, is_new = prepared(name, options)
    with Machine(spec, tools=built.toolchain) as machine, _powered_down(machine):
        _introduce(machine)
        with step(f"Boot {name} until its agent is ready", f"boot {name}"):
            machine.start()
            machine.wait_ready()
        with step("Ask the agent", f"ask {name}"):
            answer = machine.ask(question)
        print(answer.text, flush=True)
        machine.read_boot(PATIENCE)
    _record_boot(built, machine, is_new)
    return 0 if answer.status == 0 else 1


def _record_boot(built: BuiltImage, machine: Machine, is_new: bool) -> None:
    """Keep how long the boot took, for `aether report`; no reason to fail for it."""
    if machine.boot is None:
        return
    path = boot_record.place(built.machine.name)
    try:
        boot_record.add(path, boot_record.of(machine, machine.boot, built.key, first=is_new))
    except OSError as error:
        print(f"  the boot's times are not kept: {error}", file=sys.stderr)


@contextmanager
def _powered_down(machine: Machine) -> Iterator[None]:
    """Power the machine down at the end, and when Ctrl-C comes; a second Ctrl-C cuts the power."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):  # the second is how the command takes SIGTERM
        if machine.running and machine.ready:
            print("\npowering down; Ctrl-C again cuts the power", file=sys.stderr, flush=True)
            machine.powerdown()
        raise
    except AetherError:
        if machine.running and machine.ready:
            machine.powerdown()
        raise
    with step("Power down", f"power down {machine.spec.name}"):
        reason = machine.powerdown()
    if reason is not ShutdownReason.GUEST_SHUTDOWN:
        raise machine.failure(f"the machine did not shut down by itself: {reason}")


def _introduce(machine: Machine) -> None:
    """Say how the machine runs, and what it goes without."""
    print(f"‣ {machine.accel.kind.upper()}: {machine.accel.reason}", file=sys.stderr)
    for note in machine.notes:
        print(f"  {note}", file=sys.stderr)


def _kept_uuid(path: Path, *, new: bool) -> uuid.UUID:
    """The machine's UUID: as long as it keeps its disk, it is the same machine."""
    if new or not path.exists():
        write_atomically(path, f"{uuid.uuid4()}\n")
    return uuid.UUID(path.read_text().strip())
