"""The agent command as a program: what goes to stdout, what to stderr, and what the exit status says."""

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from agentd_process import DEADLINE, Agentd, environment, eventually, running

from agentd.cli import COMMANDS, create_parser

COMMAND = [sys.executable, "-m", "agentd.cli"]
SHELLS = ("bash", "zsh", "fish")


@pytest.fixture(scope="module")
def agentd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agentd]:
    with running(tmp_path_factory.mktemp("agentd")) as agentd:
        agentd.ask("hello")
        yield agentd


def agent(
    agentd: Agentd | None, *arguments: str, piped: str | bytes | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command; `piped` is its standard input, else it is /dev/null."""
    socket = {} if agentd is None else {"AGENTD_SOCKET": agentd.socket}
    data = piped.encode() if isinstance(piped, str) else piped
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL if piped is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**environment(), **socket},
    )
    out, err = process.communicate(data, DEADLINE)
    assert b"Traceback" not in err, err
    return subprocess.CompletedProcess(arguments, process.returncode, out.decode(), err.decode())


def test_an_answer_is_all_there_is_on_stdout(agentd: Agentd) -> None:
    done = agent(agentd, "what", "is", "this")
    assert (done.returncode, done.stdout, done.stderr) == (0, "You said: what is this \n", "")


def test_continue_goes_on_in_the_newest_session(agentd: Agentd) -> None:
    first = json.loads(agent(agentd, "--json", "one").stdout)
    second = json.loads(agent(agentd, "--json", "-c", "two").stdout)
    third = json.loads(agent(agentd, "--json", "--session", first["session"], "three").stdout)
    assert first["session"] == second["session"] == third["session"]
    assert json.loads(agent(agentd, "--json", "four").stdout)["session"] != first["session"]


def test_json_is_one_object_with_the_whole_answer(agentd: Agentd) -> None:
    answer = json.loads(agent(agentd, "ask", "hello", "--json").stdout)
    assert set(answer) == {"session", "turn", "text", "status", "notes", "sources"}
    assert (answer["text"], answer["status"], answer["notes"]) == ("You said: hello ", "complete", [])


def test_json_stream_is_a_line_for_each_reply(agentd: Agentd) -> None:
    replies = [json.loads(line) for line in agent(agentd, "--json", "--stream", "hello").stdout.splitlines()]
    assert "".join(reply["delta"] for reply in replies) == replies[-1]["text"]
    assert [reply["done"] for reply in replies].count(True) == 1


def test_what_is_piped_is_what_the_question_is_about(agentd: Agentd) -> None:
    done = agent(agentd, "what failed?", piped="a line of a log\n" * 5000)
    assert done.stdout == "You said: what failed? \n"
    assert done.stderr.startswith("note: the first ")
    assert done.stderr.endswith(" of 80000 characters were left out to fit the context\n")
    assert done.returncode == 0


def test_a_large_log_is_cut_with_one_true_note(agentd: Agentd) -> None:
    done = agent(agentd, "what failed?", piped="a line of a log\n" * 100_000)
    assert done.stderr.count("note:") == 1
    assert "of 1600000 characters were left out" in done.stderr


def test_without_a_question_what_is_piped_is_the_question(agentd: Agentd) -> None:
    assert agent(agentd, piped="hello from a pipe\n").stdout == "You said: hello from a pipe \n"


@pytest.mark.parametrize(
    ("piped", "message"),
    [
        (b"x" * (1 << 20), "the question is longer than 262144 bytes"),
        (b"\0\1\2" * 100, "the input is not text"),
        (b"  \n", "what is the question?"),
    ],
)
def test_an_impossible_input_is_one_line_and_a_hint(agentd: Agentd, piped: bytes, message: str) -> None:
    done = agent(agentd, piped=piped)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == f"agent: {message}"
    assert done.stderr.splitlines()[1].startswith("hint: ")


def test_invalid_utf8_in_a_log_is_no_obstacle(agentd: Agentd) -> None:
    done = agent(agentd, "what failed?", piped=b"a \xff byte\n")
    assert done.returncode == 0


def test_a_command_is_a_command_and_after_two_dashes_a_question(agentd: Agentd) -> None:
    assert "agentd " in agent(agentd, "status").stdout
    assert agent(agentd, "--", "status").stdout == "You said: status \n"
    assert agent(agentd, "ask", "--", "status").stdout == "You said: status \n"
    assert agent(agentd, "ask", "--", "--help").stdout == "You said: --help \n"


def test_a_mistyped_command_is_not_asked(agentd: Agentd) -> None:
    done = agent(agentd, "staus")
    assert done.returncode == 2
    assert done.stderr == (
        "agent: there is no command 'staus'; did you mean 'status'?\n"
        "hint: to ask it as a question: agent -- staus\n"
    )


def test_sessions_and_history_show_what_was_said(agentd: Agentd) -> None:
    session = json.loads(agent(agentd, "--json", "bring the milk").stdout)["session"]
    assert agent(agentd, "sessions", "--limit", "1").stdout.startswith(session)
    assert json.loads(agent(agentd, "sessions", "--json").stdout)[0]["title"] == "bring the milk"
    assert agent(agentd, "history").stdout == ("you: bring the milk\nagent: You said: bring the milk\n\n")
    turns = json.loads(agent(agentd, "history", session, "--json", "--limit", "1").stdout)
    assert [turn["role"] for turn in turns] == ["agent"]


def test_status_and_health_have_json(agentd: Agentd) -> None:
    assert json.loads(agent(agentd, "status", "--json").stdout)["model"]["state"] == "ready"
    assert json.loads(agent(agentd, "health", "--json").stdout)["healthy"] is True


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--session", "nosuch", "hello"), 2, "there is no session 'nosuch'"),
        (("history", "nosuch"), 2, "there is no session 'nosuch'"),
        (("--max-tokens", "0", "hello"), 2, "max_tokens is 0"),
        (("--max-tokens", "many", "hello"), 2, "invalid int value: 'many'"),
        (("sessions", "--limit", "0"), 2, "limit is 0"),
        (("completion", "csh"), 2, "invalid choice: 'csh'"),
        (("--nonsense", "hello"), 2, "unrecognized arguments: --nonsense"),
        ((), 2, "what is the question?"),
        (("chat", "--json"), 2, "a chat has no --json"),
        (("--socket", "/nowhere/agent.sock", "status"), 3, "agentd is not running: /nowhere/agent.sock"),
    ],
)
def test_a_mistake_is_one_line_a_hint_and_its_status(
    agentd: Agentd, arguments: tuple[str, ...], status: int, message: str
) -> None:
    done = agent(agentd, *arguments)
    assert done.returncode == status
    first, hint = done.stderr.splitlines()
    assert message in first
    assert hint.startswith("hint: ")


def test_a_dying_worker_is_one_clear_line_and_status_1(agentd: Agentd) -> None:
    done = agent(agentd, "die midway")
    assert done.returncode == 1
    assert done.stdout == "I was about to say \n"
    assert done.stderr.startswith("agent: the model worker stopped while answering (it is being restarted)")
    failed = agent(agentd, "--json", "die")
    assert json.loads(failed.stdout)["status"] == 1
    assert agent(agentd, "hello").returncode == 0


def test_a_reader_that_has_enough_is_no_error(agentd: Agentd) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{shlex.join(COMMAND)} long </dev/null | head -c 10"],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        env={**environment(), "AGENTD_SOCKET": agentd.socket},
    )
    assert (done.stdout, done.stderr) == ("word word ", "")


def test_a_full_disk_at_the_output_is_one_line(agentd: Agentd) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, "hello"],
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=DEADLINE,
            env={**environment(), "AGENTD_SOCKET": agentd.socket},
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "agent: cannot write the answer: No space left on device"


def test_ctrl_c_stops_the_answer_and_keeps_what_was_said(agentd: Agentd) -> None:
    process = subprocess.Popen(
        [*COMMAND, "hang"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**environment(), "AGENTD_SOCKET": agentd.socket},
    )
    assert process.stdout is not None
    begun = b"I was about to say "
    said = process.stdout.read(len(begun))
    assert said == begun
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=DEADLINE)
    assert (process.returncode, rest, errors) == (130, b"\n", b"\n")
    session = agentd.call("Sessions", limit=1)["sessions"][0]["id"]
    eventually(lambda: agentd.call("History", session=session)["turns"][-1]["status"] == "interrupted")
    assert agentd.call("History", session=session)["turns"][-1]["text"] == said.decode()


def test_an_agentd_that_ends_in_the_middle_is_one_line_and_status_3(tmp_path: Path) -> None:
    with running(tmp_path / "state") as agentd:
        process = subprocess.Popen(
            [*COMMAND, "hang"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**environment(), "AGENTD_SOCKET": agentd.socket},
        )
        assert process.stdout is not None
        process.stdout.read(1)
        agentd.process.kill()
        agentd.process.wait(DEADLINE)
        _, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 3
    assert errors.startswith(b"agent: agentd closed the connection\nhint: ")


def test_health_waits_for_agentd(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    process = subprocess.Popen(
        [*COMMAND, "health", "--wait", "10", "--socket", str(tmp_path / "state" / "agent.sock")],
        stdout=subprocess.PIPE,
        env=environment(),
    )
    with running(tmp_path / "state"):
        said, _ = process.communicate(timeout=DEADLINE)
    assert (process.returncode, b"answers and stores" in said) == (0, True)


def test_an_unhealthy_agentd_is_status_1(tmp_path: Path) -> None:
    (tmp_path / "agent.db").write_text("no database")
    with running(tmp_path) as agentd:
        done = agent(agentd, "health")
        status = agent(agentd, "status")
    assert done.returncode == 1
    assert "was left as it is" in done.stderr
    assert "was left as it is" in status.stdout


def test_help_and_completion_name_every_command() -> None:
    commands = set(COMMANDS) - {"ring-reminder"}  # a unit's own
    for arguments in (("--help",), ("help",), *(("completion", name) for name in SHELLS)):
        done = agent(None, *arguments)
        assert done.returncode == 0
        assert commands <= set(re.findall(r"[a-z]+", done.stdout)), arguments


@pytest.mark.parametrize("name", SHELLS)
def test_the_completion_knows_every_option_and_command_of_a_command(name: str) -> None:
    script = agent(None, "completion", name).stdout
    for option in _options(create_parser()):
        told = f" -l {option[2:]} " if name == "fish" else option
        assert told in script, option


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Every long option of a parser and of its commands that a help lists."""
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for one in action.choices.values():
                yield from _options(one)
        elif action.help != argparse.SUPPRESS:
            yield from (option for option in action.option_strings if option.startswith("--"))


def complete(*words: str, tools: str = "exit 1") -> str:
    """What bash offers for the last word; `tools` is what a shell does as `agent`."""
    script = agent(None, "completion", "bash").stdout
    with TemporaryDirectory() as folder:
        program = Path(folder) / "agent"
        program.write_text(f"#!/bin/sh\n{tools}\n")
        program.chmod(0o755)
        line = (
            f"COMP_WORDS=({shlex.join(words)})\nCOMP_CWORD={len(words) - 1}\n_agent\necho ${{COMPREPLY[@]}}"
        )
        done = subprocess.run(
            ["bash", "-euc", f"{script}\n{line}"],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            env={"PATH": f"{folder}:{os.environ['PATH']}"},
        )
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("agent", "st"), "status"),
        (("agent", "not"), "notices"),
        (("agent", "policy", ""), "check"),
        (("agent", "policy", "check", "--t"), "--tool"),
        (("agent", "notices", "--a"), "--all --ack"),
        (("agent", "notices", "--quiet", "o"), "off"),
        (("agent", "log", "--v"), "--verify"),
        (("agent", "undo", "12", "--y"), "--yes"),
        (("agent", "reminders", "--u"), "--unseen"),
    ],
)
def test_the_bash_completion_completes(words: tuple[str, ...], offered: str) -> None:
    assert complete(*words) == offered


def test_tools_are_completed_if_agentd_answers_at_once() -> None:
    answers = "echo 'services.logs unit [since]  x'; echo 'time.now  y'"
    assert complete("agent", "tool", "", tools=answers) == "services.logs time.now"
    assert complete("agent", "policy", "check", "--tool", "ti", tools=answers) == "time.now"
    assert complete("agent", "tool", "", tools="exec sleep 60") == ""
    assert complete("agent", "approve", "", tools="echo '3f2a  Restart a.service'") == "3f2a"


def shell(agentd: Agentd, command: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    """Run a shell's command line in which `agent` is the command."""
    return subprocess.run(
        ["sh", "-c", f'agent() {{ {shlex.join(COMMAND)} "$@"; }}; {command}'],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=DEADLINE,
        env={**environment(), "AGENTD_SOCKET": agentd.socket, **more},
    )


def test_a_stdout_of_another_encoding_gets_what_it_can_show(agentd: Agentd) -> None:
    done = shell(agentd, "agent café", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"You said: caf? \n", b"")


def test_a_closed_stdout_is_said_and_a_closed_stderr_or_stdin_is_no_matter(agentd: Agentd) -> None:
    done = shell(agentd, "agent hello >&-")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == b"agent: the standard output is closed"
    assert shell(agentd, "agent hello --max-tokens 1 2>&-").returncode == 0
    done = shell(agentd, "agent <&-")
    assert done.stderr.splitlines()[0] == b"agent: what is the question?"
