"""Skills and commands as files: which can be used, what is said of those that cannot, whose they are."""

import os
import re
from pathlib import Path

import pytest
from skill_files import SKILL, library, skill, write

from agentd.memory.vault import Vault
from agentd.skills.command import Call, Command
from agentd.skills.head import BadFile
from agentd.skills.library import LARGEST_FILE, MOST_KEPT, Library
from agentd.skills.narrowing import allows, names
from agentd.skills.skill import Skill
from agentd.tools.registry import tools


def mistakes(folder: Path, name: str = "x") -> tuple[str, ...]:
    """What is said of a file that cannot be used; the same by its name and in the list."""
    shelf = library(folder)
    with pytest.raises(BadFile) as caught:
        shelf.find(name, "owner")
    listing = shelf.listing("owner")
    assert listing.found == ()
    assert listing.problems == caught.value.lines
    assert all("\n" not in line for line in caught.value.lines)
    return caught.value.lines


def test_a_skill_of_another_agent_is_used_as_it_is(tmp_path: Path) -> None:
    text = (
        "---\r\nname: pdf-processing\r\ndescription: |\r\n  Extracts text.\r\n  Use for forms.\r\n"
        "license: MIT\r\ncompatibility: Needs jq\r\n"
        "metadata:\r\n  author: example\r\n  version: 1.0\r\nmodel: large\r\n"
        "allowed-tools: Bash(git diff:*) Read, machine.status\r\n---\r\n# PDF\r\nDo it.\r\n"
    )
    write(tmp_path, "skills/pdf-processing/SKILL.md", "\ufeff" + text)
    write(tmp_path, "skills/pdf-processing/references/forms.md", "# more")
    found = library(tmp_path).find("pdf-processing", "owner")
    assert found == Skill(
        "pdf-processing",
        "Extracts text. Use for forms.",
        "# PDF\r\nDo it.",
        "skills/pdf-processing/SKILL.md",
        ("Bash(git diff:*)", "Read", "machine.status"),
    )
    assert library(tmp_path).listing("owner").problems == ()


def test_a_command_that_calls_tools(tmp_path: Path) -> None:
    write(
        tmp_path,
        "commands/look.md",
        "---\ndescription: Looks.\narguments: [unit]\n"
        "allowed-tools: [services.status, machine.status]\n---\n\n"
        "/services.status unit={unit}\n\n  /machine.status\n",
    )
    found = library(tmp_path).find("look", "owner")
    assert isinstance(found, Command)
    assert (found.description, found.arguments) == ("Looks.", ("unit",))
    assert found.calls == (Call("services.status", (("unit", "{unit}"),)), Call("machine.status", ()))
    assert found.allowed_tools == ("services.status", "machine.status")


def test_a_command_needs_no_front_matter(tmp_path: Path) -> None:
    write(tmp_path, "commands/haiku.md", "Write a haiku about $ARGUMENTS.\n\nNothing else.")
    found = library(tmp_path).find("haiku", "owner")
    assert isinstance(found, Command)
    assert (found.description, found.calls) == ("Write a haiku about $ARGUMENTS.", ())


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("Be polite.", ["1: there is no 'name' in", "1: there is no 'description' in"]),
        ("---\nname: x\n---\nBe polite.", ["1: there is no 'description' in the front matter"]),
        ("---\nname: x\ndescription: ''\n---\nB.", ["3: 'description' is empty"]),
        ("---\nname: x\ndescription: [a]\n---\nB.", ["3: 'description' is a text"]),
        (SKILL.format(name="x", body="B.", more="license: [MIT]\n"), ["4: 'license' is a text"]),
        (
            SKILL.format(name="x", body="B.", more="metadata: none\n"),
            ["4: 'metadata' is a list of `name: value`"],
        ),
        (
            SKILL.format(name="x", body="B.", more="compatibility: " + "c" * 501),
            ["1: the front matter has no"],
        ),
        (
            SKILL.format(name="x", body="B.", more="compatibility: " + "c" * 501 + "\n"),
            ["4: 'compatibility' has 501 characters; the limit is 500"],
        ),
        ("---\nname: x\ndescription: " + "d" * 1025 + "\n---\nB.", ["3: 'description' has 1025 characters"]),
        (SKILL.format(name="y", body="B.", more=""), ["2: the name 'y' is not that of the folder, 'x'"]),
        (SKILL.format(name="../x", body="B.", more=""), ["2: the name '../x' is not of lower case"]),
        (SKILL.format(name="X", body="B.", more=""), ["2: the name 'X' is not of lower case"]),
        (SKILL.format(name="x--x", body="B.", more=""), ["2: the name 'x--x' is not of lower case"]),
        (SKILL.format(name="x", body="", more=""), ["7: there is no text below the front matter"]),
        (SKILL.format(name="x", body="a\0b", more=""), ["6: there is a NUL character"]),
        (
            SKILL.format(name="x", body="B.", more="allowed_tools: power.off\n"),
            ["4: 'allowed_tools' is written"],
        ),
        (
            SKILL.format(name="x", body="B.", more="AllowedTools: power.off\n"),
            ["4: 'AllowedTools' is written"],
        ),
        (
            SKILL.format(name="x", body="B.", more="allowed-tools: {a: b}\n"),
            ["4: 'allowed-tools' is a list"],
        ),
        (
            SKILL.format(name="x", body="B.", more="allowed-tools: [[a], b]\n"),
            ["4: 'allowed-tools' is a list"],
        ),
        (
            SKILL.format(name="x", body="B.", more="a: &a [x, x]\nb: [*a, *a]\n"),
            ["4: the front matter has an alias"],
        ),
        ("---\nname: x\n", ["1: the front matter has no closing line ---"]),
        ('---\nname: "\\UFFFFFFFF"\n---\nB.', ["1: the front matter names a character"]),
        ("---\n- x\n---\nB.", ["2: the front matter is no list of `key: value`"]),
        ("---\nname: [\n---\nB.", ["3: the front matter is no YAML"]),
        ("---\nname: y\ndescription: []\nlicense: {}\n---\nB.", ["2: the name", "3: 'desc", "4: 'license'"]),
    ],
)
def test_every_mistake_in_a_skill_is_told_with_its_line(tmp_path: Path, text: str, lines: list[str]) -> None:
    write(tmp_path, "skills/x/SKILL.md", text)
    found = sorted(mistakes(tmp_path), key=lambda line: int(line.split(":")[1]))
    assert len(found) == len(lines)
    for line, wanted in zip(found, lines, strict=True):
        assert line.startswith(f"skills/x/SKILL.md:{wanted}")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", ["1: there is no text"]),
        ("/x again", ["1: a command uses tools, not another command: /x"]),
        ("/services.$1", ["1: '/services.$1' is no tool"]),
        (
            "/machine.status\nand then say hello",
            ["2: a command that begins with /family.verb has nothing but"],
        ),
        ("/services.status nginx", ["1: 'nginx' is not NAME=VALUE"]),
        ("/services.status $1=nginx", ["1: '$1=nginx' is not NAME=VALUE"]),
        ("/services.status unit=a unit=b", ["1: 'unit' is there twice"]),
        ("/services.status unit='a", ["1: a quotation mark is not closed"]),
        ("/machine.status\n" * 21, ["1: there are 21 calls; the limit is 20"]),
        ("---\narguments: [Unit]\n---\nSay $1", ["2: 'Unit' is no name for an argument"]),
        ("---\narguments: [a, a]\n---\nSay $1", ["2: two arguments have the same name"]),
        ("---\narguments: {a: b}\n---\nSay", ["2: 'arguments' is a list of names"]),
        ("---\narguments: [a]\n---\nSay $1\nand $2", ["5: $2, but 'arguments' names 1"]),
        (
            "---\nallowed-tools: machine.*\n---\n/machine.status\n/power.off",
            ["5: power.off is not among its allowed-tools"],
        ),
        (
            "---\nallowed-tools: ''\n---\n/machine.status",
            ["4: machine.status is not among its allowed-tools"],
        ),
    ],
)
def test_every_mistake_in_a_command_is_told_with_its_line(
    tmp_path: Path, text: str, lines: list[str]
) -> None:
    write(tmp_path, "commands/x.md", text)
    found = mistakes(tmp_path)
    assert len(found) == len(lines)
    for line, wanted in zip(found, lines, strict=True):
        assert line.startswith(f"commands/x.md:{wanted}")


def test_a_command_of_a_tool_that_is_not_here_cannot_be_used(tmp_path: Path) -> None:
    write(tmp_path, "commands/x.md", "/power.explode\n")
    assert mistakes(tmp_path) == ("commands/x.md: there is no tool power.explode",)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    skill(tmp_path, "x", "word " * 1_000_000)
    assert mistakes(tmp_path) == (f"skills/x/SKILL.md:1: it is larger than {LARGEST_FILE >> 10} KiB",)


def test_a_file_that_is_not_text_is_told(tmp_path: Path) -> None:
    write(tmp_path, "commands/x.md", b"Say \xff\xfe")
    assert mistakes(tmp_path) == ("commands/x.md: line 1 is not UTF-8 text (byte 4 of the file)",)


@pytest.mark.parametrize("link", ["commands/x.md", "skills/x/SKILL.md", "skills/x"])
def test_a_link_out_of_the_vault_is_not_followed(tmp_path: Path, link: str) -> None:
    outside = skill(tmp_path / "outside", "x").parent
    vault = tmp_path / "vault"
    (vault / link).parent.mkdir(parents=True)
    (vault / link).symlink_to(outside if link == "skills/x" else outside / "SKILL.md")
    shelf = library(vault)
    with pytest.raises(BadFile, match="symbolic link"):
        shelf.find("x", "owner")
    [problem] = shelf.listing("owner").problems
    assert problem.startswith(f"{link}: it is a symbolic link")


def test_a_pipe_in_the_place_of_a_file_blocks_nothing(tmp_path: Path) -> None:
    (tmp_path / "commands").mkdir()
    os.mkfifo(tmp_path / "commands" / "x.md")
    assert mistakes(tmp_path) == ("commands/x.md: it is a FIFO, not a file",)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("commands/Loud.md", "commands/Loud.md:1: the name 'Loud' is not of lower case letters"),
        ("commands/git/commit.md", "commands/git/commit.md: a command is a file in commands"),
        ("skills/loose.md", "skills/loose.md: a skill is a folder with a file SKILL.md in it"),
        ("skills/lower/skill.md", "skills/lower: a skill is a folder with a file SKILL.md in it"),
        ("commands/a\nb.md", "commands/a?b.md:1: the name 'a\\nb' is not"),
        ("commands/help.md", "commands/help.md: the chat has a /help of its own"),
    ],
)
def test_a_file_that_nobody_can_call_is_told(tmp_path: Path, path: str, why: str) -> None:
    write(tmp_path, path, "Say hello.")
    [problem] = library(tmp_path).listing("owner").problems
    assert problem.startswith(why)


@pytest.mark.parametrize("name", ["..", "../skills/x/SKILL", "x/y", "X", "-x", "x-", "x" * 65, "", "x\n"])
def test_only_a_plain_name_is_looked_for(tmp_path: Path, name: str) -> None:
    skill(tmp_path, "x")
    assert library(tmp_path).find(name, "owner") is None


def test_all_are_listed_by_name_and_a_command_goes_before_a_skill(tmp_path: Path) -> None:
    skill(tmp_path, "zeta")
    skill(tmp_path, "both")
    write(tmp_path, "commands/both.md", "Say hello.")
    write(tmp_path, "commands/alpha.md", "Say hello.")
    write(tmp_path, "notes/other.md", "---\nbroken")
    listing = library(tmp_path).listing("owner")
    assert [(one.name, type(one)) for one in listing.found] == [
        ("alpha", Command),
        ("both", Command),
        ("zeta", Skill),
    ]
    assert listing.problems == (
        "skills/both/SKILL.md: there is a command 'both' too, which is used instead",
    )
    assert isinstance(library(tmp_path).find("both", "owner"), Command)


def test_everybody_has_their_own(tmp_path: Path) -> None:
    skill(tmp_path, "mine")
    skill(tmp_path / "people" / "ann", "hers")
    shelf = library(tmp_path)
    assert [one.name for one in shelf.listing("owner").found] == ["mine"]
    assert [one.path for one in shelf.listing("ann").found] == ["people/ann/skills/hers/SKILL.md"]
    assert shelf.listing("bob").found == ()
    assert shelf.find("mine", "ann") is None
    assert shelf.find("hers", "owner") is None


def test_an_edit_is_seen_and_a_file_that_stays_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    really = Vault.read

    def counted(vault: Vault, path: str) -> str:
        read.append(path)
        return really(vault, path)

    monkeypatch.setattr(Vault, "read", counted)
    file = skill(tmp_path, "x", "Be polite.")
    shelf = library(tmp_path)
    for _ in range(3):
        assert getattr(shelf.find("x", "owner"), "body", "") == "Be polite."
    shelf.listing("owner")
    assert len(read) == 1
    skill(tmp_path, "x", "Be very polite.")
    assert getattr(shelf.find("x", "owner"), "body", "") == "Be very polite."
    file.unlink()
    assert shelf.find("x", "owner") is None


def test_no_more_than_some_files_are_kept(tmp_path: Path) -> None:
    for number in range(MOST_KEPT + 10):
        write(tmp_path, f"commands/c{number}.md", "Say hello.")
    shelf = library(tmp_path)
    assert len(shelf.listing("owner").found) == MOST_KEPT + 10
    assert len(shelf._kept) == MOST_KEPT


@pytest.mark.parametrize(
    ("written", "tool", "allowed"),
    [
        (None, "power.off", True),
        ("", "machine.status", False),
        ("machine.status", "machine.status", True),
        ("machine.status", "machine.status_of_all", False),
        ("Read, machine.*", "machine.disks", True),
        ("machine.*", "machines.disks", False),
        ("*", "power.off", False),
        ("*.*", "power.off", False),
        ("Bash(* power.off)", "power.off", False),
        ("power.o*", "power.off", False),
        ("[a-z]*", "power.off", False),
    ],
)
def test_a_list_of_tools_only_ever_narrows(written: str | None, tool: str, allowed: bool) -> None:
    assert allows(None if written is None else names(written), tool) is allowed


def test_the_examples_of_the_documentation_work(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "skills.md").read_text()
    examples = re.findall(r"^`(\S+\.md)`:\n\n```markdown\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(examples) == 4
    for path, example in examples:
        write(tmp_path, path, example)
    vault = Vault(tmp_path)
    listing = Library(lambda: vault, tools).listing("owner")
    assert listing.problems == ()
    for one in listing.found:
        assert f"/{one.name}" in text
        assert one.description in text
        for call in one.calls if isinstance(one, Command) else ():
            assert {name for name, _ in call.arguments} <= {a.name for a in tools()[call.tool].arguments}
