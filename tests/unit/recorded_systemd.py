"""systemd as it answered once: a service on a private bus with the replies of systemd 257 in a container.

tests/data/systemd1/recorded.json has the rows of ListUnits and, by object and interface, properties with
their D-Bus signatures.
"""

import fnmatch
import json
from pathlib import Path
from typing import Any

from dbus_fast.message import Message
from dbus_fast.signature import Variant
from private_bus import Denial, Reply, Service

DATA = Path(__file__).parent.parent / "data/systemd1/recorded.json"
NAME = "org.freedesktop.systemd1"
PATH = "/org/freedesktop/systemd1"
_UNIT_ROWS = "a(ssssssouso)"


class RecordedSystemd:
    """What was recorded, to be changed by a test before it starts the service."""

    def __init__(self) -> None:
        found = json.loads(DATA.read_text())
        self.units: list[list[Any]] = found["units"]
        self.objects: dict[str, dict[str, dict[str, list[Any]]]] = found["objects"]

    def start(self, address: str) -> Service:
        """The service on the bus at `address`."""
        return Service(address, NAME, self.answer)

    def set(self, path: str, interface: str, **values: Any) -> None:
        """Change properties; the signatures stay. `interface` is its last part ("Manager")."""
        properties = self.objects[path][f"{NAME}.{interface}"]
        for name, value in values.items():
            properties[name][1] = value

    def path(self, unit: str) -> str:
        """The object of a unit."""
        return f"{PATH}/unit/" + "".join(
            letter if letter.isalnum() else f"_{ord(letter):02x}" for letter in unit
        )

    def answer(self, message: Message) -> Reply | None:
        """The reply to a call."""
        body, path = message.body, message.path or ""
        match message.member:
            case "ListUnits":
                return _UNIT_ROWS, [self.units]
            case "ListUnitsByPatterns":
                states, patterns = body
                return _UNIT_ROWS, [[unit for unit in self.units if _is_meant(unit, states, patterns)]]
            case "LoadUnit":
                if self.path(body[0]) in self.objects:
                    return "o", [self.path(body[0])]
                return "o", [self.path("nonsense.service")]
            case "GetAll":
                found = self.objects.get(path, {}).get(body[0])
                if found is None:
                    raise Denial("org.freedesktop.DBus.Error.UnknownInterface", f"no {body[0]} here")
                return "a{sv}", [{name: Variant(*value) for name, value in found.items()}]
            case "Get":
                return "v", [Variant(*self.objects[path][body[0]][body[1]])]
        raise Denial("org.freedesktop.DBus.Error.UnknownMethod", f"no {message.member} here")


def _is_meant(unit: list[Any], states: list[str], patterns: list[str]) -> bool:
    is_state = not states or bool({unit[2], unit[3], unit[4]} & set(states))
    return is_state and (not patterns or any(fnmatch.fnmatch(unit[0], pattern) for pattern in patterns))
