"""How the network is: links, addresses, routes, as systemd-networkd tells or, without it, the kernel.

agentd's unit may have a network namespace of its own (PrivateNetwork=, systemd.exec(5)): then the kernel
shows nothing of the machine's network, and systemd's device units alone tell which links there are. A
service that does not run is not asked: asking would start it. Not for: names and ports (network.py).
"""

import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from agentd.tools.bus import Bus
from agentd.tools.services import units_that_are
from agentd.tools.tool import Lacking

NETWORKD, NETWORKD_PATH = "org.freedesktop.network1", "/org/freedesktop/network1"
# https://docs.kernel.org/admin-guide/abi-testing.html: a folder for each link.
LINKS = Path("/sys/class/net")
OFF = "The network is off; `systemctl enable --now systemd-networkd` turns it on."
HIDDEN = "More is not known: agentd has no view of the machine's network but what services tell it."
_DEVICES = "sys-subsystem-net-devices-"
# IFF_UP and IFF_LOOPBACK of netdevice(7).
_UP, _LOOPBACK = 0x1, 0x8
_MAIN_TABLE = 254


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface; None is what is not known. `speed` in Mbit/s, `addresses` with their prefix."""

    name: str
    kind: str = ""  # ether, wlan, loopback ...
    mac: str = ""
    is_up: bool | None = None
    has_carrier: bool | None = None
    speed: int | None = None
    mtu: int | None = None
    addresses: tuple[str, ...] = ()
    state: str = ""  # networkd's words: "routable (configured)"

    @property
    def is_loopback(self) -> bool:
        """Whether it is the machine itself at the other end."""
        return self.kind == "loopback"


@dataclass(frozen=True, slots=True)
class Route:
    """A way for packets; "default" for all that no other route is for."""

    to: str
    gateway: str
    link: str
    metric: int
    source: str


@dataclass(frozen=True, slots=True)
class State:
    """The network; `routes` is None where they are not known, `note` is what is to be told beside it."""

    links: tuple[Link, ...]
    routes: tuple[Route, ...] | None
    source: str
    note: str = ""


def look(bus: Bus) -> State:
    """The network as it is. Raises Lacking if nothing tells anything."""
    if runs(bus, NETWORKD):
        return _of_networkd(bus)
    devices = _devices(bus)
    links = kernel_links()
    if set(devices) - {link.name for link in links}:
        found = tuple(Link(name) for name in devices)
        return State(found, None, "org.freedesktop.systemd1", f"{OFF}\n{HIDDEN}")
    # On another system something else than networkd may have set up the network.
    is_off = not any(link.addresses for link in links if not link.is_loopback)
    return State(links, None, str(LINKS), OFF if is_off else "")


def runs(bus: Bus, service: str) -> bool:
    """Whether a service is on the bus; it is not started by this."""
    at = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
    try:
        return bool(bus.call(*at, "NameHasOwner", "s", service)[0])
    except Lacking:
        return False


def is_hidden(bus: Bus) -> bool:
    """Whether agentd has a network namespace of its own, and so does not see the machine's."""
    return bool(set(_devices(bus)) - {path.name for path in _folders()})


def kernel_links() -> tuple[Link, ...]:
    """The links of the network namespace that agentd is in."""
    addresses = _addresses()
    return tuple(_kernel_link(folder, addresses.get(folder.name, ())) for folder in _folders())


def _folders() -> list[Path]:
    # bonding_masters is a file.
    return sorted(path for path in LINKS.iterdir() if path.is_dir()) if LINKS.is_dir() else []


def _kernel_link(folder: Path, addresses: tuple[str, ...]) -> Link:
    flags = int(_attribute(folder, "flags") or "0", 16)
    is_wireless = (folder / "wireless").is_dir() or (folder / "phy80211").exists()
    kind = "loopback" if flags & _LOOPBACK else "wlan" if is_wireless else "ether"
    return Link(
        folder.name,
        kind,
        "" if flags & _LOOPBACK else _attribute(folder, "address"),
        bool(flags & _UP),
        _attribute(folder, "carrier") == "1",
        _speed(folder),
        int(_attribute(folder, "mtu") or 0) or None,
        addresses,
    )


def _attribute(folder: Path, name: str) -> str:
    """What a file of sysfs says, "" if the driver has no answer: EINVAL for the speed of what is down."""
    try:
        return (folder / name).read_text().strip()
    except OSError:
        return ""


def _speed(folder: Path) -> int | None:
    told = _attribute(folder, "speed")
    # -1 where there is no such thing as a speed.
    return int(told) if told.isdecimal() and int(told) else None


def _addresses() -> dict[str, tuple[str, ...]]:
    import psutil

    try:
        found = psutil.net_if_addrs()
    except OSError:  # RestrictAddressFamilies= without AF_NETLINK
        return {}
    return {
        name: tuple(
            _with_prefix(str(one.address), str(one.netmask or ""))
            for one in addresses
            if one.family in (socket.AF_INET, socket.AF_INET6)
        )
        for name, addresses in found.items()
    }


def _with_prefix(address: str, mask: str) -> str:
    # An IPv6 address of one link has "%LINK" behind it.
    plain = address.partition("%")[0]
    return f"{plain}/{int(ip_address(mask)).bit_count()}" if mask else plain


def _devices(bus: Bus) -> tuple[str, ...]:
    """The links that udev told systemd of; never the loopback."""
    try:
        found = units_that_are(bus, ["active"], [f"{_DEVICES}*.device"])
    except Lacking:
        return ()
    names = (str(unit[0]).removeprefix(_DEVICES).removesuffix(".device") for unit in found)
    return tuple(_unescaped(name) for name in names)


def _unescaped(name: str) -> str:
    """A part of a unit's name as systemd-escape(1) --unescape gives it: "br-lan" is "br\\x2dlan" there."""
    return name.encode("ascii", "replace").decode("unicode_escape") if "\\x" in name else name


# ---- systemd-networkd


def _of_networkd(bus: Bus) -> State:
    told = bus.call(NETWORKD, NETWORKD_PATH, f"{NETWORKD}.Manager", "Describe")[0]
    try:
        interfaces = json.loads(told)["Interfaces"]
        links = tuple(_link(one) for one in interfaces)
        routes = tuple(
            _route(route, str(one["Name"]))
            for one in interfaces
            for route in one.get("Routes", ())
            # The kernel's own routes to this machine, and for all that is multicast, are no news.
            if route.get("Table") == _MAIN_TABLE and route.get("TypeString") == "unicast"
        )
    except (ValueError, KeyError, TypeError) as error:
        raise Lacking("systemd-networkd tells of the network in words that agentd does not know") from error
    return State(
        links,
        tuple(sorted(routes, key=lambda route: (route.to != "default", route.metric, route.to))),
        NETWORKD,
    )


def _link(told: dict[str, Any]) -> Link:
    flags = str(told.get("FlagsString", "")).split(",")
    setup = told.get("AdministrativeState") or told.get("SetupState") or ""
    return Link(
        str(told["Name"]),
        str(told.get("Type", "")),
        _mac(told.get("HardwareAddress", ())),
        "up" in flags,
        told.get("CarrierState") in ("carrier", "degraded-carrier", "enslaved"),
        # networkd does not tell; the kernel does, where agentd sees the machine's links.
        _speed(LINKS / str(told["Name"])),
        told.get("MTU"),
        tuple(f"{_plain(one['Address'])}/{one['PrefixLength']}" for one in told.get("Addresses", ())),
        f"{told.get('OperationalState', '')} ({setup})" if setup else "",
    )


def _route(told: dict[str, Any], link: str) -> Route:
    length = told["DestinationPrefixLength"]
    return Route(
        "default" if length == 0 else f"{_plain(told['Destination'])}/{length}",
        _plain(told["Gateway"]) if told.get("Gateway") else "",
        link,
        int(told.get("Priority", 0)),
        str(told.get("ProtocolString") or told.get("ConfigSource") or ""),
    )


def _plain(octets: Iterable[int]) -> str:
    """An address as networkd has it, a list of 4 or 16 octets, in its usual form."""
    return str(ip_address(bytes(octets)))


def _mac(octets: Iterable[int]) -> str:
    return bytes(octets).hex(":")
