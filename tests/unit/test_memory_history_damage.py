"""A damaged history is told, kept aside, and stops nothing."""

import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from history_fixture import NOON, committed, git, loose, needs_git, tree_of

from agentd.errors import StoreUnavailable
from agentd.memory.history import History


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:2])


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])


def garbage(path: Path) -> None:
    path.write_bytes(b"\x00\xffgarbage" * 20)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_file(path: Path) -> None:
    shutil.rmtree(path)
    path.touch()


def another(path: Path) -> None:
    path.write_bytes(zlib.compress(b"tree 0\0"))


def outside(path: Path) -> None:
    path.write_bytes(b"ref: ../../../etc/passwd\n")


DAMAGES: list[tuple[str, Callable[[Path], None]]] = [
    *(("HEAD", damage) for damage in (empty, garbage, outside, Path.unlink, a_folder)),
    *(("objects", damage) for damage in (shutil.rmtree, a_file)),
    *(("refs/heads/main", damage) for damage in (empty, cut_short, garbage)),
    *(
        (kind, damage)
        for kind in ("commit", "tree")
        for damage in (empty, cut_short, cut_in_half, garbage, another, a_folder, Path.unlink)
    ),
]


@pytest.mark.parametrize(
    ("what", "damage"), DAMAGES, ids=[f"{what}-{damage.__name__}" for what, damage in DAMAGES]
)
def test_damage_is_told_and_a_commit_begins_anew_beside_it(
    what: str,
    damage: Callable[[Path], None],
    history: History,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    committed(history, {"a.md": b"a"})
    head = committed(history, {"a.md": b"b"})
    objects = {"commit": head, "tree": tree_of(tmp_path, head)}
    damage(loose(tmp_path, objects[what]) if what in objects else tmp_path / ".git" / what)
    history = History(tmp_path)
    assert "is damaged" in (history.problem() or "")
    assert history.check()
    if what != "tree":
        with pytest.raises(StoreUnavailable, match="is damaged"):
            history.log()
    capfd.readouterr()
    revision = committed(history, {"a.md": b"c"})
    assert capfd.readouterr().err.count("the history begins anew") == 1
    assert (history.problem(), history.check()) == (None, [])
    assert [change.revision for change in history.log()] == [revision]
    assert (tmp_path / ".git-damaged-1").is_dir()


@pytest.mark.parametrize("damage", [empty, cut_short, cut_in_half, garbage, another, Path.unlink])
def test_damage_far_back_is_found_by_a_check_and_stops_no_commit(
    damage: Callable[[Path], None], history: History, tmp_path: Path
) -> None:
    first = committed(history, {"a.md": b"a"})
    committed(history, {"a.md": b"b"})
    damage(loose(tmp_path, first))
    assert history.problem() is None
    (found,) = history.check()
    assert first in found
    committed(history, {"a.md": b"c"})
    assert not list(tmp_path.glob(".git-damaged*"))


@needs_git
@pytest.mark.parametrize("suffix", [".pack", ".idx"])
@pytest.mark.parametrize("damage", [empty, cut_short, cut_in_half, garbage, Path.unlink])
def test_a_damaged_pack_is_told_and_a_commit_begins_anew(
    suffix: str, damage: Callable[[Path], None], history: History, tmp_path: Path
) -> None:
    committed(history, {"a.md": b"a\n" * 100})
    committed(history, {"a.md": b"a\n" * 100 + b"b"})
    git(tmp_path, "gc", "--quiet", "--prune=now")
    (pack,) = (tmp_path / ".git/objects/pack").glob(f"*{suffix}")
    pack.chmod(0o600)
    damage(pack)
    history = History(tmp_path)
    assert history.check()
    committed(history, {"a.md": b"c"})
    assert history.check() == [] or not (tmp_path / ".git-damaged-1").exists()


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_no_folder_is_not_used(kind: str, tmp_path: Path) -> None:
    if kind == "file":
        (tmp_path / ".git").write_text("gitdir: /elsewhere\n")
    else:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / ".git").symlink_to(tmp_path / "elsewhere")
    history = History(tmp_path)
    assert "is not a folder" in (history.problem() or "")
    committed(history, {"a.md": b"a"})
    assert (tmp_path / ".git/HEAD").exists()
    assert not (tmp_path / "elsewhere/HEAD").exists()


def test_damage_that_comes_again_and_again_fills_no_disk(history: History, tmp_path: Path) -> None:
    for number in range(9):
        committed(history, {"a.md": b"%d" % number})
        empty(tmp_path / ".git/HEAD")
    committed(history, {"a.md": b"x"})
    empty(tmp_path / ".git/HEAD")
    with pytest.raises(StoreUnavailable, match="damaged 9 times"):
        history.commit({"a.md": b"y"}, "", "agent", NOON)


def test_a_vault_that_is_not_there_is_told(tmp_path: Path) -> None:
    history = History(tmp_path / "missing")
    assert "No such file" in (history.problem() or "")
    with pytest.raises(StoreUnavailable, match="No such file"):
        history.commit({"a.md": b"a"}, "", "agent", NOON)
