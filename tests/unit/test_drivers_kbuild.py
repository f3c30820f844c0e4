"""Makefiles and C files of a kernel tree -> the symbols and drivers' names of modules."""

from pathlib import Path

import pytest

from builder import kbuild_symbols
from builder.kbuild_symbols import Driver, KernelObject, Tree

MAKEFILES = {
    "drivers/Makefile": """
obj-$(CONFIG_PCI) += pci/
obj-y += net/ usb/
""",
    "drivers/pci/Makefile": "obj-y += pci.o\nobj-$(CONFIG_PCIEPORTBUS) += pcie/\n",
    "drivers/pci/pcie/Makefile": """
pcieportdrv-y := portdrv.o rcec.o
obj-$(CONFIG_PCIEPORTBUS) += pcieportdrv.o
""",
    "drivers/net/Makefile": """
obj-$(CONFIG_NET_VENDOR_INTEL) += intel/
obj-$(CONFIG_DUMMY)+=dummy.o # not a device
obj-$(CONFIG_IB) += ib-core.o $(ib-y)
ib-$(CONFIG_IB_CM) += ib_cm.o
obj-$(SOMETHING) += computed.o
obj-m += never-in.o
obj-$(subst y,$(CONFIG_L2TP),$(CONFIG_PPPOL2TP)) += l2tp_ppp.o
""",
    "drivers/net/intel/Makefile": """
obj-$(CONFIG_E1000E) += e1000e.o
e1000e-objs := netdev.o \\
\tethtool.o ich8/lan.o
e1000e-$(CONFIG_PTP) += ptp.o
obj-$(CONFIG_SHARED_A) += shared.o
obj-$(CONFIG_SHARED_B) += shared.o
""",
    # Kbuild is read instead of Makefile where both are.
    "drivers/usb/Makefile": "obj-$(CONFIG_WRONG) += wrong.o\n",
    "drivers/usb/Kbuild": """
ifdef CONFIG_USB_PCI
obj-$(CONFIG_USB_XHCI_PCI) += xhci-pci.o
else
obj-$(CONFIG_OTHERWISE) += otherwise.o
endif
ifneq ($(CONFIG_A)$(CONFIG_B),)
obj-$(CONFIG_EITHER) += either.o
endif
ifeq ($(CONFIG_ONLY),y)
obj-$(CONFIG_GUARDED) += guarded.o
endif
obj-$(CONFIG_AFTER) += after.o
nouveau-y := $(nvkm-y)
include $(src)/nvkm/Kbuild
obj-$(CONFIG_NOUVEAU) += nouveau.o
""",
    "drivers/usb/nvkm/Kbuild": "nvkm-y += nvkm/core.o\n",
    "arch/x86/Makefile": "drivers-$(CONFIG_PERF) += arch/x86/events/\n",
    "arch/x86/events/Makefile": "obj-$(subst m,y,$(CONFIG_UNCORE)) += intel-uncore.o\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in MAKEFILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.fixture
def read(tree: Path) -> Tree:
    return kbuild_symbols.read_tree(tree)


@pytest.mark.parametrize(
    "name, path, symbols, inside",
    [
        ("dummy", "drivers/net/dummy", ("DUMMY",), ()),
        ("e1000e", "drivers/net/intel/e1000e", ("E1000E",), ("NET_VENDOR_INTEL",)),
        ("pci", "drivers/pci/pci", (), ("PCI",)),
        ("pcieportdrv", "drivers/pci/pcie/pcieportdrv", ("PCIEPORTBUS",), ("PCI", "PCIEPORTBUS")),
        ("shared", "drivers/net/intel/shared", ("SHARED_A", "SHARED_B"), ("NET_VENDOR_INTEL",)),
        ("ib_core", "drivers/net/ib-core", ("IB",), ()),
        ("ib_cm", "drivers/net/ib_cm", ("IB_CM",), ()),
        ("never_in", "drivers/net/never-in", ("MODULES",), ()),
        ("l2tp_ppp", "drivers/net/l2tp_ppp", ("PPPOL2TP",), ("L2TP",)),
        ("xhci_pci", "drivers/usb/xhci-pci", ("USB_XHCI_PCI",), ("USB_PCI",)),
        ("otherwise", "drivers/usb/otherwise", ("OTHERWISE",), ()),
        ("either", "drivers/usb/either", ("EITHER",), ()),
        ("guarded", "drivers/usb/guarded", ("GUARDED",), ("ONLY",)),
        ("after", "drivers/usb/after", ("AFTER",), ()),
        ("intel_uncore", "arch/x86/events/intel-uncore", ("UNCORE",), ("PERF",)),
    ],
)
def test_each_documented_form_gives_a_module_its_symbols(
    read: Tree, name: str, path: str, symbols: tuple[str, ...], inside: tuple[str, ...]
) -> None:
    assert read.objects[name] == (KernelObject(name, path, symbols, inside),)


def test_what_is_computed_or_not_read_by_kbuild_is_passed_over(read: Tree) -> None:
    assert not {"computed", "wrong"} & read.objects.keys()


def test_every_part_of_a_composite_object_belongs_to_its_module(read: Tree) -> None:
    intel = {part for part, module in read.owners.items() if module == "e1000e"}
    names = ("netdev", "ethtool", "ich8/lan", "ptp", "e1000e")
    assert intel == {f"drivers/net/intel/{name}" for name in names}
    assert read.owners["drivers/usb/nvkm/core"] == "nouveau", "a list in an included file"


@pytest.mark.parametrize("text", ["e1000e", "e1000e.o", "e1000e.ko", "e1000e.ko.xz", "a/b/e1000e.ko.zst"])
def test_a_module_has_one_name_however_its_file_is_written(text: str) -> None:
    assert kbuild_symbols.module_name(text) == "e1000e"
    assert kbuild_symbols.module_name("snd-hda-intel.ko.xz") == "snd_hda_intel"


@pytest.mark.parametrize(
    "source, bus, name",
    [
        ('static struct pci_driver d = {\n\t.name = "pcieport",\n\t.probe = p,\n};\n', "pci", "pcieport"),
        ("static struct usb_driver d = {\n\t.name = KBUILD_MODNAME,\n};\n", "usb", "dummy"),
        (
            '#define DRV_NAME "the-name"\n'
            "struct platform_driver d = {\n\t.driver = {\n\t\t.name = DRV_NAME,\n\t},\n};\n",
            "platform",
            "the-name",
        ),
        (
            'static const char hcd_name[] = "xhci_hcd";\nstruct pci_driver d = {\n\t.name = hcd_name,\n};\n',
            "pci",
            "xhci_hcd",
        ),
        ('struct scsi_driver t = {\n\t.gendrv.name = "sd",\n};\n', "scsi", "sd"),
        ('struct usb_device_driver d = {\n\t.name = "usb",\n};\n', "usb", "usb"),
    ],
)
def test_a_drivers_name_in_sys_is_found_in_the_source(tree: Path, source: str, bus: str, name: str) -> None:
    (tree / "drivers/net/dummy.c").write_text(source)
    found = kbuild_symbols.read_drivers(tree, {"drivers/net/dummy": "dummy"})
    assert found == [Driver(bus, name, "dummy")]


def test_a_name_that_another_file_defines_is_left_out_instead_of_guessed(tree: Path) -> None:
    (tree / "drivers/net/dummy.c").write_text("struct pci_driver d = {\n\t.name = DRIVER_NAME,\n};\n")
    assert kbuild_symbols.read_drivers(tree, {"drivers/net/dummy": "dummy"}) == []
