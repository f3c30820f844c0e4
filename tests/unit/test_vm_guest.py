"""The guest agent's conversation, against a fake of its awkward sides.

The real qemu-ga answers in tests/boot/test_boot.py.
"""

import asyncio
import base64
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.guest import Completed, GuestAgent, GuestRefused, listener
from builder.vm import AskFailed, CommandFailed, answer_of, ask_argv

Reply = Callable[[dict[str, Any]], list[dict[str, Any]]]


async def serve(port: socket.socket, reply: Reply) -> asyncio.Server:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard = ""  # JSON values follow each other with nothing between
        while data := await reader.read(65536):
            heard += data.decode()
            while heard:
                try:
                    message, end = json.JSONDecoder().raw_decode(heard)
                except ValueError:
                    break
                heard = heard[end:]
                for answer in reply(message):
                    writer.write(json.dumps(answer).encode() + b"\n")
        writer.close()

    return await asyncio.start_unix_server(talk, sock=port)


def answers(message: dict[str, Any]) -> list[dict[str, Any]]:
    """A healthy guest agent with one command, which prints what it is given and exits 3."""
    match message["execute"]:
        case "guest-sync":
            result: Any = message["arguments"]["id"]
        case "guest-exec":
            result = {"pid": 7}
        case "guest-exec-status":
            out = base64.b64encode(b"hi\n").decode()
            result = {"exited": True, "exitcode": 3, "out-data": out}
        case _:
            return [{"id": message["id"], "error": {"class": "GenericError", "desc": "no such command"}}]
    return [{"id": message["id"], "return": result}]


def talk(path: Path, reply: Reply, work: Callable[[GuestAgent], Any]) -> Any:
    async def all_of_it() -> Any:
        with listener(path) as port:
            server = await serve(port, reply)
            agent = GuestAgent(path)
            try:
                async with asyncio.timeout(10):
                    return await work(agent)
            finally:
                await agent.disconnect()
                server.close()

    return asyncio.run(all_of_it())


def test_a_command_gives_its_status_and_output(tmp_path: Path) -> None:
    done = talk(tmp_path / "s", answers, lambda agent: agent.execute(["/bin/x", "y"]))
    assert (done.status, done.text, done.argv) == (3, "hi\n", ("/bin/x", "y"))


def test_a_socket_path_may_be_longer_than_the_kernel_allows(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 150)
    deep.mkdir()
    assert talk(deep / "s", answers, lambda agent: agent.spawn(["x"])) == 7


def test_answers_to_an_earlier_connection_are_not_taken_for_ours(tmp_path: Path) -> None:
    """Each connection counts its messages from the same number, and old answers may come late."""
    old: list[dict[str, Any]] = [
        {"id": "__qmp#00000", "return": -1},
        {"id": "__qmp#00001", "return": {"pid": 99}},
    ]
    waiting: list[dict[str, Any]] = []

    def late(message: dict[str, Any]) -> list[dict[str, Any]]:
        waiting.extend(answers(message))
        if old:
            return [old.pop(0)]
        said = waiting[:]
        waiting.clear()
        return said

    assert talk(tmp_path / "s", late, lambda agent: agent.spawn(["x"])) == 7


def test_a_refused_command_says_why(tmp_path: Path) -> None:
    with pytest.raises(GuestRefused, match="no such command"):
        talk(tmp_path / "s", answers, lambda agent: agent.command("guest-dance"))


def test_after_a_silent_command_the_next_one_begins_afresh(tmp_path: Path) -> None:
    def deaf(message: dict[str, Any]) -> list[dict[str, Any]]:
        return [] if message["execute"] == "guest-hang" else answers(message)

    async def work(agent: GuestAgent) -> int:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await agent.command("guest-hang")
        return await agent.spawn(["x"])

    assert talk(tmp_path / "s", deaf, work) == 7


def test_an_answer_is_the_text_of_the_agents_json() -> None:
    argv = tuple(ask_argv("-q?", session="s1", max_tokens=5))
    assert argv[-2:] == ("--", "-q?")  # a question is never taken for an option
    done = Completed(argv, 0, b'{"text": "I am.", "session": "s1"}', b"")
    assert answer_of(done).text == "I am."


def test_what_the_agent_says_when_it_cannot_answer_reaches_the_person() -> None:
    done = Completed(("agent",), 1, b'{"error": "the model is missing", "hint": "see agent status"}', b"")
    with pytest.raises(AskFailed, match="the model is missing") as found:
        answer_of(done)
    assert found.value.hint == "see agent status"


def test_an_agent_that_prints_no_json_is_shown_as_it_spoke() -> None:
    with pytest.raises(CommandFailed, match="Traceback"):
        answer_of(Completed(("agent",), 1, b"", b"Traceback"))
