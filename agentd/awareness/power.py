"""Whether the machine has power from a line, and how full its batteries are.

From /sys/class/power_supply (https://docs.kernel.org/power/power_supply_class.html). A mouse's battery is
not the machine's. A machine without any of it costs one listing of an empty folder.
"""

from collections.abc import Collection, Iterator
from pathlib import Path

from agentd.awareness.event import Event, Severity

FOLDER = Path("/sys/class/power_supply")
LOW, EMPTY = 20, 7
MAINS = "power line"


class Power:
    """The power supplies as they were at the last look; `off` and `low` is what an open notice says."""

    def __init__(
        self, folder: Path = FOLDER, *, off: Collection[str] = (), low: Collection[str] = ()
    ) -> None:
        self._folder = folder
        self._online: bool | None = False if off else None
        # How urgent what was said of each battery is.
        self._levels = dict.fromkeys(low, 1)

    def look(self) -> Iterator[Event]:
        """What has changed since the last look."""
        supplies = sorted(self._folder.iterdir()) if self._folder.is_dir() else []
        online: bool | None = None
        for supply in supplies:
            if _text(supply, "scope") == "Device":
                continue
            if _text(supply, "type") == "Battery":
                yield from self._battery(supply)
            elif (line := _text(supply, "online")) in ("0", "1"):
                online = bool(online) or line == "1"
        if online is None:
            return
        known, self._online = self._online, online
        if known is not None and known != online:
            words = "it is back" if online else "it is off"
            severity = Severity.INFO if online else Severity.WARNING
            yield Event("power.line", MAINS, words, severity, source="power", facts={"online": online})

    def _battery(self, supply: Path) -> Iterator[Event]:
        capacity, status = _text(supply, "capacity"), _text(supply, "status")
        if not capacity.isdecimal():
            return
        percent = int(capacity)
        level = 0 if status != "Discharging" else 2 if percent <= EMPTY else 1 if percent <= LOW else 0
        known, self._levels[supply.name] = self._levels.get(supply.name, 0), level
        if level > known:
            severity = Severity.CRITICAL if level == 2 else Severity.WARNING
            facts = {"percent": percent}
            yield Event(
                "power.battery", supply.name, f"{percent} % left", severity, source="power", facts=facts
            )


def _text(folder: Path, name: str) -> str:
    """An attribute; "" where the device has none or is just going."""
    try:
        return (folder / name).read_text(errors="replace").strip()
    except OSError:
        return ""
