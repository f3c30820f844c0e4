"""The virtual machine that comes nearest to a detected machine, so that `aether run` can show it here.

Every device of it is one that the machine's kernel has the driver of. Not for: the rest of the profile
(detected_profile.py), or the devices themselves (qemu_devices.py).
"""

from collections.abc import Callable, Collection, Sequence

from builder.driver_database import Database
from builder.kbuild_symbols import module_name
from builder.qemu_devices import DEVICES, DISKS, MachineType, of_kind
from hardware.report import Report

# In this order the first that the kernel drives; virtio ones last, which only virtual machines have.
NETWORK = ("e1000e", "igb", "e1000", "rtl8139", "net")
BESIDE = ("vga", "usb-kbd", "usb-tablet", "console", "rng", "balloon")
NEEDS_NO_DRIVER = ("vga",)  # the kernel draws on the screen that the firmware set up


def driven(database: Database, on: Collection[str]) -> Callable[[str], bool]:
    """Whether a kernel with these symbols set to y has a module's driver built in."""

    def is_driven(name: str) -> bool:
        module = database.module(name)
        return (
            module is not None and any(one in on for one in module.symbols) and set(module.inside) <= set(on)
        )

    return is_driven


def devices(report: Report, is_driven: Callable[[str], bool]) -> list[str]:
    """The names of the devices; without one for the disk where the kernel drives none that QEMU has."""
    usable = [name for name, one in DEVICES.items() if all(map(is_driven, one.drivers))]
    own = {module_name(driver) for one in report.blocks for driver in (one.driver, *one.chain)}
    disks = of_kind(usable, "disk")
    same = [name for name in disks if DEVICES[name].drivers[-1] in own]
    found = [*same, *sorted(disks, key=DISKS.index)][:1]
    found += [name for name in NETWORK if name in usable][:1]
    return found + [name for name in BESIDE if name in usable or name in NEEDS_NO_DRIVER]


def machine_type(report: Report) -> MachineType:
    """QEMU's machine type: i440FX for a virtual machine that is one, else PCI Express."""
    return "pc" if "i440fx" in f"{report.name} {report.board.product}".lower() else "q35"


def section(report: Report, is_driven: Callable[[str], bool]) -> Sequence[str]:
    """The lines of the profile."""
    names = devices(report, is_driven)
    if not of_kind(names, "disk"):
        return [
            "",
            "# `aether run` has no virtual machine for it: this kernel drives none of QEMU's disks.",
        ]
    return [
        "",
        "# The virtual machine that comes nearest, for `aether run`: what this kernel has drivers for.",
        "qemu:",
        f"  machine: {machine_type(report)}",
        f"  devices: [{', '.join(names)}]",
    ]
