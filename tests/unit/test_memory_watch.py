"""A change in the vault is noticed, by the kernel's own inotify and with real files."""

import errno
import os
import select
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from inotify import calls

from agentd.memory.vault import Vault
from agentd.memory.watch import Watcher

DEADLINE = 10.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "vault"
    for name in (".", "notes", ".git"):
        (folder / name).mkdir(parents=True)
        (folder / name / "old.md").write_text("old")
    return folder


@pytest.fixture
def watcher(folder: Path) -> Iterator[Watcher]:
    watcher = Watcher(folder)
    yield watcher
    watcher.close()


def noticed(watcher: Watcher) -> set[str] | None:
    """What is noticed until nothing more comes: the kernel tells of a change before the change returns."""
    found: set[str] = set()
    everything = False
    deadline = time.monotonic() + DEADLINE
    while select.select([watcher], [], [], 0)[0]:
        assert time.monotonic() < deadline, "inotify has no end"
        changed = watcher.changed()
        everything |= changed is None
        found |= changed or set()
    return None if everything else found


def test_what_a_person_does_to_notes_is_noticed(folder: Path, watcher: Watcher) -> None:
    assert noticed(watcher) == set()
    (folder / "new.md").write_text("new")
    assert noticed(watcher) == {"new.md"}
    with (folder / "notes" / "old.md").open("a") as file:
        file.write("more")
    assert noticed(watcher) == {"notes/old.md"}
    (folder / "old.md").rename(folder / "notes" / "line\nbreak \U0001f331.md")
    assert noticed(watcher) == {"old.md", "notes/line\nbreak \U0001f331.md"}
    (folder / "new.md").unlink()
    assert noticed(watcher) == {"new.md"}
    os.link(folder / "notes" / "old.md", folder / "linked.md")
    assert noticed(watcher) == {"linked.md"}


def test_what_agentd_writes_is_one_note(folder: Path, watcher: Watcher) -> None:
    Vault(folder).write("notes/old.md", "new")
    assert noticed(watcher) == {"notes/old.md"}


def test_hidden_files_and_what_is_no_note_are_not(folder: Path, watcher: Watcher) -> None:
    (folder / ".git" / "index.md").write_text("x")
    (folder / ".hidden.md").write_text("x")
    (folder / ".new").mkdir()
    (folder / "picture.png").write_text("x")
    (folder / "notes" / "old.md~").write_text("x")
    assert noticed(watcher) == set()


def test_to_read_is_no_change(folder: Path, watcher: Watcher) -> None:
    Vault(folder).scan()
    Vault(folder).read("old.md")
    assert noticed(watcher) == set()


def test_a_new_folder_means_look_at_everything_and_is_watched(folder: Path, watcher: Watcher) -> None:
    (folder / "a" / "b" / "c").mkdir(parents=True)
    assert noticed(watcher) is None
    (folder / "a" / "b" / "c" / "d.md").write_text("d")
    assert noticed(watcher) == {"a/b/c/d.md"}


def test_a_renamed_folder_is_watched_by_its_new_name(folder: Path, watcher: Watcher) -> None:
    (folder / "notes").rename(folder / "thoughts")
    assert noticed(watcher) is None
    (folder / "thoughts" / "old.md").write_text("new")
    assert noticed(watcher) == {"thoughts/old.md"}


def test_a_folder_that_left_is_watched_no_more(folder: Path, watcher: Watcher, tmp_path: Path) -> None:
    (folder / "notes").rename(tmp_path / "away")
    assert noticed(watcher) is None
    (tmp_path / "away" / "old.md").write_text("new")
    assert noticed(watcher) == set()
    assert watcher.complete
    assert Path(f"/proc/self/fdinfo/{watcher.fileno()}").read_text().count("inotify wd:") == 1


def test_a_linked_folder_is_not_followed(folder: Path, watcher: Watcher, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (folder / "linked").symlink_to(outside)
    noticed(watcher)
    (folder / "notes" / "new").mkdir()
    noticed(watcher)
    (outside / "a.md").write_text("a")
    assert noticed(watcher) == set()
    assert watcher.complete


def test_a_name_that_is_not_utf_8_means_look_at_everything(folder: Path, watcher: Watcher) -> None:
    (folder / "caf\udce9.md").touch()
    assert noticed(watcher) is None


def test_more_changes_than_the_kernel_keeps_mean_look_at_everything(folder: Path, watcher: Watcher) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 50_000:
        pytest.skip(f"the kernel keeps {limit} events here, too many to fill")
    names = [folder / "a.md", folder / "b.md"]
    names[0].touch()
    for number in range(limit // 2 + 1):
        names[number % 2].rename(names[1 - number % 2])
    assert noticed(watcher) is None
    (folder / "old.md").write_text("new")
    assert noticed(watcher) == {"old.md"}


def test_without_enough_watches_everything_is_looked_at_until_there_are(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    add = calls.inotify_add_watch

    def refuse(descriptor: int, path: bytes, mask: int) -> int:
        if path.endswith(b"/notes"):
            raise calls.InotifyError(f"Call failed: {errno.ENOSPC}")
        return int(add(descriptor, path, mask))

    monkeypatch.setattr(calls, "inotify_add_watch", refuse)
    watcher = Watcher(folder)
    assert not watcher.complete
    assert watcher.changed() is None
    assert watcher.changed() is None
    assert capfd.readouterr().err.count("not every folder") == 1
    monkeypatch.undo()
    assert watcher.changed() is None
    assert watcher.complete
    assert watcher.changed() == set()
    (folder / "notes" / "old.md").write_text("new")
    assert noticed(watcher) == {"notes/old.md"}
    watcher.close()


def test_a_vault_that_goes_away_and_comes_back_is_watched_again(
    folder: Path, watcher: Watcher, capfd: pytest.CaptureFixture[str]
) -> None:
    folder.rename(folder.with_name("away"))
    assert noticed(watcher) is None
    assert not watcher.complete
    assert watcher.changed() is None
    assert capfd.readouterr().err.count("not every folder") == 1
    folder.with_name("away").rename(folder)
    assert watcher.changed() is None
    assert watcher.complete
    (folder / "notes" / "old.md").write_text("new")
    assert noticed(watcher) == {"notes/old.md"}


def test_a_vault_that_is_replaced_is_watched_again(folder: Path, watcher: Watcher) -> None:
    folder.rename(folder.with_name("away"))
    folder.mkdir()
    assert noticed(watcher) is None
    (folder / "a.md").write_text("a")
    assert noticed(watcher) == {"a.md"}


def test_it_does_not_block_and_leaves_nothing_open(folder: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    watcher = Watcher(folder)
    assert watcher.changed() == set()
    assert not os.get_inheritable(watcher.fileno())
    watcher.close()
    watcher.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
