"""Reports of machines that do not exist, in every format that `aether detect --report` reads.

One list of devices becomes a Facter report in its full upstream form, the text of `hwinfo --all`, our own
JSON or a reduced report, so that what is said of one format is said of all.
"""

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

from hardware import kinds, report_json
from hardware.cpu_level import flags_of
from hardware.report import Cpu, Device, Firmware, Report

FLAGS = sorted(flags_of("x86-64-v3"))
# The sections of hwinfo's classes that a Facter report may have beside those that devices fall into.
OTHERS = (
    "monitor",
    "printer",
    "scanner",
    "fingerprint",
    "braille",
    "dvb_card",
    "isdn",
    "joystick",
    "raid_controller",
)


def own(devices: Sequence[Device], **fields: Any) -> str:
    """Our own JSON."""
    known = {"name": "Synthetic 1", "kind": "desktop", "virtualisation": "none"}
    cpu = Cpu(vendor="GenuineIntel", flags=tuple(FLAGS), level="x86-64-v3", cores=2, threads=4)
    values = {"architecture": "x86_64", "firmware": Firmware("uefi", 64), "cpu": cpu, **known, **fields}
    return report_json.dumps(Report(source="probe", devices=tuple(devices), memory_bytes=8 << 30, **values))


def reduced(devices: Sequence[Device], **fields: Any) -> str:
    """The form of tests/data/hardware."""
    listed = [
        {
            "bus": one.bus,
            "class": one.kind or kinds.of(one.bus, one.modalias),
            "model": one.name,
            "modalias": one.modalias,
            "driver": one.driver,
            "modules": list(one.modules),
            "drivers": [one.driver] if one.driver else [],
        }
        for one in devices
    ]
    cpu = {"vendor": "GenuineIntel", "family": 6, "model": 142, "model_name": "CPU", "features": FLAGS}
    known = {"kind": "desktop", "firmware": "uefi", "memory_bytes": 8 << 30, "virtualisation": "none"}
    return json.dumps({"name": "synthetic-1", **known, "cpu": cpu, "devices": listed, **fields})


def facter(devices: Sequence[Device], **fields: Any) -> str:
    """A whole facter.json: every section, with the serial numbers and addresses that a real one has."""
    hardware: dict[str, Any] = {name: [] for name in OTHERS}
    for index, one in enumerate(devices, 20):
        kind = one.kind or kinds.of(one.bus, one.modalias) or "unknown"
        hardware.setdefault(kind, []).append(_facter_device(index, kind, one))
    hardware["cpu"] = [
        {
            "architecture": "x86_64",
            "vendor_name": "GenuineIntel",
            "model_name": "Intel(R) Core(TM) i5-7200U CPU @ 2.50GHz",
            "family": 6,
            "model": 142,
            "stepping": 9,
            "features": FLAGS,
            "bugs": ["spectre_v1"],
            "power_management": [""],
            "bogo": 5399.81,
            "cache": 3072,
            "units": 16,
            "physical_id": 0,
            "siblings": 4,
            "cores": 2,
            "fpu": True,
            "address_sizes": {"physical": "0x27", "virtual": "0x30"},
        }
    ]
    hardware["memory"] = [
        {
            "index": 10,
            "attached_to": 0,
            "class_list": ["memory"],
            "base_class": {"hex": "0101", "name": "Internally Used Class", "value": 257},
            "model": "Main Memory",
            "resources": [
                {"type": "mem", "base": 0, "range": 8 << 30, "access": "read_write", "enabled": True},
                {"type": "phys_mem", "range": 8 << 30},
            ],
        }
    ]
    hardware["system"] = {"form_factor": "desktop"}
    hardware["bios"] = {"apm_info": {"supported": False}, "vbe_info": {"version": 0}, "smbios_version": 772}
    hardware["network_interface"] = [
        {
            "index": 90,
            "class_list": ["network_interface"],
            "model": "Loopback network interface",
            "sysfs_id": "/class/net/lo",
            "unix_device_names": ["lo"],
        }
    ]
    smbios = {
        "bios": {"handle": 0, "vendor": "Maker", "version": "1.0", "date": "01/01/2024"},
        "board": {"handle": 2, "manufacturer": "Maker", "product": "Board", "serial": "S3CR3T-4711"},
        "chassis": [{"handle": 3, "manufacturer": "Maker", "chassis_type": {"hex": "0003", "value": 3}}],
        "system": {"handle": 1, "manufacturer": "Maker", "product": "Synthetic 1", "uuid": "left out"},
        "memory_array": [{"handle": 36, "max_size": "0x4000000"}],
        "memory_device": [{"handle": 37, "size": 8388608, "serial": "0x12345678", "speed": 3200}],
        "processor": [{"handle": 48, "socket": "U3E1", "manufacturer": "Intel(R) Corporation"}],
        "cache": [{"handle": 45, "socket": "L1 Cache", "size_max": 128}],
        "port_connector": [{"handle": 5, "port_type": {"hex": "0010", "value": 16}}],
        "slot": [{"handle": 9, "designation": "J6C1"}],
        "group_associations": [{"handle": 60, "name": "$MEI"}],
        "language": [{"handle": 20, "languages": ["en-US"]}],
    }
    known = {"version": 1, "system": "x86_64-linux", "virtualisation": "none"}
    uefi = {"supported": True, "platform_size": 64}
    return json.dumps({**known, "uefi": uefi, "hardware": hardware, "smbios": smbios, **fields}, indent=2)


def _facter_device(index: int, kind: str, one: Device) -> dict[str, Any]:
    number = {"hex": "8086", "name": "Intel Corporation", "value": 0x8086}
    place = f"/devices/pci0000:00/0000:00:{index % 32:02x}.{index % 8}"
    entry: dict[str, Any] = {
        "index": index,
        "attached_to": 0,
        "class_list": [kind, one.bus],
        "bus_type": {"hex": "0004", "name": one.bus.upper(), "value": 4},
        "slot": {"bus": 0, "number": index % 32},
        "base_class": {"hex": "0001", "name": "Mass storage controller", "value": 1},
        "sub_class": {"hex": "0008", "value": 8},
        "vendor": number,
        "sub_vendor": number,
        "device": {"hex": "5917", "value": 0x5917},
        "revision": {"hex": "0001", "value": 1},
        "model": one.name,
        "sysfs_id": f"{place}/{index}",
        "sysfs_bus_id": f"0000:{index:02x}:00.0",
        "sysfs_iommu_group_id": index,
        "resources": [{"type": "irq", "base": 16, "triggered": 0, "enabled": True}],
        "detail": {"function": 0, "command": 1031, "header_type": 0, "secondary_bus": 0, "irq": 16},
        "module_alias": one.modalias,
    }
    if one.driver:
        entry |= {"driver": one.driver, "drivers": [one.driver]}
    if one.modules:
        entry |= {"driver_module": one.modules[0], "driver_modules": list(one.modules)}
    return entry


def hwinfo(devices: Sequence[Device]) -> str:
    """The text of `hwinfo --all`."""
    words = ",".join(FLAGS)
    items = [
        f'None 00.0: 10103 CPU\n  Hardware Class: cpu\n  Arch: X86-64\n  Vendor: "GenuineIntel"\n'
        f'  Model: 6.142.9 "Intel(R) Core(TM) i5"\n  Features: {words}\n  Clock: 3100 MHz',
        'None 00.0: 10102 Main Memory\n  Hardware Class: memory\n  Model: "Memory"\n  Memory Size: 8 GB',
    ]
    for index, one in enumerate(devices):
        kind = (one.kind or kinds.of(one.bus, one.modalias) or "unknown").replace("_", " ")
        lines = [f"{one.bus.upper()} {index:02x}.0: 0300 {kind}", f"  Hardware Class: {kind}"]
        lines += [f'  Model: "{one.name}"', "  Serial ID: S3CR3T-4711", f"  SysFS ID: /devices/x/{index}"]
        if one.driver:
            lines.append(f'  Driver: "{one.driver}"')
        if one.modules:
            lines.append("  Driver Modules: " + ", ".join(f'"{name}"' for name in one.modules))
        if one.modalias:
            lines.append(f'  Module Alias: "{one.modalias}"')
        items.append("\n".join(lines))
    ended = "  Config Status: cfg=new, avail=yes, need=no, active=unknown"
    return "\n\n".join(f"{number:02}: {item}\n{ended}" for number, item in enumerate(items, 1)) + "\n"


FORMATS: dict[str, Callable[[Sequence[Device]], str]] = {
    "own": own,
    "facter": facter,
    "hwinfo": hwinfo,
    "reduced": reduced,
}


def mutated(values: Any, rng: random.Random, depth: int = 0) -> Any:
    """JSON values with some of them gone, doubled or of another type; the same seed gives the same ones."""
    strange: list[Any] = [
        None,
        True,
        -1,
        2**70,
        1.5,
        "",
        "\x00\x1b[31m\u202e",
        "a: [b, {c",
        [],
        {},
        [[]],
        {"a": {}},
        "*" * 300,
    ]
    if depth and rng.random() < 0.04:
        return rng.choice(strange)
    if isinstance(values, dict):
        kept = {key: mutated(value, rng, depth + 1) for key, value in values.items() if rng.random() > 0.03}
        return {**kept, "a key that nobody knows": rng.choice(strange)} if rng.random() < 0.1 else kept
    if isinstance(values, list):
        kept_items = [mutated(value, rng, depth + 1) for value in values if rng.random() > 0.03]
        return kept_items * 2 if rng.random() < 0.03 else kept_items
    return values
