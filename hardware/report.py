"""The hardware report: what a machine is, as far as a kernel and an image have to know.

Values only; None, "" and () mean "not known". Nothing in it tells one machine of a model from the next:
no serial number, MAC address, UUID, host or user name. Not for: writing and reading JSON
(report_json.py), what may stand in a text (clean.py), or looking at a machine (probe.py).
"""

from dataclasses import dataclass, field

SCHEMA = "io.aetheros.hardware"
VERSION = 1  # raised when a field changes its meaning or goes away; a new field does not raise it


@dataclass(frozen=True, slots=True)
class Device:
    """One device of a bus: what the kernel matches a driver to."""

    bus: str  # the kernel's subsystem: pci, usb, virtio, acpi, platform, i2c, hid, hdaudio, ...
    modalias: str = ""  # as the kernel writes it; "" where only the driver is known
    kind: str = ""  # in hwinfo's words: network_controller, graphics_card, sound, bridge, ...
    name: str = ""  # what a person calls it: "Intel I210 Gigabit Network Connection"
    # The driver bound to it, by the kernel's name (xhci_hcd); "" for none. Of an ACPI node without one of
    # its own: that of the device it describes.
    driver: str = ""
    modules: tuple[str, ...] = ()  # modules of that driver where known (xhci_pci); () if built in
    address: str = ""  # its name on the bus: 0000:00:1f.3
    parent: str = ""  # "bus/address" of the nearest device above it that is in the report
    chain: tuple[str, ...] = ()  # drivers bound to the devices above it, nearest first


@dataclass(frozen=True, slots=True)
class Cpu:
    """The processors; all of one kind."""

    vendor: str = ""  # CPUID's word: GenuineIntel, AuthenticAMD
    family: int | None = None
    model: int | None = None
    stepping: int | None = None
    model_name: str = ""
    flags: tuple[str, ...] = ()  # in the words of /proc/cpuinfo
    level: str = ""  # x86-64, x86-64-v2, -v3, -v4
    cores: int | None = None
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class Board:
    """What SMBIOS says the machine is."""

    vendor: str = ""
    product: str = ""
    version: str = ""  # Lenovo keeps the name that people know here: "ThinkPad T480"
    board_vendor: str = ""
    board_name: str = ""
    bios_vendor: str = ""
    bios_version: str = ""
    bios_date: str = ""


@dataclass(frozen=True, slots=True)
class Firmware:
    """How it boots."""

    kind: str = "unknown"  # uefi | bios | unknown
    bits: int | None = None  # of UEFI: 64 | 32
    secure_boot: str = "unknown"  # on | off | setup | none (not there at all) | unknown
    tpm: str = "unknown"  # 2.0 | 1.2 | present (version not known) | none | unknown


@dataclass(frozen=True, slots=True)
class Block:
    """A disk."""

    kind: str  # nvme | sata | scsi | usb | mmc | virtio | optical | other
    size_bytes: int | None = None
    model: str = ""
    rotational: bool | None = None
    removable: bool | None = None
    driver: str = ""  # of the device it hangs on: nvme, sd, virtio_blk
    modalias: str = ""  # of the nearest device above it that has one
    chain: tuple[str, ...] = ()  # drivers from the disk up to the bus: sd, uas, xhci_hcd, pcieport


@dataclass(frozen=True, slots=True)
class Network:
    """A network interface that is a device."""

    kind: str  # ethernet | wifi | wwan | other
    driver: str = ""
    modalias: str = ""


@dataclass(frozen=True, slots=True)
class Graphics:
    """A graphics card."""

    name: str = ""
    driver: str = ""
    modalias: str = ""


@dataclass(frozen=True, slots=True)
class Input:
    """Something a person types on, points with or touches."""

    kind: str  # keyboard | mouse | touchpad | touchscreen | tablet | button | other
    name: str = ""
    bus: str = ""  # usb | i8042 | i2c | bluetooth | virtual | ...
    driver: str = ""
    modalias: str = ""  # of the nearest device above it that has one


@dataclass(frozen=True, slots=True)
class Unread:
    """Something that could not be read, and why."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """One machine."""

    source: str  # where it comes from: probe | facter | hwinfo | reduced
    name: str = ""  # of vendor and product, for people and as the stem of a file's name
    architecture: str = ""  # as uname -m says: x86_64
    kind: str = "unknown"  # laptop | desktop | server | vm | unknown
    virtualisation: str = "unknown"  # none | kvm | qemu | vmware | microsoft | oracle | xen | ... | unknown
    kernel: str = ""  # the release that was running: what was bound was bound by that one
    board: Board = field(default_factory=Board)
    firmware: Firmware = field(default_factory=Firmware)
    cpu: Cpu = field(default_factory=Cpu)
    memory_bytes: int | None = None
    devices: tuple[Device, ...] = ()
    blocks: tuple[Block, ...] = ()
    networks: tuple[Network, ...] = ()
    graphics: tuple[Graphics, ...] = ()
    inputs: tuple[Input, ...] = ()
    consoles: tuple[str, ...] = ()  # where the kernel wrote: tty0, ttyS0, hvc0
    serial_ports: tuple[str, ...] = ()  # ports with a UART behind them: ttyS0
    file_systems: tuple[str, ...] = ()  # kinds that are mounted from disks: ext4, vfat
    unread: tuple[Unread, ...] = ()
