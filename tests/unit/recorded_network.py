"""What systemd-networkd, resolved and iwd answer for a machine with a cable, Wi-Fi and a switched off port.

The interfaces are as Manager.Describe of networkd 252 printed them here, with what 257 adds (src/network/
networkd-json.c) and the addresses and routes of a machine in use.
"""

import json
from typing import Any

NETWORKD, RESOLVED, IWD = "org.freedesktop.network1", "org.freedesktop.resolve1", "net.connman.iwd"


def route(destination: list[int], length: int, **more: Any) -> dict[str, Any]:
    """A route of the main table, as networkd writes them."""
    return {
        "Family": 2 if len(destination) == 4 else 10,
        "Destination": destination,
        "DestinationPrefixLength": length,
        "Scope": 0,
        "ScopeString": "global",
        "Protocol": 16,
        "ProtocolString": "dhcp",
        "Type": 1,
        "TypeString": "unicast",
        "Priority": 1024,
        "Table": 254,
        "TableString": "main(254)",
        "Preference": 0,
        "Flags": 0,
        "FlagsString": "",
        "ConfigSource": "DHCPv4",
        "ConfigState": "configured",
        **more,
    }


def address(octets: list[int], length: int) -> dict[str, Any]:
    """An address, as networkd writes them."""
    return {
        "Family": 2 if len(octets) == 4 else 10,
        "Address": octets,
        "PrefixLength": length,
        "Scope": 0,
        "ScopeString": "global",
        "Flags": 128,
        "FlagsString": "permanent",
        "ConfigSource": "DHCPv4",
        "ConfigState": "configured",
    }


LOOPBACK: dict[str, Any] = {
    "Index": 1,
    "Name": "lo",
    "Type": "loopback",
    "Flags": 65609,
    "FlagsString": "up,loopback,running,lower-up",
    "KernelOperationalState": 0,
    "KernelOperationalStateString": "unknown",
    "MTU": 65536,
    "AdministrativeState": "unmanaged",
    "OperationalState": "carrier",
    "CarrierState": "carrier",
    "AddressState": "off",
    "OnlineState": None,
    "Addresses": [address([127, 0, 0, 1], 8), address([0] * 15 + [1], 128)],
    "Routes": [
        route(
            [127, 0, 0, 1],
            *(32,),
            Type=2,
            TypeString="local",
            Table=255,
            TableString="local(255)",
            ProtocolString="kernel",
        )
    ],
}
CABLE: dict[str, Any] = {
    "Index": 2,
    "Name": "eth0",
    "Type": "ether",
    "Driver": "virtio_net",
    "Flags": 69699,
    "FlagsString": "up,broadcast,running,multicast,lower-up",
    "KernelOperationalState": 6,
    "KernelOperationalStateString": "up",
    "MTU": 1500,
    "HardwareAddress": [82, 84, 0, 18, 2, 1],
    "BroadcastAddress": [255] * 6,
    "AdministrativeState": "configured",
    "OperationalState": "routable",
    "CarrierState": "carrier",
    "AddressState": "routable",
    "OnlineState": "online",
    "Addresses": [address([10, 0, 2, 15], 24), address([0xFE, 0x80, *[0] * 13, 1], 64)],
    "Routes": [
        route([10, 0, 2, 0], 24, ProtocolString="kernel", Scope=253, ScopeString="link"),
        route([0, 0, 0, 0], 0, Gateway=[10, 0, 2, 2], PreferredSource=[10, 0, 2, 15]),
        route([0xFF, *[0] * 15], 8, Type=5, TypeString="multicast"),
    ],
    "DNS": [
        {"Family": 2, "Address": [10, 0, 2, 3], "ConfigSource": "DHCPv4", "ConfigProvider": [10, 0, 2, 2]}
    ],
}
PORT: dict[str, Any] = {
    "Index": 3,
    "Name": "eth1",
    "Type": "ether",
    "Flags": 4098,
    "FlagsString": "broadcast,multicast",
    "MTU": 1500,
    "HardwareAddress": [82, 84, 0, 18, 2, 2],
    "AdministrativeState": "initialized",
    "OperationalState": "off",
    "CarrierState": "off",
    "OnlineState": None,
}
WIFI: dict[str, Any] = {**PORT, "Index": 4, "Name": "wlan0", "Type": "wlan"}


def described(*interfaces: dict[str, Any]) -> list[Any]:
    """The answer to Describe, for these interfaces or all of this file."""
    return [json.dumps({"Interfaces": list(interfaces) or [LOOPBACK, CABLE, PORT, WIFI]})]


def _network(name: str, kind: str, connected: bool = False, **more: str) -> dict[str, Any]:
    return {
        f"{IWD}.Network": {
            "Name": name,
            "Type": kind,
            "Connected": connected,
            "Device": "/net/connman/iwd/0/4",
            **more,
        }
    }


# GetManagedObjects and GetOrderedNetworks of iwd 3, by its doc/*.txt.
IWD_OBJECTS: list[Any] = [
    {
        "/net/connman/iwd/0": {f"{IWD}.Adapter": {"Name": "phy0", "Powered": True}},
        "/net/connman/iwd/0/4": {
            f"{IWD}.Device": {"Name": "wlan0", "Powered": True, "Mode": "station"},
            f"{IWD}.Station": {"State": "connected", "Scanning": False},
        },
        "/n/home": _network("home", "psk", True, KnownNetwork="/net/connman/iwd/home_psk"),
        "/n/work": _network("the office", "8021x", KnownNetwork="/net/connman/iwd/work_8021x"),
        "/n/cafe": _network("café", "open"),
        "/n/next": _network("next door", "psk"),
    }
]
IWD_ORDERED: list[Any] = [[["/n/home", -4800], ["/n/work", -6050], ["/n/cafe", -7200], ["/n/next", -8800]]]
