"""The devices of a running kernel: everything on a bus that has a modalias or a driver.

Not for: disks, interfaces and inputs, which are classes and not buses (probe_classes.py).
"""

from collections.abc import Mapping
from dataclasses import replace

from hardware import clean, kinds
from hardware.report import Device
from hardware.sysfs import Tree, above

# A USB device as a whole is usbcore's; what drivers bind to are its interfaces, with modaliases.
CORE_DRIVERS = frozenset({("usb", "usb")})


def devices(tree: Tree) -> tuple[Device, ...]:
    """Every device with a modalias or a bound driver, in the order of the buses' names.

    Two things without a bus come along, because modules match them too: the CPU and the SMBIOS table.
    """
    found: dict[str, Device] = {}
    for bus in tree.names("sys/bus"):
        for name in tree.names(f"sys/bus/{bus}/devices"):
            place = tree.real(f"sys/bus/{bus}/devices/{name}")
            if place and place not in found and (device := _device(tree, bus, name, place)):
                found[place] = device
    for bus, place in (("cpu", "/sys/devices/system/cpu"), ("dmi", "/sys/devices/virtual/dmi/id")):
        if text := clean.modalias(tree.text(f"{place}/modalias")):
            found[place] = Device(bus=bus, modalias=text)
    if not tree.names("sys/bus"):
        tree.note("devices", "/sys/bus is not there: is /sys mounted?")
    return _related(found)


def _device(tree: Tree, bus: str, name: str, place: str) -> Device | None:
    modalias = clean.modalias(tree.text(f"{place}/modalias"))
    if bus == "acpi" and modalias and not tree.target(f"{place}/driver"):
        place = _described(tree, place)
    driver = clean.name(tree.target(f"{place}/driver"))
    if not modalias and (not driver or (bus, driver) in CORE_DRIVERS):
        return None
    module = clean.name(tree.target(f"{place}/driver/module"))
    return Device(
        bus=bus,
        modalias=modalias,
        kind=kinds.of(bus, modalias),
        driver=driver,
        modules=(module,) if module else (),
        address=clean.address(name),
    )


def _described(tree: Tree, place: str) -> str:
    """The device that an ACPI node describes, if a driver is bound to it: that one drives the node too."""
    nodes = [name for name in tree.names(place) if name.startswith("physical_node")]
    places = [tree.real(f"{place}/{name}") for name in nodes]
    return next((found for found in places if found and tree.target(f"{found}/driver")), place)


def _related(found: Mapping[str, Device]) -> tuple[Device, ...]:
    """The devices with their parents and the drivers above them.

    One whose own name is an identifier (a VMBus channel's, a WMI block's) is told by its number instead.
    """
    numbered: dict[str, Device] = {}
    for place, device in found.items():
        number = sum(other.bus == device.bus for other in numbered.values())
        address = device.address or (f"#{number}" if device.bus not in ("cpu", "dmi") else "")
        numbered[place] = replace(device, address=address)

    def related(place: str, device: Device) -> Device:
        parents = [numbered[up] for up in above(place) if up != place and up in numbered]
        return replace(
            device,
            parent=f"{parents[0].bus}/{parents[0].address}" if parents else "",
            chain=tuple(parent.driver for parent in parents if parent.driver),
        )

    return tuple(related(place, device) for place, device in numbered.items())


def driver_chain(tree: Tree, place: str) -> tuple[str, ...]:
    """The drivers bound at a device's folder and above it, nearest first."""
    found = (clean.name(tree.target(f"{up}/driver")) for up in above(place))
    return tuple(driver for driver in found if driver and driver != "usb")


def modalias_above(tree: Tree, place: str, but: str = "scsi:") -> str:
    """The modalias of the nearest device from this folder up, passing over those that begin with `but`."""
    found = (clean.modalias(tree.text(f"{up}/modalias")) for up in above(place))
    return next((text for text in found if text and not text.startswith(but)), "")
