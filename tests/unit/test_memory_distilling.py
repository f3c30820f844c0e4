"""Noticing what is said while archives come in: with real memories, whose background nobody wakes.

So what is said waits until somebody looks at it, and the moment is the test's to choose.
"""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agentd_process import DEADLINE

from agentd.database import Database
from agentd.machine_key import MachineKey
from agentd.memory import transfer as transfer_module
from agentd.memory.background import Background
from agentd.memory.distilling import Distilling
from agentd.memory.memories import Memories
from agentd.memory.transfer import Counts, Transfer
from agentd.session import Begun, Conversations
from agentd.worker import ModelWorker

# Long enough for whoever is not held up to be done.
MOMENT = 0.5


class Machine:
    """What agentd is made of, as far as memory goes."""

    def __init__(self, state: Path) -> None:
        state.mkdir()
        self.database = Database(state / "agent.db")
        self.conversations = Conversations(self.database)
        worker = ModelWorker(str(state / "nobody.sock"))
        # Nobody is ever idle: it is asked once everything has been looked at, and then again and again.
        waiting = threading.Event()

        def is_idle() -> bool:
            waiting.set()
            return False

        self.background = Background(
            lambda: Memories(state, self.conversations, worker),
            self.database,
            is_idle,
            lambda _: None,
        )
        self.transfer = Transfer(state, self.database, self.background, MachineKey(state), "machine")
        self.background.start()
        assert waiting.wait(DEADLINE)

    @property
    def distilling(self) -> Distilling:
        return self.background.distilling

    def ask(self, text: str) -> Begun:
        """A question whose answer is still being written."""
        return self.conversations.begin(text, None)

    def say(self, text: str) -> None:
        self.conversations.finish(self.ask(text), "Well.", "complete", None)

    def texts(self) -> list[str]:
        return [memory.text for memory in self.background.memories.shelf.of("owner")]

    def import_(self, data: bytes) -> Counts:
        upload = self.transfer.take("owner", None, data, "archive")
        return self.transfer.finish("owner", upload, "archive", "", skip=False)

    def stop(self) -> None:
        self.background.stop(DEADLINE)
        self.database.close()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path / "machine")
    yield machine
    machine.stop()


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[bytes]:
    """Of a machine on which of two things said one was forgotten, but for the turn."""
    other = Machine(tmp_path / "other")
    other.say("I moved to Porto.")
    other.say("I am allergic to peanuts.")
    other.distilling.catch_up()
    note = other.background.memories.vault.read("MEMORY.md").splitlines(keepends=True)
    other.background.memories.shelf.rewrite({"MEMORY.md": note[0]}, "Forget")
    with other.transfer.export("owner") as file:
        yield file.read()
    other.stop()


def once(monkeypatch: pytest.MonkeyPatch, place: object, name: str, before: Callable[[], object]) -> None:
    """Have something done before a function is called for the first time."""
    function = getattr(place, name)
    todo = [before]

    def called(*args: Any, **named: Any) -> Any:
        if todo:
            todo.pop()()
        return function(*args, **named)

    monkeypatch.setattr(place, name, called)


def test_each_turn_is_looked_at_once(machine: Machine) -> None:
    machine.say("I moved to Porto.")
    machine.say("remember that I live in Ghent.")  # stored when it is said, by agent.py
    machine.distilling.catch_up()
    assert machine.texts() == ["I moved to Porto."]
    machine.background.memories.shelf.rewrite({"MEMORY.md": None}, "Forget")
    assert machine.distilling.catch_up() == 4
    assert machine.texts() == []


def test_a_question_is_looked_at_while_an_earlier_one_is_being_answered(machine: Machine) -> None:
    machine.ask("Tell me a long story.")
    machine.ask("I moved to Porto.")
    machine.distilling.catch_up()
    assert machine.texts() == ["I moved to Porto."]


def test_what_was_said_before_an_import_is_noticed_and_what_was_restored_is_not(
    machine: Machine, archive: bytes
) -> None:
    machine.say("My cat is called Tiger.")
    machine.import_(archive)
    machine.distilling.catch_up()
    assert machine.texts() == ["My cat is called Tiger.", "I moved to Porto."]


def test_what_is_said_while_an_archive_is_imported_is_noticed(
    machine: Machine, archive: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The archive has been checked, and was compared with the notes.
    once(monkeypatch, transfer_module, "write_file", lambda: machine.say("My cat is called Tiger."))
    machine.import_(archive)
    machine.distilling.catch_up()
    assert sorted(machine.texts()) == ["I moved to Porto.", "My cat is called Tiger."]


def test_an_import_does_not_wait_for_answers(
    machine: Machine, archive: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.ask("Tell me a long story.")
    once(monkeypatch, transfer_module, "write_file", lambda: machine.ask("My cat is called Tiger."))
    machine.import_(archive)
    machine.distilling.catch_up()
    assert sorted(machine.texts()) == ["I moved to Porto.", "My cat is called Tiger."]


def test_a_look_at_what_was_said_does_not_set_back_what_an_import_has_passed_over(
    machine: Machine, archive: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    importing = threading.Thread(target=machine.import_, args=(archive,))

    def meanwhile() -> None:
        importing.start()
        importing.join(MOMENT)

    machine.say("My cat is called Tiger.")
    once(monkeypatch, machine.background.memories, "add", meanwhile)
    machine.distilling.catch_up()
    importing.join()
    machine.distilling.catch_up()
    assert sorted(machine.texts()) == ["I moved to Porto.", "My cat is called Tiger."]


def test_a_memory_that_is_added_while_an_archive_is_imported_is_kept(
    machine: Machine, archive: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    memories = machine.background.memories
    adding = threading.Thread(target=memories.add, args=("The bins go out on Friday.", "owner"))

    def meanwhile() -> None:
        adding.start()
        adding.join(MOMENT)

    # The archive's note was compared with ours, and is about to be written.
    once(monkeypatch, memories.shelf, "rewrite", meanwhile)
    machine.import_(archive)
    adding.join()
    assert sorted(machine.texts()) == ["I moved to Porto.", "The bins go out on Friday."]


def test_what_is_left_of_the_last_run_is_removed_and_an_upload_of_this_one_is_not(
    machine: Machine, archive: bytes
) -> None:
    upload = machine.transfer.take("owner", None, archive[:1000], "")
    left = machine.background.memories.state / "imports" / "0123.part"
    left.write_bytes(archive)
    machine.transfer.resume()
    assert not left.exists()
    machine.transfer.take("owner", upload, archive[1000:], "archive")
    assert machine.transfer.finish("owner", upload, "archive", "", skip=False).turns == 4
    assert not list(left.parent.iterdir())
