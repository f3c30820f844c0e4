"""`aether detect --profile NAME`: the machine of a report as a profile in machines/.

Not for: the report (detect.py), or what stands in the profile (detected_profile.py).
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builder import detected_profile, driver_choice, kernel_source, profile, toolchain
from builder.cache import write_atomically
from builder.commands import print_json, print_table
from builder.detected_profile import Detected
from builder.errors import AetherError
from hardware.report import Report


def place_of(name: str) -> Path:
    """The file that a new machine's profile goes to; AetherError if there is one of this name."""
    detected_profile.need_name(name)
    path = profile.folders()[0] / f"{name}.yaml"
    # One of the project's machines of this name would be hidden, and a base would extend itself.
    if there := profile.names().get(name) or (path if path.exists() else None):
        raise AetherError(
            f"{there} is there; a profile is never overwritten", hint="name another machine, or remove it"
        )
    return path


def command(name: str, report: Report, given: argparse.Namespace) -> int:
    """Write the profile and say what became of the devices. A machine of that name is left as it is."""
    path = place_of(name)
    tools = toolchain.ensure()
    found = detected_profile.make(name, report, tools, kernel_source.ensure(tools))
    write_atomically(path, found.text)
    profile.load(str(path))  # what was written is read back: a fault shows here, not at the next command
    if given.json:
        print_json(as_values(found, path))
    else:
        show(found, path)
    return 0


def as_values(found: Detected, path: Path) -> Mapping[str, Any]:
    """The outcome for another program: every device with its verdict."""
    return {
        "machine": found.name,
        "profile": str(path),
        "counts": found.counts,
        "symbols_y": found.configuration.symbols_y,
        "config": str(found.configuration.config),
        "packages": dict(found.resolution.packages),
        "firmware": {name: list(files) for name, files in found.resolution.firmware.items()},
        "devices": [
            {
                "name": one.device.name,
                "bus": one.device.bus,
                "modalias": one.device.modalias,
                "verdict": one.kind,
                "modules": list(one.modules),
                "reason": one.reason,
                "remark": one.also,
            }
            for one in found.verdicts
        ],
    }


def show(found: Detected, path: Path) -> None:
    """The outcome for a person: the file, what was found, what was not and why."""
    counts = found.counts
    print(path)
    print(
        f"{len(found.verdicts)} devices, {counts.get('driven', 0)} with a driver;"
        f" a kernel with {found.configuration.symbols_y} symbols set to y, proven"
    )
    rows = [
        (f"  {detected_profile.title(one.device)}", detected_profile.clean(one.reason))
        for one in found.verdicts
        if not one.modules and one.kind != "core"
    ]
    if rows:
        print("without a driver:")
        print_table(list(dict.fromkeys(rows)))
    if core := counts.get("core", 0):
        print(f"{core} more need none: {driver_choice.KINDS['core']}")
    if found.resolution.packages:
        print(f"the running system needs {', '.join(sorted(found.resolution.packages))}")
    print(f"next: aether kernel {found.name}, aether build {found.name}")
