"""The disk of a person's machine across rebuilds."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from builder import vmdisk
from builder.errors import AetherError

MIB = 1 << 20


def layout(key: str, *, system: int = 2) -> dict[str, Any]:
    sizes = {"aetheros-esp": 1, "aetheros-system": system, "aetheros-data": 1}
    partitions, at = [], 1
    for label, size in sizes.items():
        partitions.append({"label": label, "offset": at * MIB, "size": size * MIB})
        at += size
    return {"key": key, "partitions": partitions}


def image(path: Path, fill: bytes) -> Path:
    """A disk image: a partition table, three partitions filled with one byte, a tail."""
    path.write_bytes(b"T" * MIB + fill * (4 * MIB) + b"\0" * MIB)
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AETHER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "state"


def at(disk: Path, mebibyte: int, size: int = 8) -> bytes:
    with disk.open("rb") as file:
        file.seek(mebibyte * MIB)
        return file.read(size)


def write(disk: Path, mebibyte: int, data: bytes) -> None:
    with disk.open("r+b") as file:
        file.seek(mebibyte * MIB)
        file.write(data)


def test_the_first_disk_is_the_image_grown_and_sparse(home: Path, tmp_path: Path) -> None:
    made = image(tmp_path / "image.raw", b"1")
    disk = vmdisk.prepare(made, layout("k1"), home, 64 * MIB)
    assert disk.stat().st_size == 64 * MIB
    assert disk.stat().st_blocks * 512 < 8 * MIB
    assert disk.stat().st_mode & 0o077 == 0
    assert disk.read_bytes()[: 6 * MIB] == made.read_bytes()


def test_nobody_else_reads_what_a_machine_leaves_behind(home: Path, tmp_path: Path) -> None:
    home.mkdir(mode=0o755)  # as an older version made it
    vmdisk.prepare(image(tmp_path / "image.raw", b"1"), layout("k1"), home, 64 * MIB)
    assert home.stat().st_mode & 0o077 == 0


def test_a_copy_that_fails_leaves_no_part_of_it(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(vmdisk, "sync", full)
    with pytest.raises(OSError, match="No space left"):
        vmdisk.prepare(image(tmp_path / "image.raw", b"1"), layout("k1"), home, 64 * MIB)
    assert [path.name for path in home.iterdir()] == ["disk.raw.lock"]


def test_a_rebuild_replaces_everything_but_the_data(home: Path, tmp_path: Path) -> None:
    disk = vmdisk.prepare(image(tmp_path / "one", b"1"), layout("k1"), home, 64 * MIB)
    write(disk, 4, b"memories")
    write(disk, 40, b"grown")
    assert vmdisk.prepare(image(tmp_path / "two", b"2"), layout("k2"), home, 64 * MIB) == disk
    assert (at(disk, 1), at(disk, 2), at(disk, 3)) == (b"2" * 8, b"2" * 8, b"2" * 8)
    assert (at(disk, 4), at(disk, 40, 5)) == (b"memories", b"grown")
    assert json.loads((home / "disk.json").read_text())["key"] == "k2"


def test_the_same_image_again_touches_nothing(home: Path, tmp_path: Path) -> None:
    made = image(tmp_path / "image.raw", b"1")
    disk = vmdisk.prepare(made, layout("k1"), home, 64 * MIB)
    write(disk, 2, b"changed!")
    vmdisk.prepare(made, layout("k1"), home, 64 * MIB)
    assert at(disk, 2) == b"changed!"


def test_an_update_that_was_interrupted_is_repeated_even_for_the_old_image(
    home: Path, tmp_path: Path
) -> None:
    one = image(tmp_path / "one", b"1")
    disk = vmdisk.prepare(one, layout("k1"), home, 64 * MIB)
    cut = tmp_path / "two"
    cut.write_bytes(image(tmp_path / "whole", b"2").read_bytes()[: 2 * MIB + 5])
    with pytest.raises(AetherError, match="ends inside a partition"):
        vmdisk.prepare(cut, layout("k2"), home, 64 * MIB)
    assert at(disk, 1) == b"2" * 8
    vmdisk.prepare(one, layout("k1"), home, 64 * MIB)
    assert (at(disk, 1), at(disk, 2)) == (b"1" * 8, b"1" * 8)


def test_another_layout_is_refused_and_a_new_disk_keeps_the_old_one(home: Path, tmp_path: Path) -> None:
    disk = vmdisk.prepare(image(tmp_path / "one", b"1"), layout("k1"), home, 64 * MIB)
    write(disk, 4, b"memories")
    two = image(tmp_path / "two", b"2")
    with pytest.raises(AetherError, match="divides the disk differently") as found:
        vmdisk.prepare(two, layout("k2", system=1), home, 64 * MIB)
    assert "--new-disk" in found.value.hint
    assert at(disk, 1) == b"1" * 8  # nothing was touched
    vmdisk.prepare(two, layout("k2", system=1), home, 64 * MIB, new=True)
    assert at(disk, 4) == b"2" * 8
    [kept] = home.glob("disk-*.raw")
    assert at(kept, 4) == b"memories"


def test_a_disk_that_somebody_uses_is_left_alone_and_the_holder_named(home: Path, tmp_path: Path) -> None:
    made = image(tmp_path / "one", b"1")
    disk = vmdisk.prepare(made, layout("k1"), home, 64 * MIB)
    code = f"""
import sys
from pathlib import Path
from builder.cache import lock
with lock(Path({str(disk)!r} + ".lock"), wait=False, busy="x"):
    print("held", flush=True)
    sys.stdin.read()
"""
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(AetherError, match=f"in use by a running machine .process {holder.pid}."):
            vmdisk.prepare(made, layout("k2"), home, 64 * MIB)
    finally:
        holder.communicate()


def test_a_disk_without_its_description_is_not_guessed_at(home: Path, tmp_path: Path) -> None:
    made = image(tmp_path / "one", b"1")
    vmdisk.prepare(made, layout("k1"), home, 64 * MIB)
    (home / "disk.json").unlink()
    with pytest.raises(AetherError, match=r"no disk.json"):
        vmdisk.prepare(made, layout("k2"), home, 64 * MIB)


def test_an_image_whose_data_is_not_last_is_refused(home: Path, tmp_path: Path) -> None:
    wrong = layout("k1")
    wrong["partitions"].reverse()
    with pytest.raises(AetherError, match="last partition"):
        vmdisk.prepare(image(tmp_path / "one", b"1"), wrong, home, 64 * MIB)


def test_the_state_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AETHER_STATE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/s")
    assert vmdisk.state_dir("m") == Path("/s/aetheros/m")
    monkeypatch.setenv("AETHER_STATE", "/a")
    assert vmdisk.state_dir("m") == Path("/a/m")
