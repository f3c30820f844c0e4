"""The text that `hwinfo --all` writes, as our report.

The text is a list of items: a line `NN: BUS SLOT: CLASS NAME`, then lines `  Key: value`, the last of which
is `Config Status` (openSUSE hwinfo, src/hd/hdp.c). Only the keys named here are read; `Serial ID`,
`HW Address`, `UUID` and the names below /dev/disk/by-id are not. Not for: reading the file
(report_file.py).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from hardware import clean, kinds
from hardware.cpu_level import level_of
from hardware.probe_machine import DESKTOPS, LAPTOPS, SERVERS, machine_name
from hardware.report import Block, Board, Cpu, Device, Firmware, Graphics, Input, Network, Report, Unread
from hardware.report_json import LARGEST_LIST, ReportError

HEAD = re.compile(r"(\d+): (\S.*?) +[0-9a-f]+\.[0-9a-f]+: +([0-9a-f]{3,5}) +(.*)")
LONGEST_HEAD = 300  # characters; a longer line is no head, and matching it would take long
# hwinfo's words -> ours, where they differ in more than the blanks.
CLASSES = {
    "network": "network_controller",
    "storage": "storage_controller",
    "chipcard_reader": "chip_card",
}
NO_DEVICES = frozenset({"bios", "cpu", "memory", "monitor", "partition", "system"})
INPUTS = ("keyboard", "mouse", "joystick")
UNITS = {"kB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}


@dataclass
class Item:
    """One item of the text: its lines' values by key; `parts` are those of a BIOS item's tables."""

    number: int
    bus: str
    title: str
    values: dict[str, str] = field(default_factory=dict)
    parts: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """hwinfo's class, in our words."""
        name = self.values.get("Hardware Class", "").lower().replace(" ", "_")
        return CLASSES.get(name, name)

    def name(self, key: str) -> str:
        """The quoted part of a value, or all of it, as a report may have it."""
        value = self.values.get(key, "")
        quoted = re.search(r'"(.*)"', value)
        return clean.name(quoted[1] if quoted else value)

    @property
    def modalias(self) -> str:
        """The modalias, of whatever length."""
        return clean.modalias(self.values.get("Module Alias", "").strip('"'))

    def quoted(self, key: str) -> tuple[str, ...]:
        """Every quoted word of a value: `"ahci", "sd"`."""
        return tuple(clean.name(word) for word in re.findall(r'"([^"]*)"', self.values.get(key, "")))


def is_hwinfo(text: str) -> bool:
    """Whether a text has at least one item of hwinfo's."""
    heads = (line for line in text.splitlines() if len(line) <= LONGEST_HEAD)
    return "Hardware Class:" in text and any(map(HEAD.match, heads))


def from_text(text: str) -> Report:
    """The report; ReportError if the text is cut off or has no device."""
    items = _items(text.splitlines())
    if items and "Config Status" not in items[-1].values:
        raise ReportError(
            f"it ends in the middle of item {items[-1].number} ({clean.shown(items[-1].title, 40)})",
            "write it again: hwinfo --all > FILE, and copy the whole file",
        )
    if len(items) > LARGEST_LIST:
        raise ReportError(f"it has {len(items)} items; no machine has more than {LARGEST_LIST}")
    listed = [item for item in items if item.kind not in NO_DEVICES]
    devices = tuple(_devices(listed))
    if not any(device.modalias for device in devices):
        raise ReportError("there is no device with a modalias in it", "write it with: hwinfo --all > FILE")
    board = _board([item for item in items if item.kind == "bios"])
    processors = _cpu([item for item in items if item.kind == "cpu"])
    hypervised = "hypervisor" in processors.flags
    return Report(
        source="hwinfo",
        name=machine_name(board),
        architecture=_architecture(items, processors),
        kind="vm" if hypervised else _box(items),
        virtualisation="unknown" if hypervised or not processors.flags else "none",
        board=board,
        firmware=Firmware(),
        cpu=processors,
        memory_bytes=_memory([item for item in items if item.kind == "memory"]),
        devices=devices,
        blocks=tuple(_block(item) for item in listed if item.kind == "disk"),
        networks=tuple(_networks(listed, devices)),
        graphics=tuple(
            Graphics(device.name, device.driver, device.modalias)
            for device in devices
            if device.kind == "graphics_card"
        ),
        inputs=tuple(
            Input(device.kind, device.name, device.bus, device.driver, device.modalias)
            for device in devices
            if device.kind in INPUTS
        ),
        serial_ports=tuple(_serial_ports(items)),
        unread=tuple(_lacking(items)),
    )


def _items(lines: Sequence[str]) -> list[Item]:
    found: list[Item] = []
    part: dict[str, str] | None = None
    for line in lines:
        if len(line) <= LONGEST_HEAD and (head := HEAD.match(line)):
            found.append(Item(int(head[1][:9]), head[2], head[4]))
            part = None
        elif found and (pair := re.match(r"\s*([A-Za-z][\w ()/.#-]*?):\s?(.*)", line)):
            key, value = pair[1], pair[2].strip()
            if re.fullmatch(r"#\d+", value):
                # "System Info: #1": the lines up to the next table are of SMBIOS.
                part = found[-1].parts.setdefault(key, {})
            elif part is not None and key != "Config Status":
                part.setdefault(key, value)
            else:
                # The first one counts: what follows "Driver Info #0" repeats keys for other drivers.
                found[-1].values.setdefault(key, value)
    return found


def _lacking(items: Sequence[Item]) -> Iterator[Unread]:
    have = {item.kind for item in items}
    for name in ("cpu", "memory", "storage_controller", "usb_controller"):
        if name not in have:
            yield Unread(name.replace("_", " "), "the text has no such item")
    yield Unread("firmware, Secure Boot, TPM", "hwinfo does not tell")
    yield Unread("ACPI, platform and HID devices", "hwinfo does not tell")


def _devices(items: Sequence[Item]) -> Iterator[Device]:
    listed = [(_place(item), _device(item)) for item in items if "SysFS ID" in item.values]
    listed = [(place, device) for place, device in listed if device.modalias or device.driver]
    places = {place: device for place, device in reversed(listed) if device.modalias}
    for place, device in listed:
        above = [str(up) for up in PurePosixPath(place).parents]
        if not device.modalias:
            above = [place, *above]
        parents = [places[up] for up in above if up in places]
        yield replace(
            device,
            parent=f"{parents[0].bus}/{parents[0].address}" if parents else "",
            chain=tuple(parent.driver for parent in parents if parent.driver),
        )


def _place(item: Item) -> str:
    return item.values.get("SysFS Device Link") or item.values.get("SysFS ID", "")


def _device(item: Item) -> Device:
    alias = item.modalias
    bus = "net" if item.kind == "network_interface" else item.bus.lower()
    drivers = item.quoted("Driver")
    known = kinds.of(alias.partition(":")[0], alias)
    return Device(
        bus=alias.partition(":")[0] or bus,
        modalias=alias,
        kind=known or "unknown" if item.kind in ("unknown", "") else item.kind,
        name=item.name("Model"),
        # Of a disk's drivers the last is the disk's own; of a card's the only one.
        driver=drivers[-1] if drivers else "",
        modules=item.quoted("Driver Modules"),
        address=clean.address(item.name("SysFS BusID")),
    )


def _block(item: Item) -> Block:
    place, name = _place(item), PurePosixPath(item.values.get("SysFS ID", "")).name
    kind = "other"
    for begin, found in (("nvme", "nvme"), ("mmcblk", "mmc"), ("vd", "virtio"), ("sr", "optical")):
        if name.startswith(begin):
            kind = found
    if kind == "other" and name.startswith("sd"):
        kind = "usb" if "/usb" in place else "sata" if "/ata" in place or item.bus == "IDE" else "scsi"
    capacity = re.search(r"\((\d{1,18}) bytes\)", item.values.get("Capacity", ""))
    sectors = re.match(r"(\d{1,18}) sectors a (\d{1,5}) bytes", item.values.get("Size", ""))
    size = int(capacity[1]) if capacity else int(sectors[1]) * int(sectors[2]) if sectors else None
    chain = tuple(reversed(item.quoted("Driver")))
    return Block(
        kind=kind,
        size_bytes=size or None,
        model=item.name("Model"),
        driver=chain[0] if chain else "",
        modalias=item.modalias,
        chain=chain,
    )


def _networks(items: Sequence[Item], devices: Sequence[Device]) -> Iterator[Network]:
    """The interfaces that are devices: those have a link to one."""
    aliases = {device.driver: device.modalias for device in reversed(devices) if device.modalias}
    for item in items:
        if item.kind == "network_interface" and "SysFS Device Link" in item.values:
            driver = next(iter(item.quoted("Driver")), "")
            words = f"{item.title} {item.name('Model')}".lower()
            kind = "wifi" if "wlan" in words or "wireless" in words else "ethernet"
            yield Network(
                kind if kind == "wifi" or "ethernet" in words else "other", driver, aliases.get(driver, "")
            )


def _serial_ports(items: Sequence[Item]) -> Iterator[str]:
    for item in items:
        if item.title.startswith("Serial controller"):
            name = item.values.get("Device File", "").partition(" ")[0].rpartition("/")[2]
            if re.fullmatch(r"ttyS\d+", name):
                yield name


def _cpu(items: Sequence[Item]) -> Cpu:
    if not items:
        return Cpu()
    first = items[0]
    numbers = re.match(r"(\d{1,4})\.(\d{1,4})\.(\d{1,4}) ", first.values.get("Model", "") + " ")
    family, model, stepping = (int(number) for number in numbers.groups()) if numbers else (None, None, None)
    flags = tuple(
        clean.name(flag.strip()) for flag in first.values.get("Features", "").split(",") if flag.strip()
    )
    return Cpu(
        vendor=first.name("Vendor"),
        family=family,
        model=model,
        stepping=stepping,
        model_name=first.name("Model") if '"' in first.values.get("Model", "") else "",
        flags=flags,
        level=level_of(flags),
        threads=len(items),
    )


def _architecture(items: Sequence[Item], processors: Cpu) -> str:
    if "lm" in processors.flags:
        return "x86_64"
    named = next((item.values["Arch"] for item in items if "Arch" in item.values), "").lower()
    return {"x86-64": "x86_64", "intel": "i686"}.get(named, clean.name(named))


def _memory(items: Sequence[Item]) -> int | None:
    size = " ".join(item.values.get("Memory Size", "") for item in items)
    parts = re.findall(r"(\d{1,9}) (kB|MB|GB|TB)", size)
    return sum(int(count) * UNITS[unit] for count, unit in parts) or None


def _box(items: Sequence[Item]) -> str:
    """What kind of box it is: by SMBIOS' chassis, or what hwinfo makes of it."""
    for item in items:
        number = re.match(r"0x([0-9a-f]{2})\b", item.parts.get("Chassis Info", {}).get("Type", ""))
        for numbers, name in ((LAPTOPS, "laptop"), (DESKTOPS, "desktop"), (SERVERS, "server")):
            if number and int(number[1], 16) in numbers:
                return name
    form = next((item.name("Formfactor") for item in items if "Formfactor" in item.values), "")
    return form if form in ("laptop", "desktop", "server") else "unknown"


def _board(items: Sequence[Item]) -> Board:
    parts = {key: part for item in items for key, part in item.parts.items()}

    def of(part: str, key: str) -> str:
        return clean.filled_in(parts.get(part, {}).get(key, "").strip('"'))

    return Board(
        vendor=of("System Info", "Manufacturer"),
        product=of("System Info", "Product"),
        version=of("System Info", "Version"),
        board_vendor=of("Board Info", "Manufacturer"),
        board_name=of("Board Info", "Product"),
        bios_vendor=of("BIOS Info", "Vendor"),
        bios_version=of("BIOS Info", "Version"),
        bios_date=of("BIOS Info", "Date"),
    )
