"""A reduced report: one machine's devices with what was bound to them, and its CPU, as the tests keep them.

    name, kind, firmware, memory_bytes, virtualisation
    cpu: vendor, family, model, model_name, features[]
    devices[]: bus, class, model, modalias, driver, modules[], drivers[]

Not for: reading the file (report_file.py).
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from builder.report_values import entries, modalias, number, section, text, words
from hardware.cpu_level import level_of
from hardware.report import Block, Cpu, Device, Firmware, Graphics, Input, Network, Report
from hardware.report_json import ReportError

INPUTS = ("keyboard", "mouse", "joystick")
DISKS = {"nvme": "nvme", "ide": "sata", "scsi": "scsi", "usb": "usb", "virtio": "virtio", "mmc": "mmc"}


def is_reduced(values: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a reduced report."""
    return {"name", "cpu", "devices"} <= set(values) and "schema" not in values


def from_values(values: Mapping[str, Any]) -> Report:
    """The report; ReportError if there is no device in it."""
    devices = tuple(_devices(entries(values, "devices")))
    if not any(device.modalias or device.driver for device in devices):
        raise ReportError("it is a reduced report without a single device")
    cpu = section(values, "cpu")
    flags = words(cpu, "features")
    firmware = text(values, "firmware")
    return Report(
        source="reduced",
        name=text(values, "name"),
        architecture="x86_64",
        kind=text(values, "kind") or "unknown",
        virtualisation=text(values, "virtualisation") or "unknown",
        firmware=Firmware(firmware if firmware in ("uefi", "bios") else "unknown"),
        cpu=Cpu(
            vendor=text(cpu, "vendor"),
            family=number(cpu, "family"),
            model=number(cpu, "model"),
            model_name=text(cpu, "model_name"),
            flags=flags,
            level=level_of(flags),
        ),
        memory_bytes=number(values, "memory_bytes"),
        devices=devices,
        blocks=tuple(
            Block(DISKS.get(d.bus, "other"), model=d.name, driver=d.driver, chain=(d.driver, *d.chain))
            for d in devices
            if d.kind == "disk"
        ),
        networks=tuple(
            Network("wifi" if "wlan" in d.name.lower() else "ethernet", d.driver, d.modalias)
            for d in devices
            if d.kind == "network_controller"
        ),
        graphics=tuple(Graphics(d.name, d.driver, d.modalias) for d in devices if d.kind == "graphics_card"),
        inputs=tuple(
            Input(d.kind, d.name, d.bus, d.driver, d.modalias) for d in devices if d.kind in INPUTS
        ),
    )


def _devices(listed: tuple[Mapping[str, Any], ...]) -> Iterator[Device]:
    for entry in listed:
        device = Device(
            bus=text(entry, "bus") or "unknown",
            modalias=modalias(entry, "modalias"),
            kind=text(entry, "class"),
            name=text(entry, "model"),
            driver=text(entry, "driver"),
            modules=words(entry, "modules"),
        )
        # All that are bound between the device and its bus; its own is among them.
        others = tuple(driver for driver in words(entry, "drivers") if driver != device.driver)
        yield replace(device, chain=others)
