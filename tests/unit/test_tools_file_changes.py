"""Files are written, moved, deleted and brought back, each with its way back, and nothing is lost.

What is planned is done here by the executor, as agentd does it after a yes.
"""

import gc
import os
import resource
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from file_tools import Folders, run, tree, visible_tree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.acting import StepFailed
from agentd.errors import InvalidArguments
from agentd.tools import kept, places, reach
from agentd.tools.local_steps import LocalSteps
from agentd.tools.tool import Lacking, Step, Unfit


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folders]:
    monkeypatch.setattr(places, "_places", None)
    made = Folders(tmp_path)
    # What earlier tests left to the garbage collector may be closed meanwhile.
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield made
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
    assert not list(tmp_path.rglob(".agentd-new-*"))
    assert (made.outside / "secret.txt").read_text() == "secret"
    assert [path.name for path in made.outside.iterdir()] == ["secret.txt"]


# ---- writing


def test_a_new_file_is_written_with_its_folders_and_its_way_back_is_the_bin(folders: Folders) -> None:
    path = folders.home / "notes/new/todo.txt"
    plan = folders.do("write", path="notes/new/todo.txt", text="buy milk")
    assert path.read_text() == "buy milk\n"
    assert plan.effects == (
        "A new file, 9 B.",
        "The text: buy milk",
        f"Makes the folder {folders.home / 'notes'}.",
    )
    assert plan.summary == f"Write {path}"
    run(plan.undo)
    assert not path.exists()
    run(plan.steps)  # taking the undoing back
    assert path.read_text() == "buy milk\n"


def test_a_text_that_is_replaced_is_kept_and_comes_back(folders: Folders) -> None:
    path = folders.home / "a.txt"
    path.write_bytes(b"caf\xe9\0 old")
    path.chmod(0o640)
    plan = folders.do("write", path="a.txt", text="new\n")
    assert path.read_text() == "new\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert plan.effects == ("Replaces 9 B by 4 B; the version before is kept.", "The text: new")
    kept_file = folders.home / ".agentd-versions/a.txt" / kept.digest(b"caf\xe9\0 old")
    assert kept_file.read_bytes() == b"caf\xe9\0 old"
    assert stat.S_IMODE((folders.home / ".agentd-versions").stat().st_mode) == 0o700
    run(plan.undo)
    assert path.read_bytes() == b"caf\xe9\0 old"
    run(plan.steps)
    assert path.read_text() == "new\n"


def test_a_new_file_is_as_open_as_its_folder(folders: Folders) -> None:
    for mode, wanted in ((0o700, 0o600), (0o755, 0o644), (0o777, 0o664)):
        folder = folders.home / f"m{mode:o}"
        folder.mkdir()
        folder.chmod(mode)
        folders.do("write", path=f"{folder.name}/a.txt", text="x")
        folders.do("write", path=f"{folder.name}/in/a.txt", text="x")
        assert stat.S_IMODE((folder / "a.txt").stat().st_mode) == wanted
        assert stat.S_IMODE((folder / "in").stat().st_mode) == mode & 0o775


def test_the_last_twenty_versions_are_kept(folders: Folders) -> None:
    for number in range(kept.MOST_VERSIONS + 6):
        folders.do("write", path="deep/a.txt", text=f"text {number}")
    versions = [path.read_text() for path in (folders.home / ".agentd-versions/deep/a.txt").iterdir()]
    assert sorted(versions) == sorted(f"text {number}\n" for number in range(5, kept.MOST_VERSIONS + 5))


def test_a_version_that_is_kept_no_more_cannot_come_back(folders: Folders) -> None:
    first = folders.do("write", path="a.txt", text="one")
    second = folders.do("write", path="a.txt", text="two")
    for version in (folders.home / ".agentd-versions/a.txt").iterdir():
        version.unlink()
    with pytest.raises(StepFailed, match="there is no such file"):
        run(second.undo)
    with pytest.raises(StepFailed, match="was changed in the meantime"):
        run(first.undo)
    assert (folders.home / "a.txt").read_text() == "two\n"


def test_a_file_that_was_changed_after_the_plan_is_left(folders: Folders) -> None:
    path = folders.home / "a.txt"
    new = folders.plan("write", path="a.txt", text="mine")
    path.write_text("theirs")
    with pytest.raises(StepFailed, match=r"a\.txt was changed in the meantime\.$"):
        run(new.steps)
    over = folders.plan("write", path="a.txt", text="mine")
    assert over.basis != new.basis
    path.write_text("theirs again")
    with pytest.raises(StepFailed, match="was changed in the meantime"):
        run(over.steps)
    assert path.read_text() == "theirs again"


def test_a_file_that_appears_in_the_last_moment_is_not_written_over(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folders.home / "a.txt"
    plan = folders.plan("write", path="a.txt", text="mine")
    move_file = reach._move_file

    def late(*given: object) -> None:
        path.write_text("theirs")
        move_file(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(reach, "_move_file", late)
    with pytest.raises(StepFailed, match="there is something with this name already"):
        run(plan.steps)
    assert path.read_text() == "theirs"


def test_what_cannot_be_written_is_said_before_anybody_is_asked(folders: Folders) -> None:
    (folders.home / "same.txt").write_text("same\n")
    (folders.home / "folder").mkdir()
    (folders.home / "link.txt").symlink_to(folders.outside / "secret.txt")
    (folders.home / "link").symlink_to(folders.outside)
    os.mkfifo(folders.home / "fifo")
    with (folders.home / "big.txt").open("wb") as file:
        file.truncate(reach.MAX_BYTES + 1)
    for path, why in (
        ("same.txt", "holds this text already"),
        ("folder", "is a folder, not a file"),
        ("fifo", "is a FIFO, not a file"),
        ("link.txt", "is a symbolic link, not a file"),
        ("link/new.txt", "one of its folders is a file or a symbolic link"),
        ("same.txt/new.txt", "one of its folders is a file or a symbolic link"),
        ("big.txt", "more than 8 MiB"),
        ("~", "is a folder as a whole"),
        (".bashrc", "leaves names that begin with a dot alone"),
        ("agent/key", "is agentd's own"),
        ("/etc/passwd", "out of agentd's reach"),
        ("people/bob/x.txt", None),
        (f"{folders.vault}/people/bob/x.txt", "another person's"),
        ("x" * 256, "the path is too long"),
    ):
        if why is None:  # in the home that is a name like any other
            assert folders.plan("write", path=path, text="same").steps[0].arguments["path"].startswith("/")
            continue
        with pytest.raises(Lacking, match=why):
            folders.plan("write", path=path, text="same")
    with pytest.raises(Unfit, match="cannot be written as UTF-8"):
        folders.plan("write", path="a.txt", text="\udc80")


def test_another_person_writes_into_their_own_notes_alone(folders: Folders) -> None:
    folders.do("write", "bob", path="todo.md", text="mine")
    assert (folders.vault / "people/bob/todo.md").read_text() == "mine\n"
    steps = folders.plan("write", path="a.txt", text="x").steps
    forged = tuple(Step(step.verb, {**step.arguments, "person": "bob"}) for step in steps)
    with pytest.raises(StepFailed, match="out of agentd's reach"):
        run(forged)


def test_a_step_that_is_not_whole_is_refused(folders: Folders) -> None:
    assert LocalSteps().can("file.bin")
    assert not LocalSteps().can("unit.start")
    with pytest.raises(StepFailed, match=r"file\.write needs 'expect'"):
        run((Step("file.write", {"person": "owner", "path": str(folders.home / "a.txt")}),))


# ---- disks


@contextmanager
def small_files(largest: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_does_not_fit_changes_nothing(folders: Folders) -> None:
    (folders.home / "a.txt").write_text("old")
    over = folders.plan("write", path="a.txt", text="x" * 4000)
    new = folders.plan("write", path="b.txt", text="x" * 4000)
    with small_files(1000):
        for plan in (over, new):
            with pytest.raises(StepFailed, match="the file would be too large"):
                run(plan.steps)
    assert visible_tree(folders.home)["a.txt"] == b"old"
    assert not (folders.home / "b.txt").exists()


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], capture_output=True)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk_changes_nothing(folders: Folders) -> None:
    disk = folders.home / "disk"
    disk.mkdir()
    with mounted(disk, "size=64k"):
        (disk / "a.txt").write_text("old")
        over = folders.plan("write", path="disk/a.txt", text="new")
        new = folders.plan("write", path="disk/b.txt", text="new")
        (disk / "fill").write_bytes(b"x" * (60 << 10))
        for plan in (over, new):
            with pytest.raises(StepFailed, match="the disk is full"):
                run(plan.steps)
        assert tree(disk).keys() == {"a.txt", "fill"}
        assert (disk / "a.txt").read_text() == "old"


def test_a_folder_that_may_only_be_read_is_said_before_anybody_is_asked(folders: Folders) -> None:
    disk = folders.home / "disk"
    disk.mkdir()
    with mounted(disk, "size=64k"):
        (disk / "a.txt").write_text("old")
        planned = folders.plan("delete", path="disk/a.txt")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        for verb, given_ in (
            ("write", {"text": "new"}),
            ("move", {"to": "b.txt"}),
            ("delete", {}),
        ):
            with pytest.raises(Lacking, match=r"agentd may not write in .*disk"):
                folders.plan(verb, path="disk/a.txt", **given_)
        with pytest.raises(StepFailed):
            run(planned.steps)
        assert tree(disk) == {"a.txt": b"old"}


def test_what_is_on_another_disk_is_neither_copied_nor_lost(folders: Folders) -> None:
    disk = folders.home / "disk"
    disk.mkdir()
    with mounted(disk, "size=64k"):
        (disk / "a.txt").write_text("old")
        for plan in (
            folders.plan("move", path="disk/a.txt", to="~/a.txt"),
            folders.plan("delete", path="disk/a.txt"),
        ):
            with pytest.raises(StepFailed, match="it is on another disk"):
                run(plan.steps)
        assert (disk / "a.txt").read_text() == "old"
        assert list(kept.entries(folders.home)) == []
        assert list((folders.home / ".agentd-bin").iterdir()) == []


# ---- moving


def test_a_file_is_moved_and_back(folders: Folders) -> None:
    (folders.home / "a.txt").write_text("a")
    plan = folders.do("move", path="a.txt", to="~/new/b.txt")
    assert visible_tree(folders.home)["new/b.txt"] == b"a"
    assert plan.effects[1] == f"Makes the folder {folders.home / 'new'}."
    run(plan.undo)
    assert (folders.home / "a.txt").read_text() == "a"
    assert not (folders.home / "new/b.txt").exists()


def test_a_name_alone_is_beside_it_and_a_folder_takes_it_in(folders: Folders) -> None:
    (folders.home / "deep/in").mkdir(parents=True)
    (folders.home / "deep/a.txt").write_text("a")
    folders.do("move", path="deep/a.txt", to="b.txt")
    assert (folders.home / "deep/b.txt").exists()
    folders.do("move", path="deep/b.txt", to="in")
    assert (folders.home / "deep/in/b.txt").exists()
    folders.do("move", path="deep/in", to="~")
    assert (folders.home / "in/b.txt").exists()
    folders.do("move", path="in", to=str(folders.vault))
    assert (folders.vault / "in/b.txt").read_text() == "a"


def test_nothing_is_ever_written_over(folders: Folders) -> None:
    for name in ("a.txt", "b.txt"):
        (folders.home / name).write_text(name)
    for name in ("c", "d"):
        (folders.home / name).mkdir()
    with pytest.raises(Lacking, match=r"b\.txt is there already, and nothing is written over"):
        folders.plan("move", path="a.txt", to="b.txt")
    for source, to in (("a.txt", "late.txt"), ("c", "late")):
        plan = folders.plan("move", path=source, to=to)
        if source == "c":
            (folders.home / to).mkdir()
        else:
            (folders.home / to).write_text("theirs")
        with pytest.raises(StepFailed, match="there is something with this name already"):
            run(plan.steps)
    assert (folders.home / "late.txt").read_text() == "theirs"
    assert (folders.home / "a.txt").read_text() == "a.txt"


def test_without_hard_links_a_file_is_moved_all_the_same(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    (folders.home / "a.txt").write_text("a")
    folders.do("move", path="a.txt", to="b.txt")
    assert (folders.home / "b.txt").read_text() == "a"
    late = folders.plan("move", path="b.txt", to="c.txt")
    (folders.home / "c.txt").write_text("theirs")
    with pytest.raises(StepFailed, match="there is something with this name already"):
        run(late.steps)
    folders.do("write", path="new.txt", text="new")
    assert (folders.home / "new.txt").read_text() == "new\n"


@pytest.mark.parametrize(
    ("path", "to", "why"),
    [
        ("a.txt", "/etc/a.txt", "out of agentd's reach"),
        ("a.txt", "../a.txt", "without '..'"),
        ("a.txt", "link/a.txt", "one of its folders is a file or a symbolic link"),
        ("a.txt", "agent/a.txt", "is agentd's own"),
        ("a.txt", "./a.txt", "is there already"),
        ("folder", "~/folder/in/it", "cannot be moved into itself"),
        ("link", "else", "is a symbolic link, neither a file nor a folder"),
        ("agent", "mine", "holds what agentd keeps itself"),
        ("gone.txt", "b.txt", "there is no such file or folder"),
        ("~", "b", "is a folder as a whole"),
    ],
)
def test_what_cannot_be_moved_is_said(folders: Folders, path: str, to: str, why: str) -> None:
    (folders.home / "a.txt").touch()
    (folders.home / "folder").mkdir()
    (folders.home / "link").symlink_to(folders.outside)
    with pytest.raises(Lacking, match=why):
        folders.plan("move", path=path, to=to)


# ---- the bin


def test_a_deleted_file_comes_back_with_its_folder(folders: Folders) -> None:
    (folders.home / "deep").mkdir()
    (folders.home / "deep/a.txt").write_text("a")
    plan = folders.do("delete", path="deep/a.txt")
    assert not (folders.home / "deep/a.txt").exists()
    assert stat.S_IMODE((folders.home / ".agentd-bin").stat().st_mode) == 0o700
    (folders.home / "deep").rmdir()
    back = folders.do("restore", path="deep/a.txt")
    assert (folders.home / "deep/a.txt").read_text() == "a"
    assert back.effects[-1] == f"Makes the folder {folders.home / 'deep'} again."
    assert list((folders.home / ".agentd-bin").iterdir()) == []
    run(back.undo)
    assert not (folders.home / "deep/a.txt").exists()
    run(plan.undo)
    assert (folders.home / "deep/a.txt").read_text() == "a"


def test_a_folder_goes_and_comes_as_a_whole(folders: Folders) -> None:
    (folders.home / "films/old").mkdir(parents=True)
    (folders.home / "films/a.mkv").write_bytes(b"x" * 3000)
    (folders.home / "films/old/b.mkv").write_bytes(b"y" * 2000)
    before = visible_tree(folders.home)
    plan = folders.do("delete", path="films")
    assert plan.effects[0] == "A folder with 2 files, 5.0 kB."
    assert found_in_bin(folders) == ["films"]
    run(plan.undo)
    assert visible_tree(folders.home) == before


def found_in_bin(folders: Folders) -> list[str]:
    return ["/".join(one.origin.names) for one in kept.entries(folders.home)]


def test_the_last_one_of_a_name_is_restored_and_an_undo_brings_back_its_own(folders: Folders) -> None:
    plans = []
    for text in ("one", "two", "three"):
        folders.do("write", path="deep/a.txt", text=text)
        plans.append(folders.do("delete", path="deep/a.txt"))
    assert found_in_bin(folders) == ["deep/a.txt"] * 3
    run(plans[1].undo)
    assert (folders.home / "deep/a.txt").read_text() == "two\n"
    with pytest.raises(Lacking, match=r"a\.txt is there already, and nothing is written over"):
        folders.plan("restore", path="a.txt")
    with pytest.raises(StepFailed, match="there is something with this name already"):
        run(plans[0].undo)
    (folders.home / "deep/a.txt").unlink()
    last = folders.do("restore", path="a.txt")
    assert (folders.home / "deep/a.txt").read_text() == "three\n"
    assert "1 older one of this name stays in the bin." in last.effects
    with pytest.raises(StepFailed, match="is not in the recycle bin any more"):
        run(plans[1].undo)


def test_what_was_never_deleted_cannot_be_restored(folders: Folders) -> None:
    with pytest.raises(Unfit, match=r"nothing in the recycle bin was a\.txt"):
        folders.plan("restore", path="a.txt")


def test_each_person_has_a_bin_of_their_own(folders: Folders) -> None:
    (folders.vault / "people/bob/a.md").write_text("bob's")
    (folders.vault / "b.md").write_text("the owner's")
    folders.do("delete", "bob", path="a.md")
    folders.do("delete", path="b.md")
    for person, path in (("owner", "a.md"), ("bob", "b.md")):
        with pytest.raises(Lacking, match="nothing in the recycle bin"):
            folders.plan("restore", person, path=path)
    folders.do("restore", "bob", path="a.md")


@pytest.mark.parametrize(
    "origin", [b"../outside/x", b".ssh/x", b"agent/x", b"/etc/x", b"", b"a//x", b"\xff/x"]
)
def test_an_entry_that_somebody_made_up_leads_nowhere(folders: Folders, origin: bytes) -> None:
    entry = folders.home / ".agentd-bin/20260101T000000.0-ab"
    entry.mkdir(parents=True)
    (entry / "x").write_text("x")
    (entry / ".origin").write_bytes(origin)
    with pytest.raises(Lacking):
        folders.do("restore", path="x")


def test_a_bin_that_is_a_link_is_not_used(folders: Folders) -> None:
    for name in (".agentd-bin", ".agentd-versions"):
        (folders.home / name).symlink_to(folders.outside)
    (folders.home / "a.txt").write_text("a")
    for plan in (folders.plan("delete", path="a.txt"), folders.plan("write", path="a.txt", text="b")):
        with pytest.raises(StepFailed):
            run(plan.steps)
    assert (folders.home / "a.txt").read_text() == "a"


def test_names_of_all_kinds_are_deleted_and_restored(folders: Folders) -> None:
    for name in ("line\nbreak.txt", "esc\x1b[2J.txt", "-rf", "\U0001f331 ünï.txt", "x" * 255):
        (folders.home / name).write_text(name)
        plan = folders.do("delete", path=name)
        assert "\n" not in plan.summary
        assert "\x1b" not in plan.summary
        folders.do("restore", path=name)
        assert (folders.home / name).read_text() == name


# ---- whatever it is


NAMES = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=20)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=PATHS, to=PATHS, text=st.text(st.characters(codec="utf-8"), min_size=1, max_size=50))
def test_whatever_is_done_is_undone_step_by_step(folders: Folders, path: str, to: str, text: str) -> None:
    before = visible_tree(folders.home)
    undo = []
    for verb, given_ in (
        ("write", {"path": path, "text": text}),
        ("write", {"path": path, "text": f"{text} again"}),
        ("move", {"path": path, "to": to}),
        ("delete", {"path": to}),
        ("restore", {"path": to}),
    ):
        try:
            undo.append(folders.do(verb, **given_).undo)
        except (InvalidArguments, Lacking, StepFailed):
            break
    for steps in reversed(undo):
        run(steps)
    after = visible_tree(folders.home)
    # Folders that were made stay.
    assert {name: data for name, data in after.items() if data is not None} == {
        name: data for name, data in before.items() if data is not None
    }
