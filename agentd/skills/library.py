"""The skills and commands of a person: finding them in the vault, and telling those that cannot be used.

The owner's are in skills/ and commands/, another person's in the same folders below people/NAME/. What was
read is kept as long as its file does not change.
"""

import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from agentd.memory.memory import OWNER
from agentd.memory.vault import FileState, Vault, VaultError
from agentd.skills import command, skill
from agentd.skills.command import Command
from agentd.skills.head import BadFile, is_name
from agentd.skills.skill import Skill

LARGEST_FILE = 64 << 10
MOST_KEPT = 64
MOST_LISTED = 500
# What the chat itself does (console.py).
OF_THE_CHAT = ("help", "new", "sessions", "session", "history", "status", "quit", "exit", "shell")

_SKILL_FILE = "SKILL.md"


@dataclass(frozen=True, slots=True)
class Listing:
    """All that can be used, by name, and a line for each mistake."""

    found: tuple[Skill | Command, ...]
    problems: tuple[str, ...]


class Library:
    """The skills and commands in a vault. May be used by several threads."""

    def __init__(self, vault: Callable[[], Vault], tools: Callable[[], Collection[str]]) -> None:
        """`vault` may raise StoreUnavailable until it is open; `tools` are the names of all tools."""
        self._vault = vault
        self._tools = tools
        self._kept: dict[str, tuple[FileState, Skill | Command | BadFile]] = {}
        self._lock = threading.Lock()

    def find(self, name: str, person: str) -> Skill | Command | None:
        """The command, or else the skill, of that name; None if there is neither.

        Raises BadFile if it cannot be used, and StoreUnavailable.
        """
        if not is_name(name):
            return None
        folder = _folder(person)
        return self._read(f"{folder}commands/{name}.md") or self._read(
            f"{folder}skills/{name}/{_SKILL_FILE}"
        )

    def listing(self, person: str) -> Listing:
        """Everything of a person's that there is. Raises StoreUnavailable."""
        folder = _folder(person)
        scan = self._vault().scan()
        inside = (f"{folder}skills/", f"{folder}commands/")
        problems = [
            f"{problem.path}: {problem.why}"
            for problem in scan.problems
            if f"{problem.path}/".startswith(inside)
        ]
        files = [state.path for state in scan.files if state.path.startswith(inside)]
        found: dict[str, Skill | Command] = {}
        for path in _usable(folder, files, problems):
            if len(found) == MOST_LISTED:
                problems.append(f"there are more than {MOST_LISTED}; the rest is not listed")
                break
            try:
                one = self._read(path)
            except BadFile as bad:
                problems += bad.lines
                continue
            if one is None:
                continue  # gone since it was listed
            if one.name in found:
                problems.append(f"{path}: there is a command '{one.name}' too, which is used instead")
            if one.name in OF_THE_CHAT:
                problems.append(f"{path}: the chat has a /{one.name} of its own; use: agent /{one.name}")
            found.setdefault(one.name, one)
        return Listing(tuple(found[name] for name in sorted(found)), tuple(map(_on_one_line, problems)))

    def _read(self, path: str) -> Skill | Command | None:
        """What the file says, None if there is no file. Raises BadFile, StoreUnavailable."""
        vault = self._vault()
        try:
            state = vault.state(path)
            if state is None:
                return None
            with self._lock:
                kept = self._kept.get(path)
            if kept is None or kept[0] != state:
                kept = state, _parsed(vault, state)
                self._keep(path, kept)
        except VaultError as error:
            raise BadFile((f"{path}: {error.why}",)) from error
        found = kept[1]
        if isinstance(found, BadFile):
            raise BadFile(found.lines)
        if isinstance(found, Command):
            tools = self._tools()
            unknown = [call.tool for call in found.calls if call.tool not in tools]
            if unknown:
                raise BadFile(tuple(f"{path}: there is no tool {tool}" for tool in dict.fromkeys(unknown)))
        return found

    def _keep(self, path: str, entry: tuple[FileState, Skill | Command | BadFile]) -> None:
        with self._lock:
            self._kept.pop(path, None)
            self._kept[path] = entry
            while len(self._kept) > MOST_KEPT:
                self._kept.pop(next(iter(self._kept)))


def _folder(person: str) -> str:
    return "" if person == OWNER else f"people/{person}/"


def _usable(folder: str, files: list[str], problems: list[str]) -> Iterator[str]:
    """The paths at which there is a command or a skill, commands first; others become problems."""
    skills = f"{folder}skills/"
    for path in files:
        if path.startswith(f"{folder}commands/"):
            if "/" not in path.removeprefix(f"{folder}commands/"):
                yield path
            else:
                problems.append(f"{path}: a command is a file in {folder}commands, not in a folder below")
    below = [path.removeprefix(skills).split("/") for path in files if path.startswith(skills)]
    complete = {parts[0] for parts in below if parts[1:] == [_SKILL_FILE]}
    for name in dict.fromkeys(parts[0] for parts in below):
        if name in complete:
            yield f"{skills}{name}/{_SKILL_FILE}"
        else:
            problems.append(f"{skills}{name}: a skill is a folder with a file {_SKILL_FILE} in it")


def _on_one_line(problem: str) -> str:
    # A file's name may have line ends in it, or what a terminal would act upon.
    return "".join(letter if letter.isprintable() else "?" for letter in problem)


def _parsed(vault: Vault, state: FileState) -> Skill | Command | BadFile:
    """What a file says, or what is wrong with it. Raises VaultError, StoreUnavailable."""
    if state.size > LARGEST_FILE:
        return BadFile((f"{state.path}:1: it is larger than {LARGEST_FILE >> 10} KiB",))
    parse = skill.parse if state.path.endswith(f"/{_SKILL_FILE}") else command.parse
    try:
        return parse(state.path, vault.read(state.path))
    except BadFile as bad:
        return bad
