"""What a person calls a device: names out of udev's hardware database.

The database's source files are text (hwdb(7)): lines with a pattern, then lines with properties. Only PCI
and USB names are looked up, by the patterns that udev's own files have. Where there is no database, a
device is called by its kind and its ids. Not for: any text that the device itself tells.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from hardware import clean, kinds
from hardware.report import Device, Report

FOLDERS = (Path("/usr/lib/udev/hwdb.d"), Path("/lib/udev/hwdb.d"))
FILES = ("20-pci-vendor-model.hwdb", "20-usb-vendor-model.hwdb")


def _keys(modalias: str) -> tuple[str, str]:
    """How the database names a device's vendor and the device itself; "" for other buses."""
    if found := re.match(r"pci:v([0-9A-F]{8})d([0-9A-F]{8})", modalias):
        return f"pci:v{found[1]}*", f"pci:v{found[1]}d{found[2]}*"
    if found := re.match(r"usb:v([0-9A-F]{4})p([0-9A-F]{4})", modalias):
        return f"usb:v{found[1]}*", f"usb:v{found[1]}p{found[2]}*"
    return "", ""


def lookup(wanted: Iterable[str], folders: Iterable[Path] = FOLDERS) -> dict[str, str]:
    """The names that the database has for patterns; an unreadable or missing file knows none."""
    keys = frozenset(wanted)
    found: dict[str, str] = {}
    for path in (folder / name for folder in folders for name in FILES):
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        pattern = ""
        for line in lines:
            if line.startswith(("pci:", "usb:")):
                pattern = line
            elif pattern in keys and line.startswith((" ID_MODEL_FROM_", " ID_VENDOR_FROM_")):
                found.setdefault(pattern, clean.name(line.partition("=")[2]))
    return found


def with_names(devices: Iterable[Device], folders: Iterable[Path] = FOLDERS) -> tuple[Device, ...]:
    """The devices, those without a name named where the database knows one."""
    listed = tuple(devices)
    keys = {device.modalias: _keys(device.modalias) for device in listed if not device.name}
    known = lookup((key for pair in keys.values() for key in pair if key), folders)

    def named(device: Device) -> Device:
        vendor, model = (known.get(key, "") for key in keys.get(device.modalias, ("", "")))
        text = f"{short_vendor(vendor)} {model}".strip() if model else ""
        return replace(device, name=text) if text and not device.name else device

    return tuple(map(named, listed))


_COMPANY = "Inc|Incorporated|Corp|Corporation|Co|Ltd|Limited|LLC|GmbH|AG|Electronics|Technology"


def short_vendor(vendor: str) -> str:
    """A vendor without the form of its company: Intel Corporation -> Intel."""
    if bracketed := re.search(r"\[([^\]/]+)[^\]]*\]$", vendor):
        return bracketed[1]
    return re.sub(rf"(?:,? (?:{_COMPANY})\.?)+$", "", vendor).strip(" ,")


def describe(device: Device) -> str:
    """What to call a device in a list or a comment: its name, or its kind with its ids."""
    if device.name:
        return device.name
    word = kinds.WORDS.get(device.kind, device.kind.replace("_", " "))
    if found := re.match(r"pci:v0000([0-9A-F]{4})d0000([0-9A-F]{4})", device.modalias):
        return f"{word} {found[1].lower()}:{found[2].lower()}"
    if found := re.match(r"usb:v([0-9A-F]{4})p([0-9A-F]{4})", device.modalias):
        return f"{word} {found[1].lower()}:{found[2].lower()}"
    return " ".join(part for part in (word, device.bus, device.address) if part)


def name_report(report: Report, folders: Iterable[Path] = FOLDERS) -> Report:
    """The report with the names that this host's database knows: one from an image may have none."""
    return replace(report, devices=with_names(report.devices, folders))
