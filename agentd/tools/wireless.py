"""Wi-Fi as iwd knows it, over D-Bus (iwd's doc/station-api.txt, network-api.txt, device-api.txt).

Not for: joining a network (network_changes.py), or links of other kinds.
"""

from dataclasses import dataclass

from agentd.tools import network_state
from agentd.tools.bus import Bus
from agentd.tools.tool import Lacking

IWD = "net.connman.iwd"
_STATION, _NETWORK, _DEVICE = f"{IWD}.Station", f"{IWD}.Network", f"{IWD}.Device"


@dataclass(frozen=True, slots=True)
class Network:
    """A network that a station heard in its last scan; `signal` in dBm."""

    name: str
    link: str
    signal: int
    security: str  # open, psk, 8021x, hotspot
    is_known: bool
    is_connected: bool


def networks(bus: Bus) -> tuple[Network, ...]:
    """The networks in reach, by link, the best first. Raises Lacking without iwd or without Wi-Fi."""
    if not network_state.runs(bus, IWD):
        raise Lacking("this machine has no Wi-Fi that runs: iwd, which would do it, does not run")
    objects = bus.call(IWD, "/", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")[0]
    stations = sorted(path for path, interfaces in objects.items() if _STATION in interfaces)
    if not stations:
        raise Lacking("this machine has no Wi-Fi adapter that is switched on")
    found = []
    for station in stations:
        link = str(objects[station].get(_DEVICE, {}).get("Name", ""))
        # Hundredths of a dBm.
        for path, signal in bus.call(IWD, station, _STATION, "GetOrderedNetworks")[0]:
            told = objects.get(path, {}).get(_NETWORK)
            if told is not None:
                found.append(
                    Network(
                        str(told.get("Name", "")),
                        link,
                        round(signal / 100),
                        str(told.get("Type", "")),
                        bool(told.get("KnownNetwork")),
                        bool(told.get("Connected")),
                    )
                )
    return tuple(found)
