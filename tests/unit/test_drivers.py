"""Drivers by name -> kernel symbols with reasons; devices -> drivers, or why there is none."""

from pathlib import Path

import pytest
from drivers_fixture import RULES, book, database, symbols

from builder import driver_choice, drivers
from builder.driver_choice import Verdict
from builder.driver_rules import Book
from builder.drivers import Named, Resolution
from builder.errors import Mistakes
from builder.kconfig import Wanted
from hardware.report import Block, Device, Network, Report

PROFILE = Path("machines/m.yaml")


@pytest.fixture
def rules(tmp_path: Path) -> Book:
    return book(tmp_path)


def resolve(rules: Book, *names: str, off: str = "") -> Resolution:
    decided = (
        [Wanted(off, "n", "nobody needs it", Path("kernel-config/base.config"), 7, "base")] if off else []
    )
    named = [Named(name, PROFILE, line) for line, name in enumerate(names, 10)]
    return drivers.wanted(named, database(), symbols(), decided, rules)


def test_a_driver_comes_to_its_symbol_and_all_that_it_depends_on_each_with_a_reason(rules: Book) -> None:
    found = resolve(rules, "i915")
    assert [(one.symbol, one.value, one.reason, one.line, one.layer) for one in found.wanted] == [
        ("DRM", "y", "DRM_I915 depends on it", 10, "detected"),
        ("DRM_I915", "y", "driver i915: The i915 driver", 10, "detected"),
    ]
    assert found.firmware == {"i915": ("i915/a.bin", "i915/b.bin")}


def test_the_folders_around_a_module_are_wanted_too(rules: Book) -> None:
    assert [one.symbol for one in resolve(rules, "e1000e").wanted] == ["NET_VENDOR_INTEL", "E1000E"]


def test_what_is_on_already_is_wanted_all_the_same_so_that_it_is_proven(rules: Book) -> None:
    assert [one.symbol for one in resolve(rules, "nvme").wanted] == ["BLK_DEV_NVME"]


def test_a_name_may_be_written_with_dashes(rules: Book) -> None:
    assert resolve(rules, "xhci-pci").wanted == resolve(rules, "xhci_pci").wanted


def test_companions_come_with_the_rules_reason_and_line_and_what_cannot_be_is_listed(rules: Book) -> None:
    found = resolve(rules, "iwlwifi")
    companion = next(one for one in found.wanted if one.symbol == "IWLMVM")
    assert (companion.reason, companion.line) == ("for iwlwifi: iwlwifi is half a driver", 2)
    assert [(one.symbol, one.why) for one in found.left] == [("IMPOSSIBLE", "IMPOSSIBLE needs m")]
    assert found.packages == {"firmware-iwlwifi": "iwlwifi: iwlwifi is half a driver"}


def test_the_order_in_which_drivers_are_named_does_not_matter(rules: Book) -> None:
    """virtio_net needs VIRTIO, which nobody can ask for: it comes with virtio_pci."""
    for names in (("virtio_net", "virtio_pci"), ("virtio_pci", "virtio_net")):
        found = resolve(rules, *names)
        assert not found.mistakes
        assert {"VIRTIO_NET", "VIRTIO_PCI"} <= {one.symbol for one in found.wanted}


def test_every_driver_that_cannot_be_is_told_at_once_with_its_line(rules: Book) -> None:
    found = resolve(rules, "nvmee", "i915", "needs_modules", "xhci_hcd", "other_processor")
    told = {one.line: (one.message, one.hint) for one in found.mistakes}
    assert told.keys() == {10, 12, 13, 14}
    assert told[10] == ("no driver nvmee in Linux 6.12.1-1", "did you mean nvme?")
    assert told[12][0] == "the driver needs_modules cannot be built in: NEEDS_MODULES needs m"
    assert told[13][1] == "drivers are named by their module: xhci_pci or xhci_plat_hcd"
    assert told[14][0].endswith("NOT_HERE does not exist for this processor")
    assert "DRM_I915" in [one.symbol for one in found.wanted], "the sound ones are resolved"


def test_what_a_fragment_switches_off_stays_off_and_the_driver_says_so(rules: Book) -> None:
    found = resolve(rules, "i915", off="DRM")
    assert found.wanted == ()
    assert found.mistakes[0].message.endswith("DRM is off on purpose: base.config:7: nobody needs it")


def test_a_mistake_in_the_rules_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(Mistakes) as caught:
        book(tmp_path, RULES.replace("unless: [iwldvm]", "unles: [iwldvm]"))
    [mistake] = caught.value.mistakes
    assert (mistake.line, mistake.hint) == (3, "did you mean 'unless'?")


def judge(rules: Book, **fields: object) -> Verdict:
    return driver_choice.judge(Device(**{"bus": "pci", **fields}), database(), rules)  # type: ignore[arg-type]


GPU = "pci:v00008086d00005917sv000017AAsd0000225Dbc03sc00i00"
NVIDIA = "pci:v000010DEd00001D10sv000017AAsd0000225Dbc03sc02i00"
ACP = "pci:v00001022d000015E2sv000017AAsd0000225Dbc04sc80i00"


def test_the_driver_that_was_bound_decides(rules: Book) -> None:
    verdict = judge(rules, modalias=GPU, driver="xe", modules=("xe",))
    assert (verdict.kind, verdict.modules, verdict.reason) == ("driven", ("xe",), "xe drove it")


def test_a_drivers_name_leads_to_the_module_of_its_bus(rules: Book) -> None:
    assert judge(rules, modalias="pci:v1", driver="xhci_hcd").modules == ("xhci_pci",)
    assert judge(rules, bus="platform", modalias="x", driver="xhci_hcd").modules == ("xhci_plat_hcd",)


def test_without_a_bound_driver_the_modalias_decides_and_preferences_are_told(rules: Book) -> None:
    verdict = judge(rules, modalias=GPU)
    assert verdict.modules == ("i915",)
    assert "i915 instead of xe: xe is for later graphics" in verdict.also


def test_all_of_several_equal_matches_are_taken_and_said(rules: Book) -> None:
    verdict = judge(rules, modalias=ACP)
    assert verdict.modules == ("acp_a", "acp_b")
    assert "several drivers know it" in verdict.also


def test_a_driver_from_elsewhere_gives_way_to_one_of_the_tree_and_both_are_told(rules: Book) -> None:
    verdict = judge(rules, modalias=NVIDIA, driver="nvidia", modules=("nvidia",))
    assert verdict.modules == ("nouveau",)
    assert verdict.also == "nvidia, which drove it, is not in this kernel's source"


@pytest.mark.parametrize(
    "fields, kind, reason",
    [
        ({"modalias": "pci:v1bc06sc00i00"}, "core", "a host bridge"),
        (
            {"driver": "wl", "modalias": "pci:v1bc02sc80i00"},
            "out-of-tree",
            "wl is not in this kernel's source",
        ),
        ({"modalias": "pci:v1bc02sc80i00"}, "no-driver", "no driver of this kernel knows it"),
        ({"modalias": "acpi:" + "A" * 10_000}, "no-driver", "its modalias is longer than 4096 characters"),
        (
            {"modalias": "pci:v*d*[!?"},
            "no-driver",
            "its modalias has wildcard characters, which stand in patterns only",
        ),
        (
            {"modalias": "pci:v00001111d00000002sv0sd0bc00sc00i00"},
            "no-driver",
            "without vfio_pci: taken only where it drove the device",
        ),
        ({}, "unnamed", "neither a modalias nor a driver says what it is"),
    ],
)
def test_a_device_without_a_driver_has_a_reason(
    rules: Book, fields: dict[str, object], kind: str, reason: str
) -> None:
    verdict = judge(rules, **fields)
    assert (verdict.kind, verdict.modules, verdict.reason) == (kind, (), reason)


def test_a_device_rule_adds_its_driver(rules: Book) -> None:
    assert judge(rules, modalias="pci:v1bc06sc04i00").modules == ("pcieportdrv",)


def test_disks_and_interfaces_bring_drivers_that_no_device_of_the_report_named(rules: Book) -> None:
    report = Report(
        source="probe",
        devices=(Device(bus="pci", modalias=GPU),),
        blocks=(Block(kind="nvme", driver="nvme", model="A disk"), Block(kind="nvme", driver="nvme")),
        networks=(Network(kind="ethernet", driver="wl"),),
    )
    found = driver_choice.choose(report, database(), rules)
    assert [one.modules for one in found] == [("i915",), ("nvme",)]
