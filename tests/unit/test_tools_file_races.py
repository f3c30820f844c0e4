"""What is swapped for a link while it is looked at, or changed by two at once: nothing leads out."""

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from file_tools import Folders, run, switching, visible_tree

from agentd.acting import StepFailed
from agentd.tools import places, reach
from agentd.tools.local_steps import LocalSteps
from agentd.tools.tool import Lacking

# Seconds that a race lasts, and how often the folder is switched at least.
LASTING, SWITCHES = 0.7, 50


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folders]:
    monkeypatch.setattr(places, "_places", None)
    made = Folders(tmp_path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield made
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert not list(tmp_path.rglob(".agentd-new-*"))
    assert (made.outside / "secret.txt").read_text() == "secret"
    assert [path.name for path in made.outside.iterdir()] == ["secret.txt"]


@pytest.mark.parametrize("depth", [1, 2])
def test_a_folder_that_becomes_a_link_meanwhile_leads_nowhere(folders: Folders, depth: int) -> None:
    folder = folders.home.joinpath(*["deep"] * (depth - 1), "swap")
    folder.mkdir(parents=True)
    (folder / "secret.txt").write_text("mine")
    with switching(folder, folders.outside) as switches:
        until, texts = time.monotonic() + LASTING, set()
        while time.monotonic() < until or switches() < SWITCHES:
            try:
                texts.add(folders.read("read", path=str(folder / "secret.txt")).text)
            except Lacking:
                texts.add("refused")
    assert texts <= {"mine", "refused"}
    assert "mine" in texts


@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_a_file_that_becomes_something_else_before_it_is_opened_is_not_read(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path, look = folders.home / "swap.txt", reach._regular
    path.write_text("mine")

    def swap(*given: Any) -> None:
        look(*given)
        if path.is_file() and not path.is_symlink():
            path.unlink()
            path.symlink_to(folders.outside / "secret.txt") if kind == "link" else os.mkfifo(path)

    monkeypatch.setattr(reach, "_regular", swap)
    with pytest.raises(Lacking, match="is a symbolic link" if kind == "link" else "is a FIFO"):
        folders.read("read", path="swap.txt")


def test_a_walk_never_enters_a_link_that_was_a_folder_a_moment_ago(folders: Folders) -> None:
    (folders.home / "swap").mkdir()
    with switching(folders.home / "swap", folders.outside) as switches:
        until = time.monotonic() + LASTING
        while time.monotonic() < until or switches() < SWITCHES:
            assert folders.read("find", name="secret.txt").facts["found"] == 0


def test_a_folder_swapped_for_agentds_own_is_refused_by_what_it_is(folders: Folders, tmp_path: Path) -> None:
    # No link is followed, but a folder can be moved.
    folders.state.rename(folders.home / "innocent")
    places.configure(folders.home / "innocent", folders.home)
    with pytest.raises(Lacking, match="is agentd's own"):
        folders.read("read", path="innocent/key")


def test_changes_through_a_folder_that_becomes_a_link_stay_inside(folders: Folders) -> None:
    swap = folders.home / "swap"
    swap.mkdir()
    done: Counter[str] = Counter()
    with switching(swap, folders.outside) as switches:
        until = time.monotonic() + 3 * LASTING
        while time.monotonic() < until or switches() < SWITCHES:
            for verb, given in (
                ("write", {"path": "swap/new.txt", "text": f"mine {switches()}"}),
                ("move", {"path": "swap/new.txt", "to": "secret.txt"}),
                ("delete", {"path": "swap/secret.txt"}),
            ):
                try:
                    run(folders.plan(verb, **given).steps)
                    done[verb] += 1
                except (Lacking, StepFailed, AssertionError):  # what was planned is not the same twice
                    done["refused"] += 1
    # The fixture compares what is outside.
    assert done.keys() == {"write", "move", "delete", "refused"}


def test_of_several_at_once_one_writes_and_the_others_see_it(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, put, together = LocalSteps(), reach.put, threading.Barrier(8)
    plans = [folders.plan("write", path="a.txt", text=f"text {number}") for number in range(8)]
    failed: list[str] = []

    def slow(*given: Any, **more: Any) -> None:
        time.sleep(0.05)  # long enough for the others to have looked, if they could
        put(*given, **{**more, "over": True})

    def go(number: int) -> None:
        together.wait()
        try:
            steps.run(plans[number].steps, {})
        except StepFailed as error:
            failed.append(error.detail)

    monkeypatch.setattr(reach, "put", slow)
    threads = [threading.Thread(target=go, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failed) == 7
    assert visible_tree(folders.home)["a.txt"] in {f"text {number}\n".encode() for number in range(8)}
