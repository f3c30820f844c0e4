"""`aether detect`: the report of this machine or of a file, as text, as JSON, into a file.

Not for: what is in a report (hardware/), formats of files (report_file.py), or what a kernel makes of it
(drivers.py).
"""

import argparse
import json
from pathlib import Path

from builder import report_file
from builder.cache import write_atomically
from builder.errors import AetherError
from hardware import report_json, report_text
from hardware.probe import probe
from hardware.report import SCHEMA, Report


def report_of(source: str | None) -> Report:
    """The report of a file (`-` is standard input), or of this machine for None. Raises AetherError."""
    if source is not None:
        return report_file.load(source)
    found = probe()
    if not found.devices:
        raise AetherError(
            "this machine shows no devices", hint="is /sys mounted? in a container it may not be"
        )
    return found


def detect(given: argparse.Namespace) -> int:
    """The command: show the report, or write it where `-o` says."""
    found = report_of(given.report)
    if given.output:
        write(found, Path(given.output))
    if given.profile is not None:
        from builder import detect_profile  # it needs the kernel's source, which a report does not

        return detect_profile.command(given.profile, found, given)
    if given.json:
        print(report_json.dumps(found), end="")
    elif given.output:
        print(f"{given.output}: {found.name or 'unnamed machine'}, {len(found.devices)} devices")
    else:
        print("\n".join(report_text.lines(found)))
    return 0


def write(found: Report, path: Path) -> None:
    """Write the report, whole or not at all. Only a report is replaced. Raises AetherError."""
    if path.is_dir():
        raise AetherError(f"{path} is a folder", hint=f"name a file: {path / 'machine.json'}")
    if path.exists() and not path.is_file():
        raise AetherError(f"{path} is no file", hint="--json writes to standard output")
    if path.exists() and path.stat().st_size and not _is_report(path):
        raise AetherError(
            f"{path} is there and is no hardware report", hint="name another file, or remove it"
        )
    if not path.absolute().parent.is_dir():
        raise AetherError(f"there is no folder {path.absolute().parent}", hint="make it first")
    try:
        write_atomically(path.absolute(), report_json.dumps(found))
    except PermissionError as error:
        raise AetherError(
            f"{path} cannot be written: {error.strerror}", hint="name a file in a folder of yours"
        ) from None


def _is_report(path: Path) -> bool:
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(values, dict) and values.get("schema") == SCHEMA
