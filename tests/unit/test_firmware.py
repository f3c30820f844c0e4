"""Which firmware files are chosen for a kernel's drivers, where they are looked for, what a profile says."""

from pathlib import Path

import pytest
from drivers_fixture import database, module
from test_image import given

from builder import detected_firmware, firmware, firmware_choice, firmware_table, image, profile
from builder.driver_choice import Verdict
from builder.driver_database import Database
from builder.errors import Mistakes
from hardware.report import Cpu, Device, Report

TABLE = firmware_table.load()


def there(*names: str, package: str = "firmware-x") -> dict[str, tuple[str, str]]:
    return {name: (package, name) for name in names}


def chosen(asked: list[str], *names: str) -> list[str]:
    return list(firmware_choice.choose({"driver": asked}, there(*names)).files)


def test_a_file_that_no_package_has_is_told_with_the_driver_that_asks_for_it() -> None:
    found = firmware_choice.choose({"a": ["x.bin", "y.bin"], "b": ["z/*"]}, there("x.bin"))
    assert list(found.files) == ["x.bin"]
    assert found.missing == {"a": ("y.bin",), "b": ("z/*",)}


def test_a_pattern_takes_every_file_that_fits_in_folders_below_too() -> None:
    names = ["ath11k/A/hw2.0/board.bin", "ath11k/A/hw2.0/m3/x.bin", "ath11k/A/hw3.0/board.bin"]
    assert chosen(["ath11k/A/hw2.0/*"], *names) == names[:2]


def test_iwlwifi_gets_the_newest_file_that_is_not_newer_than_the_driver() -> None:
    names = [f"iwlwifi-so-a0-gf-a0-{api}.ucode" for api in (72, 77, 83, 100)]
    other = "iwlwifi-so-a0-gf4-a0-88.ucode"
    assert chosen(["iwlwifi-so-a0-gf-a0-89.ucode"], *names, other) == ["iwlwifi-so-a0-gf-a0-83.ucode"]
    assert chosen(["iwlwifi-so-a0-gf-a0-77.ucode"], *names) == ["iwlwifi-so-a0-gf-a0-77.ucode"]
    assert chosen(["iwlwifi-so-a0-gf-a0-71.ucode"], *names) == []
    assert chosen(["other-so-89.ucode"], "other-so-77.ucode") == []


def test_a_kernel_asks_for_the_firmware_of_everything_that_is_built_in_not_only_of_named_drivers(
    drivers_database: Database,
) -> None:
    names = {
        one.name for one in firmware_choice.built_in(drivers_database, {"E1000E": "y", "DRM_I915": "y"})
    }
    assert names == {"i915"}  # e1000e is made in a folder that is not entered
    more = {"E1000E": "y", "NET_VENDOR_INTEL": "y", "DRM_XE": "m"}
    assert {one.name for one in firmware_choice.built_in(drivers_database, more)} == {"e1000e"}


def test_what_modules_do_not_tell_the_table_knows_and_a_profile_narrows_both() -> None:
    bluetooth, wireless = (
        module("btintel"),
        module("iwlwifi", firmware=("iwlwifi-8265-36.ucode", "iwlwifi-x")),
    )
    asks = firmware_choice.asked([bluetooth, wireless, module("e1000e")], TABLE)
    assert asks == {"btintel": ("intel/ibt-*",), "iwlwifi": ("iwlwifi-8265-36.ucode", "iwlwifi-x")}
    only = {"btintel": ["intel/ibt-12-*"], "iwlwifi": ["iwlwifi-8265-*"]}
    asks = firmware_choice.asked([bluetooth, wireless], TABLE, only)
    assert asks == {"btintel": ("intel/ibt-12-*",), "iwlwifi": ("iwlwifi-8265-36.ucode",)}
    assert firmware_choice.asked([bluetooth, wireless], TABLE, {"btintel": [], "iwlwifi": []}) == {}


@pytest.mark.parametrize(
    "name, packages",
    [
        ("iwlwifi-8265-36.ucode", ["firmware-iwlwifi"]),
        ("intel/ibt-*", ["firmware-iwlwifi"]),
        ("intel/sof/sof-tgl.ri", ["firmware-sof-signed"]),
        ("nvidia/tu102/gsp/gsp.bin", ["firmware-nvidia-graphics"]),
        ("ath11k/WCN6855/hw2.1/*", ["firmware-atheros"]),
        ("regulatory.db", ["wireless-regdb"]),
        ("amd-ucode/microcode_amd_fam19h.bin", ["amd64-microcode"]),
        ("renesas_usb_fw.mem", []),
    ],
)
def test_the_table_knows_which_package_may_have_a_file(name: str, packages: list[str]) -> None:
    assert firmware_table.packages_of([name], TABLE) == {name: packages}


def test_every_rule_of_the_table_names_files_of_a_package_and_each_package_its_licence() -> None:
    files = [name for one in TABLE.more for name in one.files]
    files += [name for rule in TABLE.narrow for case in rule.cases for name in case.files]
    assert [name for name, who in firmware_table.packages_of(files, TABLE).items() if not who] == []
    assert all(one.licence and one.what and one.files for one in TABLE.packages.values())
    page = (profile.REPOSITORY / "docs/licences.md").read_text()
    assert [name for name in TABLE.packages if f"`{name}`" not in page] == []


def test_a_mistake_in_the_table_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "firmware.yaml"
    path.write_text("packages: {}\nmore:\n  - when: [x]\n    reason: y\nnarrow: []\n")
    with pytest.raises(Mistakes) as caught:
        firmware_table.load(path)
    assert [(one.line, one.message) for one in caught.value.mistakes] == [
        (3, "key 'files' is missing in more")
    ]


def device(modalias: str, driver: str, bus: str = "pci") -> Verdict:
    return Verdict(Device(bus=bus, modalias=modalias, driver=driver), "driven", (driver,), "x")


AX211 = device("pci:v00008086d000051F0sv00008086sd00000090bc02sc80i00", "iwlwifi")
OLD = device("pci:v00008086d000024FDsv00008086sd00000010bc02sc80i00", "iwlwifi")
UNKNOWN = device("pci:v00008086d0000FFFFsv00008086sd00000010bc02sc80i00", "iwlwifi")
INTERFACE = device("", "iwlwifi", "net")
BLUETOOTH = device("usb:v8087p0A2Bd0010dcE0dsc01dp01icE0isc01ip01in00", "btusb", "usb")


def test_a_machine_needs_the_files_of_its_own_cards_alone() -> None:
    assert firmware_choice.narrow([OLD, INTERFACE], TABLE) == {"iwlwifi": ("iwlwifi-8265-*",)}
    both = firmware_choice.narrow([OLD, AX211], TABLE)["iwlwifi"]
    assert {"iwlwifi-8265-*", "iwlwifi-so-*"} <= set(both)


def test_a_card_that_the_table_does_not_know_keeps_every_file_of_its_driver() -> None:
    assert firmware_choice.narrow([OLD, UNKNOWN], TABLE) == {}
    assert firmware_choice.narrow([device("", "iwlwifi")], TABLE) == {}
    assert firmware_choice.narrow([], TABLE) == {}


@pytest.mark.parametrize(
    "vendor, family, model, names",
    [
        ("GenuineIntel", 6, 0x8E, ("intel-ucode/06-8e-*",)),
        ("GenuineIntel", None, None, ("intel-ucode/*",)),
        ("AuthenticAMD", 0x19, 0x74, ("amd-ucode/microcode_amd_fam19h.bin",)),
        ("AuthenticAMD", 0x10, 2, ("amd-ucode/microcode_amd.bin",)),
        ("CentaurHauls", 6, 1, ()),
    ],
)
def test_the_processors_maker_and_family_decide_the_microcode(
    vendor: str, family: int | None, model: int | None, names: tuple[str, ...]
) -> None:
    assert firmware_choice.microcode(vendor, family, model) == names


def test_a_detected_machines_profile_brings_what_it_needs_and_a_virtual_machines_nothing(
    tmp_path: Path,
) -> None:
    report = Report(source="probe", cpu=Cpu(vendor="GenuineIntel", family=6, model=0x8E))
    modules = [
        module("iwlwifi", firmware=("iwlwifi-8265-36.ucode", "iwlwifi-9260-th-b0-jf-b0-46.ucode")),
        module("btintel"),
        module("btrtl", firmware=("rtl_bt/a.bin",)),
        module("xhci_pci_renesas", firmware=("renesas_usb_fw.mem",)),
    ]
    lines, comments = detected_firmware.lines(report, "laptop", modules, [OLD, BLUETOOTH])
    text = "\n".join(
        ["name: lab", "extends: pc", "kernel:", "  fragments: [laptop, firmware]", *lines, *comments]
    )
    (tmp_path / "lab.yaml").write_text(text)
    files = profile.load(str(tmp_path / "lab.yaml")).kernel.firmware
    assert files.microcode == ("intel-ucode/06-8e-*",)
    assert files.only == {
        "iwlwifi": ("iwlwifi-8265-*",),
        "btintel": ("intel/ibt-11-*", "intel/ibt-12-*"),
        "btrtl": (),
    }
    assert "#   iwlwifi: iwlwifi-8265-36.ucode (firmware-iwlwifi)" in comments
    assert "#   xhci_pci_renesas: renesas_usb_fw.mem" in comments
    assert detected_firmware.lines(report, "vm", modules, [OLD]) == ([], [])


@pytest.mark.parametrize(
    "text, told",
    [
        (
            "{microcode: [/etc/passwd]}",
            "kernel.firmware.microcode: '/etc/passwd' is not the name of a firmware file",
        ),
        ("{only: {i915: [../x]}}", "kernel.firmware.only.i915: '../x' is not the name of a firmware file"),
        ("{microcode: [x]}", "kernel: kernel.firmware is for a kernel with the fragment firmware"),
    ],
)
def test_firmware_that_cannot_be_is_a_mistake_of_the_profile(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "lab.yaml").write_text(
        f"name: lab\nextends: pc\nkernel:\n  fragments: [laptop]\n  firmware: {text}\n"
    )
    with pytest.raises(Mistakes) as caught:
        profile.load(str(tmp_path / "lab.yaml"))
    assert told in [one.message for one in caught.value.mistakes]


def made(tmp_path: Path, size: int) -> firmware.Firmware:
    path = tmp_path / "x.cpio"
    return firmware.Firmware(tmp_path, path, None, path, tmp_path, (), {}, {}, size)


def test_partitions_grow_with_the_firmware_in_steps(tmp_path: Path) -> None:
    plain = given().slots
    for size, more in ((5_000_000, 64), (70_000_000, 128)):
        slots = given(firmware=made(tmp_path, size)).slots
        assert slots.esp == plain.esp + 2 * more * image.MIB
        assert slots.system == plain.system + more * image.MIB
        assert slots.system_limit == plain.system_limit + size


@pytest.fixture
def drivers_database() -> Database:
    return database()
