"""The cache: whole products or none, keys that see every change, locks that say who holds them."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from builder import apt, cache
from builder.errors import AetherError

HOLD = """
import sys
from pathlib import Path
from builder.cache import lock
with lock(Path(sys.argv[1]), wait=False, busy="busy"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AETHER_CACHE", str(tmp_path / "cache"))
    return tmp_path


def fill(folder: Path) -> None:
    (folder / "file").write_text("whole")


def test_a_product_is_made_once() -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        fill(folder)

    assert cache.product("thing", "k1", make) == cache.product("thing", "k1", make)
    assert (cache.cache_dir() / "thing/k1/file").read_text() == "whole"
    assert len(made) == 1


def test_a_full_disk_leaves_the_previous_product_and_nothing_half_made() -> None:
    before = cache.product("thing", "k1", fill)

    def run_out(folder: Path) -> None:
        fill(folder)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left"):
        cache.product("thing", "k2", run_out)
    assert (before / "file").read_text() == "whole"
    assert [path.name for path in before.parent.iterdir() if not path.name.endswith(".lock")] == ["k1"]
    assert cache.product("thing", "k2", fill).is_dir()


def test_what_a_killed_build_left_is_thrown_away() -> None:
    left = cache.cache_dir() / "thing/.k1.partial"
    left.mkdir(parents=True)
    (left / "rubbish").write_text("half")
    where = cache.product("thing", "k1", fill)
    assert [path.name for path in where.iterdir()] == ["file"]


def test_a_lock_that_is_held_names_its_holder(place: Path) -> None:
    path = place / "a.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(AetherError, match=rf"disk in use \(process {holder.pid}\)"):
            with cache.lock(path, wait=False, busy="disk in use"):
                pass
        holder.kill()  # the kernel gives the lock back
        holder.wait()
        with cache.lock(path, wait=False, busy="disk in use"):
            assert path.read_text() == str(os.getpid())


def test_a_key_sees_contents_names_modes_and_links(place: Path) -> None:
    tree = place / "tree"
    tree.mkdir()
    (tree / "a").write_text("1")
    seen = {cache.digest(tree)}
    (tree / "a").write_text("2")
    seen.add(cache.digest(tree))
    (tree / "a").chmod(0o755)
    seen.add(cache.digest(tree))
    (tree / "a").rename(tree / "b")
    seen.add(cache.digest(tree))
    (tree / "l").symlink_to("b")
    seen.add(cache.digest(tree))
    assert len(seen) == 5
    (tree / "__pycache__").mkdir()
    (tree / "__pycache__/b.pyc").write_text("x")
    assert cache.digest(tree) in seen
    assert cache.digest("a", "b") != cache.digest("ab")


def test_a_file_is_written_whole_or_not_at_all(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = place / "record.json"
    cache.write_atomically(path, "old")

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="broken disk"):
        cache.write_atomically(path, "new")
    assert path.read_text() == "old"


def test_an_update_changes_what_images_are_keyed_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apt, "refresh", lambda: (cache.cache_dir() / "apt").mkdir(parents=True))
    assert apt.updated() == ""
    apt.update()
    assert apt.updated().startswith("20")


def test_an_update_forgets_what_was_settled_in_every_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        apt, "refresh", lambda: (cache.cache_dir() / "apt").mkdir(parents=True, exist_ok=True)
    )
    sid = apt.Archive("sid")
    for record in (apt.TRIXIE.state / "linux.lock.json", sid.state / "checker.lock.json", sid.sources_file):
        cache.write_atomically(record, "{}")
    apt.update()
    assert [str(path) for path in cache.cache_dir().glob("apt*/*") if path.name != "updated"] == []
