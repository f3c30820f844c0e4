"""Devices that come and go, as udev tells them after its rules (libudev's monitor).

The message is that of libudev-monitor.c: a head with the offset and length of properties, which are
"NAME=value" with NUL between. Only root's messages count. What a device says of itself is anybody's text.
Devices that the boot finds, and those that were only asked for again (SYNTH_UUID), are no news.
"""

import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from agentd.awareness import netlink
from agentd.awareness.event import Event, Severity
from agentd.tools.render import size

# Prefix, magic (in network order), size of the head, offset and length of the properties.
_HEAD = struct.Struct("=8sIIII")
_MAGIC = 0xFEEDCAFE
_CREDENTIALS = struct.Struct("=iII")
# Made by programs, not plugged in.
_VIRTUAL = ("loop", "ram", "zram", "dm-", "md", "nbd", "sr", "fd")
_SECTOR = 512


class DeviceEvents:
    """Disks, network cards and USB devices. `settled` is whether the boot has found all that was there."""

    protocol = netlink.UEVENT

    def __init__(self, settled: Callable[[], bool], sys: Path = Path("/sys")) -> None:
        self._settled = settled
        self._sys = sys

    def begin(self, connection: socket.socket) -> None:
        """Nothing can be asked for: what was lost is lost."""

    def take(self, message: bytes, credentials: bytes, sender: int) -> Iterator[Event]:
        """The event of one message of udev's, if it is one for a person."""
        if len(credentials) < _CREDENTIALS.size or _CREDENTIALS.unpack_from(credentials)[1] != 0:
            return
        found = properties(message)
        kind = {"add": "device.added", "remove": "device.removed"}.get(found.get("ACTION", ""))
        if kind is None or "SYNTH_UUID" in found:
            return
        named = _named(found)
        if named is None or (kind == "device.added" and not self._settled()):
            return
        what, subject = named
        words = [_model(found)]
        if what == "disk" and kind == "device.added":
            words.append(self._size(found.get("DEVPATH", "")))
        is_disk_gone = what == "disk" and kind == "device.removed"
        yield Event(
            kind,
            subject,
            ", ".join(word for word in words if word),
            Severity.WARNING if is_disk_gone else Severity.INFO,
            source="udev",
            trust="untrusted" if words[0] else "system",
            facts={"type": what},
        )

    def _size(self, path: str) -> str:
        try:
            sectors = int((self._sys / path.lstrip("/") / "size").read_text())
        except (OSError, ValueError):
            return ""
        return size(sectors * _SECTOR)


def properties(message: bytes) -> dict[str, str]:
    """The properties in a message of udev's; none if it is not one."""
    if len(message) < _HEAD.size:
        return {}
    prefix, magic, _, offset, length = _HEAD.unpack_from(message)
    if prefix != b"libudev\0" or socket.ntohl(magic) != _MAGIC or offset + length > len(message):
        return {}
    lines = message[offset : offset + length].split(b"\0")
    pairs = (line.decode("utf-8", "replace").partition("=") for line in lines if b"=" in line)
    return {name: value for name, _, value in pairs}


def _named(found: dict[str, str]) -> tuple[str, str] | None:
    """What kind of device it is and its name; None for what nobody plugs in."""
    name = found.get("DEVPATH", "").rpartition("/")[2]
    match found.get("SUBSYSTEM"), found.get("DEVTYPE"):
        case "block", "disk" if not name.startswith(_VIRTUAL):
            return "disk", name
        case "net", _ if "/virtual/" not in found.get("DEVPATH", ""):
            return "network", found.get("INTERFACE") or name
        case "usb", "usb_device":
            return "usb", name
    return None


def _model(found: dict[str, str]) -> str:
    """What the device, or the list of known devices, calls it."""
    vendor = found.get("ID_VENDOR_FROM_DATABASE") or found.get("ID_VENDOR", "").replace("_", " ")
    model = found.get("ID_MODEL_FROM_DATABASE") or found.get("ID_MODEL", "").replace("_", " ")
    return model if model.startswith(vendor) else f"{vendor} {model}".strip()
