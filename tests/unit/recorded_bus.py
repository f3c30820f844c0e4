"""A system bus that answers as systemd 257 does, from what a test says is there; nothing is sent anywhere.

Not for: how agentd's own connection behaves (test_tools_bus.py has a real bus for that).
"""

from collections.abc import Mapping
from typing import Any

from agentd.exec import verbs
from agentd.tools.bus import Bus, Refused
from agentd.tools.tool import Lacking, Plan

SYSTEMD = "org.freedesktop.systemd1"
# What every unit has; a test says what is different.
UNIT: dict[str, Any] = {
    "LoadState": "loaded",
    "ActiveState": "inactive",
    "SubState": "dead",
    "UnitFileState": "disabled",
    "Description": "",
    "LoadError": ["", ""],
    "RefuseManualStart": False,
    "RefuseManualStop": False,
    **{
        name: []
        for name in (
            *("Requires", "BindsTo", "Wants", "Conflicts", "RequiredBy", "RequisiteOf", "BoundBy"),
            *("ConsistsOf", "PropagatesStopTo", "WantedBy", "TriggeredBy", "Triggers"),
        )
    },
}
RUNNING = {"ActiveState": "active", "SubState": "running"}


def for_the_broker(plan: Plan) -> Plan:
    """The plan, whose steps and way back are such as the broker takes."""
    for step in (*plan.steps, *plan.undo):
        verbs.check(step)
    return plan


class RecordedBus(Bus):
    """Services by name: `methods` by "service member", `properties` by service, `units` of systemd."""

    def __init__(
        self,
        methods: Mapping[str, list[Any] | Lacking] | None = None,
        properties: Mapping[str, Mapping[str, Any]] | None = None,
        units: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.methods = dict(methods or {})
        self.properties = {service: dict(found) for service, found in (properties or {}).items()}
        self.units = {name: dict(found) for name, found in (units or {}).items()}
        self.asked: list[tuple[Any, ...]] = []

    def call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        *body: Any,
        patience: float = 5.0,
    ) -> list[Any]:
        """What was recorded; Lacking for a service that a test says nothing of."""
        self.asked.append((destination, member, *body))
        if member == "NameHasOwner":
            return [body[0] in self._services()]
        found = self.methods.get(f"{destination} {member}")
        if isinstance(found, Lacking):
            raise found
        if found is not None:
            return found
        if destination == SYSTEMD and self.units:
            return self._systemd(path, member, body)
        if member == "GetAll" and destination in self.properties:
            return [self.properties[destination]]
        if member == "Get" and destination in self.properties:
            return [self.properties[destination][body[1]]]
        raise Lacking(f"{destination} does not answer: it does not run")

    def _services(self) -> set[str]:
        return {key.partition(" ")[0] for key in self.methods} | self.properties.keys()

    def _systemd(self, path: str, member: str, body: tuple[Any, ...]) -> list[Any]:
        match member:
            case "LoadUnit":
                if "@." in body[0]:
                    raise Refused("systemd refuses: the name is a template's", f"{SYSTEMD}.Error")
                return [f"/unit/{body[0]}"]
            case "GetAll":
                name = path.removeprefix("/unit/")
                there = self.units.get(name)
                missing = {"LoadState": "not-found", "UnitFileState": ""}
                return [{**UNIT, "Id": name, **(missing if there is None else there)}]
            case "ListUnitFilesByPatterns":
                return [[[f"/usr/lib/systemd/system/{name}", "disabled"] for name in self.units]]
            case "ListUnitsByPatterns":
                rows = [
                    [name, "", "loaded", "active", "plugged", "", f"/unit/{name}", 0, "", "/"]
                    for name in self.units
                    if name.endswith(".device")
                ]
                return [rows]
            case "ListJobs":
                return [[]]
        raise Refused("systemd refuses: unknown method", "org.freedesktop.DBus.Error.UnknownMethod")
