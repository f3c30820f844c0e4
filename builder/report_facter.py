"""A NixOS Facter report (`facter.json`) as our report.

Format: https://github.com/numtide/nixos-facter, "version" 1 and 2: `system`, `virtualisation`, `hardware`
(lists of hwinfo's devices by class) and `smbios`. Only what is named here is read; its serial numbers,
addresses and UUIDs are not. Not for: reading the file (report_file.py).
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from builder.report_values import entries, modalias, number, section, text, words
from hardware import clean, kinds
from hardware.cpu_level import level_of
from hardware.probe_machine import DESKTOPS, LAPTOPS, SERVERS, machine_name
from hardware.report import Block, Board, Cpu, Device, Firmware, Graphics, Input, Network, Report, Unread
from hardware.report_json import ReportError

# Sections that list no device a driver is bound to.
NO_DEVICES = frozenset({"bios", "cpu", "memory", "monitor", "partition", "system"})
INPUTS = ("keyboard", "mouse", "joystick")
NEEDED = ("cpu", "memory", "graphics_card", "network_controller", "storage_controller", "usb_controller")


def is_facter(values: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a Facter report."""
    return isinstance(values.get("hardware"), Mapping | list) and "system" in values


def from_values(values: Mapping[str, Any]) -> Report:
    """The report; ReportError if there is no device in it."""
    if isinstance(values.get("hardware"), list):
        raise ReportError("it is of a Facter before version 1", "write it again with a newer nixos-facter")
    hardware = section(values, "hardware")
    found = tuple(_devices(hardware))
    if not any(device.modalias or device.driver for device in found):
        raise ReportError("it is a Facter report without a single device", "run nixos-facter as root")
    board = _board(section(values, "smbios"))
    hypervisor = text(values, "virtualisation") or "unknown"
    processors = _cpu(entries(hardware, "cpu"))
    aliases = {device.driver: device.modalias for device in reversed(found) if device.modalias}
    return Report(
        source="facter",
        name=machine_name(board),
        architecture=text(values, "system").partition("-")[0],
        kind=_kind(values, hypervisor),
        virtualisation=hypervisor,
        board=board,
        firmware=_firmware(values),
        cpu=processors,
        memory_bytes=_memory(hardware),
        devices=found,
        blocks=tuple(_block(entry) for entry in entries(hardware, "disk")),
        networks=tuple(
            _network(entry, aliases) for entry in entries(hardware, "network_interface") if _real(entry)
        ),
        graphics=tuple(
            Graphics(device.name, device.driver, device.modalias)
            for device in found
            if device.kind == "graphics_card"
        ),
        inputs=tuple(
            Input(device.kind, device.name, device.bus, device.driver, device.modalias)
            for device in found
            if device.kind in INPUTS
        ),
        unread=tuple(_lacking(hardware)),
    )


def _lacking(hardware: Mapping[str, Any]) -> Iterator[Unread]:
    for name in NEEDED:
        if not entries(hardware, name):
            yield Unread(name.replace("_", " "), f"the report has no section hardware.{name}")
    yield Unread("ACPI, platform and HID devices", "a Facter report has none")


def _devices(hardware: Mapping[str, Any]) -> Iterator[Device]:
    places: dict[str, str] = {}
    listed: list[tuple[str, Device]] = []
    for name in sorted(hardware):
        if name in NO_DEVICES:
            continue
        for entry in entries(hardware, name):
            if name == "network_interface" and not _real(entry):
                continue
            device = _device(name, entry)
            place = text(entry, "sysfs_device_link") or text(entry, "sysfs_id")
            listed.append((place, device))
            if device.modalias:
                places.setdefault(place, f"{device.bus}/{device.address}")
    drivers = {place: device.driver for place, device in listed if device.modalias and device.driver}
    for place, device in listed:
        # An interface's or disk's own place is that of the device it belongs to.
        above = [str(up) for up in PurePosixPath(place).parents]
        if not device.modalias:
            above = [place, *above]
        yield replace(
            device,
            parent=next((places[up] for up in above if up in places), ""),
            chain=tuple(drivers[up] for up in above if up in drivers),
        )


def _device(name: str, entry: Mapping[str, Any]) -> Device:
    alias = modalias(entry, "module_alias")
    bus = "net" if name == "network_interface" else text(section(entry, "bus_type"), "name").lower()
    modules = words(entry, "driver_modules")
    return Device(
        bus=alias.partition(":")[0] or bus or "unknown",
        modalias=alias,
        kind=name if name not in ("unknown", "pci", "usb") else kinds.of(bus, alias) or name,
        name=text(entry, "model"),
        driver=text(entry, "driver"),
        modules=modules or ((module,) if (module := text(entry, "driver_module")) else ()),
        address=clean.address(text(entry, "sysfs_bus_id")),
    )


def _real(entry: Mapping[str, Any]) -> bool:
    """Whether a network interface is a device, and no bridge, loop or tunnel."""
    return bool(text(entry, "sysfs_device_link") or text(entry, "driver"))


def _network(entry: Mapping[str, Any], aliases: Mapping[str, str]) -> Network:
    driver = text(entry, "driver")
    words = f"{text(section(entry, 'sub_class'), 'name')} {text(entry, 'model')}".lower()
    kind = (
        "wifi" if "wlan" in words or "wireless" in words else "ethernet" if "ethernet" in words else "other"
    )
    return Network(kind, driver, aliases.get(driver, "") if driver else "")


def _block(entry: Mapping[str, Any]) -> Block:
    bus = text(section(entry, "bus_type"), "name").lower()
    link, name = text(entry, "sysfs_device_link"), PurePosixPath(text(entry, "sysfs_id")).name
    if name.startswith("nvme"):
        kind = "nvme"
    elif name.startswith("mmcblk"):
        kind = "mmc"
    elif name.startswith("vd"):
        kind = "virtio"
    elif "/usb" in link:
        kind = "usb"
    else:
        kind = "sata" if "/ata" in link else bus if bus == "scsi" else "other"
    sizes = [size for size in entries(entry, "resources") if size.get("type") == "size"]
    counts = [
        (number(size, "value_1"), number(size, "value_2")) for size in sizes if size.get("unit") == "sectors"
    ]
    size = next((a * b for a, b in counts if a and b), None)
    driver = text(entry, "driver")
    # Listed by name; the one that is bound to the disk itself comes first.
    chain = sorted(words(entry, "drivers"), key=lambda one: one != "sd")
    return Block(
        kind=kind,
        size_bytes=size,
        model=text(entry, "model"),
        driver=chain[0] if chain else driver,
        modalias=modalias(entry, "module_alias"),
        chain=tuple(chain),
    )


def _cpu(listed: tuple[Mapping[str, Any], ...]) -> Cpu:
    if not listed:
        return Cpu()
    first = listed[0]
    flags = words(first, "features")
    # One entry for each socket.
    cores = [number(entry, "cores") or 0 for entry in listed]
    threads = [number(entry, "siblings") or number(entry, "units") or 0 for entry in listed]
    return Cpu(
        vendor=text(first, "vendor_name"),
        family=number(first, "family"),
        model=number(first, "model"),
        stepping=number(first, "stepping"),
        model_name=text(first, "model_name"),
        flags=flags,
        level=level_of(flags),
        cores=sum(cores) or None,
        threads=sum(threads) or None,
    )


def _memory(hardware: Mapping[str, Any]) -> int | None:
    parts = [part for entry in entries(hardware, "memory") for part in entries(entry, "resources")]
    sizes = [number(part, "range") or 0 for part in parts if part.get("type") == "phys_mem"]
    return sum(sizes) or None


def _board(smbios: Mapping[str, Any]) -> Board:
    system, board, bios = (
        section(smbios, name) or _first(smbios, name) for name in ("system", "board", "bios")
    )
    return Board(
        vendor=clean.filled_in(text(system, "manufacturer")),
        product=clean.filled_in(text(system, "product")),
        version=clean.filled_in(text(system, "version")),
        board_vendor=clean.filled_in(text(board, "manufacturer")),
        board_name=clean.filled_in(text(board, "product")),
        bios_vendor=clean.filled_in(text(bios, "vendor")),
        bios_version=clean.filled_in(text(bios, "version")),
        bios_date=clean.filled_in(text(bios, "date")),
    )


def _first(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return next(iter(entries(values, key)), {})


def _kind(values: Mapping[str, Any], hypervisor: str) -> str:
    if hypervisor not in ("none", "unknown"):
        return "vm"
    chassis = section(values, "smbios", "chassis") or _first(section(values, "smbios"), "chassis")
    box = number(section(chassis, "chassis_type"), "value")
    for numbers, name in ((LAPTOPS, "laptop"), (DESKTOPS, "desktop"), (SERVERS, "server")):
        if box in numbers:
            return name
    form = text(section(values, "hardware", "system"), "form_factor").lower()
    return form if form in ("laptop", "desktop", "server") else "unknown"


def _firmware(values: Mapping[str, Any]) -> Firmware:
    supported = section(values, "uefi").get("supported")
    if not isinstance(supported, bool):
        return Firmware()
    return (
        Firmware("uefi", number(section(values, "uefi"), "platform_size")) if supported else Firmware("bios")
    )
