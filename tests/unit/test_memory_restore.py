"""Bringing back a memory: what takes which place, and what a power cut may leave; a real vault."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agentd.database import Database
from agentd.errors import InvalidMemory
from agentd.memory.memories import Memories
from agentd.memory.memory import Memory
from agentd.session import Conversations
from agentd.worker import ModelWorker

# Long enough for whoever is not held up to be done.
MOMENT = 0.3


class PowerCut(BaseException):
    """Nothing is done after it, not even putting right."""


@contextmanager
def opened(folder: Path) -> Iterator[Memories]:
    database = Database(folder / "agent.db")
    made = Memories(folder, Conversations(database), ModelWorker(str(folder / "nobody.sock")))
    made.indexing.files()
    try:
        yield made
    finally:
        made.close()
        database.close()


@pytest.fixture
def memories(tmp_path: Path) -> Iterator[Memories]:
    with opened(tmp_path) as made:
        yield made


def places(memories: Memories) -> dict[str, tuple[str, str]]:
    """Of each memory by its text: its note, and the text of what superseded it."""
    there = memories.everywhere("owner")
    texts = {memory.id: memory.text for _, memory in there}
    assert len(texts) == len(there), "a memory is in two notes"
    return {memory.text: (path, texts.get(memory.superseded_by, "")) for path, memory in there}


def change_of(memories: Memories, message: str) -> str:
    return next(one.revision for one in memories.history.log() if one.message == message)


def corrected(memories: Memories, *texts: str) -> list[Memory]:
    """A memory that was corrected once and again."""
    made = [memories.add(texts[0], "owner")[0]]
    for text in texts[1:]:
        made.append(memories.correct(made[-1].id, text, "owner")[0])
    return made


def test_a_corrected_memory_comes_back_and_what_took_its_place_goes_to_the_archive(
    memories: Memories,
) -> None:
    memories.add("The bins go out on Friday.", "owner")
    nine, ten = corrected(memories, "The ferry leaves at nine.", "The ferry leaves at ten.")
    archive = f"archive/{ten.created[:4]}.md"
    paths = memories.restore(change_of(memories, f"Correct {nine.id}"), nine.id)
    assert paths == ["MEMORY.md", archive]
    assert places(memories) == {
        "The bins go out on Friday.": ("MEMORY.md", ""),
        "The ferry leaves at nine.": ("MEMORY.md", ""),
        "The ferry leaves at ten.": (archive, "The ferry leaves at nine."),
    }
    [back] = [memory for memory in memories.shelf.of("owner") if memory.id == nine.id]
    assert back == nine, "as it was before"
    assert memories.check("owner", repair=True) == ([], [])
    assert [item.text for item, _ in memories.listed("owner", kind=None, archived=False)] == [
        "The ferry leaves at nine.",
        "The bins go out on Friday.",
    ]


def test_a_restore_can_be_taken_back_and_repeated(memories: Memories) -> None:
    nine, ten = corrected(memories, "At nine.", "At ten.")
    archive = f"archive/{ten.created[:4]}.md"
    revision = change_of(memories, f"Correct {nine.id}")
    memories.restore(revision, nine.id)
    memories.restore(revision, nine.id)
    assert places(memories) == {"At nine.": ("MEMORY.md", ""), "At ten.": (archive, "At nine.")}
    back = change_of(memories, f"Restore {nine.id} before {revision[:12]}")
    memories.restore(back, ten.id)
    assert places(memories) == {"At nine.": (archive, "At ten."), "At ten.": ("MEMORY.md", "")}
    assert memories.check("owner", repair=True) == ([], [])


def test_what_was_corrected_twice_gives_way_to_the_first(memories: Memories) -> None:
    nine, ten, _ = corrected(memories, "At nine.", "At ten.", "At eleven.")
    archive = f"archive/{ten.created[:4]}.md"
    memories.restore(change_of(memories, f"Correct {nine.id}"), nine.id)
    assert places(memories) == {
        "At nine.": ("MEMORY.md", ""),
        "At ten.": (archive, "At eleven."),
        "At eleven.": (archive, "At nine."),
    }


def test_a_memory_comes_back_to_the_note_that_it_was_in(memories: Memories) -> None:
    nine = memories.add("At nine.", "owner")[0]
    note = memories.vault.folder / "ferry.md"
    (memories.vault.folder / "MEMORY.md").rename(note)
    memories.indexing.files()
    memories.correct(nine.id, "At ten.", "owner")
    memories.restore(change_of(memories, f"Correct {nine.id}"), nine.id)
    assert places(memories)["At nine."] == ("ferry.md", "")
    assert [place for place, _ in places(memories).values()].count("MEMORY.md") == 0


def test_a_memory_that_the_change_did_not_touch_is_none_of_it(memories: Memories) -> None:
    nine, ten = corrected(memories, "At nine.", "At ten.")
    with pytest.raises(InvalidMemory, match="was not in what the change"):
        memories.restore(change_of(memories, f"Correct {nine.id}"), ten.id)


def test_nobody_changes_a_note_while_it_is_restored(
    memories: Memories, monkeypatch: pytest.MonkeyPatch
) -> None:
    nine, _ = corrected(memories, "At nine.", "At ten.")
    adding = threading.Thread(target=lambda: memories.add("The bins go out on Friday.", "owner"))
    log = memories.history.log

    def looked(**named: object) -> object:
        found = log(**named)  # type: ignore[arg-type]
        adding.start()
        adding.join(MOMENT)
        return found

    revision = change_of(memories, f"Correct {nine.id}")
    monkeypatch.setattr(memories.history, "log", looked)
    memories.restore(revision, None)
    adding.join()
    assert "The bins go out on Friday." in places(memories)


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("writes", range(5))
def test_a_power_cut_in_a_restore_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int, moved: bool
) -> None:
    with opened(tmp_path) as memories:
        nine, _ = corrected(memories, "At nine.", "At ten.")
        if moved:
            # What took its place is in another note by now.
            (tmp_path / "vault/MEMORY.md").rename(tmp_path / "vault/ferry.md")
            memories.indexing.files()
        revision = change_of(memories, f"Correct {nine.id}")
        write, left = memories.vault.write, writes

        def cut(*args: object, **named: object) -> object:
            nonlocal left
            if left == 0:
                raise PowerCut
            left -= 1
            return write(*args, **named)  # type: ignore[arg-type]

        monkeypatch.setattr(memories.vault, "write", cut)
        try:
            memories.restore(revision, nine.id)
        except PowerCut:
            assert writes < 3 + moved
        else:
            assert writes >= 3 + moved
    with opened(tmp_path) as memories:
        memories.check("owner", repair=True)
        there = places(memories)
        assert set(there) == {"At nine.", "At ten."}
        active = [text for text, (_, successor) in there.items() if not successor]
        # With two notes neither may be active for a moment; saying it again ends it.
        assert len(active) == 1 or (moved and not active)
        memories.restore(revision, nine.id)
        there = places(memories)
        assert there["At nine."] == ("MEMORY.md", "")
        assert there["At ten."][1] == "At nine."
        assert memories.check("owner", repair=True) == ([], [])
