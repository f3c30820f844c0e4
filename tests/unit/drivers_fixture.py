"""A small kernel for tests of drivers: its database, its rules and its symbols."""

from pathlib import Path

from builder import driver_rules
from builder.driver_database import Database, Module
from builder.driver_rules import Book
from builder.kconfig_symbols import Operand, Prompt, Symbol
from builder.modalias import AliasIndex


def module(name: str, *symbols: str, inside: tuple[str, ...] = (), firmware: tuple[str, ...] = ()) -> Module:
    return Module(name, f"drivers/{name}", symbols, inside, f"The {name} driver", firmware, "m")


def database() -> Database:
    modules = [
        module("i915", "DRM_I915", firmware=("i915/a.bin", "i915/b.bin")),
        module("xe", "DRM_XE"),
        module("nouveau", "DRM_NOUVEAU"),
        module("e1000e", "E1000E", inside=("NET_VENDOR_INTEL",)),
        module("xhci_pci", "USB_XHCI_PCI"),
        module("xhci_plat_hcd", "USB_XHCI_PLATFORM"),
        module("iwlwifi", "IWLWIFI"),
        module("iwlmvm", "IWLMVM"),
        module("nvme", "BLK_DEV_NVME"),
        module("pcieportdrv", "PCIEPORTBUS"),
        module("acp_a", "ACP_A"),
        module("acp_b", "ACP_B"),
        module("needs_modules", "NEEDS_MODULES"),
        module("other_processor", "NOT_HERE"),
        module("vfio_pci", "VFIO_PCI"),
        module("ext4", "EXT4_FS"),
        module("virtio_net", "VIRTIO_NET"),
        module("virtio_pci", "VIRTIO_PCI"),
    ]
    aliases = [
        ("pci:v00008086d00005917sv*sd*bc*sc*i*", "i915"),
        ("pci:v00008086d00005917sv*sd*bc*sc*i*", "xe"),
        ("pci:v000010DEd*sv*sd*bc03sc*i*", "nouveau"),
        ("pci:v00008086d000015D7sv*sd*bc*sc*i*", "e1000e"),
        ("pci:v*d*sv*sd*bc01sc08i02*", "nvme"),
        ("pci:v00001022d000015E2sv*sd*bc*sc*i*", "acp_a"),
        ("pci:v00001022d000015E2sv*sd*bc*sc*i*", "acp_b"),
        ("pci:v00001111d00000001sv*sd*bc*sc*i*", "needs_modules"),
        ("pci:v00001111d00000002sv*sd*bc*sc*i*", "vfio_pci"),
    ]
    return Database(
        version="6.12.1-1",
        modules={one.name: one for one in modules},
        aliases=AliasIndex(aliases),
        drivers={
            "xhci_hcd": (("pci", "xhci_pci"), ("platform", "xhci_plat_hcd")),
            "pcieport": (("pci", "pcieportdrv"),),
        },
        stock_config=Path("stock.config"),
    )


RULES = """\
companions:
  - when: [iwlwifi]
    unless: [iwldvm]
    want: [IWLMVM, IMPOSSIBLE]
    packages: [firmware-iwlwifi]
    reason: iwlwifi is half a driver
devices:
  - match: ["pci:*bc06sc04*"]
    drivers: [pcieportdrv]
    reason: a PCI Express port
prefer:
  - {take: i915, over: [xe], reason: xe is for later graphics}
needless:
  - {modules: [vfio*], unless_bound: true, reason: taken only where it drove the device}
core:
  - {match: ["pci:*bc06sc00*"], reason: a host bridge}
machines:
  - where: {virtualisation: [none], vendor: [GenuineIntel]}
    want: [INTEL_IDLE]
    reason: the processor saves power
"""


def book(folder: Path, text: str = RULES) -> Book:
    path = folder / "driver-rules.yaml"
    path.write_text(text)
    return driver_rules.load(path)


def symbol(name: str, *depends: str, value: str = "n", selected_by: tuple[str, ...] = ()) -> Symbol:
    """A symbol; one that others select has no prompt."""
    operands = tuple(Operand(text, "?") for text in depends)
    prompts = () if selected_by else (Prompt("?", operands),)
    selectors = tuple(Operand(text, "n") for text in selected_by)
    return Symbol(name, "tristate", value, "K", 1, prompts, operands, selectors, (), None, None)


def symbols() -> dict[str, Symbol]:
    found = [
        symbol("DRM"),
        symbol("DRM_I915", "DRM"),
        symbol("DRM_XE", "DRM"),
        symbol("DRM_NOUVEAU", "DRM"),
        symbol("NET_VENDOR_INTEL"),
        symbol("E1000E", "NET_VENDOR_INTEL"),
        symbol("USB"),
        symbol("USB_XHCI_PCI", "USB"),
        symbol("USB_XHCI_PLATFORM", "USB"),
        symbol("WLAN"),
        symbol("IWLWIFI", "WLAN"),
        symbol("IWLMVM", "IWLWIFI"),
        symbol("IMPOSSIBLE", "m"),
        symbol("BLK_DEV_NVME", value="y"),
        symbol("PCIEPORTBUS"),
        symbol("ACP_A"),
        symbol("ACP_B"),
        symbol("NEEDS_MODULES", "m"),
        symbol("VFIO_PCI"),
        symbol("EXT4_FS", value="y"),
        symbol("INTEL_IDLE"),
        symbol("VIRTIO", selected_by=("VIRTIO_PCI", "REMOTEPROC")),
        symbol("REMOTEPROC", "ARM"),
        symbol("VIRTIO_PCI"),
        symbol("VIRTIO_NET", "VIRTIO"),
    ]
    return {one.name: one for one in found}
