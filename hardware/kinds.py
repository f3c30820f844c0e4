"""What kind of thing a device is, from its modalias, in hwinfo's words.

PCI and USB devices carry a class code, virtio devices a type. Not for: drivers, or a device's own name
(names.py).
"""

import re

# PCI class and subclass (PCI Code and ID Assignment Specification) -> kind; longest prefix wins.
PCI = {
    "01": "storage_controller",
    "02": "network_controller",
    "03": "graphics_card",
    "04": "sound",
    "0400": "camera",
    "05": "memory_controller",
    "06": "bridge",
    "0700": "serial_port",
    "0703": "modem",
    "0805": "mmc_controller",
    "0C00": "firewire_controller",
    "0C03": "usb_controller",
    "0D": "network_controller",
    "0D11": "bluetooth",
    "12": "accelerator",
}
# Class, subclass and protocol of a USB interface (usb.org, "Defined Class Codes") -> kind.
USB = {
    "01": "sound",
    "0202": "modem",
    "0206": "network_controller",
    "020D": "network_controller",
    "020E": "network_controller",
    "030101": "keyboard",
    "030102": "mouse",
    "06": "camera",
    "07": "printer",
    "08": "storage_controller",
    "09": "hub",
    "0B": "chip_card",
    "0E": "camera",
    "E00101": "bluetooth",
    "E00103": "network_controller",
}
# Virtio device types (Virtual I/O Device specification, section 5) -> kind.
VIRTIO = {
    1: "network_controller",
    2: "storage_controller",
    8: "storage_controller",
    16: "graphics_card",
    18: "input",
    25: "sound",
    26: "file_system",
}
BUSES = {
    "ac97": "sound",
    "bluetooth": "bluetooth",
    "hdaudio": "sound",
    "mmc": "disk",
    "sdio": "network_controller",
    "soundwire": "sound",
    "tpm": "tpm",
}
# SCSI device types (SPC-4, table "Peripheral device type").
SCSI = {0x00: "disk", 0x01: "tape", 0x05: "cdrom", 0x07: "disk", 0x0D: "enclosure", 0x0E: "disk"}


def of(bus: str, modalias: str) -> str:
    """The kind of a device, "" where nothing tells."""
    if found := re.match(r"pci:v.*bc([0-9A-F]{2})sc([0-9A-F]{2})i[0-9A-F]{2}", modalias):
        return PCI.get(found[1] + found[2]) or PCI.get(found[1]) or "pci"
    if found := re.match(r"usb:v.*ic([0-9A-F]{2})isc([0-9A-F]{2})ip([0-9A-F]{2})", modalias):
        parts = (found[1] + found[2] + found[3], found[1] + found[2], found[1])
        return next((USB[part] for part in parts if part in USB), "usb")
    if found := re.match(r"virtio:d([0-9A-F]{8})", modalias):
        return VIRTIO.get(int(found[1], 16), "virtio")
    if found := re.match(r"scsi:t-0x([0-9a-f]{2})", modalias):
        return SCSI.get(int(found[1], 16), "scsi")
    return BUSES.get(bus, "")


# What a device is called where no database knows its name; other kinds are words as they are.
WORDS = {
    "accelerator": "accelerator",
    "bluetooth": "Bluetooth",
    "bridge": "bridge",
    "camera": "camera",
    "chip_card": "chip card reader",
    "firewire_controller": "FireWire controller",
    "graphics_card": "graphics",
    "hub": "USB hub",
    "memory_controller": "memory controller",
    "mmc_controller": "SD card reader",
    "network_controller": "network controller",
    "pci": "PCI device",
    "serial_port": "serial port",
    "storage_controller": "storage controller",
    "usb": "USB device",
    "usb_controller": "USB controller",
}
