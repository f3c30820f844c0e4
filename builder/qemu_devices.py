"""The devices that QEMU can give a virtual machine, by the names that profiles use.

Each is a row: what it is, QEMU's words for it (qemu-system-x86_64(1), QEMU 10.0), and the modules that
Linux drives it with, by which a detected machine finds the nearest. Not for: the rest of the command line
(qemu_command.py).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

MachineType = Literal["q35", "pc"]
# The machine types, and the controllers of CONTROLLERS that are part of their chipset.
MACHINES: dict[MachineType, frozenset[str]] = {
    "q35": frozenset({"sata"}),  # ICH9: PCI Express, SATA, SMBus
    "pc": frozenset(),  # i440FX with PIIX3: PCI alone, IDE
}
# Controllers that several devices share; each is there once when one of them needs it.
CONTROLLERS = {
    "sata": ("-device", "ich9-ahci,id=sata"),
    "scsi": ("-device", "virtio-scsi-pci,id=scsi"),
    "xhci": ("-device", "qemu-xhci,id=xhci"),
}


@dataclass(frozen=True)
class Device:
    """One device.

    In `words`, {boot} puts a disk first in the firmware's order, {sata} is the bus of a SATA disk and
    {cid} the machine's vsock address; `kind` is "disk" for those that carry the machine's disk.
    """

    what: str
    words: tuple[str, ...]
    drivers: tuple[str, ...]
    kind: Literal["disk", "network", "tpm", ""] = ""
    on: str = ""  # its controller


def _network(what: str, model: str, name: str, driver: str) -> Device:
    return Device(what, ("-device", f"{model},netdev={name},romfile="), (driver,), "network")


def _tpm(what: str, model: str, driver: str) -> Device:
    words = ("-tpmdev", "emulator,id=tpm,chardev=tpm", "-device", f"{model},tpmdev=tpm")
    return Device(what, words, (driver,), "tpm")


DEVICES = {
    "disk": Device(
        "virtio disk",
        ("-device", "virtio-blk-pci,drive=disk,serial=aetheros{boot}"),
        ("virtio_blk",),
        "disk",
    ),
    "nvme": Device("NVMe disk", ("-device", "nvme,drive=disk,serial=aetheros{boot}"), ("nvme",), "disk"),
    "ahci": Device(
        "SATA disk",
        ("-device", "ide-hd,bus={sata},drive=disk,serial=aetheros{boot}"),
        ("ahci",),
        "disk",
        "sata",
    ),
    "virtio-scsi": Device(
        "SCSI disk on virtio",
        ("-device", "scsi-hd,bus=scsi.0,drive=disk,serial=aetheros{boot}"),
        ("virtio_scsi",),
        "disk",
        "scsi",
    ),
    "usb-storage": Device(
        "USB stick",
        ("-device", "usb-storage,bus=xhci.0,drive=disk,serial=aetheros{boot}"),
        ("xhci_pci", "usb_storage"),
        "disk",
        "xhci",
    ),
    "net": _network("virtio network card", "virtio-net-pci", "net", "virtio_net"),
    "e1000e": _network("Intel 82574L network card", "e1000e", "e1000e", "e1000e"),
    "igb": _network("Intel 82576 network card", "igb", "igb", "igb"),
    "e1000": _network("Intel 82540EM network card", "e1000", "e1000", "e1000"),
    "rtl8139": _network("Realtek 8139 network card", "rtl8139", "rtl8139", "8139cp"),
    # virtio-serial's controller and ports are in qemu_command.py, beside what takes their place.
    "console": Device(
        "virtio ports between host and guest; without them, serial lines", (), ("virtio_console",)
    ),
    "rng": Device(
        "random numbers of the host",
        ("-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng"),
        ("virtio_rng",),
    ),
    "balloon": Device(
        "memory that the host may ask back",
        ("-device", "virtio-balloon-pci,id=balloon,deflate-on-oom=on,free-page-reporting=on"),
        ("virtio_balloon",),
    ),
    "vsock": Device(
        "sockets between host and guest",
        ("-device", "vhost-vsock-pci,guest-cid={cid}"),
        ("vmw_vsock_virtio_transport",),
    ),
    "vga": Device("graphics card", ("-device", "VGA,id=vga"), ("bochs",)),
    "xhci": Device("USB 3 controller", (), ("xhci_pci",), on="xhci"),
    "usb-kbd": Device("USB keyboard", ("-device", "usb-kbd,bus=xhci.0"), ("xhci_pci", "usbhid"), on="xhci"),
    "usb-mouse": Device("USB mouse", ("-device", "usb-mouse,bus=xhci.0"), ("xhci_pci", "usbhid"), on="xhci"),
    "usb-tablet": Device(
        "USB pointer with absolute places",
        ("-device", "usb-tablet,bus=xhci.0"),
        ("xhci_pci", "usbhid"),
        on="xhci",
    ),
    "hda": Device(
        "HD Audio with a codec; its sound goes nowhere",
        (
            *("-audiodev", "none,id=sound", "-device", "ich9-intel-hda,id=hda"),
            *("-device", "hda-duplex,bus=hda.0,audiodev=sound"),
        ),
        ("snd_hda_intel",),
    ),
    "tpm-tis": _tpm("TPM 2.0 on the LPC bus", "tpm-tis", "tpm_tis"),
    "tpm-crb": _tpm("TPM 2.0 in memory", "tpm-crb", "tpm_crb"),
    "isa-ipmi-kcs": Device(
        "management controller (IPMI) of a server",
        ("-device", "ipmi-bmc-sim,id=bmc", "-device", "isa-ipmi-kcs,bmc=bmc"),
        ("ipmi_si",),
    ),
}
DISKS = tuple(name for name, device in DEVICES.items() if device.kind == "disk")
TPMS = tuple(name for name, device in DEVICES.items() if device.kind == "tpm")


def of_kind(names: Iterable[str], kind: str) -> list[str]:
    """Those of the devices that are of a kind."""
    return [name for name in names if DEVICES[name].kind == kind]


def mistake(names: Sequence[str]) -> tuple[str, str] | None:
    """What is wrong with these devices together, and what to do; the names themselves are known."""
    if len(disks := of_kind(names, "disk")) != 1:
        said = " and ".join(disks) or "no device"
        return f"{said} to carry the machine's disk", f"name one of {', '.join(DISKS)}"
    if len(tpms := of_kind(names, "tpm")) > 1:
        return f"{' and '.join(tpms)}: a machine has one TPM", "take one away"
    return None


def device_words(
    machine: MachineType, names: Sequence[str], *, disk: bool, first: bool, network: bool, cid: int
) -> list[str]:
    """QEMU's words for the devices, controllers before what is on them.

    With `disk` the block node `disk` is there to be carried, with `first` the firmware starts from it.
    `network` lets network cards reach the host's network; otherwise their cables end in QEMU.
    """
    sata = "ide.0" if "sata" in MACHINES[machine] else "sata.0"
    values = {"boot": ",bootindex=0" if first else "", "sata": sata, "cid": cid}
    words: list[str] = []
    present = set(MACHINES[machine])
    for name in names:
        device = DEVICES[name]
        if device.kind == "disk" and not disk:
            continue
        if device.on and device.on not in present:
            words += CONTROLLERS[device.on]
            present.add(device.on)
        if device.kind == "network":
            # Isolated: a cable that leads to QEMU's own DHCP and nothing else.
            words += ["-netdev", f"user,id={name}" + ("" if network else ",restrict=on")]
        words += [word.format(**values) for word in device.words]
    return words
