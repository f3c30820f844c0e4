"""The text of a detected machine's profile: YAML that loads, and nothing dropped in silence."""

from pathlib import Path

import pytest
from drivers_fixture import book, database

from builder import detected_profile, driver_choice, profile
from builder.driver_choice import Verdict
from builder.drivers import Left, Resolution
from hardware.report import Cpu, Device, Firmware, Report

GPU = Device(
    bus="pci", modalias="pci:v00008086d00005917sv0sd0bc03sc00i00", name="Intel UHD 620", driver="i915"
)
PORT = Device(bus="pci", modalias="pci:v00008086d00009D10sv0sd0bc06sc04i00", name="PCI bridge")
HOST = Device(bus="pci", modalias="pci:v00008086d00005914sv0sd0bc06sc00i00", name="Host bridge")
WIFI = Device(bus="pci", modalias="pci:v000014E4d000043A0sv0sd0bc02sc80i00", name="BCM4360", driver="wl")


def report(*devices: Device, **fields: object) -> Report:
    known = {
        "source": "probe",
        "name": "LENOVO ThinkPad T480",
        "kind": "laptop",
        "firmware": Firmware("uefi"),
        "cpu": Cpu(vendor="GenuineIntel", model_name="Intel i7", level="x86-64-v3", threads=8),
        "memory_bytes": 64 << 30,
        "devices": devices,
    }
    return Report(**{**known, **fields})  # type: ignore[arg-type]


def text_of(
    tmp_path: Path, machine: Report, resolution: Resolution | None = None, name: str = "t480"
) -> str:
    verdicts = driver_choice.choose(machine, database(), book(tmp_path))
    nothing = Resolution((), (), (), {}, {})
    settings = {"INTEL_IDLE": ("y", 'the processor: "saves" power')}
    return detected_profile._text(
        name, machine, "pc", verdicts, ["ext4"], "laptop", settings, resolution or nothing
    )


def load(tmp_path: Path, text: str, name: str = "t480") -> profile.Profile:
    path = tmp_path / f"{name}.yaml"
    path.write_text(text)
    return profile.load(str(path))


def test_the_profile_loads_with_the_machines_drivers_processor_and_memory(tmp_path: Path) -> None:
    machine = load(tmp_path, text_of(tmp_path, report(GPU, PORT, PORT, HOST, WIFI)))
    assert machine.kernel.drivers == ("i915", "pcieportdrv", "ext4")
    assert (machine.cpu.march, machine.cpu.threads, machine.memory) == ("x86-64-v3", 8, "64G")
    assert machine.kernel.fragments == (*profile.load("pc").kernel.fragments, "laptop", "firmware")
    assert machine.settings[0].reason == 'the processor: "saves" power'


def test_each_device_is_a_comment_above_its_driver_or_stands_at_the_end_with_the_reason(
    tmp_path: Path,
) -> None:
    lines = text_of(tmp_path, report(GPU, PORT, PORT, HOST, WIFI)).splitlines()
    at = lines.index("    - i915")
    assert lines[at - 1] == "    # Intel UHD 620 (pci 8086:5917): i915; i915 drove it"
    at = lines.index("    - pcieportdrv")
    assert lines[at - 1] == "    # 2 x PCI bridge (pci 8086:9d10): pcieportdrv; a PCI Express port"
    assert "#   Host bridge (pci 8086:5914): a host bridge" in lines
    assert "#   BCM4360 (pci 14e4:43a0): wl is not in this kernel's source" in lines


def test_a_driver_of_several_devices_is_listed_once(tmp_path: Path) -> None:
    other = Device(bus="pci", modalias="pci:v1", name="Another", driver="i915")
    assert text_of(tmp_path, report(GPU, other)).count("    - i915") == 1


def test_a_refused_driver_makes_its_device_one_without_a_driver() -> None:
    verdict = Verdict(GPU, "driven", ("i915",), "i915 drove it")
    refused = detected_profile._without(verdict, {"i915": "DRM_I915 needs m"})
    assert (refused.kind, refused.modules, refused.reason) == ("kconfig", (), "i915: DRM_I915 needs m")
    both = Verdict(GPU, "driven", ("i915", "xe"), "x", "y")
    left = detected_profile._without(both, {"i915": "DRM_I915 needs m"})
    assert (left.kind, left.modules, left.also) == ("driven", ("xe",), "y; without i915: DRM_I915 needs m")


def test_packages_are_put_into_the_image_and_what_was_left_out_is_told(tmp_path: Path) -> None:
    resolution = Resolution(
        wanted=(),
        mistakes=(),
        left=(Left("SND_X", "a rule", "SND_X needs m"),),
        packages={"wpasupplicant": "iwlwifi: somebody negotiates keys"},
        firmware={},
    )
    text = text_of(tmp_path, report(GPU), resolution)
    assert "    # iwlwifi: somebody negotiates keys\n    - wpasupplicant\n" in text
    assert load(tmp_path, text).image.packages == ("wpasupplicant",)
    assert "#   SND_X: SND_X needs m" in text


@pytest.mark.parametrize(
    "bad",
    [
        "a\nkernel: {}",
        "x: [",
        "tab\there",
        "quote \" and ' and \\",
        "\x1b[31mred",
        "# - {",
        "\u2028line",
        "é" * 500,
    ],
)
def test_no_text_of_a_report_breaks_out_of_its_comment_or_quotes(tmp_path: Path, bad: str) -> None:
    device = Device(bus=bad, modalias=GPU.modalias, name=bad, driver="i915", kind=bad)
    unknown = Device(bus=bad, modalias=bad, name=bad, driver=bad)
    machine = report(device, unknown, name=bad, cpu=Cpu(model_name=bad, level=bad))
    loaded = load(tmp_path, text_of(tmp_path, machine))
    assert loaded.kernel.drivers == ("i915", "ext4")
    assert loaded.cpu == profile.load("pc").cpu, "a level that is none is left to the base"


def test_a_machine_without_facts_or_drivers_loads_too(tmp_path: Path) -> None:
    machine = report(HOST, name="", cpu=Cpu(), memory_bytes=None, kind="unknown")
    verdicts = driver_choice.choose(machine, database(), book(tmp_path))
    text = detected_profile._text(
        "m", machine, "pc", verdicts, [], "desktop", {}, Resolution((), (), (), {}, {})
    )
    assert load(tmp_path, text, "m").kernel.drivers == ()


@pytest.mark.parametrize("name", ["486", "8250", "yes", "null", "1e3", "t480"])
def test_any_name_of_a_profile_stays_text(tmp_path: Path, name: str) -> None:
    assert load(tmp_path, text_of(tmp_path, report(GPU), name=name), name).name == name


@pytest.mark.parametrize("size, written", [(64 << 30, "64G"), (33_500_000_000, "31G"), (300 << 20, "300M")])
def test_memory_is_written_as_a_profile_wants_it(tmp_path: Path, size: int, written: str) -> None:
    assert load(tmp_path, text_of(tmp_path, report(GPU, memory_bytes=size))).memory == written


@pytest.mark.parametrize(
    "kind, virtualisation, role",
    [
        ("laptop", "none", "laptop"),
        ("server", "none", "server"),
        ("desktop", "unknown", "desktop"),
        ("unknown", "none", "desktop"),
        ("unknown", "kvm", "vm"),
        ("desktop", "microsoft", "vm"),
        ("vm", "unknown", "vm"),
    ],
)
def test_the_kind_of_machine_decides_the_role_and_a_guest_is_a_vm(
    kind: str, virtualisation: str, role: str
) -> None:
    assert detected_profile.role_of(report(GPU, kind=kind, virtualisation=virtualisation)) == role
