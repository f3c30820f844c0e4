"""Forgetting while something is under way, what is shown before it, and what stays; a real agentd."""

import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agentd_process import DEADLINE, Agentd, environment, eventually, running
from memory_calls import memory

from agentd import memory_display
from agentd.call import Watch, calling
from agentd.database import Database
from agentd.errors import Busy
from agentd.exclusion import Exclusion
from agentd.memory import forgetting
from agentd.memory.forgetting import Forgetting
from agentd.memory.memories import Memories
from agentd.session import Conversations
from agentd.worker import ModelWorker

SECRET = "xylophone-quartz-4711"
# Long enough for whoever is not held up to be done.
MOMENT = 0.5


@pytest.fixture
def agentd(tmp_path: Path) -> Iterator[Agentd]:
    """One whose worker ends to recite when the file `go on` is there."""
    with running(tmp_path / "state", go_on=str(tmp_path / "go on")) as agentd:
        yield agentd


@pytest.fixture
def memories(tmp_path: Path) -> Iterator[Memories]:
    database = Database(tmp_path / "agent.db")
    made = Memories(tmp_path, Conversations(database), ModelWorker(str(tmp_path / "nobody.sock")))
    yield made
    made.close()
    database.close()


def files_with(folder: Path, text: str) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


class Asking:
    """A question whose answer has begun."""

    def __init__(self, agentd: Agentd, text: str, **parameters: Any) -> None:
        self.replies: list[dict[str, Any]] = []
        self._begun = threading.Event()

        def ask() -> None:
            with calling(agentd.socket, "io.aetheros.Agent", DEADLINE) as agent:
                for reply in agent.Ask(text=text, **parameters, _more=True):
                    self.replies.append(reply)
                    if reply["delta"]:
                        self._begun.set()

        self._thread = threading.Thread(target=ask)
        self._thread.start()
        assert self._begun.wait(DEADLINE)

    def last(self) -> dict[str, Any]:
        self._thread.join(DEADLINE)
        assert self.replies[-1]["done"]
        return self.replies[-1]


def while_it_is_forgotten(agentd: Agentd, asking: Asking, forget: Callable[[], object]) -> str:
    """What the answer said that ended after forgetting had begun."""
    forgetting = threading.Thread(target=forget)
    forgetting.start()
    forgetting.join(MOMENT)
    (agentd.state.parent / "go on").touch()
    said = str(asking.last()["text"])
    forgetting.join(DEADLINE)
    assert not forgetting.is_alive()
    return said


def test_an_answer_under_way_does_not_bring_back_what_it_read_in_its_session(agentd: Agentd) -> None:
    session = agentd.ask(f"remember that the vault code is {SECRET}")[-1]["session"]
    asking = Asking(agentd, "recite", session=session)
    [stored] = memory(agentd, "List")["memories"]
    token = memory(agentd, "Preview", id=stored["id"], turns=True)["token"]
    said = while_it_is_forgotten(agentd, asking, lambda: memory(agentd, "Forget", token=token))
    assert SECRET in said
    assert files_with(agentd.state, SECRET) == []
    turns = agentd.call("History", session=session)["turns"]
    assert [turn["status"] for turn in turns] == ["forgotten", "forgotten", "complete", "forgotten"]


def test_an_answer_under_way_does_not_bring_back_what_was_recalled_for_it(tmp_path: Path) -> None:
    with running(tmp_path / "state", go_on=str(tmp_path / "go on"), recite="spare key?") as agentd:
        stored = memory(agentd, "Add", text=f"The spare key is under the {SECRET} pot.")["memory"]
        asking = Asking(agentd, "Where is our spare key?")
        token = memory(agentd, "Preview", id=stored["id"], turns=True)["token"]
        said = while_it_is_forgotten(agentd, asking, lambda: memory(agentd, "Forget", token=token))
        assert SECRET in said
        assert files_with(agentd.state, SECRET) == []


def test_a_compaction_under_way_does_not_bring_back_what_it_sums_up(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts"
    with running(
        tmp_path / "state", context=400, go_on=str(tmp_path / "go on"), record=str(prompts)
    ) as agentd:
        session = agentd.ask(f"remember that the code is {SECRET}")[-1]["session"]
        for number in range(4):
            agentd.ask(f"Sentence {number} about sails and ropes and tar and wind.", session=session)
        [stored] = memory(agentd, "List")["memories"]
        token = memory(agentd, "Preview", id=stored["id"], turns=True)["token"]
        # The exchange with the code no longer fits, and goes to the summary when the answer begins.
        padding = "and of the sea " * 12
        asking = Asking(agentd, f"Now {padding} recite", session=session, max_tokens=100)
        assert SECRET in json.loads(prompts.read_text().splitlines()[-1])[0]["content"]
        while_it_is_forgotten(agentd, asking, lambda: memory(agentd, "Forget", token=token))
        assert files_with(agentd.state, SECRET) == []


def test_a_summary_that_was_made_of_what_was_recalled_goes_with_it(tmp_path: Path) -> None:
    conversations = Conversations(Database(tmp_path / "agent.db"))
    begun = conversations.begin("which code?", None)
    sources = json.dumps([{"id": "m01", "score": 1.0}])
    conversations.finish(begun, "You know it.", "complete", f"- {SECRET}\n\nwhich code?", sources)
    conversations.compact(begun.session, f"[t1] {SECRET} which code? -> You know it.", begun.answer + 1)
    conversations.erase_sources(["m01"])
    conversations.scrub()
    assert conversations.summary(begun.session).text == ""
    assert files_with(tmp_path, SECRET) == []


def test_a_question_that_comes_meanwhile_waits(agentd: Agentd) -> None:
    session = agentd.ask("hello")[-1]["session"]
    asking = Asking(agentd, "recite")
    deleting = threading.Thread(target=lambda: agentd.call("Delete", session=session))
    deleting.start()
    eventually(lambda: waits(agentd, "hello there"))
    (agentd.state.parent / "go on").touch()
    assert asking.last()["status"] == "complete"
    deleting.join(DEADLINE)
    assert agentd.ask("hello again")[-1]["status"] == "complete"


def waits(agentd: Agentd, text: str) -> bool:
    """Whether a question has no first reply after a moment."""
    try:
        with calling(agentd.socket, "io.aetheros.Agent", MOMENT) as agent:
            next(agent.Ask(text=text, _more=True))
    except TimeoutError:
        return True
    return False


def test_an_answer_that_does_not_end_is_told_and_the_preview_holds(
    memories: Memories, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "WAITING", 0.05)
    stored, _ = memories.add(f"The vault code is {SECRET}", "owner")
    forgets = Forgetting(memories, lambda: None)
    token, _ = forgets.preview("owner", Watch(), id=stored.id, query=None, turns=False)
    session = memories.conversations.begin("hello", None).session
    with memories.conversations.exclusion.answering(Watch()):
        with pytest.raises(Busy, match="an answer is being written; nothing was removed"):
            forgets.forget(token, "owner")
        with pytest.raises(Busy):
            forgets.delete_session(session, "owner")
    assert files_with(memories.state, SECRET)
    assert forgets.forget(token, "owner").items == 1
    assert files_with(memories.state, SECRET) == []


def test_who_waits_for_forgetting_is_let_go_when_its_client_leaves() -> None:
    exclusion = Exclusion()
    stop = os.eventfd(1)
    with exclusion.forgetting(1):
        with pytest.raises(Busy, match="agentd is stopping"), exclusion.answering(Watch(None, stop)):
            pass
        with pytest.raises(Busy, match="something else is being forgotten"), exclusion.forgetting(0.01):
            pass
    with exclusion.answering(Watch()), exclusion.answering(Watch()):
        pass
    os.close(stop)


def test_what_every_prompt_begins_with_is_read_again_after_forgetting(agentd: Agentd) -> None:
    prefix = agentd.state / "kv/prefix"
    eventually(prefix.exists)
    before = prefix.stat().st_ino
    keeping = prefix.open()  # so that its inode is not given to the new one
    stored = memory(agentd, "Add", text="The spare key is under the blue pot.")["memory"]
    token = memory(agentd, "Preview", id=stored["id"])["token"]
    assert memory(agentd, "Forget", token=token)["states"] == 1
    eventually(lambda: prefix.exists() and prefix.stat().st_ino != before)
    keeping.close()


def test_all_that_a_correction_ever_replaced_is_forgotten_with_what_is_there(memories: Memories) -> None:
    first, _ = memories.add(f"The ferry to {SECRET} leaves at nine", "owner")
    second, _ = memories.correct(first.id, "The ferry leaves at ten", "owner")
    [change] = [one for one in memories.history.log() if one.message == f"Correct {first.id}"]
    memories.restore(change.revision, first.id)
    forgets = Forgetting(memories, lambda: None)
    token, items = forgets.preview("owner", Watch(), id=first.id, query=None, turns=False)
    assert {item.id for item in items} == {first.id, second.id}
    forgets.forget(token, "owner")
    assert memories.everywhere("owner") == []


def test_the_answers_that_would_go_are_shown(agentd: Agentd) -> None:
    stored = memory(agentd, "Add", text="The spare key is under the blue pot.")["memory"]
    answer = agentd.ask("Where is our spare key?")[-1]["turn"]
    shown = memory(agentd, "Preview", id=stored["id"], turns=True)["items"]
    assert [item["id"] for item in shown] == [stored["id"], f"t{answer}"]


def test_what_would_be_forgotten_is_shown_as_a_whole(capsys: pytest.CaptureFixture[str]) -> None:
    long = f"{'one word after another ' * 20}{SECRET}"
    item = {"id": "p0", "type": "passage", "time": "", "speaker": "", "file": "a.md", "score": 0.0}
    memory_display.preview([{**item, "text": f"# Garden\n{long}\n"}])
    out = capsys.readouterr().out
    assert out.splitlines()[0].split() == ["p0", "#", "Garden"]
    assert out.splitlines()[1].strip() == f"{long}  [a.md]"


def agent(agentd: Agentd, *arguments: str, typed: str | None = None) -> tuple[int, str]:
    """The exit status of a command and what it wrote; on a terminal if something is `typed`."""
    master, slave = pty.openpty()
    if typed is not None:
        os.write(master, typed.encode())
    done = subprocess.run(
        [sys.executable, "-m", "agentd.cli", *arguments],
        stdin=subprocess.DEVNULL if typed is None else slave,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE,
        env={**environment(), "AGENTD_SOCKET": agentd.socket},
    )
    os.close(master)
    os.close(slave)
    assert "Traceback" not in done.stdout
    return done.returncode, done.stdout


def test_the_forks_that_keep_a_copy_are_told_before_and_after_a_session_is_deleted(agentd: Agentd) -> None:
    session = agentd.ask("one")[-1]["session"]
    fork = agentd.call("Fork", session=session)["session"]["id"]
    again = agentd.call("Fork", session=fork)["session"]["id"]
    told = f"note: 2 forks keep a copy of it: {again}, {fork}\n"
    status, out = agent(agentd, "sessions", "delete", session, typed="no\n")
    assert (status, told in out, "nothing was deleted" in out) == (1, True, True)
    status, out = agent(agentd, "sessions", "delete", session, "--yes")
    assert (status, out) == (0, f"deleted: 2 turns\n{told}")
    status, out = agent(agentd, "--json", "sessions", "delete", fork, "--yes")
    assert json.loads(out) == {"turns": 2, "forks": [again]}
    assert agentd.call("Delete", session=again) == {"turns": 2, "forks": []}


@pytest.mark.parametrize("typed", ["no\n", "\x04"])
def test_nothing_is_forgotten_unless_somebody_says_yes(agentd: Agentd, typed: str) -> None:
    memory(agentd, "Add", text="The spare key is under the blue pot.")
    forget = ("memory", "forget", "spare", "key")
    status, out = agent(agentd, *forget)
    assert (status, "nothing was forgotten: nobody is there to say yes\nhint: --yes" in out) == (2, True)
    status, out = agent(agentd, *forget, typed=typed)
    assert (status, "note: nothing was forgotten\n" in out) == (1, True)
    status, out = agent(agentd, *forget, typed="yes\n")
    assert (status, "forgotten: 1 items" in out) == (0, True)
    assert "1 older versions of notes were rewritten" in out


def act(agentd: Agentd, tool: str, **arguments: str) -> None:
    """Have a change done that asks."""
    with calling(agentd.socket, "io.aetheros.Tools", DEADLINE) as tools:
        asked = tools.Do(tool=tool, arguments=arguments)["outcome"]
        assert tools.Answer(id=asked["waiting"]["id"], yes=True)["outcome"]["state"] == "done"


def test_what_tools_have_kept_of_a_note_is_forgotten_with_it(agentd: Agentd) -> None:
    note = str(agentd.state / "vault/notes/code.md")
    for text in (
        f"The code is {SECRET}.",
        f"The code is {SECRET}, as before.",
        f"The old code was {SECRET}!",
    ):
        act(agentd, "files.write", path=note, text=text)
    # The last one is what can be found of the note.
    eventually(
        lambda: "old" in "".join(hit["text"] for hit in memory(agentd, "Search", query=SECRET)["hits"])
    )
    assert any(".agentd-versions" in str(file) for file in agentd.state.rglob("*"))
    preview = memory(agentd, "Preview", query=SECRET)
    memory(agentd, "Forget", token=preview["token"])
    assert files_with(agentd.state, SECRET) == []
