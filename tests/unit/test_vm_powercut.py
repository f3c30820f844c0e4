"""Reading write logs. Logs that QEMU wrote are read in tests/native/test_vm_qemu.py."""

from pathlib import Path

import pytest

from builder import powercut
from builder.errors import AetherError

SECTOR = 512


def write_log(path: Path, entries: list[tuple[int, bytes, int]], *, counted: int | None = None) -> None:
    """A log as in the kernel's log-writes document: (sector, data or discarded bytes, flags)."""
    text = powercut.SUPER.pack(powercut.MAGIC, 1, len(entries) if counted is None else counted, SECTOR)
    log = text.ljust(SECTOR, b"\0")
    for sector, data, flags in entries:
        log += powercut.ENTRY.pack(sector, len(data) // SECTOR, flags, 0).ljust(SECTOR, b"\0")
        log += b"" if flags & powercut.DISCARD else data
    path.write_bytes(log)


def cut(tmp_path: Path, entries: list[tuple[int, bytes, int]], **more: int) -> bytes:
    disk, log = tmp_path / "disk", tmp_path / "log"
    disk.write_bytes(b"." * 4 * SECTOR)
    powercut.begin(disk, log)
    disk.write_bytes(b"!" * 4 * SECTOR)  # whatever reached the host's page cache
    write_log(log, entries, **more)
    powercut.lose_unflushed(disk, log)
    return disk.read_bytes()[::SECTOR]


def test_what_was_flushed_is_kept_and_what_came_later_is_lost(tmp_path: Path) -> None:
    a, b = b"a" * SECTOR, b"b" * SECTOR
    assert cut(tmp_path, [(0, a, 0), (0, b"", powercut.FLUSH), (1, b, 0), (0, b, 0)]) == b"a..."


def test_later_writes_win_and_discarded_blocks_are_zero(tmp_path: Path) -> None:
    a, b = b"a" * 2 * SECTOR, b"b" * SECTOR
    entries = [(0, a, 0), (1, b, 0), (3, b, powercut.DISCARD), (0, b"", powercut.FLUSH)]
    assert cut(tmp_path, entries) == b"ab.\0"


def test_entries_that_the_head_does_not_count_are_not_read(tmp_path: Path) -> None:
    a = b"a" * SECTOR
    entries = [(0, a, 0), (0, b"", powercut.FLUSH), (1, a, 0), (0, b"", powercut.FLUSH)]
    assert cut(tmp_path, entries, counted=2) == b"a..."


def test_a_machine_that_never_flushed_loses_everything(tmp_path: Path) -> None:
    assert cut(tmp_path, [(0, b"a" * SECTOR, 0)]) == b"...."


def test_a_file_that_is_no_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"x" * 100)
    with pytest.raises(AetherError, match="not a write log"):
        powercut.read_log(tmp_path / "log")
