"""Settings of the machine: its zone, name, locale and keyboard by systemd's services; a screen's brightness.

The services write the files in /etc and tell the kernel: org.freedesktop.timedate1(5), hostname1(5),
locale1(5). systemd starts each when it is asked for.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentd.tools.tool import Lacking

if TYPE_CHECKING:
    from agentd.tools.bus import Bus

BACKLIGHTS = Path("/sys/class/backlight")
# Seconds: the service may have to be started for it.
_TIME = 30.0


def zone(bus: "Bus", name: str) -> None:
    """Set the time zone. Raises Lacking, as all of these do, if it cannot be done."""
    _set(bus, "timedate1", "SetTimezone", "sb", name, False)


def host_name(bus: "Bus", name: str) -> None:
    """Rename the machine, now and for later boots."""
    _set(bus, "hostname1", "SetStaticHostname", "sb", name, False)


def locale(bus: "Bus", name: str) -> None:
    """Set the language and formats of what is started from now on."""
    _set(bus, "locale1", "SetLocale", "asb", [f"LANG={name}"], False)


def keyboard(bus: "Bus", layout: str) -> None:
    """Set the layout of the consoles' keyboard, and the one of a desktop after it."""
    _set(bus, "locale1", "SetVConsoleKeyboard", "ssbb", layout, "", True, False)


def brightness(backlights: Path, device: str, level: int) -> None:
    """Set a screen's brightness, at most what its max_brightness says."""
    folder = backlights / device
    try:
        most = int((folder / "max_brightness").read_text())
        if level > most:
            raise Lacking(f"the brightness of {device} goes up to {most}, not {level}")
        # Never makes a file: sysfs has it, or there is no such screen.
        descriptor = os.open(folder / "brightness", os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.write(descriptor, f"{level}\n".encode())
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        raise Lacking(f"there is no screen {device} whose brightness can be set") from error
    except (OSError, ValueError) as error:
        raise Lacking(f"the brightness of {device} cannot be set: {error}") from error


def _set(bus: "Bus", service: str, method: str, signature: str, *body: Any) -> None:
    name = f"org.freedesktop.{service}"
    bus.call(name, f"/org/freedesktop/{service}", name, method, signature, *body, patience=_TIME)
