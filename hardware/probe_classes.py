"""Disks, network interfaces, graphics cards, inputs, consoles and file systems of a running kernel.

The names that people give and the numbers that makers give stay where they are: of a disk its model is
read and never its serial number, of an interface its kind and never its address or name, of an input that
is a Bluetooth device or made by a program not even the name. Not for: devices of buses (probe_devices.py).
"""

import re
from collections.abc import Iterable

from hardware import clean
from hardware.probe_devices import driver_chain, modalias_above
from hardware.report import Block, Device, Graphics, Input, Network
from hardware.sysfs import Tree

# Linux' input bus types (linux/input.h: BUS_*).
BUS_BLUETOOTH, BUS_VIRTUAL = 0x05, 0x06
BUSES = {
    0x01: "pci",
    0x03: "usb",
    0x05: "bluetooth",
    0x06: "virtual",
    0x11: "i8042",
    0x18: "i2c",
    0x19: "host",
    0x1A: "gameport",
    0x1C: "spi",
    0x1D: "rmi",
}
# linux/input-event-codes.h.
BTN_LEFT, BTN_TOOL_PEN, BTN_TOOL_FINGER, BTN_TOUCH, KEY_POWER = 0x110, 0x140, 0x145, 0x14A, 116
REL_X, ABS_X, ABS_MT_X, EV_SW, PROP_DIRECT = 0x00, 0x00, 0x35, 0x05, 0x01
LETTERS = range(1, 32)  # KEY_ESC to KEY_S: what udev too asks of a keyboard


def blocks(tree: Tree, private: Iterable[str]) -> tuple[Block, ...]:
    """Every whole disk that a device stands behind; no partitions, no loop or mapped devices."""
    found = []
    for name in tree.names("sys/class/block"):
        place = f"sys/class/block/{name}"
        if (
            tree.has(f"{place}/partition")
            or not tree.has(f"{place}/device")
            or tree.text(f"{place}/hidden") == "1"
        ):
            continue
        device = _controller(tree, tree.real(f"{place}/device"))
        sectors = tree.number(f"{place}/size")
        vendor, model = (tree.text(f"{place}/device/{part}") for part in ("vendor", "model"))
        model = model or tree.text(f"{place}/device/name")  # what an MMC card calls it
        # Virtio's vendor is a number, a SATA disk's is ATA.
        words = [vendor] if vendor and not vendor.startswith("0x") and vendor != "ATA" else []
        chain = driver_chain(tree, device)
        found.append(
            Block(
                kind=_block_kind(name, device),
                size_bytes=sectors * 512 if sectors else None,
                model=clean.name(" ".join([*words, model]), private),
                rotational=_flag(tree.text(f"{place}/queue/rotational")),
                removable=_flag(tree.text(f"{place}/removable")),
                driver=chain[0] if chain else "",
                modalias=modalias_above(tree, device),
                chain=chain,
            )
        )
    return tuple(found)


def _controller(tree: Tree, device: str) -> str:
    """The folder of a disk's device; of an NVMe disk with several paths, its first controller's."""
    if "/virtual/nvme-subsystem/" in device:
        for name in tree.names(device):
            if re.fullmatch(r"nvme\d+", name) and (place := tree.real(f"{device}/{name}")):
                return place
    return device


def _block_kind(name: str, device: str) -> str:
    if found := re.match(r"nvme|mmc|vd|sr", name):
        return {"nvme": "nvme", "mmc": "mmc", "vd": "virtio", "sr": "optical"}[found[0]]
    if not name.startswith("sd"):
        return "other"
    for mark, kind in (("/usb", "usb"), ("/ata", "sata"), ("/host", "scsi")):
        if mark in device:
            return kind
    return "other"


def _flag(text: str) -> bool | None:
    return {"0": False, "1": True}.get(text)


def networks(tree: Tree) -> tuple[Network, ...]:
    """The interfaces that a device stands behind."""
    found = []
    for name in tree.names("sys/class/net"):
        place = f"sys/class/net/{name}"
        if not (device := tree.real(f"{place}/device")):
            continue
        uevent = tree.text(f"{place}/uevent")
        if tree.has(f"{place}/phy80211") or "DEVTYPE=wlan" in uevent:
            kind = "wifi"
        elif "DEVTYPE=wwan" in uevent:
            kind = "wwan"
        else:
            kind = "ethernet" if tree.text(f"{place}/type") == "1" else "other"
        chain = driver_chain(tree, device)
        found.append(Network(kind, chain[0] if chain else "", modalias_above(tree, device)))
    return tuple(found)


def graphics(devices: Iterable[Device]) -> tuple[Graphics, ...]:
    """The graphics cards among the devices; a virtio one is told by its PCI device."""
    return tuple(
        Graphics(device.name, device.driver, device.modalias)
        for device in devices
        if device.kind == "graphics_card" and not device.parent.startswith("pci/")
    )


def inputs(tree: Tree, private: Iterable[str]) -> tuple[Input, ...]:
    """What a person types on, points with or touches."""
    words = tuple(private)
    found = []
    for name in tree.names("sys/class/input"):
        place = f"sys/class/input/{name}"
        if not re.fullmatch(r"input\d+", name):
            continue
        try:
            number = int(tree.text(f"{place}/id/bustype") or "0", 16)
        except ValueError:
            number = 0
        device = tree.real(place)
        virtual = number == BUS_VIRTUAL or device.startswith("/sys/devices/virtual/")
        # People name their Bluetooth devices, and programs may name theirs for a person.
        nameless = virtual or number == BUS_BLUETOOTH
        chain = driver_chain(tree, device)
        found.append(
            Input(
                kind=_input_kind(tree, place),
                name="" if nameless else clean.name(tree.text(f"{place}/name"), words),
                bus="virtual" if virtual else BUSES.get(number, ""),
                driver=chain[0] if chain else "",
                modalias=modalias_above(tree, device, but="input:"),
            )
        )
    return tuple(found)


def _input_kind(tree: Tree, place: str) -> str:
    """What udev's input_id would say, from what the device can do."""
    keys = _bits(tree.text(f"{place}/capabilities/key"))
    absolute = _bits(tree.text(f"{place}/capabilities/abs"))
    direct = PROP_DIRECT in _bits(tree.text(f"{place}/properties"))
    touches = BTN_TOUCH in keys or ABS_MT_X in absolute
    if keys.issuperset(LETTERS):
        return "keyboard"
    if BTN_TOOL_PEN in keys:
        return "tablet"
    if ABS_X in absolute and touches:
        return "touchpad" if BTN_TOOL_FINGER in keys and not direct else "touchscreen"
    if BTN_LEFT in keys and (ABS_X in absolute or REL_X in _bits(tree.text(f"{place}/capabilities/rel"))):
        return "mouse"
    if KEY_POWER in keys or EV_SW in _bits(tree.text(f"{place}/capabilities/ev")):
        return "button"
    return "other"


def _bits(text: str) -> frozenset[int]:
    """The numbers of the bits that are set in an input bitmap: words of 64 bits, the highest first."""
    found = set()
    for index, word in enumerate(reversed(text.split())):
        try:
            value = int(word, 16)
        except ValueError:
            return frozenset()
        found |= {index * 64 + bit for bit in range(64) if value >> bit & 1}
    return frozenset(found)


def consoles(tree: Tree) -> tuple[str, ...]:
    """The consoles that the kernel writes to."""
    return tuple(clean.name(word) for word in tree.text("sys/class/tty/console/active").split())


def serial_ports(tree: Tree) -> tuple[str, ...]:
    """The serial ports that have a UART."""
    names = [name for name in tree.names("sys/class/tty") if re.fullmatch(r"tty(?:S|AMA)\d+", name)]
    # Type 0 is PORT_UNKNOWN: a number kept for a port that is not there.
    return tuple(name for name in names if (tree.number(f"sys/class/tty/{name}/type") or 0) > 0)


def file_systems(tree: Tree) -> tuple[str, ...]:
    """The kinds of file systems that are mounted from disks."""
    kinds = set()
    for line in tree.text("proc/self/mountinfo").splitlines():
        _, _, after = line.partition(" - ")
        kind, source, *_ = [*after.split(), "", ""]
        if source.startswith("/dev/"):
            kinds.add(clean.name(kind))
    return tuple(sorted(kinds))
