"""agent chat on a real terminal: a pseudo terminal with readline, signals and all."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from agentd_process import DEADLINE, Agentd, environment, running


class Terminal:
    """The command `agent ARGUMENTS` on a terminal of its own."""

    def __init__(self, home: Path, agentd_socket: str, *arguments: str, **more: str) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "agentd.cli", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            # A session of its own with this terminal, so that Ctrl-C is a signal.
            preexec_fn=lambda: os.login_tty(slave),
            env={
                **{key: value for key, value in environment().items() if key != "NO_COLOR"},
                "AGENTD_SOCKET": agentd_socket,
                "HOME": str(home),
                "TERM": "vt220",
                **more,
            },
        )
        os.close(slave)
        self.seen = ""

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def expect(self, text: str) -> str:
        """What was shown up to and with `text`, which must come in time."""
        deadline = time.monotonic() + DEADLINE
        while text not in self.seen:
            ready, _, _ = select.select([self._master], [], [], deadline - time.monotonic())
            assert ready, f"{text!r} did not come; there is {self.seen!r}"
            try:
                chunk = os.read(self._master, 4096)
            except OSError:
                chunk = b""
            assert chunk, f"{text!r} did not come before the end; there is {self.seen!r}"
            self.seen += chunk.decode(errors="replace")
        before, found, self.seen = self.seen.partition(text)
        return before + found

    def press(self, key: str, text: str) -> None:
        """Type `key` until `text` comes: Python's readline misses a signal that arrives just before it waits
        for a key, as a person's next key shows."""
        for _ in range(int(DEADLINE)):
            self.type(key)
            if select.select([self._master], [], [], 1.0)[0]:
                break
        self.expect(text)

    def end(self) -> int:
        """The exit status; the rest of the output goes to `seen`."""
        while True:
            try:
                chunk = os.read(self._master, 4096)
            except OSError:
                break
            if not chunk:
                break
            self.seen += chunk.decode(errors="replace")
        return self.process.wait(DEADLINE)

    def close(self) -> None:
        os.close(self._master)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def agentd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agentd]:
    with running(tmp_path_factory.mktemp("agentd")) as agentd:
        agentd.call("Introduce", owner="Ada")
        agentd.ask("hello")
        yield agentd


@pytest.fixture
def chat(agentd: Agentd, tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path, agentd.socket, "chat")
    try:
        terminal.expect("> ")
        yield terminal
    finally:
        terminal.close()


def test_a_chat_stays_in_one_session_until_told_otherwise(chat: Terminal, agentd: Agentd) -> None:
    for line in ("first", "second"):
        chat.type(f"{line}\r")
        chat.expect(f"You said: {line} \r\n> ")
    chat.type("/new\r")
    chat.expect("the next question begins a new session")
    chat.type("third\r")
    chat.expect("You said: third")
    sessions = agentd.call("Sessions", limit=2)["sessions"]
    assert [(session["title"], session["turns"]) for session in sessions] == [("third", 2), ("first", 4)]
    chat.type(f"/session {sessions[1]['id']}\r")
    chat.expect("you: second")
    chat.type("again\r")
    chat.expect("You said: again")
    assert agentd.call("Sessions", limit=1)["sessions"][0]["title"] == "first"


def test_ctrl_c_stops_the_answer_and_the_chat_goes_on(chat: Terminal, agentd: Agentd) -> None:
    chat.type("hang\r")
    chat.expect("I was about to say ")
    chat.type("\x03")
    chat.expect("> ")
    chat.type("go on\r")
    chat.expect("You said: go on")
    [session] = agentd.call("Sessions", limit=1)["sessions"]
    turns = agentd.call("History", session=session["id"])["turns"]
    assert [turn["status"] for turn in turns] == ["complete", "interrupted", "complete", "complete"]


def test_ctrl_c_at_the_prompt_throws_the_line_away(chat: Terminal) -> None:
    chat.type("half a li")
    chat.expect("half a li")
    chat.press("\x03", "> ")
    chat.type("whole\r")
    chat.expect("You said: whole")


@pytest.mark.parametrize("keys", ["\x04", "/quit\r", "/shell\r"])
def test_leaving_ends_well(chat: Terminal, keys: str) -> None:
    chat.type(keys)
    assert chat.end() == 0


def test_commands_have_help_and_mistakes_a_hint(chat: Terminal) -> None:
    chat.type("/help\r")
    assert "/sessions" in chat.expect("Ctrl-C")
    chat.type("/nonsense\r")
    chat.expect("there is no command /nonsense\r\nhint: /help")
    chat.type("/session\r")
    chat.expect("which session?")
    chat.type("/session nosuch\r")
    chat.expect("there is no session 'nosuch'")
    chat.type("/status\r")
    chat.expect("fake: ready")
    chat.type("//word\r")
    chat.expect("You said: /word")


def test_a_dying_worker_does_not_end_the_chat(chat: Terminal) -> None:
    chat.type("die midway\r")
    chat.expect("the model worker stopped while answering")
    chat.type("hello\r")
    chat.expect("You said: hello")


def test_lines_are_remembered_from_one_chat_to_the_next(agentd: Agentd, tmp_path: Path) -> None:
    first = Terminal(tmp_path, agentd.socket, "chat")
    first.expect("> ")
    first.type("a memorable line\r")
    first.expect("You said: a memorable line")
    first.process.kill()
    first.end()
    first.close()
    second = Terminal(tmp_path, agentd.socket)
    second.expect("> ")
    second.type("\x10\r")
    second.expect("You said: a memorable line")
    second.close()
    assert not list(tmp_path.rglob("*")), "no file has them"


UP = "\x10"  # Ctrl-P


def test_the_arrow_keys_bring_back_what_was_said_anywhere_newest_first_and_once(
    agentd: Agentd, tmp_path: Path
) -> None:
    agentd.ask("asked by a script")
    agentd.ask("/word of mine")
    agentd.ask("two\nlines")
    agentd.ask(f"pasted {'x' * 1000}")
    terminal = Terminal(tmp_path, agentd.socket, "chat")
    try:
        terminal.expect("> ")
        terminal.type("typed here\r")
        terminal.expect("You said: typed here")
        terminal.type(f"{UP}\r")
        terminal.expect("You said: typed here")
        terminal.type(f"{UP}{UP}\r")
        terminal.expect("You said: /word of mine")
        terminal.type(f"{UP}{UP}{UP}{UP}\r")
        terminal.expect("You said: asked by a script")
    finally:
        terminal.close()


def test_what_was_forgotten_is_no_longer_brought_back_by_the_arrow_keys(tmp_path: Path) -> None:
    with running(tmp_path / "state") as agentd:
        agentd.call("Introduce", owner="Ada")
        agentd.ask("the first question")
        session = agentd.ask("a question to be forgotten")[-1]["session"]
        old = tmp_path / ".local/state/agent/chat-history"
        old.parent.mkdir(parents=True)
        old.write_text("a question to be forgotten\n")
        assert agentd.call("Lines")["lines"][-1] == "a question to be forgotten"
        agentd.call("Delete", session=session)
        terminal = Terminal(tmp_path, agentd.socket, "chat")
        try:
            terminal.expect("> ")
            assert not old.exists()
            terminal.type(f"{UP}\r")
            terminal.expect("You said: the first question")
        finally:
            terminal.close()


def test_a_question_on_a_terminal_is_answered_at_once(agentd: Agentd, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, agentd.socket, "hello", "terminal")
    assert terminal.end() == 0
    assert terminal.seen == "You said: hello terminal \r\n"
    terminal.close()


@pytest.mark.parametrize(
    ("more", "dim"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_notes_are_dim_where_the_terminal_can(
    agentd: Agentd, tmp_path: Path, more: dict[str, str], dim: bool
) -> None:
    terminal = Terminal(tmp_path, agentd.socket, "--max-tokens", "2", "long", **more)
    assert terminal.end() == 0
    assert ("\x1b[2mnote: the answer ended" in terminal.seen) == dim
    assert "note: the answer ended at its limit of 2 tokens" in terminal.seen
    terminal.close()


def test_nothing_but_text_reaches_a_terminal(agentd: Agentd, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, agentd.socket, "an \x1b[31m escape and a \u202e turn")
    assert terminal.end() == 0
    assert "escape and a" in terminal.seen
    assert not set("\x1b\u202e") & set(terminal.seen)
    terminal.close()


def test_a_console_waits_for_agentd_and_offers_a_login(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, str(tmp_path / "state" / "agent.sock"), "chat", "--console", TERM="dumb")
    try:
        terminal.expect("The agent is starting ...")
        with running(tmp_path / "state"):
            greeting = terminal.expect("What is your name? (Enter: later) ")
            assert re.search("This is .*/shell or Ctrl-D for a login", greeting)
            terminal.type("\r")
            terminal.expect("> ")
            terminal.type("hello\r")
            terminal.expect("You said: hello")
            # Ctrl-Z and Ctrl-\ would leave a console without its chat.
            terminal.process.send_signal(signal.SIGTSTP)
            terminal.process.send_signal(signal.SIGQUIT)
            terminal.type("still here\r")
            terminal.expect("You said: still here")
            terminal.type("/shell\r")
            assert terminal.end() == 0
    finally:
        terminal.close()


def test_at_the_first_chat_the_machine_asks_who_its_owner_is_and_remembers_it(tmp_path: Path) -> None:
    with running(tmp_path / "state") as agentd:
        first = Terminal(tmp_path, agentd.socket, "chat")
        try:
            first.expect("We have not met yet.")
            first.expect("What is your name? (Enter: later) ")
            first.type("Ada Lovelace\r")
            first.expect("how shall I call you? (Enter: Ada Lovelace) ")
            first.type("Ada\r")
            first.expect("Hello, Ada.")
            first.expect("> ")
        finally:
            first.close()
        assert agentd.call("Whoami")["owner"] == "Ada Lovelace"
        second = Terminal(tmp_path, agentd.socket, "chat")
        try:
            assert "name?" not in second.expect("> ")
        finally:
            second.close()
