"""`aether report`: from figures to the table, the JSON and the picture; which boots count."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from builder import (
    boot_record,
    cli,
    machine_drivers,
    machine_report,
    machine_report_picture,
    machine_report_text,
    vmdisk,
)
from builder.boot_record import Record
from builder.machine_drivers import Driver, devices_of
from builder.machine_report import GENERIC, Figure, Report, Section, System
from builder.run import Options, spec_of
from hardware import report as hardware_report
from hardware import report_json
from hardware.report import Device

SVG = "{http://www.w3.org/2000/svg}"
PHASES = {"firmware": 2.0, "loader": 0.5, "kernel": 1.5, "userspace": 3.0, "agent": 1.0, "ready": 8.0}


def record(machine: str = "m", image: str = "a1", **changes: Any) -> Record:
    known = Record(machine, image, "6.12", "hw", "tcg", False, "2026-11-22T20:15:03Z", dict(PHASES))
    return replace(known, **changes)


def system(folder: Path, name: str, image: str = "a1", kernel: str = "6.12") -> System:
    place = folder / image
    place.mkdir(exist_ok=True)
    return System(name, place, place / "k", None, None, {"kernel": kernel, "command_line": ["ro", "quiet"]})


def made(folder: Path, boots: Mapping[str, list[Record]], *, alone: bool = False, name: str = "m") -> Report:
    """A report with the figures of two small systems, or of one."""
    kernel = [
        Figure("kernel", "kernel", "bytes", 4_851_000, None if alone else 12_200_000),
        Figure("initramfs", "initramfs", "bytes", None, 51_700_000),
        Figure("modules", "modules", "bytes", 0, 94_000_000),
        Figure("symbols_y", "symbols =y", "symbols", 842, None if alone else 2651),
    ]
    sections = [
        Section("kernel", "Kernel", kernel),
        Section("image", "Image", [Figure("system", "system partition", "bytes", 83_100_000)]),
        Section("packages", "Packages", [Figure("libc6", "libc6", "bytes", 12_800, None)]),
        machine_report.boot_section(name, boots),
    ]
    generic = None if alone else system(folder, GENERIC, "b2", "6.12+deb13-amd64")
    drivers = [Driver("nvme", "NVM Express block device", ("Samsung <970> & co",))]
    return Report(system(folder, name), generic, sections, drivers, [], boots, ["a note"])


def test_a_ratio_is_the_machines_part_of_the_generic_ones() -> None:
    assert Figure("a", "a", "s", 2.0, 8.0).ratio == 0.25
    for pair in ((None, 8.0), (2.0, None), (2.0, 0.0)):
        assert Figure("a", "a", "s", *pair).ratio is None


def test_values_are_shown_in_the_units_of_people() -> None:
    text = machine_report_text.value_text
    shown = [text(value, "bytes") for value in (4_851_000, 12_200_000, 1_234_567_890, 12_300, 0, None)]
    assert shown == ["4.85", "12.2", "1,235", "0.012", "0", "-"]
    assert (text(1.234, "s"), text(2651, "symbols")) == ("1.23", "2,651")
    assert [machine_report_text.ratio_text(ratio) for ratio in (0.441, 0.0123, 0.0, None)] == [
        "0.44",
        "0.012",
        "0.00",
        "-",
    ]


def test_the_phases_are_medians_of_the_boots_that_know_them() -> None:
    boots = [record(), record(seconds={"ready": 10.0}), record(seconds={"ready": 30.0, "kernel": 2.5})]
    assert machine_report.medians(boots)["ready"] == 10.0
    assert machine_report.medians(boots)["kernel"] == 2.0
    section = machine_report.boot_section("m", {"m": boots, GENERIC: [record(GENERIC)]})
    assert section.figure("ready").ratio == 10.0 / 8.0
    assert "3" in section.note and "TCG" in section.note


def test_without_a_boot_the_report_says_how_to_measure(tmp_path: Path) -> None:
    section = machine_report.boot_section("m", {})
    assert (section.figures, section.note) == ([], "not measured: aether report m --measure")
    found = made(tmp_path, {})
    assert "  not measured: aether report m --measure" in machine_report_text.lines(found)
    assert "not measured: aether report m --measure" in machine_report_picture.svg(found)


def test_a_disks_first_boot_is_called_that() -> None:
    note = machine_report.boot_section("m", {"m": [record(first=True)]}).note
    assert "m: 1, of a new disk" in note


def test_the_table_has_both_systems_and_the_ratio_in_columns(tmp_path: Path) -> None:
    lines = machine_report_text.lines(made(tmp_path, {"m": [record()], GENERIC: [record(GENERIC)]}))
    assert lines[0] == "m (image a1, Linux 6.12)"
    assert lines[1] == f"beside {GENERIC} (image b2, Linux 6.12+deb13-amd64):"
    assert lines[2].startswith("Debian's own stock kernel, in the same QEMU")
    start = lines.index("Kernel")
    assert lines[start + 1].split() == ["m", GENERIC, "ratio"]
    assert lines[start + 2].split() == ["kernel", "MB", "4.85", "12.2", "0.40"]
    assert lines[start + 3].split() == ["initramfs", "MB", "-", "51.7", "-"]
    assert len({len(line) for line in lines[start + 1 : start + 6]}) == 1
    assert "  nvme: NVM Express block device" in lines
    assert "      Samsung <970> & co" in lines
    assert lines[-1] == "note: a note"


def test_a_machine_without_the_generic_one_has_one_column(tmp_path: Path) -> None:
    lines = machine_report_text.lines(made(tmp_path, {}, alone=True))
    assert lines[:2] == ["m (image a1, Linux 6.12)", ""]
    start = lines.index("Kernel")
    assert lines[start + 1].split() == ["m"]
    assert lines[start + 2].split() == ["kernel", "MB", "4.85"]


def test_json_has_every_figure_as_it_is_and_every_boot(tmp_path: Path) -> None:
    found = made(tmp_path, {"m": [record()]})
    told = json.loads(json.dumps(machine_report_text.as_json(found, tmp_path / "report.svg")))
    assert told["machine"]["kernel"] == "6.12"
    assert told["generic"]["image"] == "b2"
    kernel = told["sections"]["kernel"]["figures"][0]
    assert (kernel["machine"], kernel["generic"], kernel["unit"]) == (4_851_000, 12_200_000, "bytes")
    assert kernel["ratio"] == pytest.approx(0.3976, abs=1e-4)
    assert told["boots"]["m"][0]["seconds"]["ready"] == 8.0
    assert told["drivers"][0]["devices"] == ["Samsung <970> & co"]
    assert told["picture"].endswith("report.svg")


def bars(picture: str, kind: str) -> list[float]:
    """The lengths of the bars of a class, from top to bottom; the legend's squares left out."""
    rects = ElementTree.fromstring(picture).iter(f"{SVG}rect")
    return [
        float(one.attrib["width"]) for one in rects if one.get("class") == kind and one.get("rx") is None
    ]


def test_the_picture_is_well_formed_and_needs_nothing_else(tmp_path: Path) -> None:
    picture = machine_report_picture.svg(made(tmp_path, {"m": [record()]}, name='<m & "co">'))
    root = ElementTree.fromstring(picture)
    texts = [one.text for one in root.iter(f"{SVG}text")]
    assert '<m & "co"> (image a1, Linux 6.12)' in texts
    assert "prefers-color-scheme: dark" in picture
    assert re.findall(r"(?:href|src|url|@import)[=( ]", picture) == []
    assert picture.count("http") == 1  # the name space


def test_the_bars_are_as_long_as_what_they_stand_for(tmp_path: Path) -> None:
    slow = record(GENERIC, seconds={name: 2 * value for name, value in PHASES.items()})
    picture = machine_report_picture.svg(made(tmp_path, {"m": [record()], GENERIC: [slow]}))
    for phase in ("firmware", "loader", "kernel", "userspace", "agent"):
        own, generic = bars(picture, phase)
        assert own == pytest.approx(generic / 2, abs=0.1)
    [kernel, symbols, system_partition] = bars(picture, "machine")
    assert bars(picture, "generic")[0] == system_partition  # the longest of each pair
    assert kernel == pytest.approx(system_partition * 4_851 / 12_200, abs=0.1)
    assert symbols == pytest.approx(system_partition * 842 / 2651, abs=0.1)


def test_the_picture_lies_beside_the_image(tmp_path: Path) -> None:
    found = made(tmp_path, {})
    path = machine_report_picture.write(found)
    assert path == found.machine.folder / "report.svg"
    ElementTree.parse(path)


# ---- which boots count


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What `recorded` wants of a built machine, and a state folder."""
    monkeypatch.setenv("AETHER_STATE", str(tmp_path / "state"))
    qemu = SimpleNamespace(
        memory="2G", cpus=2, cpu="max", machine="q35", devices=("disk",), secure_boot=False
    )
    image = SimpleNamespace(fallback=False)
    machine = SimpleNamespace(name="m", firmware="uefi", qemu=qemu, image=image)
    return SimpleNamespace(
        machine=machine, folder=tmp_path, image=tmp_path, kernel=None, initrd=None, command_line=""
    )


def hardware(built: Any, **options: Any) -> str:
    return boot_record.hardware_key(spec_of(built, built.folder, built.image, Options(**options)))


def test_boots_count_of_the_present_image_on_the_machines_own_hardware(tmp_path: Path, built: Any) -> None:
    here, place = hardware(built), boot_record.place("m")
    good = record(hardware=here)
    generic = record(GENERIC, "b2", kernel="6.12+deb13-amd64", hardware=here)
    for one in (
        record(image="a0", hardware=here),
        record(hardware=hardware(built, memory="4G")),
        record(hardware=hardware(built, network=True)),
        record(kernel="6.12+deb13-amd64", hardware=here),
        good,
        generic,
    ):
        boot_record.add(place, one)
    systems = [system(tmp_path, "m"), system(tmp_path, GENERIC, "b2", "6.12+deb13-amd64")]
    assert machine_report.recorded(built, systems) == {"m": [good], GENERIC: [generic]}


def test_boots_under_kvm_and_emulated_ones_are_not_mixed(tmp_path: Path, built: Any) -> None:
    here, place = hardware(built), boot_record.place("m")
    emulated = record(hardware=here, at="2026-11-22T20:00:00Z")
    kvm = record(hardware=here, accelerator="kvm", at="2026-11-22T21:00:00Z")
    generic = record(GENERIC, "b2", hardware=here, at="2026-11-22T22:00:00Z")
    for one in (emulated, kvm, generic):
        boot_record.add(place, one)
    systems = [system(tmp_path, "m"), system(tmp_path, GENERIC, "b2")]
    assert machine_report.recorded(built, systems) == {"m": [kvm]}


def test_runs_of_the_generic_machine_itself_count_where_its_hardware_is_the_same(
    tmp_path: Path, built: Any
) -> None:
    generic = record(GENERIC, "b2", hardware=hardware(built))
    boot_record.add(boot_record.place(GENERIC), generic)
    boot_record.add(boot_record.place(GENERIC), record(GENERIC, "b2", hardware="i440FX"))
    systems = [system(tmp_path, "m"), system(tmp_path, GENERIC, "b2")]
    assert machine_report.recorded(built, systems) == {GENERIC: [generic]}


# ---- what a profile says of its drivers

PROFILE = """\
kernel:
  drivers:
    # NVMe disk: fast (00:1f.0 144d:a808): nvme; its modalias (for it: NVME_CORE)
    - nvme
    # 2 x Sound (00:1f.3): snd_hda_intel, snd-hda-codec-realtek; its modalias
    - snd_hda_intel
    - snd-hda-codec-realtek
    # Another disk: nvme; its class
    - e1000e     # the network card
    - xhci_pci
# Without a driver: nobody: nvme; x
"""


def test_a_profiles_comments_say_which_devices_a_driver_is_for() -> None:
    lines = PROFILE.splitlines()

    def devices(driver: str) -> tuple[str, ...]:
        [line] = [at for at, text in enumerate(lines, 1) if text.split("#")[0].strip() == f"- {driver}"]
        return devices_of(driver, PROFILE, line)

    assert devices("nvme") == ("NVMe disk: fast (00:1f.0 144d:a808)", "Another disk")
    assert devices("snd-hda-codec-realtek") == ("2 x Sound (00:1f.3)",)
    assert devices("e1000e") == ("the network card",)
    assert devices("xhci_pci") == ()


# ---- what a measured machine said of its devices


def said(*drivers: str) -> str:
    """A hardware report with a device for each of these drivers."""
    devices = [
        Device(
            "pci",
            "pci:v00008086d0000100Esv0bc02",
            "network_controller",
            f"Card {at}",
            driver,
            address=f"{at}",
        )
        for at, driver in enumerate(drivers)
    ]
    devices.append(Device("platform", "platform:alarmtimer", driver="alarmtimer"))  # no hardware
    return report_json.dumps(hardware_report.Report("probe", devices=tuple(devices)))


def test_devices_stand_beside_each_other_with_each_systems_driver(tmp_path: Path, built: Any) -> None:
    machine_drivers.keep("m", "m", "a1", said("nvme", "", ""))
    machine_drivers.keep("m", GENERIC, "b2", said("nvme", "e1000e", ""))
    seen = machine_drivers.bound("m", {"m": "a1", GENERIC: "b2"})
    assert [one.drivers for one in seen] == [{"m": "nvme", GENERIC: "nvme"}, {"m": "", GENERIC: "e1000e"}]
    lines = machine_report_text.bound_lines(replace(made(tmp_path, {}), bound=seen))
    assert lines[0].split() == ["m", GENERIC]
    assert [line.split()[-2:] for line in lines[1:]] == [["nvme", "nvme"], ["-", "e1000e"]]
    assert lines[1].startswith("  Card 0 (pci 8086:100e)")


def test_what_another_image_said_of_its_devices_is_left_out(built: Any) -> None:
    machine_drivers.keep("m", "m", "a0", said("nvme"))
    assert machine_drivers.bound("m", {"m": "a1", GENERIC: "b2"}) == []


def test_what_is_no_hardware_report_is_not_kept(built: Any) -> None:
    with pytest.raises(report_json.ReportError):
        machine_drivers.keep("m", "m", "a1", "{}")
    assert not vmdisk.state_dir("m").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"image": "a1"}', '{"image": "a1", "report": {}}'])
def test_a_broken_file_of_devices_is_passed_over(built: Any, text: str) -> None:
    vmdisk.state_dir("m").mkdir(parents=True)
    (vmdisk.state_dir("m") / "hardware-m.json").write_text(text)
    assert machine_drivers.bound("m", {"m": "a1"}) == []


# ---- the command


@pytest.mark.parametrize("number", ["0", "-1", "x", "1000", "qemu-x86_64"])
def test_a_number_of_boots_is_a_number(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", f"--measure={number}", "m"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith(f"error: argument --measure: '{number}' is not a number of boots")
    assert len(told) == 2


def test_a_machine_that_is_not_there_has_no_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", "qemu-x86_46"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: unknown machine 'qemu-x86_46'",
        "hint: did you mean 'qemu-x86_64'?",
    ]
