"""The firmware of a detected machine: what its profile says of microcode and of its drivers' files.

A bare machine's kernel gets the fragment `firmware`; a virtual machine's drivers need no files, and its
processor's microcode is the host's. Not for: which driver needs which file (firmware_choice.py,
kernel-config/firmware.yaml), or the rest of the profile (detected_profile.py).
"""

import json
from collections.abc import Iterable, Mapping, Sequence

from builder import firmware_choice, firmware_table
from builder.driver_choice import Verdict
from builder.driver_database import Module
from builder.firmware import FRAGMENT
from builder.firmware_table import Table
from hardware.report import Report


def fragments(role: str) -> list[str]:
    """The fragments for a machine of this role, beside the role's own."""
    return [] if role == "vm" else [FRAGMENT]


def lines(
    report: Report, role: str, modules: Sequence[Module], verdicts: Sequence[Verdict]
) -> tuple[list[str], list[str]]:
    """The lines of the profile's `kernel.firmware`, and comments on who has the files.

    `modules` are those that the machine's kernel builds in. Nothing for a machine without the fragment.
    """
    if not fragments(role):
        return [], []
    table = firmware_table.load()
    needed = only(modules, verdicts, table)
    asks = firmware_choice.asked(modules, table, needed)
    holders = firmware_table.packages_of({name for some in asks.values() for name in some}, table)
    return section(report, needed), remarks(asks, holders)


def only(modules: Sequence[Module], verdicts: Sequence[Verdict], table: Table) -> dict[str, tuple[str, ...]]:
    """Of the files that these modules may ask for, those that the machine's devices need."""
    asks = firmware_choice.asked(modules, table)
    return {
        module: tuple(one for one in patterns if firmware_choice.fitting(asks[module], [one]))
        for module, patterns in firmware_choice.narrow(verdicts, table).items()
        if module in asks
    }


def section(report: Report, needed: Mapping[str, Sequence[str]]) -> list[str]:
    """The lines of `kernel.firmware`."""
    cpu = report.cpu
    found = []
    if names := firmware_choice.microcode(cpu.vendor, cpu.family, cpu.model):
        found.append(f"    microcode: {_listed(names)}")
    if needed:
        found.append("    only:  # what the devices above need of all that their drivers may ask for")
        found += [f"      {module}: {_listed(files)}" for module, files in needed.items()]
    return ["  firmware:", *found] if found else []


def remarks(asks: Mapping[str, Sequence[str]], holders: Mapping[str, Sequence[str]]) -> list[str]:
    """The comments for what each module asks for and who may have it."""
    if not asks:
        return []
    found = ["", "# Firmware that drivers of this kernel may ask for, put into the image:"]
    nowhere: list[str] = []
    for module, names in asks.items():
        packages = dict.fromkeys(package for name in names for package in holders[name])
        without = [name for name in names if not holders[name]]
        if packages:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            found.append(f"#   {module}: {', '.join(names[:3])}{more} ({', '.join(packages)})")
        if without:
            nowhere.append(f"#   {module}: {', '.join(without[:3])}" + (", ..." if len(without) > 3 else ""))
    if nowhere:
        found += ["", "# Firmware that no Debian package has; what needs it does not work:", *nowhere]
    return found


def _listed(names: Iterable[str]) -> str:
    return f"[{', '.join(json.dumps(name) for name in names)}]"
