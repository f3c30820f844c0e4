"""The vault's history: what is committed, what it tells, and how it lives with an ordinary git."""

import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from history_fixture import (
    NOON,
    SECRET,
    committed,
    fsck,
    git,
    keep_no,
    loose,
    needs_git,
    tree_of,
)

from agentd.errors import InvalidQuestion, StoreUnavailable
from agentd.memory.history import History
from agentd.memory.repository import Repository


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path)


# Committing and reading


def test_a_change_is_told_with_time_author_message_and_paths(history: History) -> None:
    first = committed(history, {"MEMORY.md": b"- tea\n", "notes/a/b.md": b"deep\n"}, "Remember tea\n")
    second = history.commit({"MEMORY.md": b"- coffee\n"}, "", "owner", "2026-11-25T14:00:00+01:00")
    newest, oldest = history.log()
    assert (oldest.revision, oldest.time, oldest.author) == (first, NOON, "agent")
    assert (oldest.message, oldest.paths) == ("Remember tea", ("MEMORY.md", "notes/a/b.md"))
    assert (newest.revision, newest.time, newest.author) == (second, "2026-11-25T13:00:00Z", "owner")
    assert newest.paths == ("MEMORY.md",)
    assert history.head() == second


def test_files_that_a_commit_does_not_name_stay(history: History) -> None:
    committed(history, {"a.md": b"a", "notes/b.md": b"b", "notes/c.md": b"c"})
    committed(history, {"notes/b.md": b"B", "notes/deep/d.md": b"d"})
    assert history.paths() == ["a.md", "notes/b.md", "notes/c.md", "notes/deep/d.md"]


def test_nothing_changed_is_no_commit(history: History) -> None:
    assert history.commit({"never.md": None}, "", "agent", NOON) is None
    committed(history, {"a.md": b"a"})
    assert history.commit({"a.md": b"a", "b.md": None}, "", "agent", NOON) is None
    assert history.commit({"a.md/c.md": None}, "", "agent", NOON) is None
    assert len(history.log()) == 1


def test_a_removed_file_takes_its_empty_folder_with_it_and_stays_in_the_history(history: History) -> None:
    first = committed(history, {"people/bob/MEMORY.md": b"- Bob\n", "a.md": b"a"})
    second = committed(history, {"people/bob/MEMORY.md": None})
    assert history.paths() == ["a.md"]
    assert history.file_at(first, "people/bob/MEMORY.md") == b"- Bob\n"
    assert history.file_at(second, "people/bob/MEMORY.md") is None
    committed(history, {"a.md": None})
    assert history.paths() == []


def test_a_file_becomes_a_folder_and_a_folder_a_file(history: History) -> None:
    committed(history, {"a": b"file"})
    committed(history, {"a": None, "a/b": b"in it"})
    assert history.paths() == ["a/b"]
    committed(history, {"a": b"file again", "a/b": None})
    assert history.paths() == ["a"]
    with pytest.raises(ValueError, match="is in a file"):
        history.commit({"a": b"x", "a/b": b"y"}, "", "agent", NOON)


@pytest.mark.parametrize("path", ["", "/etc/x", "../x", "a//b", "a/./b", ".git/config", "a/.GIT/x", "a\0b"])
def test_a_path_outside_the_vault_is_refused(path: str, history: History) -> None:
    with pytest.raises(ValueError, match="not a path inside"):
        history.commit({path: b"x"}, "", "agent", NOON)


def test_any_file_name_and_any_bytes_come_back(history: History) -> None:
    names = ["two\nlines.md", "🦊.md", os.fsdecode(b"latin-\xe9.md"), 'quote".md', "-dash", "a b"]
    revision = committed(history, {name: bytes(range(256)) for name in names})
    assert sorted(history.paths()) == sorted(names)
    assert all(history.file_at(revision, name) == bytes(range(256)) for name in names)


def test_the_log_of_a_path_tells_only_its_changes(history: History) -> None:
    first = committed(history, {"notes/a.md": b"1", "notes/ab.md": b"1"})
    committed(history, {"notes/ab.md": b"2", "MEMORY.md": b"x"})
    third = committed(history, {"notes/a.md": None, "MEMORY.md": b"y"})
    assert [change.revision for change in history.log("notes/a.md")] == [third, first]
    assert [change.paths for change in history.log("notes/a.md")] == [("notes/a.md",)] * 2
    assert len(history.log("notes")) == 3
    assert [change.revision for change in history.log(limit=1)] == [third]
    assert [content for _, content in history.versions("notes/a.md")] == [None, b"1"]
    assert history.log("nothing.md") == []


def test_the_log_of_a_memory_tells_when_its_bullet_changed(history: History) -> None:
    bullet = b"- tea\n  with milk <!-- m1 kind=fact -->\n"
    came = committed(history, {"MEMORY.md": b"- other <!-- m2 -->\n" + bullet})
    committed(history, {"MEMORY.md": b"- changed <!-- m2 -->\n" + bullet, "other.md": b"x"})
    edited = committed(history, {"MEMORY.md": bullet.replace(b"tea", b"coffee")})
    gone = committed(history, {"MEMORY.md": None})
    assert [change.revision for change in history.log(contains="m1")] == [gone, edited, came]


def test_a_diff_is_unified_and_can_be_of_one_path(history: History) -> None:
    committed(history, {"a.md": b"one\ntwo\n", "b.md": b"b"})
    revision = committed(history, {"a.md": b"one\n2\n", "b.md": None, "c.md": b"no end", "d": b"\0"})
    assert history.diff(revision, "a.md") == "--- a/a.md\n+++ b/a.md\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n"
    whole = history.diff(revision[:8])
    assert "--- a/b.md\n+++ /dev/null\n@@ -1 +0,0 @@\n-b\n\\ No newline at end of file\n" in whole
    assert "--- /dev/null\n+++ b/c.md\n@@ -0,0 +1 @@\n+no end\n\\ No newline at end of file\n" in whole
    assert "Binary file d differs\n" in whole


def test_an_unknown_revision_is_a_wrong_question(history: History) -> None:
    revision = committed(history, {"a.md": b"a"})
    for wrong in (
        "0" * 40,
        "",
        "abc",
        "HEAD",
        "../../../etc",
        tree_of(history._repository.folder, revision),
    ):
        with pytest.raises(InvalidQuestion, match="no revision begins with"):
            history.diff(wrong)


def test_order_is_that_of_commits_when_the_clock_jumps_back(history: History, tmp_path: Path) -> None:
    history.commit({"a": b"1"}, "", "agent", "2026-01-01T00:00:00Z")
    history.commit({"a": b"2"}, "", "agent", "1969-12-31T23:59:59Z")
    assert [change.time for change in history.log()] == ["1970-01-01T00:00:00Z", "2026-01-01T00:00:00Z"]
    assert b"> 0 +0000\n" in zlib.decompress(loose(tmp_path, history.head() or "").read_bytes())


def test_a_change_in_a_large_vault_writes_only_what_is_on_its_path(history: History, tmp_path: Path) -> None:
    committed(history, {f"notes/{number % 50}/{number}.md": b"%d" % number for number in range(5000)})
    before = set((tmp_path / ".git/objects").glob("??/*"))
    assert not before, "thousands of objects are one pack"
    committed(history, {"notes/7/7.md": b"changed"})
    # The blob, notes/7, notes, the root, the commit.
    assert len(set((tmp_path / ".git/objects").glob("??/*")) - before) == 5
    assert len(history.paths()) == 5000


# On the disk


@pytest.mark.parametrize("umask", [0, 0o277])
def test_only_the_owner_can_read_the_history_whatever_the_umask_is(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        history = History(tmp_path)
        committed(history, {"notes/a.md": b"a"})
        committed(history, {f"{number}.md": b"a%d" % number for number in range(100)})
        history.refresh_index()
        history.purge(keep_no(SECRET))
    finally:
        os.umask(before)
    for path in [tmp_path / ".git", *(tmp_path / ".git").rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize("count", [1, 100])
def test_files_and_folders_are_synced_before_the_branch_moves(
    count: int, history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    renamed: dict[str, int] = {}
    real_fsync, real_rename, real_replace = os.fsync, os.rename, os.replace

    def fsync(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real_fsync(descriptor)

    def rename(source: Any, target: Any) -> None:
        assert str(source) in synced, f"{source} is renamed before its content is on the disk"
        renamed[str(target)] = len(synced)
        real_rename(source, target)

    def replace(source: Any, target: Any) -> None:
        real_replace(source, target)
        renamed[str(target)] = len(synced)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    monkeypatch.setattr(os, "replace", replace)
    committed(history, {f"notes/{number}.md": b"%d" % number for number in range(count)})
    branch, marker = str(tmp_path / ".git/refs/heads/main"), str(tmp_path / ".git/aetheros-purge")

    def check(before: str) -> None:
        for target, position in renamed.items():
            folder = os.path.dirname(target)  # noqa: PTH120
            assert folder in synced[position:], f"{folder} is not synced after {target}"
            if position < renamed[before]:
                assert folder in synced[position : renamed[before]], (
                    f"{folder} is synced after {before} moved"
                )

    assert list(renamed)[-1] == branch
    check(branch)
    renamed.clear()
    history.purge(lambda _, content: content.replace(b"0", b"zero"))
    order = [target for target in renamed if target in (branch, marker)]
    assert order == [marker, branch]
    check(marker)
    check(branch)


def test_dulwich_is_not_loaded_before_it_is_needed(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from agentd.memory.history import History;"
        f"History(pathlib.Path({str(tmp_path)!r})); sys.exit('dulwich' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    assert (tmp_path / ".git/HEAD").exists()


def test_a_disk_that_refuses_is_no_damage(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed(history, {"a.md": b"a"})

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreUnavailable, match="No space left"):
            history.commit({"a.md": b"b"}, "", "agent", NOON)
    committed(history, {"a.md": b"b"})
    assert len(history.log()) == 2
    assert not list(tmp_path.glob(".git-damaged*"))


def test_no_hook_runs(history: History, tmp_path: Path) -> None:
    (tmp_path / ".git/hooks").mkdir()
    for name in ("pre-commit", "commit-msg", "post-commit", "reference-transaction"):
        hook = tmp_path / ".git/hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        hook.chmod(0o755)
    committed(history, {"a.md": b"a"})
    assert not (tmp_path / "ran").exists()


# Beside an ordinary git


@needs_git
def test_git_finds_nothing_wrong_and_reads_the_same(history: History, tmp_path: Path) -> None:
    names = {"b": b"1", "b.md": b"2", "b/c.md": b"3"}
    committed(history, {"b.md": b"2", "b/c.md": b"3", "🦊.md": b"4"}, "First\n\nwith a body")
    committed(history, {"b/c.md": None, "b": b"1"}, "Second")
    assert set(history.paths()) == {"b", "b.md", "🦊.md"} == set(names) - {"b/c.md"} | {"🦊.md"}
    fsck(tmp_path)
    told = git(tmp_path, "log", "--format=%H|%an <%ae>|%aI|%s").splitlines()
    assert told[0] == f"{history.head()}|agentd <agentd@localhost>|2026-11-25T12:00:00+00:00|Second"
    assert len(told) == 2


@needs_git
def test_git_status_is_clean_after_the_index_was_refreshed(history: History, tmp_path: Path) -> None:
    files = {"MEMORY.md": b"- tea\n", "notes/n.md": b"", "notes/" + "n" * 200 + ".md": b"x\r\n"}
    committed(history, dict(files))
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert history.refresh_index()
    assert git(tmp_path, "status", "--porcelain") == ""
    (tmp_path / "MEMORY.md").write_bytes(b"- pea\n")
    (tmp_path / "new.md").write_bytes(b"new")
    assert git(tmp_path, "status", "--porcelain") == " M MEMORY.md\n?? new.md\n"
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-m", "By hand")
    assert history.log()[0].author == "Max"
    assert history.log()[0].paths == ("MEMORY.md", "new.md")
    committed(history, {"new.md": None})
    fsck(tmp_path)


def test_an_index_that_git_has_locked_is_left_alone(history: History, tmp_path: Path) -> None:
    committed(history, {"a.md": b"a"})
    (tmp_path / ".git/index.lock").touch()
    assert not history.refresh_index()
    assert not (tmp_path / ".git/index").exists()


def test_a_branch_that_another_git_holds_is_not_moved_and_a_lock_of_last_time_is_no_hindrance(
    history: History, tmp_path: Path
) -> None:
    committed(history, {"a.md": b"a"})
    lock = tmp_path / ".git/refs/heads/main.lock"
    lock.touch()
    with pytest.raises(StoreUnavailable, match="another git holds"):
        history.commit({"a.md": b"b"}, "", "agent", NOON)
    assert lock.exists()
    assert History(tmp_path).commit({"a.md": b"b"}, "", "agent", NOON)


def test_a_commit_of_another_in_between_is_kept(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed(history, {"a.md": b"a"})
    add = Repository.add

    def slow(repository: Repository, objects: Any) -> None:
        monkeypatch.setattr(Repository, "add", add)
        committed(History(tmp_path), {"b.md": b"b"}, "In between")
        repository.add(objects)

    monkeypatch.setattr(Repository, "add", slow)
    committed(history, {"c.md": b"c"}, "Slow")
    assert [change.message for change in history.log()] == ["Slow", "In between", "Remember"]
    assert history.paths() == ["a.md", "b.md", "c.md"]


@needs_git
def test_packs_packed_refs_and_branches_of_git_are_understood(history: History, tmp_path: Path) -> None:
    first = committed(history, {"notes/a.md": b"a\n" * 100})
    second = committed(history, {"notes/a.md": b"a\n" * 100 + b"b"})
    git(tmp_path, "gc", "--quiet", "--prune=now")
    assert not list((tmp_path / ".git/objects").glob("??/*"))
    assert not (tmp_path / ".git/refs/heads/main").exists()
    assert [change.revision for change in history.log()] == [second, first]
    third = committed(history, {"b.md": b"b"})
    git(tmp_path, "checkout", "--quiet", "-b", "other")
    fourth = committed(history, {"b.md": b"c"})
    assert git(tmp_path, "rev-parse", "main", "other").split() == [third, fourth]
    git(tmp_path, "checkout", "--quiet", "-f", "--detach", "main")
    fifth = committed(history, {"b.md": b"d"})
    assert git(tmp_path, "rev-parse", "HEAD", "main").split() == [fifth, third]
    assert history.check() == []
    fsck(tmp_path)


@needs_git
def test_revisions_are_found_while_packs_come_and_go(history: History, tmp_path: Path) -> None:
    first = committed(history, {f"{number}.md": b"%d" % number for number in range(100)})
    assert history.file_at(first, "7.md") == b"7"
    committed(history, {"7.md": b"seven"})
    git(tmp_path, "gc", "--quiet", "--prune=now")
    assert history.file_at(first[:10], "7.md") == b"7"
    history.purge(keep_no(SECRET))
    assert history.file_at(first, "7.md") == b"7"


@needs_git
def test_what_was_merged_by_hand_is_one_change(history: History, tmp_path: Path) -> None:
    base = committed(history, {"a.md": b"a"})
    git(tmp_path, "reset", "--quiet", "--hard")
    git(tmp_path, "checkout", "--quiet", "-b", "side")
    (tmp_path / "side.md").write_text("side")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "--quiet", "-m", "Side")
    git(tmp_path, "checkout", "--quiet", "main")
    onward = committed(history, {"a.md": b"A"})
    git(tmp_path, "reset", "--quiet", "--hard")
    git(tmp_path, "merge", "--quiet", "-m", "Merge", "side")
    told = history.log()
    assert [change.revision for change in told[1:]] == [onward, base]
    assert (told[0].message, told[0].paths) == ("Merge", ("side.md",))
