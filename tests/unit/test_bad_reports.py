"""Reports that nobody has seen before: cut off, of another encoding, hostile, or beyond all measure.

Whatever a file holds, it becomes a report or one line of what is wrong and one of what to do; and whatever a
report says, its devices get a verdict and its profile loads.
"""

import contextlib
import json
import os
import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from drivers_fixture import book, database
from synthetic_reports import FORMATS, facter, hwinfo, mutated, own, reduced

from builder import cli, detected_profile, driver_choice, profile, report_file
from builder.driver_choice import Verdict
from builder.drivers import Resolution
from builder.errors import AetherError
from hardware import report_json, report_text
from hardware.report import Device, Report

GPU = Device(bus="pci", modalias="pci:v00008086d00005917sv000017AAsd0000225Dbc03sc00i00", driver="i915")
DISK = Device(
    bus="pci", modalias="pci:v0000144Dd0000A808sv0sd0bc01sc08i02", driver="nvme", modules=("nvme",)
)
NETWORK = Device(bus="pci", modalias="pci:v00008086d000015D7sv0sd0bc02sc00i00", driver="e1000e", name="LAN")
STICK = Device(bus="usb", modalias="usb:v0781p5583d0100dc00dsc00dp00ic08isc06ip50in00", driver="usb-storage")
MACHINE = (GPU, DISK, NETWORK, STICK)


def saved(folder: Path, content: str | bytes) -> str:
    path = folder / "report"
    path.write_bytes(content if isinstance(content, bytes) else content.encode(errors="surrogatepass"))
    return str(path)


def told(capsys: pytest.CaptureFixture[str], words: Sequence[str]) -> str:
    """What the command says of a mistake: two lines, nothing on standard output, status 2."""
    assert cli.main(list(words)) == 2
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert [line.partition(":")[0] for line in lines] == ["error", "hint"], err
    assert all(len(line) < 500 and line.isprintable() for line in lines)
    return lines[0]


def verdicts_of(report: Report, folder: Path) -> list[Verdict]:
    found = driver_choice.choose(report, database(), book(folder))
    assert len(found) >= len(report.devices)
    assert all(one.modules or len(one.reason) > 5 for one in found)
    return found


def profile_of(report: Report, folder: Path) -> profile.Profile:
    """The profile that a report comes to, read back."""
    text = detected_profile._text(
        "m", report, "pc", verdicts_of(report, folder), [], "desktop", {}, Resolution((), (), (), {}, {})
    )
    (folder / "m.yaml").write_text(text)
    return profile.load(str(folder / "m.yaml"))


@pytest.mark.parametrize("name", FORMATS)
def test_one_machine_is_the_same_in_every_format(name: str, tmp_path: Path) -> None:
    found = report_file.load(saved(tmp_path, FORMATS[name](MACHINE)))
    assert [(one.modalias, one.driver) for one in found.devices if one.modalias] == [
        (one.modalias, one.driver) for one in sorted(MACHINE, key=lambda one: found_at(found, one))
    ]
    assert found.cpu.level == "x86-64-v3"
    assert found.memory_bytes == 8 << 30
    assert "S3CR3T" not in report_json.dumps(found)
    assert set(profile_of(found, tmp_path).kernel.drivers) == {"i915", "nvme", "e1000e"}


def found_at(report: Report, device: Device) -> int:
    return [one.modalias for one in report.devices].index(device.modalias)


@pytest.mark.parametrize("name", FORMATS)
def test_a_report_cut_off_anywhere_is_refused_or_says_less_never_more(name: str, tmp_path: Path) -> None:
    """JSON is refused wherever it ends; of hwinfo's text whole items may be left."""
    whole = FORMATS[name](MACHINE).rstrip()
    for end in range(0, len(whole), max(1, len(whole) // 100)):
        try:
            found = report_file.load(saved(tmp_path, whole[:end]))
        except AetherError as error:
            assert error.hint and error.exit_status == 2 and "\n" not in error.message
        else:
            assert name == "hwinfo", f"cut off after {end} characters"
            assert {one.modalias for one in found.devices} <= {one.modalias for one in MACHINE}


@pytest.mark.parametrize("content", ["", " \n\t\n", "\ufeff", "{}", "[]", "null", '{"schema": null}'])
def test_an_empty_report_is_one_line_and_status_2(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told(capsys, ["detect", "--report", saved(tmp_path, content)])


@pytest.mark.parametrize(
    "content",
    [own(MACHINE, architecture="aarch64"), facter(MACHINE, system="aarch64-linux")],
    ids=["own", "facter"],
)
def test_a_report_of_another_architecture_is_one_line_and_status_2(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "aarch64" in told(capsys, ["detect", "--report", saved(tmp_path, content), "--profile", "m"])


@pytest.mark.parametrize(
    "encoding, said",
    [
        ("latin-1", "not UTF-8"),
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16"),
        ("utf-16-be", "UTF-16"),
        ("cp1252", "not UTF-8"),
    ],
)
@pytest.mark.parametrize("write", [hwinfo, own], ids=["hwinfo", "own"])
def test_a_report_of_another_encoding_is_one_line_and_status_2(
    write: object, encoding: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = FORMATS["hwinfo" if write is hwinfo else "own"]([Device(bus="usb", name="Clé USB"), *MACHINE])
    assert said in told(capsys, ["detect", "--report", saved(tmp_path, text.encode(encoding))])


def test_binary_rubbish_is_one_line_and_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = random.Random(3)
    for size in (1, 10, 1_000, 100_000):
        told(capsys, ["detect", "--report", saved(tmp_path, rng.randbytes(size) + b"\xff")])


@pytest.mark.parametrize("lost", [*json.loads(facter(MACHINE)), "hardware.cpu", "hardware.memory"])
def test_a_facter_report_without_one_of_its_sections_is_used_or_refused(lost: str, tmp_path: Path) -> None:
    values = json.loads(facter(MACHINE))
    if lost.startswith("hardware."):
        del values["hardware"][lost.removeprefix("hardware.")]
    else:
        del values[lost]
    if lost in ("hardware", "system"):
        with pytest.raises(AetherError) as caught:
            report_file.load(saved(tmp_path, json.dumps(values)))
        assert caught.value.hint
    else:
        found = report_file.load(saved(tmp_path, json.dumps(values)))
        assert len([one for one in found.devices if one.modalias]) == len(MACHINE)
        assert profile_of(found, tmp_path).kernel.drivers


@pytest.mark.parametrize("name", ["own", "facter", "reduced"])
def test_hundreds_of_damaged_reports_are_used_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    """The same ones every time; a fault of this program would be another exception."""
    rng = random.Random(49)
    whole = json.loads(FORMATS[name](MACHINE))
    used = 0
    for number in range(300):
        content = json.dumps(mutated(whole, rng))
        try:
            found = report_file.load(saved(tmp_path, content))
        except AetherError as error:
            assert error.hint and "\n" not in error.message and len(error.message) < 400, content
            continue
        used += 1
        verdicts_of(found, tmp_path)
        assert list(report_text.lines(found))
        if number % 20 == 0:
            profile_of(found, tmp_path)
    assert used > 10


def test_hundreds_of_damaged_texts_of_hwinfo_are_used_or_refused_in_one_line(tmp_path: Path) -> None:
    rng = random.Random(49)
    lines = hwinfo(MACHINE).splitlines()
    for _ in range(300):
        changed = [line for line in lines if rng.random() > 0.05]
        for _ in range(rng.randrange(4)):
            at = rng.randrange(len(changed))
            changed[at] = rng.choice(
                ["", changed[at][::-1], changed[at] * 3, ": " * 40, "\x0b" + changed[at]]
            )
        with contextlib.suppress(AetherError):
            verdicts_of(report_file.load(saved(tmp_path, "\n".join(changed) + "\n")), tmp_path)


HOSTILE = {
    "star": "pci:v*d*sv*sd*bc03sc*i*",
    "question": "pci:v0000????d00005917sv0sd0bc03sc00i00",
    "bracket": "pci:v00008086d0000591[0-9]sv0sd0bc03sc00i00",
    "open bracket": "pci:v00008086d00005917sv[",
    "bare star": "*",
    "10 kB": "pci:v00008086d00005917sv" + "0" * 10_000 + "sd0bc03sc00i00",
    "10 kB of stars": "pci:" + "*a" * 5_000,
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("alias", HOSTILE.values(), ids=HOSTILE)
def test_a_modalias_that_no_kernel_writes_gets_no_driver_and_a_reason(
    alias: str, name: str, tmp_path: Path
) -> None:
    """It is text to be looked up, never a pattern; whoever bound a driver to it keeps that."""
    if name == "hwinfo" and len(alias) > 5_000:
        alias = alias[:5_000]
    devices = [Device(bus="pci", modalias=alias), Device(bus="pci", modalias=alias, driver="i915"), NETWORK]
    started = time.monotonic()
    found = verdicts_of(report_file.load(saved(tmp_path, FORMATS[name](devices))), tmp_path)
    by_driver = {one.device.driver: one for one in found if one.device.modalias.startswith(alias[:10])}
    assert by_driver[""].modules == ()
    assert "wildcard" in by_driver[""].reason or "longer than 4096" in by_driver[""].reason
    assert by_driver["i915"].modules == ("i915",)
    assert time.monotonic() - started < 10


def test_many_long_modaliases_take_no_time(tmp_path: Path) -> None:
    aliases = [f"acpi:{'A*' * 6_000}{number}" for number in range(500)]
    found = report_file.load(saved(tmp_path, own([Device(bus="acpi", modalias=one) for one in aliases])))
    started = time.monotonic()
    verdicts_of(found, tmp_path)
    assert time.monotonic() - started < 10


ITEM = "01: USB 00.0: 0000 X\n  Hardware Class: usb\n  Config Status: cfg=new\n"
ENDLESS = {
    "own": '{"schema": "io.aetheros.hardware", "version": 1, "source": "probe", "devices": [%s]}',
    "facter": '{"version": 1, "system": "x86_64-linux", "hardware": {"usb": [%s]}}',
    "reduced": '{"name": "m", "cpu": {}, "devices": [%s]}',
}


@pytest.mark.parametrize(
    "content",
    [*(text % ",".join(['{"bus": "usb"}'] * 100_000) for text in ENDLESS.values()), ITEM * 100_000],
    ids=[*ENDLESS, "hwinfo"],
)
def test_a_report_of_100000_devices_is_refused_in_one_line(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A part of it would be another machine."""
    assert "no machine has more than 20000" in told(capsys, ["detect", "--report", saved(tmp_path, content)])


def test_as_many_devices_as_a_report_may_have_are_judged_one_by_one(tmp_path: Path) -> None:
    aliases = [f"pci:v00008086d0000{number:04X}sv0sd0bc02sc00i00" for number in range(10_000)]
    devices = [Device(bus="pci", modalias=one) for one in aliases]
    found = report_file.load(saved(tmp_path, own([*devices, *devices])))
    assert len(verdicts_of(found, tmp_path)) == 20_000


def test_a_device_that_is_there_many_times_is_one_driver_and_one_comment(tmp_path: Path) -> None:
    found = report_file.load(saved(tmp_path, own([GPU, GPU, NETWORK, GPU])))
    assert len(verdicts_of(found, tmp_path)) == 4
    assert profile_of(found, tmp_path).kernel.drivers == ("i915", "e1000e")
    text = (tmp_path / "m.yaml").read_text()
    assert text.count("# 3 x ") == 1


@pytest.mark.parametrize("opening, closing", [("[", "]"), ('{"a":', "}")])
def test_deep_nesting_is_one_line_and_status_2(
    opening: str, closing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for depth in (900, 5_000, 200_000):
        inner = f"{opening * depth}1{closing * depth}"
        content = f'{{"version": 1, "system": "x86_64-linux", "hardware": {inner}}}'
        told(capsys, ["detect", "--report", saved(tmp_path, content)])


NAMES = [
    "a\nkernel: {drivers: [evil]}",
    "---\n...\n",
    "&a *a !!python/object",
    "{[,]}: # '\" \\",
    "\x00\x07\x1b]0;title\x07\x9b31m",
    "\u2028\u2029\x85\u202e\ufeff",
    "\ud800",
    "%YAML 1.2",
    "- " * 200,
    "x" * 100_000,
]


@pytest.mark.parametrize("name", ["own", "facter", "reduced"])
@pytest.mark.parametrize("bad", NAMES, ids=range(len(NAMES)))
def test_no_name_in_a_report_breaks_its_profile(name: str, bad: str, tmp_path: Path) -> None:
    """The name of a device, a driver, a module, a bus and a class."""
    strange = Device(bus=bad, kind=bad, name=bad, driver=bad, modules=(bad,), modalias=bad)
    named = Device(bus=bad, kind=bad, name=bad, driver="i915", modalias=GPU.modalias)
    try:
        found = report_file.load(saved(tmp_path, FORMATS[name]([strange, named])))
    except AetherError as error:
        assert "the most there are" in error.message or "not UTF-8" in error.message
        return
    assert profile_of(found, tmp_path).kernel.drivers == ("i915",)
    text = (tmp_path / "m.yaml").read_text()
    assert all(line.isprintable() for line in text.split("\n"))


def test_a_folder_is_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is a folder" in told(capsys, ["detect", "--report", str(tmp_path)])


def test_a_pipe_that_nobody_writes_into_is_empty_and_one_with_a_writer_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "is empty" in told(capsys, ["detect", "--report", str(pipe)])

    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # so that the writer's open comes back at once
    writer = os.open(pipe, os.O_WRONLY)
    content = own(MACHINE * 300).encode()  # more than a pipe holds

    def write() -> None:
        with os.fdopen(writer, "wb") as file:
            file.write(content)

    thread = threading.Thread(target=write)
    thread.start()
    found = report_file.load(str(pipe))
    thread.join(timeout=10)
    os.close(reader)
    assert len(found.devices) == 1_200


def test_files_that_cannot_be_read_are_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    unreadable = [str(tmp_path / "nowhere"), str(loop), "/proc/self/mem", str(tmp_path / ("n" * 300))]
    for path in unreadable:
        assert "cannot be read" in told(capsys, ["detect", "--report", path])
    if os.geteuid():  # root may read everything
        locked = tmp_path / "locked"
        locked.write_text(own(MACHINE))
        locked.chmod(0)
        assert "Permission denied" in told(capsys, ["detect", "--report", str(locked)])
    assert "more than 32 MB" in told(capsys, ["detect", "--report", "/dev/zero"])


@pytest.mark.parametrize("name", ["taken", "pc", "Big", "../x", "", "a b", "-x", "x" * 300, "é", "list\n"])
def test_a_profiles_name_that_is_taken_or_none_is_one_line_and_status_2(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the project's own machines too: one of the person's would hide it, and extend itself."""
    machines = tmp_path / "machines"
    machines.mkdir()
    (machines / "taken.yaml").write_text("name: taken\nextends: pc\n")
    monkeypatch.setenv("AETHER_MACHINES", str(machines))
    report = saved(tmp_path, reduced(MACHINE))
    told(capsys, ["detect", "--report", report, f"--profile={name}"])
    assert [path.name for path in machines.iterdir()] == ["taken.yaml"]
    assert (machines / "taken.yaml").read_text() == "name: taken\nextends: pc\n"


def test_a_folder_of_machines_that_is_not_there_is_told_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AETHER_MACHINES", str(tmp_path / "nowhere"))
    error = told(capsys, ["detect", "--report", saved(tmp_path, own(MACHINE)), "--profile", "m"])
    assert "nowhere" in error
    assert not (tmp_path / "nowhere").exists()
