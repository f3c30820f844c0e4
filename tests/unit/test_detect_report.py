"""Saved reports: every format, every real machine, and every way in which a file can be unusable."""

import contextlib
import io
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from test_detect_probe import SHAPES

from builder import cli, report_file
from builder.errors import AetherError
from hardware import report_json, report_text
from hardware.cpu_level import LEVELS
from hardware.names import describe
from hardware.report import Device, Report

DATA = Path(__file__).parent.parent / "data"
MACHINES = sorted((DATA / "hardware").glob("*.json"))
SAVED = [DATA / "reports/facter.json", DATA / "reports/hwinfo.txt"]
SECRETS = (
    *("S4EMNF0MB29472", "PF0XYZ12", "L1HF89X00ZQ", "FIN-004711", "8c:16:45:a1:b2:c3", "071C587E0C8D2055"),
    *("4c4c4544", "0025388b91c8cf4e", "e8238fa6bf530001", "000000001"),
)


def own(**changes: Any) -> dict[str, Any]:
    """Our own report of a small machine, as values of JSON."""
    report = Report(
        source="probe", architecture="x86_64", devices=(Device(bus="pci", modalias="pci:v00008086"),)
    )
    return {**report_json.as_values(report), **changes}


def short(value: object) -> str:
    """A parameter as a part of a test's name."""
    return repr(value)[:40]


def saved(tmp_path: Path, content: str | bytes | dict[str, Any]) -> str:
    """The path of a file with this content."""
    path = tmp_path / "report"
    text = json.dumps(content) if isinstance(content, dict) else content
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def refused(tmp_path: Path, content: str | bytes | dict[str, Any]) -> str:
    """What is said of a file that cannot be used; there is always something to do about it."""
    with pytest.raises(AetherError) as caught:
        report_file.load(saved(tmp_path, content))
    assert caught.value.hint
    assert caught.value.exit_status == 2
    assert len(caught.value.message) < 400
    assert "\n" not in caught.value.message
    return caught.value.message


def test_there_are_reports_of_49_machines() -> None:
    assert len(MACHINES) == 49


@pytest.mark.parametrize("path", MACHINES, ids=lambda path: path.stem)
def test_every_real_machine_loads_whole_and_comes_back_from_our_own_format(path: Path) -> None:
    raw = json.loads(path.read_text())
    found = report_file.load(str(path))
    assert (found.name, found.kind, found.memory_bytes) == (raw["name"], raw["kind"], raw["memory_bytes"])
    assert len(found.devices) == len(raw["devices"])
    assert [device.modalias for device in found.devices] == [entry["modalias"] for entry in raw["devices"]]
    assert [device.driver for device in found.devices] == [entry["driver"] for entry in raw["devices"]]
    assert found.cpu.level in LEVELS
    assert all(describe(device) for device in found.devices)
    assert list(report_text.lines(found))
    text = report_json.dumps(found)
    assert report_json.from_values(json.loads(text)) == found
    assert [name for name, shape in SHAPES.items() if re.search(shape, text)] == []


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.name)
def test_other_programs_reports_tell_the_same_machine(path: Path) -> None:
    found = report_file.load(str(path))
    assert (found.name, found.kind, found.architecture) == ("LENOVO ThinkPad T470", "laptop", "x86_64")
    assert (found.board.bios_version, found.board.bios_date) == ("N1QET88W (1.63 )", "04/22/2020")
    assert (found.cpu.vendor, found.cpu.family, found.cpu.model, found.cpu.stepping) == (
        *("GenuineIntel", 6, 142, 9),
    )
    assert found.cpu.level == "x86-64-v3"
    assert found.cpu.model_name == "Intel(R) Core(TM) i5-7200U CPU @ 2.50GHz"
    by_driver = {device.driver: device for device in found.devices if device.modalias}
    assert {"nvme", "e1000e", "i915", "pcieport", "usbhid"} <= set(by_driver)
    nvme = by_driver["nvme"]
    assert (nvme.kind, nvme.parent, nvme.chain) == ("storage_controller", "pci/0000:00:1d.0", ("pcieport",))
    assert [(entry.kind, entry.driver) for entry in found.networks] == [("ethernet", "e1000e")]
    assert [card.name for card in found.graphics] == ["Intel HD Graphics 620"]
    assert (found.blocks[0].kind, found.blocks[0].driver) == ("nvme", "nvme")
    assert found.blocks[0].size_bytes
    # The disk hangs on its controller, though it has no modalias of its own.
    disk = next(device for device in found.devices if device.kind == "disk")
    assert disk.chain[0] == "nvme"


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.name)
def test_their_secrets_stay_behind(path: Path) -> None:
    content = path.read_text()
    present = [secret for secret in SECRETS if secret in content]
    assert len(present) >= 6
    text = report_json.dumps(report_file.load(str(path)))
    assert [secret for secret in present if secret in text] == []
    assert [name for name, shape in SHAPES.items() if re.search(shape, text)] == []


def test_a_facter_report_tells_firmware_memory_and_usb_disks() -> None:
    found = report_file.load(str(SAVED[0]))
    assert (found.firmware.kind, found.firmware.bits) == ("uefi", 64)
    assert found.memory_bytes == 16 << 30
    assert (found.cpu.cores, found.cpu.threads) == (2, 4)
    stick = found.blocks[1]
    assert (stick.kind, stick.chain, stick.size_bytes) == ("usb", ("sd", "uas"), 488397168 * 512)


def test_hwinfo_adds_up_the_memory_it_tells_in_parts() -> None:
    assert report_file.load(str(SAVED[1])).memory_bytes == (7 << 30) + (768 << 20)


@pytest.mark.parametrize("lost", ["cpu", "memory", "storage_controller"])
def test_a_facter_report_with_missing_sections_is_used_and_says_what_it_lacks(
    tmp_path: Path, lost: str
) -> None:
    values = json.loads(SAVED[0].read_text())
    del values["hardware"][lost], values["smbios"]
    found = report_file.load(saved(tmp_path, values))
    assert lost.replace("_", " ") in [unread.what for unread in found.unread]
    assert found.name == ""


def test_values_of_the_wrong_type_in_a_facter_report_count_as_not_there(tmp_path: Path) -> None:
    values = json.loads(SAVED[0].read_text())
    values["hardware"]["cpu"] = [{"features": "fpu", "family": "six", "cores": -1}, 5, None]
    values["hardware"]["graphics_card"] = {"model": ["a"], "module_alias": 7, "driver": {"a": 1}}
    values["hardware"]["disk"][0]["resources"] = "many"
    values["smbios"] = [1, 2]
    values["uefi"] = "yes"
    found = report_file.load(saved(tmp_path, values))
    assert (found.cpu.flags, found.cpu.family, found.cpu.cores) == ((), None, None)
    assert found.firmware.kind == "unknown"
    assert found.blocks[0].size_bytes is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "it is empty"),
        (" \n\n", "it is empty"),
        ("hello\n", "no known format"),
        ("[]", "JSON, but no report"),
        ('{"a": 1}', "JSON, but no report"),
        ('{"schema": "io.aetheros.hardware", "version": 1, "sou', "ends in the middle, at line 1"),
        ("{'schema': 1}", "not JSON"),
        ("\0\0\0\0", "not a text file"),
        (b"\x1f\x8b\x08\x00", "it is packed"),
        ("hwinfo".encode("utf-16"), "it is UTF-16"),
        (b"01: None\n  Model: \"Caf\xe9\"\n", "line 2 is not UTF-8 text (byte 0xe9)"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' * 100_000, "nested too deeply"),
        ('{"a": 1' + "0" * 10_000 + "}", "number too long"),
        ('{"hardware": [], "system": "x86_64-linux"}', "Facter before version 1"),
        ('{"hardware": {}, "system": "x86_64-linux"}', "without a single device"),
        ('{"name": "a", "cpu": {}, "devices": []}', "without a single device"),
    ],
    ids=short,
)  # fmt: skip
def test_an_unusable_file_is_one_clear_line(tmp_path: Path, content: str | bytes, said: str) -> None:
    assert said in refused(tmp_path, content)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": 99}, "version 99 of the format"),
        ({"version": "1"}, "version: expected a whole number, found '1'"),
        ({"schema": "other"}, "its schema is 'other'"),
        ({"source": None}, "source: expected text, found nothing"),
        ({"devices": "many"}, "devices: expected a list, found 'many'"),
        ({"devices": [{"bus": "pci"}, 5]}, "devices[1]: expected an object, found 5"),
        ({"devices": [{"modalias": "pci:"}]}, "devices[0].bus is missing"),
        ({"devices": [{"bus": "pci", "modalias": 5}]}, "devices[0].modalias: expected text, found 5"),
        ({"devices": [{"bus": "pci", "modalias": "x" * 20_000}]}, "20000 characters"),
        ({"cpu": {"family": True}}, "cpu.family: expected a whole number, found true"),
        ({"memory_bytes": -1}, "memory_bytes: expected a whole number, found -1"),
        ({"memory_bytes": 1e400}, "memory_bytes: expected a whole number"),
        ({"memory_bytes": 10**30}, "found a huge number"),
        ({"consoles": [["tty0"]]}, "consoles[0]: expected text, found a list"),
        ({"cpu": []}, "cpu: expected an object, found a list"),
        ({"devices": [{"bus": "pci"}] * 20_001}, "20001 entries"),
        ({"architecture": "aarch64"}, "an aarch64 machine"),
    ],
    ids=short,
)
def test_a_mistake_in_our_own_format_is_told_with_its_place(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    assert said in refused(tmp_path, own(**changes))


def test_reports_of_other_architectures_are_refused_in_every_format(tmp_path: Path) -> None:
    values = json.loads(SAVED[0].read_text())
    assert "an aarch64 machine" in refused(tmp_path, {**values, "system": "aarch64-linux"})
    text = SAVED[1].read_text().replace(",lm,", ",").replace("X86-64", "Intel")
    assert "an i686 machine" in refused(tmp_path, text)


def test_a_file_beyond_reason_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(AetherError, match="more than 32 MB"):
        report_file.load(str(path))


def test_hwinfo_text_that_is_cut_off_is_not_taken_for_a_smaller_machine(tmp_path: Path) -> None:
    text = SAVED[1].read_text()
    assert "in the middle of item 9 (USB Mouse)" in refused(tmp_path, text[: text.index("Buttons: 3")])


def test_hostile_hwinfo_lines_take_no_time(tmp_path: Path) -> None:
    text = SAVED[1].read_text() + "\n1: a" + " " * 50_000 + "\n" + "a " * 500_000 + "\n"
    began = time.monotonic()
    assert report_file.load(saved(tmp_path, text)).devices
    assert time.monotonic() - began < 2


def test_text_from_a_report_cannot_write_to_a_terminal_or_into_another_line(tmp_path: Path) -> None:
    device = {"bus": "pci", "name": "a\x1b[2Jb\nc\u2028d\ud800", "modalias": "pci:v\n\x07x"}
    found = report_file.load(saved(tmp_path, own(devices=[device])))
    assert found.devices[0].name == "a [2Jb c d?"
    assert found.devices[0].modalias == "pci:vx"
    report_json.dumps(found).encode()


def test_a_newer_writers_unknown_keys_are_passed_over(tmp_path: Path) -> None:
    assert report_file.load(saved(tmp_path, own(colour="grey"))).devices


@pytest.mark.parametrize("name", ["nowhere.json", ".", "a\0b"])
def test_a_file_that_is_not_there_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AetherError) as caught:
        report_file.load(name)
    assert caught.value.hint


def aether(*arguments: str) -> tuple[int, str, str]:
    """`aether` with these arguments: its exit status, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.main(list(arguments))
    return status, out.getvalue(), err.getvalue()


def test_detect_shows_writes_and_reads_back_what_it_wrote(tmp_path: Path) -> None:
    file = tmp_path / "t480.json"
    source = str(DATA / "hardware/lenovo-20l6s6ru00-thinkpad-t480.json")
    status, out, _ = aether("detect", "--report", source, "-o", str(file))
    assert (status, out) == (0, f"{file}: LENOVO 20L6S6RU00 (ThinkPad T480), 42 devices\n")
    status, out, _ = aether("detect", "--report", str(file), "--json")
    assert (status, out) == (0, file.read_text())
    status, out, _ = aether("detect", "--report", str(file))
    assert status == 0
    assert "Intel Ethernet controller: e1000e" in out
    assert "x86-64-v3" in out
    # Its own report is replaced by a newer one.
    assert aether("detect", "--report", source, "-o", str(file))[0] == 0


def test_detect_reads_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(SAVED[1].read_bytes()))
    monkeypatch.setattr("sys.stdin", stream)
    status, out, _ = aether("detect", "--report", "-", "--json")
    assert (status, json.loads(out)["name"]) == (0, "LENOVO ThinkPad T470")


def test_detect_never_replaces_what_is_no_report(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    status, _, err = aether("detect", "-o", str(notes))
    assert (status, notes.read_text()) == (2, "mine")
    assert "is no hardware report" in err
    for place in (str(tmp_path), "/dev/null", str(tmp_path / "no/where.json")):
        status, _, err = aether("detect", "-o", place)
        assert status == 2
        assert "hint: " in err


def test_detect_without_a_report_is_of_this_machine() -> None:
    status, out, _ = aether("detect", "--json")
    assert (status, json.loads(out)["source"]) == (0, "probe")
