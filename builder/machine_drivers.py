"""A machine's drivers and their devices, for `aether report`: named in its profile, bound in QEMU.

What is bound is asked of the machine when its boots are measured (`agent hardware --json`) and kept beside
their record. Not for: which driver a device gets (driver_choice.py), or the hardware report (hardware/).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from builder import driver_database, kernel_source
from builder.build import BuiltImage
from builder.cache import write_atomically
from builder.detected_profile import title
from builder.errors import AetherError
from builder.vmdisk import state_dir
from hardware import report_json
from hardware.report import Report

# Where hardware is. Others (platform, pnp, cpu ...) show the same devices once more, or the kernel's own.
BUSES = ("pci", "usb", "virtio", "scsi", "hid", "hdaudio", "soundwire", "i2c", "spi", "serio", "sdio", "mmc")

ASK = ("agent", "hardware", "--json")  # in the guest


@dataclass(frozen=True)
class Driver:
    """A driver that the profile names; `devices` are those that the profile says it is for."""

    name: str
    description: str
    devices: tuple[str, ...]


@dataclass(frozen=True)
class Bound:
    """A device of the virtual machine, and the driver that each system has bound to it; "" for none."""

    device: str
    drivers: Mapping[str, str]  # by the system's machine


def _place(machine: str, system: str) -> Path:
    return state_dir(machine) / f"hardware-{system}.json"


def keep(machine: str, system: str, image: str, said: str) -> None:
    """Keep what a system said of a machine's virtual hardware; ReportError if it is no hardware report."""
    report = report_json.from_values(json.loads(said))
    values = {"image": image, "report": report_json.as_values(report)}
    write_atomically(_place(machine, system), json.dumps(values) + "\n")


def bound(machine: str, images: Mapping[str, str]) -> list[Bound]:
    """The devices that a driver is bound to in any of the systems; `images` has their present keys, by name.

    What another image said is left out.
    """
    found: dict[tuple[str, str], tuple[str, dict[str, str]]] = {}
    for system, image in images.items():
        report = _kept(_place(machine, system), image)
        for device in report.devices if report else ():
            if device.bus not in BUSES:
                continue
            key = (device.bus, device.address or device.modalias)
            found.setdefault(key, (title(device), {}))[1][system] = device.driver
    return [Bound(name, drivers) for name, drivers in found.values() if any(drivers.values())]


def _kept(path: Path, image: str) -> Report | None:
    try:
        kept = json.loads(path.read_text())
        return report_json.from_values(kept["report"]) if kept["image"] == image else None
    except (OSError, ValueError, KeyError, TypeError, report_json.ReportError):
        return None


def drivers_of(built: BuiltImage, notes: list[str]) -> list[Driver]:
    """The drivers that the profile names, with what they say they are and the devices they are there for."""
    names = built.machine.kernel.drivers
    if not names:
        return []
    descriptions: dict[str, str] = {}
    try:
        source = kernel_source.ensure(built.toolchain)
        database = driver_database.ensure(built.toolchain, source)
        for name in names:
            module = database.module(name)
            descriptions[name] = module.description if module else ""
    except AetherError as error:
        notes.append(f"what the drivers are is not known: {error.message}")
    texts: dict[Path, str] = {}
    found = []
    for index, name in enumerate(names):
        place = built.machine.place("kernel", "drivers", index)
        text = texts.setdefault(place.path, place.path.read_text())
        found.append(Driver(name, descriptions.get(name, ""), devices_of(name, text, place.line)))
    return found


def devices_of(driver: str, profile: str, line: int) -> tuple[str, ...]:
    """What a profile's comments say that a driver is for; it is named in line `line`, counted from 1.

    `aether detect` writes a line for each device, `# DEVICE: DRIVER, DRIVER; how they were found`; a person
    may write something behind the name.
    """
    told = re.findall(r"^\s+# (.+?): ((?:[\w-]+, )*[\w-]+); ", profile, re.MULTILINE)
    found = [device for device, drivers in told if driver in drivers.split(", ")]
    behind = re.search(r"\s#\s*(.+)$", profile.splitlines()[line - 1])
    return tuple(found or ([behind[1]] if behind else []))
