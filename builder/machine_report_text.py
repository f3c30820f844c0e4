"""The report of a machine as people and programs read it: a table, JSON.

Not for: the figures (machine_report.py), or the picture (machine_report_picture.py).
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from builder.boot_phases import PHASES, READY
from builder.machine_report import Figure, Report, Section, System

NONE = "-"


def value_text(value: float | None, unit: str) -> str:
    """A value for a person, in three digits: bytes as MB (10^6), seconds, counts whole."""
    if value is None:
        return NONE
    if unit == "bytes":
        return _digits(value / 1e6)
    return f"{value:.2f}" if unit == "s" else f"{value:,.0f}"


def _digits(value: float) -> str:
    size = abs(value)
    digits = 0 if size >= 100 or size == 0 else 1 if size >= 10 else 2 if size >= 0.1 else 3
    return f"{value:,.{digits}f}"


def unit_text(unit: str) -> str:
    """A unit as `value_text` uses it."""
    return {"bytes": "MB", "s": "s"}.get(unit, "")


def ratio_text(ratio: float | None) -> str:
    """The machine's part of the generic one's, in two digits at least."""
    if ratio is None:
        return NONE
    return f"{ratio:.2f}" if ratio >= 0.095 or ratio == 0 else f"{ratio:.3f}"


def heading(found: Report) -> list[str]:
    """What is compared with what."""
    lines = [_said(found.machine)]
    if found.generic is not None:
        lines.append(f"beside {_said(found.generic)}:")
        lines.append(
            "Debian's own stock kernel, in the same QEMU. Ratio = machine / generic; MB = 10^6 bytes"
        )
    return lines


def _said(system: System) -> str:
    return f"{system.machine} (image {system.key}, Linux {system.kernel_version})"


def lines(found: Report) -> list[str]:
    """The whole report for a person."""
    shown = heading(found)
    for section in found.sections:
        shown += ["", *section_lines(section, found)]
    if found.drivers:
        shown += ["", f"Drivers that the profile names: {len(found.drivers)}"]
        for driver in found.drivers:
            shown.append(f"  {driver.name}{f': {driver.description}' if driver.description else ''}")
            shown += [f"      {device}" for device in driver.devices]
    if found.bound:
        shown += ["", "Devices of the virtual machine and the drivers bound to them", *bound_lines(found)]
    if found.notes:
        shown += ["", *(f"note: {note}" for note in found.notes)]
    return shown


def bound_lines(found: Report) -> list[str]:
    """The devices in columns; `?` where a system does not tell of it."""
    systems = [one.machine for one in (found.machine, found.generic) if one is not None]
    rows = [["", *systems]]
    for one in found.bound:
        rows.append([one.device, *(one.drivers.get(system, "?") or NONE for system in systems)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = (zip(row, widths, strict=True) for row in rows)
    return [("  " + "  ".join(text.ljust(width) for text, width in row)).rstrip() for row in cells]


def section_lines(section: Section, found: Report) -> list[str]:
    """A section's title, its figures in columns, its note."""
    if not section.figures:
        return [section.title, *([f"  {section.note}"] if section.note else [])]
    heads = [found.machine.machine]
    if found.generic is not None:
        heads += [found.generic.machine, "ratio"]
    rows = [["", "", *heads], *(_row(figure, len(heads)) for figure in section.figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    shown = [section.title]
    for title, unit, *numbers in rows:
        cells = "  ".join(number.rjust(width) for number, width in zip(numbers, widths[2:], strict=True))
        shown.append(f"  {title.ljust(widths[0])}  {unit.ljust(widths[1])}  {cells}")
    return [*shown, *([f"  {section.note}"] if section.note else [])]


def _row(figure: Figure, columns: int) -> list[str]:
    numbers = [value_text(figure.machine, figure.unit), value_text(figure.generic, figure.unit)]
    return [figure.title, unit_text(figure.unit), *[*numbers, ratio_text(figure.ratio)][:columns]]


def as_json(found: Report, picture: Path) -> dict[str, Any]:
    """The whole report for a program: bytes, seconds and counts as they are, every boot that counts."""
    return {
        "machine": _facts(found.machine),
        "generic": _facts(found.generic) if found.generic else None,
        "sections": {
            section.key: {
                "title": section.title,
                "note": section.note,
                "figures": [{**asdict(figure), "ratio": figure.ratio} for figure in section.figures],
            }
            for section in found.sections
        },
        "phases": [*PHASES, READY],
        "boots": {name: [asdict(boot) for boot in boots] for name, boots in found.boots.items()},
        "drivers": [asdict(driver) for driver in found.drivers],
        "bound": [asdict(one) for one in found.bound],
        "notes": list(found.notes),
        "picture": str(picture),
    }


def _facts(system: System) -> dict[str, str]:
    return {
        "name": system.machine,
        "image": system.key,
        "folder": str(system.folder),
        "kernel": system.kernel_version,
        "command_line": " ".join(system.manifest["command_line"]),
    }
