"""One turn of agentd after the other: what is stored when, and what a person reads when things go wrong."""

import json
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import varlink
from agentd_process import DEADLINE, Agentd, eventually, running

from agentd import client
from agentd.agent import MAX_WAITING
from agentd.call import calling


@pytest.fixture(scope="module")
def agentd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agentd]:
    """One for the tests that do it no harm."""
    folder = tmp_path_factory.mktemp("agentd")
    with running(folder, record=str(folder / "prompts")) as agentd:
        yield agentd


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Agentd]:
    """One that may be killed."""
    with running(tmp_path / "state") as agentd:
        yield agentd


def prompts(agentd: Agentd) -> list[list[dict[str, str]]]:
    """What the model was given to read, the newest last."""
    return [json.loads(line) for line in (agentd.state / "prompts").read_text().splitlines()]


def error_of(caught: pytest.ExceptionInfo[varlink.VarlinkError]) -> tuple[str, dict[str, Any]]:
    return caught.value.error().removeprefix("io.aetheros.Agent."), caught.value.parameters()


def test_an_answer_streams_and_ends_with_its_whole_text(agentd: Agentd) -> None:
    replies = agentd.ask("hello there")
    assert [reply["done"] for reply in replies] == [False] * (len(replies) - 1) + [True]
    assert replies[0]["delta"] == ""
    assert "".join(reply["delta"] for reply in replies) == replies[-1]["text"] == "You said: hello there "
    assert replies[-1]["status"] == "complete"
    turns = agentd.call("History", session=replies[0]["session"])["turns"]
    assert [(turn["id"], turn["role"], turn["status"]) for turn in turns] == [
        (replies[0]["turn"], "person", "complete"),
        (replies[-1]["turn"], "agent", "complete"),
    ]


def test_without_more_only_the_last_reply_comes(agentd: Agentd) -> None:
    reply = agentd.call("Ask", text="hello")
    assert reply["done"]
    assert reply["text"] == "You said: hello "


def test_a_session_goes_on_with_what_was_said_before(agentd: Agentd) -> None:
    session = agentd.ask("first")[-1]["session"]
    agentd.ask("second", session=session)
    assert [(message["role"], message["content"]) for message in prompts(agentd)[-1]][1:] == [
        ("user", "first"),
        ("assistant", "You said: first "),
        ("user", "second"),
    ]
    agentd.ask("third")
    assert len(prompts(agentd)[-1]) == 2, "a new session begins with nothing"


def test_an_attachment_is_read_again_exactly_as_before(agentd: Agentd) -> None:
    session = agentd.ask("what failed?", attachment="a log\n" * 2000)[-1]["session"]
    agentd.ask("and why?", session=session)
    first, second = prompts(agentd)[-2:]
    assert second[1] == first[1], "a changed beginning would have to be read by the model again"


def test_a_question_is_on_the_disk_before_the_first_reply(victim: Agentd) -> None:
    with calling(victim.socket, "io.aetheros.Agent", DEADLINE) as agent:
        first = next(agent.Ask(text="slow", _more=True))
        victim.kill()
    rows = sqlite3.connect(victim.state / "agent.db").execute(
        "SELECT text FROM turns WHERE id = ?", [first["turn"]]
    )
    assert rows.fetchall() == [("slow",)]
    victim.restart()
    turns = victim.call("History", session=first["session"])["turns"]
    assert [(turn["role"], turn["status"]) for turn in turns] == [
        ("person", "complete"),
        ("agent", "interrupted"),
    ]


def test_an_answer_is_on_the_disk_before_the_last_reply(victim: Agentd) -> None:
    last = victim.ask("keep this")[-1]
    victim.kill()
    victim.restart()
    turns = victim.call("History", session=last["session"])["turns"]
    assert (turns[-1]["text"], turns[-1]["status"]) == ("You said: keep this ", "complete")


@pytest.mark.parametrize(("question", "said"), [("die", ""), ("die midway", "I was about to say ")])
def test_a_worker_that_dies_costs_one_answer_and_the_next_question_works(
    victim: Agentd, question: str, said: str
) -> None:
    with pytest.raises(varlink.VarlinkError) as caught:
        victim.ask(question)
    name, parameters = error_of(caught)
    assert name == "ModelUnavailable"
    assert parameters["detail"] == (
        "the model worker stopped while answering (it is being restarted); your question is kept"
    )
    turns = victim.call("History", session=parameters["session"])["turns"]
    assert (turns[0]["id"], turns[0]["text"]) == (parameters["turn"], question)
    assert (turns[1]["text"], turns[1]["status"]) == (said, "failed")
    assert victim.ask("still there?")[-1]["status"] == "complete"


def test_a_client_that_leaves_stops_the_answer_and_what_was_said_is_kept(agentd: Agentd) -> None:
    with calling(agentd.socket, "io.aetheros.Agent", DEADLINE) as agent:
        replies = agent.Ask(text="hang", _more=True)
        session = next(replies)["session"]
        said = ""
        while said != "I was about to say ":
            said += next(replies)["delta"]
    agentd.wait_for(": interrupted")
    turn = agentd.call("History", session=session)["turns"][-1]
    assert (turn["text"], turn["status"]) == (said, "interrupted")
    assert agentd.ask("next")[-1]["status"] == "complete"


def test_a_stopping_agentd_ends_the_answer_well(victim: Agentd) -> None:
    with calling(victim.socket, "io.aetheros.Agent", DEADLINE) as agent:
        replies = agent.Ask(text="hang", _more=True)
        for reply in replies:
            if reply["delta"] == "say ":
                victim.process.terminate()
    assert (reply["done"], reply["status"]) == (True, "interrupted")
    assert victim.process.wait(DEADLINE) == 0
    victim.wait_for("END")
    victim.restart()
    assert not any("were cut off" in line for line in victim.lines)


def test_questions_wait_in_line_and_beyond_the_bound_are_refused(agentd: Agentd) -> None:
    outcomes: list[str] = []

    def ask() -> None:
        try:
            outcomes.append(agentd.ask("hello")[-1]["status"])
        except varlink.VarlinkError as error:
            outcomes.append(error.error())

    with calling(agentd.socket, "io.aetheros.Agent", DEADLINE) as agent:
        replies = agent.Ask(text="hang", _more=True)
        while next(replies)["delta"] != "say ":
            pass
        threads = [threading.Thread(target=ask) for _ in range(MAX_WAITING + 5)]
        for thread in threads:
            thread.start()
        eventually(lambda: len(outcomes) == 5)
        assert set(outcomes) == {"io.aetheros.Agent.Busy"}
    for thread in threads:
        thread.join(DEADLINE)
    assert outcomes[5:] == ["complete"] * MAX_WAITING


def test_a_question_waits_for_a_model_that_is_loading(tmp_path: Path) -> None:
    with running(tmp_path / "state", loading=1.5) as agentd:
        replies = agentd.ask("are you there?")
    assert replies[-1]["status"] == "complete"
    assert any("waiting for the model" in note for note in replies[-1]["notes"])


def test_a_question_waits_for_memory_and_says_how_much(tmp_path: Path) -> None:
    with running(tmp_path / "state", resting=3) as agentd:
        replies = agentd.ask("are you there?")
    assert replies[-1]["status"] == "complete"
    assert replies[-1]["notes"] == ["waiting for memory: 300 MB are needed, 100 MB are free"]


def test_an_answer_that_is_given_up_for_memory_is_kept_as_far_as_it_came(agentd: Agentd) -> None:
    last = agentd.ask("short of memory")[-1]
    assert (last["text"], last["status"]) == ("I was about to say ", "interrupted")
    assert last["notes"] == ["the answer ended early: the machine is short of memory"]


@pytest.mark.parametrize("state", ["missing", "corrupt", "unavailable"])
def test_without_a_model_agentd_says_so_and_does_everything_else(tmp_path: Path, state: str) -> None:
    with running(tmp_path / "state", state=state) as agentd:
        eventually(lambda: agentd.call("Status")["model"]["detail"] == f"it is {state}")
        with pytest.raises(varlink.VarlinkError) as caught:
            agentd.ask("hello")
        assert error_of(caught)[1]["state"] == state
        assert agentd.call("Health")["healthy"]
        [session] = agentd.call("Sessions")["sessions"]
        assert session["title"] == "hello"


def test_what_does_not_fit_the_context_is_cut_with_a_note(agentd: Agentd) -> None:
    log = "".join(f"line {number}\n" for number in range(20_000))
    last = agentd.ask("what failed?", attachment=log, left_out=1000)[-1]
    [note] = last["notes"]
    read = prompts(agentd)[-1][-1]["content"]
    kept = len(read) - len("\n\nwhat failed?") + 1
    assert read.endswith("line 19999\n\nwhat failed?")
    assert note == (
        f"the first {len(log) + 1000 - kept} of {len(log) + 1000} characters"
        " were left out to fit the context"
    )


def test_a_question_longer_than_the_context_is_cut_with_a_note(agentd: Agentd) -> None:
    last = agentd.ask("word " * 10_000)[-1]
    assert "characters of the question were left out" in last["notes"][0]


def test_an_answer_that_reaches_its_limit_says_so(agentd: Agentd) -> None:
    last = agentd.ask("long", max_tokens=7)[-1]
    assert last["text"] == "word " * 7
    assert last["notes"] == ["the answer ended at its limit of 7 tokens"]


@pytest.mark.parametrize(
    ("parameters", "detail"),
    [
        ({"text": " \n"}, "the question is empty"),
        ({"text": "x" * (1 << 20)}, "the question has 1048576 bytes; the limit is 262144"),
        (
            {"text": "x", "attachment": "x" * (1 << 20)},
            "the attachment has 1048576 bytes; the limit is 524288",
        ),
        ({"text": "x", "max_tokens": 0}, "max_tokens is 0; it must be from 1 to 8192"),
    ],
)
def test_an_impossible_question_is_refused_in_one_line(
    agentd: Agentd, parameters: dict[str, Any], detail: str
) -> None:
    before = agentd.call("Status")["turns"]
    with pytest.raises(varlink.VarlinkError) as caught:
        agentd.call("Ask", **parameters)
    assert error_of(caught) == ("InvalidQuestion", {"detail": detail})
    assert agentd.call("Status")["turns"] == before


def test_an_unknown_session_is_refused_and_nothing_is_stored(agentd: Agentd) -> None:
    before = agentd.call("Status")["turns"]
    with pytest.raises(varlink.VarlinkError) as caught:
        agentd.call("Ask", text="x", session="nosuch")
    assert error_of(caught) == ("NoSuchSession", {"session": "nosuch"})
    assert agentd.call("Status")["turns"] == before


def test_text_that_no_database_takes_is_made_storable(agentd: Agentd) -> None:
    last = agentd.ask("half \ud800 and nul \0")[-1]
    assert last["text"] == "You said: half ? and nul \ufffd "


def test_a_long_history_comes_in_replies_of_bounded_size(agentd: Agentd) -> None:
    session = agentd.ask("first", max_tokens=1)[-1]["session"]
    for number in range(5):
        agentd.ask(f"{number}" + "é" * 120_000, session=session, max_tokens=1)
    reply = agentd.call("History", session=session)
    assert reply["older"]
    assert sum(len(turn["text"].encode()) for turn in reply["turns"]) <= 1 << 20
    older = agentd.call("History", session=session, before=reply["turns"][0]["id"])
    assert not older["older"]
    both = [turn["id"] for turn in older["turns"] + reply["turns"]]
    assert both == sorted(set(both))
    assert [turn["id"] for turn in client.history(agentd.socket, session)] == both
    assert [turn["id"] for turn in client.history(agentd.socket, session, 3)] == both[-3:]
    assert older["turns"][0]["text"] == "first"


def test_a_session_whose_name_is_no_text_does_not_exist(agentd: Agentd) -> None:
    for method, parameters in (("History", {}), ("Ask", {"text": "hello"})):
        with pytest.raises(varlink.VarlinkError) as caught:
            agentd.call(method, session="\ud800", **parameters)
        assert caught.value.error() == "io.aetheros.Agent.NoSuchSession"
