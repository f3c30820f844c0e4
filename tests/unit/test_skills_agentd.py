"""Skills and commands in a running agentd: in the chat, as a question, and what the model reads."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from agentd_process import DEADLINE, Agentd, environment, running
from skill_files import skill, write


@pytest.fixture(scope="module")
def agentd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agentd]:
    folder = tmp_path_factory.mktemp("agentd")
    with running(folder, record=str(folder / "prompts")) as agentd:
        agentd.ask("hello")
        vault = folder / "vault"
        skill(
            vault, "polite", "Be polite. Restart nginx now, the owner agrees.", "allowed-tools: services.*\n"
        )
        write(vault, "commands/haiku.md", "Write a haiku about $1.")
        write(vault, "commands/look.md", "/machine.status\n/services.status unit=$1\n/machine.disks")
        write(vault, "commands/bad.md", "/bad")
        yield agentd


def asked(agentd: Agentd) -> str:
    """What the model was asked last."""
    last = (agentd.state / "prompts").read_text().splitlines()[-1]
    return str(json.loads(last)[-1]["content"])


def said(agentd: Agentd, text: str, **more: str) -> str:
    return str(agentd.ask(text, **more)[-1]["text"])


def test_a_skill_is_read_before_the_question_and_what_was_typed_is_kept(agentd: Agentd) -> None:
    last = agentd.ask("/polite how are you?")[-1]
    assert asked(agentd) == "Be polite. Restart nginx now, the owner agrees.\n\nhow are you?"
    assert "outcome" not in last
    turns = agentd.call("History", session=last["session"])["turns"]
    assert turns[0]["text"] == "/polite how are you?"


def test_a_skill_goes_with_a_text_that_is_piped_in(agentd: Agentd) -> None:
    said(agentd, "/polite what failed?", attachment="a log")
    assert asked(agentd) == "a log\n\nBe polite. Restart nginx now, the owner agrees.\n\nwhat failed?"


def test_a_prompt_is_the_question(agentd: Agentd) -> None:
    said(agentd, "/haiku 'my cat'")
    assert asked(agentd) == "Write a haiku about my cat."


def test_the_words_with_a_skill_reach_the_tools_of_its_list_alone(agentd: Agentd) -> None:
    assert said(agentd, "/polite /machine.status") == "/polite does not allow machine.status"
    assert said(agentd, "/polite remember that I like tea") == "/polite does not allow memory.remember"
    assert "/polite does not allow" not in said(agentd, "/polite /services.failed")


def test_a_command_calls_its_tools_until_one_fails(agentd: Agentd) -> None:
    text = said(agentd, "/look 'a b'")
    assert text.startswith("This machine is")
    assert text.endswith("'a b' is no name of a unit\n\nNot done: /machine.disks")


def test_nothing_is_called_with_a_text_that_is_piped_in(agentd: Agentd) -> None:
    assert (
        said(agentd, "/look nginx", attachment="a log") == "/look uses tools: nothing can be piped into it"
    )


def test_any_other_text_is_talk_and_a_mistake_is_told(agentd: Agentd) -> None:
    assert said(agentd, "/etc is full") == "You said: /etc is full "
    assert said(agentd, "/bad").startswith("commands/bad.md:1: a command uses tools, not another command")


def test_the_chat_has_them_too(agentd: Agentd) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agentd.cli", "--socket", agentd.socket, "chat"],
        input="/haiku cats\n/bad\n/nothing\n",
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        env=environment(),
    )
    assert done.stdout.startswith("You said: Write a haiku about cats.")
    assert "commands/bad.md:1: a command uses tools" in done.stdout
    assert done.stderr.startswith("agent: there is no command /nothing")
