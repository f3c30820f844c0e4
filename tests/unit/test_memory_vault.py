"""The vault's files: nothing leads out of it, nothing blocks, and what was written is there whole."""

import gc
import os
import resource
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agentd.errors import StoreUnavailable
from agentd.memory import vault as vault_module
from agentd.memory.vault import (
    MAX_BYTES,
    MAX_DEPTH,
    MISSING,
    BadPath,
    Conflict,
    Missing,
    NotRegular,
    NotText,
    Problem,
    TooLarge,
    Unreadable,
    Vault,
    VaultError,
    digest,
)


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    """An empty one, which has to leave no descriptor open and no half-written file behind."""
    vault = Vault(tmp_path / "vault")
    gc.collect()  # what other tests have left open
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield vault
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert not list(vault.folder.rglob(".agentd-*"))


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret.md").write_text("secret")
    return folder


def paths(vault: Vault) -> list[str]:
    return [file.path for file in vault.scan().files]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_vault_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "vault"
    Vault(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert Vault(folder).scan().files == []


def test_what_was_written_is_read_and_found(vault: Vault) -> None:
    for path in ("MEMORY.md", "people/ada/MEMORY.md", "notes/line\nbreak.md", "notes/\U0001f331 garden.md"):
        state = vault.write(path, "# One\r\ntwo\n\rthree")
        assert vault.read(path) == "# One\r\ntwo\n\rthree"
        assert state in vault.scan().files
    assert len(paths(vault)) == 4
    assert stat.S_IMODE((vault.folder / "people" / "ada").stat().st_mode) == 0o700
    assert stat.S_IMODE((vault.folder / "MEMORY.md").stat().st_mode) == 0o600


def test_an_edit_changes_the_files_state(vault: Vault) -> None:
    first = vault.write("a.md", "one")
    second = vault.write("a.md", "two")
    assert first != second
    (vault.folder / "a.md").write_text("three")
    assert vault.scan().files != [second]


def test_only_notes_are_found_and_hidden_folders_are_nobodys(vault: Vault) -> None:
    for name in (".git", ".obsidian", ".trash", "notes"):
        (vault.folder / name).mkdir()
        (vault.folder / name / "a.md").write_text("a")
        (vault.folder / name / ".b.md").write_text("b")
        (vault.folder / name / "picture.png").write_bytes(b"\xff")
    (vault.folder / "notes" / "link.png").symlink_to("picture.png")
    scan = vault.scan()
    assert [file.path for file in scan.files] == ["notes/a.md"]
    assert scan.problems == []


def test_what_is_no_file_is_a_problem_and_is_never_opened(vault: Vault, outside: Path) -> None:
    folder = vault.folder
    (folder / "link.md").symlink_to(outside / "secret.md")
    (folder / "linked").symlink_to(outside)
    (folder / "zero.md").symlink_to("/dev/zero")
    os.mkfifo(folder / "fifo.md")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(folder / "socket.md"))
    (folder / "large.md").touch()
    os.truncate(folder / "large.md", MAX_BYTES + 1)
    scan = vault.scan()
    assert scan.files == []
    assert [(problem.path, problem.why) for problem in scan.problems] == [
        ("fifo.md", "it is a FIFO, not a file"),
        ("large.md", "it has 8388609 bytes, more than 8 MiB"),
        ("link.md", "it is a symbolic link, not a file"),
        ("linked", "it is a symbolic link, not a folder"),
        ("socket.md", "it is a socket, not a file"),
        ("zero.md", "it is a symbolic link, not a file"),
    ]
    for name in ("link.md", "linked/secret.md", "zero.md", "fifo.md", "socket.md"):
        with pytest.raises(NotRegular):
            vault.read(name)
        with pytest.raises(NotRegular):
            vault.write(name, "changed")
        with pytest.raises(NotRegular):
            vault.remove(name)
        with pytest.raises(NotRegular):
            vault.rename(name, "new.md")
    with pytest.raises(NotRegular):
        vault.write("linked/new.md", "changed")
    assert [(path.name, path.read_text()) for path in outside.iterdir()] == [("secret.md", "secret")]


@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_what_is_swapped_in_after_a_look_is_refused(
    vault: Vault, outside: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    vault.write("a.md", "a")
    look = vault_module._look

    def swap(folder: int, name: str, path: str) -> os.stat_result | None:
        state = look(folder, name, path)
        (vault.folder / "a.md").unlink()
        if kind == "link":
            (vault.folder / "a.md").symlink_to(outside / "secret.md")
        else:
            os.mkfifo(vault.folder / "a.md")
        monkeypatch.setattr(vault_module, "_look", look)
        return state

    monkeypatch.setattr(vault_module, "_look", swap)
    with pytest.raises(NotRegular):
        vault.read("a.md")


@pytest.mark.parametrize(
    "path",
    [
        *("", "/etc/passwd.md", "../a.md", "a/../../b.md", "./a.md", "a//b.md", ".git/a.md", ".md", "a.txt"),
        *("a\0.md", "a.md/", "caf\udce9.md", "x" * 300 + ".md", "a/" * MAX_DEPTH + "b.md"),
    ],
)
def test_a_path_that_is_no_notes_is_refused(vault: Vault, path: str) -> None:
    for use in (vault.read, vault.remove, lambda path: vault.write(path, "a")):
        with pytest.raises(BadPath):
            use(path)
    vault.write("good.md", "a")
    with pytest.raises(BadPath):
        vault.rename("good.md", path)
    assert paths(vault) == ["good.md"]


def test_a_file_that_is_not_utf_8_is_reported_and_kept(vault: Vault) -> None:
    data = b"# fine\ncaf\xe9\n"
    (vault.folder / "latin.md").write_bytes(data)
    assert paths(vault) == ["latin.md"]
    with pytest.raises(NotText, match=r"'latin.md': line 2 is not UTF-8 text \(byte 10 of the file\)"):
        vault.read("latin.md")
    for expect in (digest("a"), MISSING):
        with pytest.raises(Conflict):
            vault.write("latin.md", "a", expect=expect)
    assert (vault.folder / "latin.md").read_bytes() == data


def test_a_name_that_is_not_utf_8_is_a_problem_that_can_be_shown(vault: Vault) -> None:
    (vault.folder / "caf\udce9").mkdir()
    (vault.folder / "caf\udce9" / "a.md").touch()
    (vault.folder / "th\udce9.md").touch()
    assert vault.scan().problems == [
        Problem("caf\\xe9", "its name is not UTF-8"),
        Problem("th\\xe9.md", "its name is not UTF-8"),
    ]


def test_a_note_of_five_megabytes_works_and_one_of_nine_does_not(vault: Vault) -> None:
    text = "\u00e4" * 2_500_000
    vault.write("large.md", text)
    assert vault.read("large.md") == text
    with pytest.raises(TooLarge):
        vault.write("larger.md", "a" * (MAX_BYTES + 1))
    (vault.folder / "larger.md").touch()
    os.truncate(vault.folder / "larger.md", MAX_BYTES + 1)
    with pytest.raises(TooLarge):
        vault.read("larger.md")


def test_a_text_that_no_file_can_hold_is_refused(vault: Vault) -> None:
    with pytest.raises(NotText):
        vault.write("a.md", "\ud800")


def test_a_write_that_expects_another_text_changes_nothing(vault: Vault) -> None:
    vault.write("a.md", "one", expect=MISSING)
    with pytest.raises(Conflict, match="it is there already"):
        vault.write("a.md", "two", expect=MISSING)
    vault.write("a.md", "two", expect=digest("one"))
    for change in (
        lambda: vault.write("a.md", "three", expect=digest("one")),
        lambda: vault.remove("a.md", expect="x"),
    ):
        with pytest.raises(Conflict, match="somebody else changed it"):
            change()
    assert vault.read("a.md") == "two"
    vault.remove("a.md", expect=digest("two"))
    with pytest.raises(Conflict):
        vault.write("a.md", "three", expect=digest("two"))
    assert paths(vault) == []


def test_an_edit_while_we_write_is_not_lost(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.write("a.md", "one")
    fsync = os.fsync

    def edit(descriptor: int) -> None:
        fsync(descriptor)
        (vault.folder / "a.md").write_text("a person's")

    monkeypatch.setattr(os, "fsync", edit)
    with pytest.raises(Conflict):
        vault.write("a.md", "two", expect=digest("one"))
    assert vault.read("a.md") == "a person's"


def test_of_two_that_change_one_text_exactly_one_succeeds(vault: Vault) -> None:
    vault.write("a.md", "")
    barrier = threading.Barrier(8)
    won: list[str] = []

    def change(name: str) -> None:
        barrier.wait(timeout=10)
        try:
            vault.write("a.md", name, expect=digest(""))
        except Conflict:
            return
        won.append(name)

    threads = [threading.Thread(target=change, args=(f"writer {number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert won == [vault.read("a.md")]


def test_a_note_is_on_the_disk_before_its_name_and_its_name_before_we_return(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.write("a.md", "one")
    done: list[str] = []
    fsync, rename = os.fsync, os.rename

    def note_fsync(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else vault.read("a.md"))
        fsync(descriptor)

    def note_rename(*names: str, src_dir_fd: int, dst_dir_fd: int) -> None:
        done.append("rename")
        rename(*names, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "rename", note_rename)
    vault.write("a.md", "two")
    assert done == ["one", "rename", "folder"]


@contextmanager
def small_files() -> Iterator[None]:
    """The kernel lets no file grow beyond 64 KiB: a write fails half-way, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_for_which_there_is_no_room_leaves_the_old_file_whole(vault: Vault) -> None:
    vault.write("a.md", "one")
    with (
        small_files(),
        pytest.raises(StoreUnavailable, match=r"the vault's file 'a.md' cannot be used: File too large"),
    ):
        vault.write("a.md", "x" * 100_000)
    assert vault.read("a.md") == "one"
    assert names_in(vault.folder) == ["a.md"]


def test_what_a_power_cut_left_half_written_is_tidied_away(vault: Vault, outside: Path) -> None:
    vault.write("notes/a.md", "a")
    (vault.folder / "notes" / ".agentd-new-0123").write_text("hal")
    (vault.folder / ".other").write_text("a person's")
    (vault.folder / ".agentd-new-link").symlink_to(outside / "secret.md")
    assert paths(vault) == ["notes/a.md"]
    assert vault.tidy() == 1
    (vault.folder / ".agentd-new-link").unlink()
    assert names_in(vault.folder) == [".other", "notes"]
    assert names_in(vault.folder / "notes") == ["a.md"]


def test_the_permissions_that_a_person_gave_a_note_stay(vault: Vault) -> None:
    vault.write("a.md", "one")
    (vault.folder / "a.md").chmod(0o666)
    vault.write("a.md", "two")
    assert stat.S_IMODE((vault.folder / "a.md").stat().st_mode) == 0o666


def test_a_note_is_renamed_but_never_onto_another(vault: Vault) -> None:
    vault.write("a.md", "a")
    vault.write("b.md", "b")
    with pytest.raises(Conflict):
        vault.rename("a.md", "b.md")
    vault.rename("a.md", "archive/2026.md")
    assert paths(vault) == ["archive/2026.md", "b.md"]
    assert vault.read("archive/2026.md") == "a"


def test_what_is_not_there_is_missing(vault: Vault) -> None:
    vault.write("a.md", "a")
    for use in (vault.read, vault.remove, lambda path: vault.rename(path, "b.md")):
        for path in ("no.md", "no/such.md"):
            with pytest.raises(Missing):
                use(path)
    with pytest.raises(NotRegular):
        vault.read("a.md/b.md")
    assert paths(vault) == ["a.md"]


def test_without_the_vault_no_note_counts_as_gone(vault: Vault) -> None:
    vault.write("a.md", "a")
    vault.folder.rename(vault.folder.with_name("away"))
    for use in (vault.scan, lambda: vault.read("a.md"), lambda: vault.write("a.md", "b")):
        with pytest.raises(StoreUnavailable):
            use()


def test_a_note_that_agentd_may_not_read_is_the_problem_of_that_note(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.write("a.md", "a")
    really_open = os.open

    def refuse(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == "a.md":
            raise PermissionError(13, "Permission denied")
        return really_open(path, flags, mode, dir_fd=dir_fd)

    # Tests may run as root, whom no permission stops.
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(Unreadable):
        vault.read("a.md")


def test_folders_without_end_are_not_followed(vault: Vault) -> None:
    deep = vault.folder.joinpath(*["d"] * (MAX_DEPTH + 5))
    deep.mkdir(parents=True)
    (deep / "a.md").touch()
    (problem,) = vault.scan().problems
    assert problem.path == "/".join(["d"] * MAX_DEPTH)


def test_an_errors_message_is_one_line_whatever_the_name(vault: Vault) -> None:
    with pytest.raises(VaultError) as caught:
        vault.read("line\nbreak \U0001f331.md")
    assert caught.value.message == "'line\\nbreak \U0001f331.md': there is no such file"


def test_ten_thousand_files_are_found_within_a_second(vault: Vault) -> None:
    for folder in range(10):
        (vault.folder / f"{folder}").mkdir()
        for number in range(1000):
            (vault.folder / f"{folder}" / f"{number}.md").touch()
    started = time.process_time()
    assert len(vault.scan().files) == 10_000
    assert time.process_time() - started < 1
