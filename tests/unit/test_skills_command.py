"""`agent skills`, and the method behind it."""

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import varlink
from skill_files import Machine, acting_on, library, skill, write

from agentd import client, skills_command
from agentd.errors import StoreUnavailable
from agentd.policy import Origin
from agentd.skills.library import Library
from agentd.tools_service import ToolsMethods


@pytest.fixture
def reply(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What agentd says of a vault with one of each kind."""
    vault = tmp_path / "vault"
    skill(vault, "polite", more="allowed-tools: []\n")
    write(vault, "commands/look.md", "---\nallowed-tools: machine.*\n---\n/machine.status")
    write(vault, "commands/haiku.md", "Write a haiku.")
    write(vault, "commands/bad.md", "/bad")
    write(vault, "people/ann/commands/hers.md", "Say hello.")
    with methods(tmp_path, library(vault)) as found:
        yield found.Skills()


@contextmanager
def methods(folder: Path, shelf: Library) -> Iterator[ToolsMethods]:
    """The methods of io.aetheros.Tools for the owner."""
    unused: Any = None
    with acting_on(Machine(), folder) as acting:
        yield ToolsMethods(acting, unused, lambda _: Origin("owner", True, "console"), -1, shelf, unused)


def test_the_caller_s_own_are_told_as_the_interface_has_them(reply: dict[str, Any]) -> None:
    assert reply == {
        "skills": [
            {
                "name": "haiku",
                "kind": "command",
                "description": "Write a haiku.",
                "path": "commands/haiku.md",
            },
            {
                "name": "look",
                "kind": "command",
                "description": "/machine.status",
                "path": "commands/look.md",
                "allowed_tools": ["machine.*"],
            },
            {
                "name": "polite",
                "kind": "skill",
                "description": "Writes like a letter.",
                "path": "skills/polite/SKILL.md",
                "allowed_tools": [],
            },
        ],
        "problems": ["commands/bad.md:1: a command uses tools, not another command: /bad"],
    }


def test_a_vault_that_is_not_open_is_an_error_with_a_name(tmp_path: Path) -> None:
    def vault() -> Any:
        raise StoreUnavailable("memory is being opened")

    with methods(tmp_path, Library(vault, lambda: ())) as found:
        with pytest.raises(varlink.VarlinkError) as caught:
            found.Skills()
    assert caught.value.error() == "io.aetheros.Tools.StoreUnavailable"


def shown(
    reply: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[str, str]:
    monkeypatch.setattr(client, "tools", lambda path, method: reply)
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command")
    skills_command.add_parser(lambda name, text: commands.add_parser(name, help=text))
    given = parser.parse_args(["skills"])
    given.socket, given.json = "", "--json" in words
    assert skills_command.run(given) == 0
    written = capsys.readouterr()
    return written.out, written.err


def test_they_are_listed_and_mistakes_are_noted(
    reply: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = shown(reply, monkeypatch, capsys)
    assert out == (
        "/haiku   command  Write a haiku.\n"
        "/look    command  /machine.status  [only machine.*]\n"
        "/polite  skill    Writes like a letter.  [only talk, no tools]\n"
    )
    assert err == "note: commands/bad.md:1: a command uses tools, not another command: /bad\n"


def test_json_has_all_of_it(
    reply: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = shown(reply, monkeypatch, capsys, "--json")
    assert (json.loads(out), err) == (reply, "")


def test_one_is_told_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = shown({"skills": [], "problems": []}, monkeypatch, capsys)
    assert (out, err) == ("", "note: there are none yet; docs/skills.md says how to write one\n")
