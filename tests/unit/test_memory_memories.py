"""What happens to memories at the same time, with a real vault, history and index."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agentd.database import Database
from agentd.memory.memories import Memories
from agentd.session import Conversations
from agentd.worker import ModelWorker

# Long enough for whoever is not held up to be done.
MOMENT = 0.5


@pytest.fixture
def memories(tmp_path: Path) -> Iterator[Memories]:
    database = Database(tmp_path / "agent.db")
    made = Memories(tmp_path, Conversations(database), ModelWorker(str(tmp_path / "nobody.sock")))
    yield made
    made.close()
    database.close()


def test_what_agentd_writes_is_never_taken_for_an_edit_by_hand(
    memories: Memories, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = memories.vault.write
    looking = threading.Thread(target=memories.indexing.files)

    def seen(*args: object, **named: object) -> object:
        state = write(*args, **named)  # type: ignore[arg-type]
        looking.start()
        looking.join(MOMENT)
        return state

    monkeypatch.setattr(memories.vault, "write", seen)
    memories.add("My dentist is Dr. Lee.", "owner")
    looking.join()
    assert [change.author for change in memories.history.log()] == ["agent"]


def test_of_answers_given_at_once_to_one_question_one_remains(memories: Memories) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: memories.add(f"My dentist is Dr. {name}.", "owner"), "ABCDEFGH"))
    known = memories.shelf.of("owner")
    assert len(known) == 1
    assert len(memories.listed("owner", kind=None, archived=True)) == 8
