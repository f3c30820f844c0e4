"""Writing an image: what is on the disk afterwards, and after every way to be interrupted."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flash_fixture import (
    CHUNK,
    DISK,
    IMAGE_END,
    SIGNATURE,
    WRITES_BEFORE_SEAL,
    content,
    expected,
    headers,
    killed_at,
    old_disk,
)

from builder import flash, flash_write
from builder.cache import lock
from builder.errors import AetherError
from builder.flash_target import kind_of, open_file
from builder.flash_write import EDGE, DiskFailed


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AETHER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(flash_write, "CHUNK", CHUNK)


def write(folder: Path, disk: Path) -> None:
    with open_file(disk, IMAGE_END) as target:
        flash.write(target, content(folder, target.size))


def with_writes(monkeypatch: pytest.MonkeyPatch, change: Callable[[int, Callable[[], int]], int]) -> None:
    """Let `change` see each write's number, counted from 1, and do the write itself."""
    real, count = os.pwritev, 0

    def counted(*words: Any) -> int:
        nonlocal count
        count += 1
        return change(count, lambda: real(*words))

    monkeypatch.setattr(os, "pwritev", counted)


def test_a_larger_disk_holds_the_image_and_its_table_and_no_backup_elsewhere(tmp_path: Path) -> None:
    disk = old_disk(tmp_path / "disk")
    write(tmp_path, disk)
    assert disk.read_bytes() == expected(content(tmp_path))
    assert headers(disk) == (True, True)
    assert disk.read_bytes().count(SIGNATURE) == 2


def test_a_new_file_stays_sparse_and_has_the_same_bytes(tmp_path: Path) -> None:
    image = tmp_path / "image.raw"
    image.write_bytes(os.urandom(2 * EDGE))
    os.truncate(image, IMAGE_END)
    with open_file(tmp_path / "new", DISK) as target:
        given = content(tmp_path, target.size)
        written = flash.write(target, given)
    data = (tmp_path / "new").read_bytes()
    assert data[EDGE:-EDGE] == image.read_bytes()[EDGE:] + bytes(DISK - EDGE - IMAGE_END)
    assert data[:EDGE] + data[-EDGE:] == given.head + given.tail
    assert written.size == given.total == IMAGE_END + EDGE
    assert (tmp_path / "new").stat().st_blocks * 512 <= 3 * EDGE


@pytest.mark.parametrize("number", range(1, WRITES_BEFORE_SEAL + 3))
def test_a_process_killed_at_any_write_leaves_no_table_over_half_a_system(
    tmp_path: Path, number: int
) -> None:
    disk, given = old_disk(tmp_path / "disk"), content(tmp_path)
    assert killed_at(tmp_path, number) == -signal.SIGKILL
    if number <= 2:  # the wiping itself: everything behind the table is still the old system's
        assert disk.read_bytes()[EDGE:-EDGE] == b"O" * (DISK - 2 * EDGE)
    elif number <= WRITES_BEFORE_SEAL + 1:
        assert headers(disk) == (False, False)
    else:  # the backup alone is there, and what it speaks of is whole and has been read back
        assert headers(disk) == (False, True)
        assert disk.read_bytes()[1024:] == expected(given)[1024:]


@pytest.mark.parametrize(("how", "status"), [("INT", 130), ("TERM", 143)])
@pytest.mark.parametrize("number", [3, WRITES_BEFORE_SEAL, WRITES_BEFORE_SEAL + 2])
def test_an_interrupt_leaves_no_table_and_says_so(
    tmp_path: Path, how: str, status: int, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = old_disk(tmp_path / "disk")

    def interrupt(count: int, really: Callable[[], int]) -> int:
        if count == number:
            raise KeyboardInterrupt if how == "INT" else SystemExit(143)
        return really()

    with_writes(monkeypatch, interrupt)
    with pytest.raises(flash.Interrupted, match="disk holds no usable system now") as error:
        write(tmp_path, disk)
    assert error.value.exit_status == status
    assert headers(disk) == (False, False)


@pytest.mark.parametrize("number", [4, WRITES_BEFORE_SEAL + 1, WRITES_BEFORE_SEAL + 2])
def test_a_disk_that_fails_once_is_left_without_a_table(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = old_disk(tmp_path / "disk")

    def fail(count: int, really: Callable[[], int]) -> int:
        if count == number:
            raise OSError(errno.EIO, "Input/output error")
        return really()

    with_writes(monkeypatch, fail)
    with pytest.raises(DiskFailed, match=r"Input/output error; .*disk holds no usable system now") as error:
        write(tmp_path, disk)
    assert error.value.exit_status == 1
    assert headers(disk) == (False, False)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (1, "nothing more was written"),
        (5, "holds no usable system now"),
        (WRITES_BEFORE_SEAL + 2, "do not trust it"),
    ],
)
def test_a_disk_that_is_pulled_out_is_told_as_what_it_is(
    tmp_path: Path, number: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = old_disk(tmp_path / "disk")

    def pulled(count: int, really: Callable[[], int]) -> int:
        if count >= number:
            raise OSError(errno.ENODEV, "No such device")
        return really()

    with_writes(monkeypatch, pulled)
    with pytest.raises(DiskFailed, match=f"No such device; .*{said}"):
        write(tmp_path, disk)
    assert headers(disk)[0] == (number == 1)


def test_a_medium_that_keeps_other_bytes_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = old_disk(tmp_path / "disk")

    def forget(count: int, really: Callable[[], int]) -> int:
        done = really()
        if count == 5:  # the second piece of the image, which begins at 2 MiB
            with disk.open("r+b") as file:
                file.seek(2 * EDGE + 7)
                byte = file.read(1)[0]
                file.seek(-1, os.SEEK_CUR)
                file.write(bytes([byte ^ 1]))
        return done

    with_writes(monkeypatch, forget)
    with pytest.raises(DiskFailed, match=f"other bytes than were written, at byte {2 * EDGE + 7};"):
        write(tmp_path, disk)
    assert headers(disk) == (False, False)


def test_a_full_file_system_is_not_taken_for_the_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(count: int, really: Callable[[], int]) -> int:
        if count > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return really()

    with_writes(monkeypatch, full)
    with (
        pytest.raises(DiskFailed, match=r"no room is left; .*new was taken away again") as error,
        open_file(tmp_path / "new", DISK) as target,
    ):
        flash.write(target, content(tmp_path))
    assert "No space left on device" not in error.value.message  # cli.py has words about the cache for that
    assert not (tmp_path / "new").exists()


def test_a_file_that_a_machine_runs_from_is_refused(tmp_path: Path) -> None:
    disk = old_disk(tmp_path / "disk")
    with (
        lock(tmp_path / "disk.lock", wait=False, busy=""),
        pytest.raises(AetherError, match="in use by a running machine"),
    ):
        write(tmp_path, disk)
    assert headers(disk) == (True, True)


def test_a_file_that_another_program_has_locked_is_refused(tmp_path: Path) -> None:
    disk = old_disk(tmp_path / "disk")
    program = (
        "import fcntl, sys; file = open(sys.argv[1], 'r+b');"
        "fcntl.lockf(file, fcntl.LOCK_EX, 1, 100); print(flush=True); input()"
    )
    words = [sys.executable, "-SIc", program, str(disk)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"\n"
        with pytest.raises(AetherError, match="in use by another program"):
            write(tmp_path, disk)
        holder.communicate(b"\n")
    assert headers(disk) == (True, True)
    write(tmp_path, disk)


def test_a_file_too_small_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"x" * 1000)
    with pytest.raises(AetherError, match="is too small: "):
        write(tmp_path, disk)
    assert disk.read_bytes() == b"x" * 1000


def test_a_file_in_the_cache_is_never_written(tmp_path: Path) -> None:
    (tmp_path / "cache/image").mkdir(parents=True)
    with pytest.raises(AetherError, match="lies in the builder's cache"):
        write(tmp_path, old_disk(tmp_path / "cache/image/image.raw"))


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/dev/sd-none", "there is no device"),
        ("/dev/disk/by-id/none", "there is no device"),
        ("/dev/null", "is not a block device"),
        ("/", "is not a block device"),
        ("/nowhere/at/all", "there is no folder"),
    ],
)
def test_what_is_neither_a_disk_nor_a_file_is_refused(path: str, said: str) -> None:
    with pytest.raises(AetherError, match=said):
        kind_of(Path(path))
