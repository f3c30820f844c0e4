"""Three virtual machines that have little in common, and the way of each: generic image, report, own image.

Not for: what is asserted about them (test_machines.py).
"""

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from builder import vmdisk
from builder.build import BuiltImage, build
from builder.qemu_command import MachineSpec, memory_bytes
from builder.qemu_devices import MachineType
from builder.run import QUESTION, Options, spec_of
from builder.vm import Answer, Machine
from hardware import report_json
from hardware.report import Report

T = TypeVar("T")

GENERIC = "generic-x86_64"
REPOSITORY = Path(__file__).parents[2]
# Debian's kernel, its initramfs and its modules, every instruction emulated on two busy cores.
GENERIC_SECONDS = 1200.0
READY_SECONDS = 600.0
BLESSED = "until systemctl is-active -q systemd-bless-boot.service; do sleep 1; done; ls /efi/EFI/Linux"


@dataclass(frozen=True)
class Hardware:
    """A virtual machine: QEMU's machine type and devices, and the drivers that no other of them needs."""

    name: str
    machine: MachineType
    devices: tuple[str, ...]
    own: tuple[str, ...]


THREE = (
    Hardware(
        "q35-nvme",
        "q35",
        ("nvme", "e1000e", "usb-kbd", "usb-mouse", "hda", "tpm-crb", "vga"),
        ("nvme", "e1000e", "snd_hda_intel", "bochs"),
    ),
    Hardware(
        "i440fx-scsi",
        "pc",
        ("virtio-scsi", "net", "console", "rng", "balloon"),
        ("virtio_scsi", "virtio_net", "virtio_console", "virtio_balloon", "ata_piix"),
    ),
    Hardware("q35-usb", "q35", ("usb-storage", "igb", "isa-ipmi-kcs"), ("igb", "ipmi_si")),
)


@dataclass
class Way:
    """What became of one machine on its way from the generic image to its own."""

    hardware: Hardware
    report: Report  # read by the generic image
    detected: dict[str, Any]  # what `aether detect --profile --json` printed
    profile: Path
    built: BuiltImage
    tuned_report: Report  # read by the machine's own image
    answer: Answer
    drivers: frozenset[str]  # every driver that the tuned kernel registered, as /sys calls it
    failed_units: str
    kernels: list[str]  # the unified kernel images of its ESP, once the boot was found good
    serial: str
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def kernel(self) -> dict[str, Any]:
        """kernel.json of the tuned kernel: size_bytes, symbols_y, seconds."""
        record: dict[str, Any] = json.loads(self.built.kernel.with_name("kernel.json").read_text())
        return record

    @property
    def config(self) -> set[str]:
        """The symbols that are y in the tuned kernel, without CONFIG_."""
        lines = self.built.kernel.with_name("config").read_text().splitlines()
        return {line[7:-2] for line in lines if line.startswith("CONFIG_") and line.endswith("=y")}


def spec(hardware: Hardware, built: BuiltImage, folder: Path) -> MachineSpec:
    """The machine with an image on a disk of its own in `folder`."""
    disk = vmdisk.prepare(built.image, built.layout, folder, memory_bytes("4G"))
    shown = spec_of(built, folder / "run", disk, Options())
    return dataclasses.replace(shown, machine=hardware.machine, devices=hardware.devices)


def detect(report: Path, name: str, machines: Path) -> dict[str, Any]:
    """`aether detect --report FILE --profile NAME --json`: the profile goes into `machines`."""
    done = subprocess.run(
        [sys.executable, "-m", "builder.cli", "detect", "--report", report, "--profile", name, "--json"],
        cwd=REPOSITORY,
        env={**os.environ, "AETHER_MACHINES": str(machines)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def read_report(machine: Machine) -> str:
    """What the machine is, in JSON, once udev has loaded what it could."""
    return machine.succeed("udevadm settle --timeout=500 && agent hardware --json", timeout=600)


def generic_report(hardware: Hardware, generic: BuiltImage, folder: Path, seconds: dict[str, float]) -> str:
    """Boot the generic image on the machine and read what it is; the report's JSON."""
    with Machine(spec(hardware, generic, folder), tools=generic.toolchain) as machine:
        machine.start()
        seconds["generic boot"] = machine.wait_ready(GENERIC_SECONDS).seconds
        text = timed(seconds, "report", partial(read_report, machine))
        machine.powerdown(600)
    return text


def walk(hardware: Hardware, generic: BuiltImage, folder: Path) -> Way:
    """The whole way of one machine; 10 minutes where every instruction is emulated."""
    seconds: dict[str, float] = {}
    written = folder / "report.json"
    written.write_text(generic_report(hardware, generic, folder / "generic", seconds))
    machines = folder / "machines"
    machines.mkdir()
    detected = timed(seconds, "detect", lambda: detect(written, hardware.name, machines))
    profile = machines / f"{hardware.name}.yaml"
    built = timed(seconds, "build", lambda: build(str(profile)))
    with Machine(spec(hardware, built, folder / "tuned"), tools=built.toolchain) as machine:
        machine.start()
        seconds["tuned boot"] = machine.wait_ready(READY_SECONDS).seconds
        own = read_report(machine)
        way = Way(
            hardware=hardware,
            report=report_json.from_values(json.loads(written.read_text())),
            detected=detected,
            profile=profile,
            built=built,
            tuned_report=report_json.from_values(json.loads(own)),
            drivers=frozenset(machine.succeed("ls -1 /sys/bus/*/drivers").split()),
            failed_units=machine.succeed("systemctl --failed --no-legend --plain"),
            kernels=machine.succeed(BLESSED, timeout=600).split(),
            answer=timed(seconds, "answer", lambda: machine.ask(QUESTION, max_tokens=12)),
            serial=machine.serial(),
            seconds=seconds,
        )
        machine.powerdown(600)
    return way


def timed(seconds: dict[str, float], what: str, work: Callable[[], T]) -> T:
    """What `work` returns; how long it took goes into `seconds`."""
    started = time.monotonic()
    try:
        return work()
    finally:
        seconds[what] = time.monotonic() - started
