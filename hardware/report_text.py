"""A report as a person reads it on a terminal. Not for: JSON (report_json.py)."""

from collections import Counter
from collections.abc import Iterator

from hardware.names import describe
from hardware.report import Block, Device, Report

# In this order; what else there is comes after, by name.
ORDER = (
    *("storage_controller", "network_controller", "graphics_card", "sound", "usb_controller", "bluetooth"),
    *("camera", "keyboard", "mouse", "mmc_controller", "firewire_controller", "chip_card"),
)
# Parts of every computer of a kind: counted, not listed.
COUNTED = ("", "bridge", "hub", "pci", "virtio", "usb", "disk", "network_interface", "unknown")


def lines(report: Report) -> Iterator[str]:
    """The report's lines, without a newline at their ends."""
    for name, value in _facts(report):
        if value:
            yield f"{name:14}  {value}"
    yield ""
    kinds = {device.kind for device in report.devices if device.kind not in COUNTED}
    for kind in sorted(kinds, key=lambda one: (ORDER.index(one) if one in ORDER else len(ORDER), one)):
        counted = Counter(_line(device) for device in report.devices if device.kind == kind)
        for index, (text, count) in enumerate(counted.items()):
            title = (
                kind.replace("_", " ").removesuffix(" controller").removesuffix(" card") if not index else ""
            )
            yield f"{title:14}  {text}" + (f" (x{count})" if count > 1 else "")
    for index, block in enumerate(report.blocks):
        yield f"{'' if index else 'disk':14}  {_disk(block)}"
    yield ""
    bound = sum(bool(device.driver) for device in report.devices)
    yield f"{len(report.devices)} devices, {bound} with a driver bound"
    for unread in report.unread:
        yield f"not read: {unread.what}: {unread.reason}"


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    cpu, firmware, board = report.cpu, report.firmware, report.board
    below = "" if report.virtualisation in ("none", "unknown") else f" ({report.virtualisation})"
    kind = "" if report.kind == "unknown" else f"{report.kind}{below}"
    yield "machine", ", ".join(part for part in (report.name, kind) if part)
    parts = [cpu.model_name or cpu.vendor, cpu.level]
    if cpu.threads:
        parts.append(f"{cpu.cores or '?'} cores, {cpu.threads} threads")
    yield "processor", ", ".join(part for part in parts if part)
    yield "memory", f"{report.memory_bytes / 2**30:.1f} GiB" if report.memory_bytes else ""
    secure = {"on": "Secure Boot on", "off": "Secure Boot off", "setup": "Secure Boot in setup mode"}
    words = [
        f"{firmware.kind.upper()}{f' {firmware.bits} bit' if firmware.bits else ''}",
        " ".join(part for part in (board.bios_vendor, board.bios_version, board.bios_date) if part),
        secure.get(firmware.secure_boot, ""),
        {"none": "no TPM", "unknown": ""}.get(firmware.tpm, f"TPM {firmware.tpm}"),
    ]
    yield "firmware", "" if firmware.kind == "unknown" else ", ".join(word for word in words if word)
    yield "console", " ".join(report.consoles)
    yield "kernel", report.kernel


def _line(device: Device) -> str:
    return f"{describe(device)}: {device.driver or 'no driver'}"


def _disk(block: Block) -> str:
    size = f"{block.size_bytes / 1e9:.1f} GB" if block.size_bytes else ""
    return ", ".join(part for part in (block.model, block.kind, size, block.driver) if part)
