"""The boots of a machine's images in QEMU on this host, kept in its state folder: boots.jsonl.

One JSON object a line; the last KEPT of each image's machine. `aether run`, `aether ask` and `aether
report --measure` add to it. A record is only a record: a line that cannot be read is passed over, and a
boot whose phases are not known is not kept. Not for: measuring a boot (boot_phases.py), or comparing
them (machine_report.py).
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from builder.boot_phases import READY, Boot
from builder.cache import digest, lock, write_atomically
from builder.qemu_command import MachineSpec
from builder.vm import Machine
from builder.vmdisk import state_dir

KEPT = 20  # boots of a machine


@dataclass(frozen=True)
class Record:
    """One boot: what was booted, on what, and seconds by the names of boot_phases.

    `first`: the first boot of its disk, which makes the machine id and grows the data partition.
    """

    machine: str  # whose image it was
    image: str  # its key
    kernel: str  # as `uname -r` says it: of a fallback, Debian's
    hardware: str  # see hardware_key
    accelerator: str  # kvm or tcg
    first: bool
    at: str  # UTC, as 2026-11-22T20:15:03Z
    seconds: dict[str, float]


def hardware_key(spec: MachineSpec) -> str:
    """The same for virtual machines that look the same to what boots in them."""
    return digest(
        [spec.firmware, spec.machine, spec.cpu, spec.cpus, spec.memory, sorted(spec.devices)],
        [spec.network, list(spec.extra), spec.icount, spec.secure_boot],
    )


def place(machine: str) -> Path:
    """The file for the boots on the virtual hardware of a machine."""
    return state_dir(machine) / "boots.jsonl"


def of(booted: Machine, boot: Boot, image: str, *, first: bool) -> Record:
    """The record of what a virtual machine told of its boot; `image` is the key of what it booted."""
    return Record(
        machine=booted.spec.name,
        image=image,
        kernel=boot.kernel,
        hardware=hardware_key(booted.spec),
        accelerator=booted.accel.kind,
        first=first,
        at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        seconds=dict(boot.seconds),
    )


def add(path: Path, record: Record) -> None:
    """Keep a record, and of each machine the last KEPT."""
    with lock(path.with_suffix(".lock"), wait=True, busy=f"{path} is being written"):
        records = [*read(path), record]
        last = [
            one
            for at, one in enumerate(records)
            if sum(later.machine == one.machine for later in records[at + 1 :]) < KEPT
        ]
        write_atomically(path, "".join(f"{json.dumps(asdict(one))}\n" for one in last))


def read(path: Path) -> list[Record]:
    """The records of a file, oldest first; lines that are none are passed over."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    return [record for line in lines if (record := _parsed(line)) is not None]


def _parsed(line: str) -> Record | None:
    try:
        said = json.loads(line)
        seconds = {str(name): float(value) for name, value in said["seconds"].items()}
        texts = ("machine", "image", "kernel", "hardware", "accelerator", "at")
        if not all(isinstance(said[name], str) for name in texts) or READY not in seconds:
            return None
        return Record(**{name: said[name] for name in texts}, first=bool(said["first"]), seconds=seconds)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def chosen(
    records: Sequence[Record], *, machine: str, image: str, kernel: str, hardware: str, accelerator: str
) -> list[Record]:
    """The boots of one image with its own kernel on one hardware, oldest first.

    First boots of a disk do more than others: they count only where there are no others.
    """
    wanted = (machine, image, kernel, hardware, accelerator)
    found = [
        one
        for one in records
        if (one.machine, one.image, one.kernel, one.hardware, one.accelerator) == wanted
    ]
    return [one for one in found if not one.first] or found
