"""`aether flash`: what it asks, whom it refuses, what it says. The disk is a plain file here."""

import contextlib
import dataclasses
import io
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flash_fixture import DATA_END, IMAGE_END, content, headers, old_disk, sealed

from builder import cli, flash, flash_disks, flash_target
from builder.errors import AetherError
from builder.flash_disks import Disk
from builder.flash_target import Target, open_file

MACHINE = "qemu-x86_64"
STICK = Disk(Path("/dev/sdb"), 32 * 10**9, "SanDisk Ultra Fit", "usb", True, "dos: exfat HOLIDAY", "8:16 9")


@pytest.fixture(autouse=True)
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A built machine without a build; the names that were built."""
    monkeypatch.setenv("AETHER_CACHE", str(tmp_path / "cache"))
    given, names = content(tmp_path), list[str]()
    layout = {
        "size": IMAGE_END,
        "partitions": [{"label": "aetheros-data", "offset": 1 << 20, "size": DATA_END - (1 << 20)}],
    }

    def build(name: str, *, gate: bool = True) -> Any:
        names.append(name)
        machine = SimpleNamespace(name=name)
        return SimpleNamespace(machine=machine, image=given.image, layout=layout, toolchain=None, key="k")

    monkeypatch.setattr(flash, "build", build)
    monkeypatch.setattr(flash, "fitted_table", lambda tools, image, end, size: sealed(b"N"))
    return names


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plain file that passes for the disk STICK."""
    path = old_disk(tmp_path / "sdb")

    @contextlib.contextmanager
    def open_disk(path: Path) -> Iterator[Target]:
        with open_file(path, IMAGE_END) as target:
            yield target

    monkeypatch.setattr(flash, "checked", lambda path, needed=0: STICK)
    monkeypatch.setattr(flash_target, "kind_of", lambda path: "disk")
    monkeypatch.setattr(flash_target, "check_free", lambda path: None)
    monkeypatch.setattr(flash_target, "open_disk", open_disk)
    return path


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        return True


def test_without_a_disk_the_disks_are_listed_and_the_status_is_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], built: list[str]
) -> None:
    refused = dataclasses.replace(STICK, path=Path("/dev/sda"), refusal="it is read-only", hint="a switch")
    monkeypatch.setattr(flash_disks, "candidates", lambda facts: [STICK, refused])
    assert cli.main(["flash", MACHINE]) == 2
    said = capsys.readouterr()
    assert said.err.splitlines()[-1] == f"hint: aether flash {MACHINE} /dev/sdb"
    lines = [" ".join(line.split()) for line in said.out.splitlines()]
    assert lines[1] == "/dev/sdb 32.0 GB SanDisk Ultra Fit usb yes dos: exfat HOLIDAY yes"
    assert lines[2].endswith("no: it is read-only")
    assert cli.main(["flash", MACHINE, "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert [entry["path"] for entry in told["disks"]] == ["/dev/sdb", "/dev/sda"]
    assert (told["status"], told["disks"][1]["refusal"]) == (2, "it is read-only")
    assert built == []


def test_a_machine_that_does_not_exist_is_told_before_the_disks(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["flash", "qemu"], ["flash", "qemu", "/dev/sd-none"]):
        assert cli.main(words) == 2
        said = capsys.readouterr()
        assert (said.out, "'qemu'" in said.err) == ("", True)


def test_the_model_that_is_typed_lets_the_disk_be_written(
    disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("sandisk  ultra fit\n"))
    assert cli.main(["flash", MACHINE, str(disk), "--json"]) == 0
    said = capsys.readouterr()
    assert "dos: exfat HOLIDAY" in said.err  # what will be lost
    told = json.loads(said.out)
    assert (told["machine"], told["device"], told["verified"]) == (MACHINE, str(disk), True)
    assert told["bytes"] == IMAGE_END + (1 << 20)
    assert told["mb_per_s"] > 0
    assert disk.read_bytes()[-512:] == sealed(b"N")[1][-512:]


@pytest.mark.parametrize("typed", ["\n", "", "SanDisk\n", "/dev/sdb\n", "yes\n"])
def test_anything_else_that_is_typed_writes_nothing(
    disk: Path, typed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = disk.read_bytes()
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    assert cli.main(["flash", MACHINE, str(disk)]) == 2
    assert "nothing was written" in capsys.readouterr().err
    assert disk.read_bytes() == before


def test_a_disk_without_a_model_is_named_by_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = dataclasses.replace(STICK, model="")
    monkeypatch.setattr("sys.stdin", Terminal("/dev/sdb\n"))
    flash.confirm(bare)
    monkeypatch.setattr("sys.stdin", Terminal("\n"))
    with pytest.raises(AetherError, match="that is not the path"):
        flash.confirm(bare)


def test_without_a_terminal_only_yes_writes_and_nothing_is_built_before(
    disk: Path, built: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("SanDisk Ultra Fit\n"))
    assert cli.main(["flash", MACHINE, str(disk)]) == 2
    assert "nobody is here to be asked" in capsys.readouterr().err
    assert built == []
    assert cli.main(["flash", MACHINE, str(disk), "--yes"]) == 0
    said = capsys.readouterr().out
    assert "all equal" in said


@pytest.mark.parametrize("looks", [1, 2])
def test_a_disk_that_became_another_one_in_the_meantime_is_not_written(
    disk: Path, looks: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # The first look is before the build, the second after it, the third when the disk has been opened.
    other = dataclasses.replace(STICK, identity="8:16 10")
    seen = iter([*[STICK] * looks, other])
    monkeypatch.setattr(flash, "checked", lambda path, needed=0: next(seen))
    before = disk.read_bytes()
    assert cli.main(["flash", MACHINE, str(disk), "--yes"]) == 2
    assert "is another disk now" in capsys.readouterr().err
    assert disk.read_bytes() == before


def test_a_refused_disk_is_told_with_the_reason_before_anything_is_built(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], built: list[str]
) -> None:
    refused = dataclasses.replace(STICK, refusal="it is mounted at /mnt", hint="umount /mnt")
    number = SimpleNamespace(st_rdev=os.makedev(8, 16), st_mode=stat.S_IFBLK)
    monkeypatch.setattr(flash_disks, "numbered", lambda facts, number, needed: refused)
    real = Path.stat
    monkeypatch.setattr(
        Path, "stat", lambda self, **more: number if str(self) == "/dev/sdb" else real(self, **more)
    )
    assert cli.main(["flash", MACHINE, "/dev/sdb", "--yes"]) == 2
    assert capsys.readouterr().err == (
        "error: /dev/sdb is not written: it is mounted at /mnt\nhint: umount /mnt\n"
    )
    assert built == []


def test_who_may_not_write_the_disk_is_given_the_command_that_may(
    disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert cli.main(["flash", MACHINE, str(disk), "--yes"]) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error == f"error: only root may write {disk}"
    assert hint.startswith("hint: sudo env AETHER_CACHE=/")
    assert hint.endswith(f"flash {MACHINE} {disk}")
    assert headers(disk) == (True, True)


def test_a_file_that_exists_is_written_with_yes_alone_and_a_new_one_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disk = old_disk(tmp_path / "disk.img")
    before = disk.read_bytes()
    assert cli.main(["flash", MACHINE, str(disk)]) == 2
    assert "--yes writes over it" in capsys.readouterr().err
    assert disk.read_bytes() == before
    assert cli.main(["flash", MACHINE, str(disk), "--yes"]) == 0
    assert disk.read_bytes() != before
    assert cli.main(["flash", MACHINE, str(tmp_path / "new.img")]) == 0
    assert (tmp_path / "new.img").stat().st_size == IMAGE_END
    assert headers(tmp_path / "new.img") == (True, True)


def test_the_shell_completes_machines_disks_and_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stick.img").touch()
    monkeypatch.chdir(tmp_path)
    known = cli._disks("")
    assert all(
        path.startswith(("/dev/sd", "/dev/nvme", "/dev/mmcblk", "/dev/vd", "/dev/xvd")) for path in known
    )
    assert cli._disks("sti") == [*known, "stick.img"]
