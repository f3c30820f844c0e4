"""A purge: what it leaves, that nothing else is lost, and what power cuts do to it and to commits."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from history_fixture import (
    PURGED,
    SECRET,
    clean_message,
    committed,
    fsck,
    git,
    keep_no,
    loose,
    needs_git,
    texts_in,
    told,
    with_secret,
)

from agentd.errors import StoreUnavailable
from agentd.memory import history_purge
from agentd.memory.history import History


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path)


@pytest.fixture
def memory_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: thousands of small files and folders are slow on a disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as folder:
        yield Path(folder)


def test_a_purge_takes_the_text_out_of_every_version_and_keeps_all_else(
    history: History, tmp_path: Path
) -> None:
    with_secret(history)
    assert SECRET in texts_in(tmp_path)
    assert history.purge(keep_no(SECRET), clean_message) == 3
    assert told(history) == PURGED
    assert [content for _, content in history.versions("MEMORY.md")] == [
        b"- coffee\n",
        b"- tea\n- [removed]\n",
        b"- tea\n",
    ]
    assert SECRET not in texts_in(tmp_path)
    assert history.check() == []
    committed(history, {"MEMORY.md": b"- water\n"})
    assert len(history.log()) == 5


@needs_git
def test_git_finds_the_purged_history_whole(history: History, tmp_path: Path) -> None:
    with_secret(history)
    history.purge(keep_no(SECRET), clean_message)
    fsck(tmp_path)
    assert git(tmp_path, "log", "--format=%s").splitlines() == ["End", "About [removed]", "Add", "Begin"]
    everything = git(tmp_path, "cat-file", "--batch", "--batch-all-objects", "--unordered")
    assert git(tmp_path, "ls-files").splitlines() == history.paths() == ["MEMORY.md", "notes/a.md"]
    assert "- coffee" in everything
    assert "hunter2" not in everything


def test_no_deleted_pack_stays_open(history: History, tmp_path: Path) -> None:
    committed(history, {f"{number}.md": b"hunter2 %d" % number for number in range(100)})
    assert history.file_at(history.head() or "", "7.md") == b"hunter2 7"
    history.purge(keep_no(SECRET))
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            name = str(descriptor.readlink())
        except FileNotFoundError:
            continue
        assert not (name.startswith(str(tmp_path)) and name.endswith("(deleted)"))


def test_commits_before_the_text_keep_their_revision(history: History) -> None:
    first = committed(history, {"a.md": b"a"})
    committed(history, {"a.md": b"hunter2"})
    history.purge(keep_no(SECRET))
    assert history.log()[-1].revision == first


def test_a_purge_that_finds_nothing_changes_no_revision(history: History, tmp_path: Path) -> None:
    with_secret(history)
    before = history.log()
    assert history.purge(lambda _, content: content) == 0
    assert history.log() == before
    assert history.purge(lambda _, content: content) == 0
    assert history.log() == before
    assert len(list((tmp_path / ".git/objects/pack").iterdir())) == 2
    assert history.check() == []


def test_a_history_of_nothing_else_is_empty_afterwards(history: History, tmp_path: Path) -> None:
    committed(history, {"secret.md": SECRET})
    assert history.purge(keep_no(SECRET)) == 1
    assert history.head() is None
    assert SECRET not in texts_in(tmp_path)
    committed(history, {"a.md": b"a"})
    assert len(history.log()) == 1


@needs_git
def test_a_purge_reaches_reflogs_packs_stashes_tags_branches_and_leftovers(
    history: History, tmp_path: Path
) -> None:
    with_secret(history)
    git(tmp_path, "config", "core.logAllRefUpdates", "true")
    git(tmp_path, "reset", "--quiet", "--hard")
    git(tmp_path, "tag", "-a", "-m", "hunter2 in a tag", "annotated", "HEAD~2")
    git(tmp_path, "tag", "plain", "HEAD~3")
    git(tmp_path, "gc", "--quiet")
    git(tmp_path, "checkout", "--quiet", "-b", "side", "HEAD~4")
    (tmp_path / "side.md").write_text("hunter2 aside")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "--quiet", "-m", "hunter2 committed aside")
    git(tmp_path, "checkout", "--quiet", "main")
    git(tmp_path, "merge", "--quiet", "-s", "ours", "-m", "Merge hunter2", "side")
    (tmp_path / "notes/a.md").write_text("hunter2 stashed")
    git(tmp_path, "stash", "--quiet")
    (tmp_path / ".git/COMMIT_EDITMSG").write_text("hunter2 in a draft")
    (tmp_path / ".git/objects/pack/tmp_pack_x").write_text("hunter2")
    (tmp_path / ".git-damaged-1").mkdir()
    (tmp_path / ".git-damaged-1/x").write_text("hunter2")
    history.purge(keep_no(SECRET), clean_message)
    assert SECRET not in texts_in(tmp_path)
    assert "hunter2" not in git(tmp_path, "cat-file", "--batch", "--batch-all-objects", "--unordered")
    fsck(tmp_path)
    assert git(tmp_path, "log", "-1", "--format=%s", "annotated").strip() == "About [removed]"
    assert git(tmp_path, "log", "-1", "--format=%s", "plain").strip() == "Add"
    assert git(tmp_path, "show", "stash:notes/a.md") == "[removed] stashed"
    assert git(tmp_path, "rev-list", "--parents", "-1", "HEAD").count(" ") == 2
    assert git(tmp_path, "log", "-1", "--format=%s", "side").strip() == "[removed] committed aside"
    assert git(tmp_path, "show", "side:side.md") == "[removed] aside"


class PowerCut(BaseException):
    """The machine goes off at this call."""


def cut(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Let the `after`-th change of the disk be the last: the call does not happen, nor any after it."""
    calls = 0

    def failing(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > after:
                raise PowerCut
            return real(*arguments, **keywords)

        return call

    for name in ("rename", "replace", "unlink", "remove", "rmdir", "mkdir", "fsync"):
        monkeypatch.setattr(os, name, failing(getattr(os, name)))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_power_cut_at_any_moment_of_a_purge_leaves_a_whole_history_that_is_finished_later(
    memory_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is on the disk when is another test's question; here the calls only count.
    monkeypatch.setattr(os, "fsync", lambda _: None)
    original = memory_folder / "original"
    original.mkdir()
    history = History(original)
    with_secret(history)
    history.purge(lambda _, content: content)  # one pack, so that there are not too many moments
    history.commit({"MEMORY.md": b"- hunter2\n"}, "More", "agent", "2026-01-07T00:00:00Z")
    before = told(history)
    purged = [("2026-01-07T00:00:00Z", "agent", "More", ("MEMORY.md",)), *PURGED]
    outcomes = []
    for moment in range(1000):
        folder = memory_folder / str(moment)
        shutil.copytree(original, folder)
        history = History(folder)
        with monkeypatch.context() as patch:
            cut(patch, moment)
            try:
                history.purge(keep_no(SECRET), clean_message)
                break
            except PowerCut:
                pass
        marked = (folder / ".git/aetheros-purge").exists()
        again = History(folder)
        assert again.check() == []
        assert again.problem() is None
        assert told(again) in (before, purged)
        outcomes.append(told(again) == purged)
        assert not (folder / ".git/aetheros-purge").exists()
        if not marked:
            again.purge(keep_no(SECRET), clean_message)
        assert told(again) == purged
        assert SECRET not in texts_in(folder)
        committed(again, {"after.md": b"after"})
        assert again.check() == []
        shutil.rmtree(folder)
    assert outcomes == sorted(outcomes), "once purged, it stays purged"
    assert outcomes.count(False) > 3
    assert outcomes.count(True) > 10


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("count", [1, 60])
def test_a_power_cut_at_any_moment_of_a_commit_leaves_the_old_revision_or_the_new(
    count: int, memory_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History(memory_folder)
    old = committed(history, {"a.md": b"old"})
    seen = set()
    for moment in range(1000):
        with monkeypatch.context() as patch:
            cut(patch, moment)
            try:
                committed(history, {f"{number}.md": b"%d" % moment for number in range(count)}, str(moment))
                break
            except PowerCut:
                pass
        history = History(memory_folder)
        assert history.check() == []
        message = history.log()[0].message
        assert message in (str(moment), "Remember")
        seen.add(message == "Remember")
        (memory_folder / ".git/refs/heads/main").write_text(old)
    assert seen == {True, False}
    assert not list(memory_folder.glob(".git-damaged*"))


def test_a_purge_that_failed_is_finished_before_the_next_commit(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_secret(history)

    def refuse(_: Path) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", refuse)
        with pytest.raises(StoreUnavailable, match="Input/output error"):
            history.purge(keep_no(SECRET), clean_message)
    assert SECRET in texts_in(tmp_path)
    committed(history, {"a.md": b"a"})
    assert SECRET not in texts_in(tmp_path)
    assert told(history)[1:] == PURGED


@needs_git
@pytest.mark.parametrize("stops_at", ["_set", "_delete"])
def test_what_git_did_while_a_purge_was_unfinished_is_kept(
    stops_at: str,
    history: History,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with_secret(history)

    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(history_purge, stops_at, refuse)
        with pytest.raises(StoreUnavailable, match="Input/output error"):
            history.purge(keep_no(SECRET), clean_message)
    git(tmp_path, "reset", "--quiet", "--hard")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "-m", "By hand")
    git(tmp_path, "branch", "new")
    git(tmp_path, "pack-refs", "--all")
    again = History(tmp_path)
    assert again.check() == []
    assert [change.message for change in again.log()][:2] == ["By hand", "End"]
    assert git(tmp_path, "rev-parse", "new").strip() == again.head()
    assert "what is new was not purged" in capfd.readouterr().err
    again.purge(keep_no(SECRET), clean_message)
    assert SECRET not in texts_in(tmp_path)


def test_a_rewriting_that_raises_leaves_the_history_as_it_was(history: History) -> None:
    with_secret(history)
    before = history.log()

    def broken(_: str, __: bytes) -> bytes:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        history.purge(broken)
    assert history.log() == before
    assert history.check() == []


def test_a_purge_of_a_damaged_history_keeps_what_can_be_read(
    history: History, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with_secret(history)
    (tmp_path / ".git/refs/heads/broken").write_text("")
    newest = history.log()
    third = newest[3].revision
    loose(tmp_path, third).write_bytes(b"x")
    history.purge(keep_no(SECRET), clean_message)
    assert history.check() == []
    assert [change.message for change in history.log()] == ["End", "About [removed]"]
    assert SECRET not in texts_in(tmp_path)
    assert "2 damaged objects and refs are left out" in capfd.readouterr().err


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


@pytest.mark.parametrize("name", [".git", ".git/HEAD", ".git/objects", ".git/objects/pack"])
@pytest.mark.parametrize("replacement", [None, "file", "folder"])
def test_a_purge_works_whatever_is_missing(
    name: str, replacement: str | None, history: History, tmp_path: Path
) -> None:
    committed(history, {"a.md": SECRET})
    remove(tmp_path / name)
    if replacement == "file":
        (tmp_path / name).write_bytes(SECRET)
    elif replacement == "folder":
        (tmp_path / name).mkdir()
    for known in (history, History(tmp_path)):
        known.purge(keep_no(SECRET))
        assert SECRET not in texts_in(tmp_path)
        assert known.check() == []
        committed(known, {"b.md": str(known).encode()})
