"""The phases of a boot, from what guest and firmware say, and the file that keeps them."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from builder import boot_phases, boot_record
from builder.boot_record import Record
from builder.qemu_command import MachineSpec

SAID = """\
kernel 6.12.117
[    1.500000] Run /usr/lib/aetheros/early-mounts as init process
Id=-.slice
FinishTimestampMonotonic=7000000
Id=agentd.service
ExecMainStartTimestampMonotonic=4000000
Id=aetheros-ready.service
ExecMainExitTimestampMonotonic=6000000
"""
RECORD = Record("m", "k1", "6.12", "hw", "tcg", False, "2026-11-22T20:15:03Z", {"ready": 9.0, "kernel": 1.5})


def test_the_phases_of_a_boot_add_up_to_the_time_from_power_on_to_ready() -> None:
    boot = boot_phases.phases(SAID, 9.0, [0.5, 2.0, 3.5])
    assert boot is not None
    assert boot.kernel == "6.12.117"
    # The guest's clock began 3 s after power-on; what the firmware started after that is another boot's.
    assert boot.seconds == {
        "firmware": 2.0,
        "loader": 1.0,
        "kernel": 1.5,
        "userspace": 2.5,
        "agent": 2.0,
        "ready": 9.0,
        "finished": 10.0,
    }
    assert sum(boot.seconds[name] for name in boot_phases.PHASES) == boot.seconds["ready"]


def test_without_a_boot_loader_all_before_the_kernel_is_firmware() -> None:
    boot = boot_phases.phases(SAID, 9.0, [])
    assert boot is not None
    assert boot.seconds["firmware"] == 3.0
    assert "loader" not in boot.seconds


@pytest.mark.parametrize(
    ("gone", "missing"),
    [
        ("Run /usr", {"kernel", "userspace"}),
        ("FinishTimestampMonotonic=7", {"finished"}),
        ("ExecMainStartTimestampMonotonic=4", {"userspace", "agent"}),
        ("ExecMainExitTimestampMonotonic=6", {"firmware", "loader", "userspace", "agent", "finished"}),
    ],
)
def test_what_a_guest_does_not_say_is_missing_and_nothing_else(gone: str, missing: set[str]) -> None:
    boot = boot_phases.phases(SAID.replace(gone, "x"), 9.0, [2.0])
    assert boot is not None
    assert set(boot.seconds) == {*boot_phases.PHASES, "ready", "finished"} - missing


def test_an_agent_that_was_started_anew_has_no_phase() -> None:
    later = SAID.replace("ExecMainStartTimestampMonotonic=4", "ExecMainStartTimestampMonotonic=90")
    boot = boot_phases.phases(later, 9.0, [2.0])
    assert boot is not None
    assert not {"agent", "userspace"} & set(boot.seconds)


def test_a_guest_that_says_nothing_has_no_boot() -> None:
    assert boot_phases.phases("sh: not found\n", 9.0) is None


def test_the_loader_is_seen_once_where_its_line_arrives_in_pieces() -> None:
    starts = boot_phases.Starts()
    line = b'BdsDxe: loading Boot0001 "UEFI"\r\nBdsDxe: starting Boot0001 "UEFI" from PciRoot\r\n'
    assert sum(starts.take(line[at : at + 1]) for at in range(len(line))) == 1
    assert [starts.take(piece) for piece in (b"x" * 100_000, line[:40], line[40:], line + line)] == [
        0,
        0,
        1,
        2,
    ]


def test_a_record_survives_the_file(tmp_path: Path) -> None:
    path = tmp_path / "m/boots.jsonl"
    boot_record.add(path, RECORD)
    boot_record.add(path, replace(RECORD, first=True))
    assert boot_record.read(path) == [RECORD, replace(RECORD, first=True)]


def test_without_a_file_there_are_no_records(tmp_path: Path) -> None:
    assert boot_record.read(tmp_path / "boots.jsonl") == []


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "{",
        "[]",
        "null",
        '"text"',
        json.dumps({**asdict(RECORD), "seconds": {"ready": "soon"}}),
        json.dumps({**asdict(RECORD), "seconds": {}}),
        json.dumps({**asdict(RECORD), "seconds": [1]}),
        json.dumps({**asdict(RECORD), "machine": 7}),
        json.dumps({name: value for name, value in asdict(RECORD).items() if name != "image"}),
        "\0\x80",
    ],
)
def test_a_broken_line_is_passed_over(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "boots.jsonl"
    good = json.dumps({**asdict(RECORD), "of a later version": 1})
    path.write_text(f"{good}\n{broken}\n{good}\n{good[:40]}", encoding="latin-1")
    assert boot_record.read(path) == [RECORD, RECORD]
    boot_record.add(path, RECORD)
    assert boot_record.read(path) == [RECORD] * 3


def test_the_last_boots_of_each_machine_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "boots.jsonl"
    boot_record.add(path, replace(RECORD, machine="generic"))
    for number in range(boot_record.KEPT + 2):
        boot_record.add(path, replace(RECORD, image=f"{number}"))
    kept = boot_record.read(path)
    assert [one.machine for one in kept].count("generic") == 1
    assert [one.image for one in kept if one.machine == "m"] == [
        f"{number}" for number in range(2, boot_record.KEPT + 2)
    ]


def test_boots_of_something_else_are_left_out() -> None:
    others = [
        replace(RECORD, machine="other"),
        replace(RECORD, image="k0"),
        replace(RECORD, kernel="6.12+deb13"),  # the fallback's
        replace(RECORD, hardware="more memory"),
        replace(RECORD, accelerator="kvm"),
    ]
    wanted = {"machine": "m", "image": "k1", "kernel": "6.12", "hardware": "hw", "accelerator": "tcg"}
    assert boot_record.chosen([*others, RECORD, *others], **wanted) == [RECORD]


def test_a_disks_first_boots_count_only_where_there_are_no_others() -> None:
    first = replace(RECORD, first=True)
    wanted = {"machine": "m", "image": "k1", "kernel": "6.12", "hardware": "hw", "accelerator": "tcg"}
    assert boot_record.chosen([first, RECORD, first], **wanted) == [RECORD]
    assert boot_record.chosen([first], **wanted) == [first]


def test_the_hardware_is_what_a_guest_sees_of_it(tmp_path: Path) -> None:
    spec = MachineSpec("m", tmp_path, kernel=tmp_path / "k")
    same = replace(spec, name="other", folder=tmp_path / "x", disk=tmp_path / "disk.raw", accel="tcg")
    assert boot_record.hardware_key(spec) == boot_record.hardware_key(same)
    for change in ({"memory": 1 << 30}, {"cpus": 1}, {"machine": "pc"}, {"firmware": "direct"}):
        assert boot_record.hardware_key(replace(spec, **change)) != boot_record.hardware_key(spec)
