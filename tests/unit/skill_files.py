"""A vault with skills and commands in it, for tests, and a machine to use them on."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agentd.acting import Acting
from agentd.database import Database
from agentd.machine_key import MachineKey
from agentd.memory.vault import Vault
from agentd.policy import OWN_RULES, Policy
from agentd.skills.library import Library
from agentd.tools.tool import Answer, Argument, Context, Kind, Level, Plan, Step, Tool

SKILL = "---\nname: {name}\ndescription: Writes like a letter.\n{more}---\n\n{body}\n"
TOOLS = ("machine.status", "services.status", "services.restart", "time.remind", "power.off")


def library(folder: Path) -> Library:
    """The library of a vault in `folder`, on a machine that has TOOLS."""
    vault = Vault(folder)
    return Library(lambda: vault, lambda: TOOLS)


def write(folder: Path, path: str, text: str | bytes) -> Path:
    """Put a file into a vault, as an editor would."""
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def skill(folder: Path, name: str, body: str = "Be polite.", more: str = "") -> Path:
    """Put a skill without a mistake into a vault; `more` are lines of its front matter."""
    return write(folder, f"skills/{name}/SKILL.md", SKILL.format(name=name, body=body, more=more))


class Machine:
    """What was read of it, and the steps that were done on it."""

    def __init__(self) -> None:
        self.read: list[Mapping[str, Any]] = []
        self.done: list[Step] = []

    def can(self, verb: str) -> bool:
        return True

    def run(self, steps: Sequence[Step], token: Mapping[str, str]) -> None:
        self.done += steps

    def tools(self) -> list[Tool]:
        def read(context: Context, arguments: Mapping[str, Any]) -> Answer:
            self.read.append(arguments)
            return Answer(f"read {' '.join(map(str, arguments.values()))}".strip(), None)

        def plan(context: Context, arguments: Mapping[str, Any]) -> Plan:
            return Plan("Change it", (Step("unit.restart", arguments),), done="Changed.")

        unit, text = Argument("unit", Kind.UNIT, "which service"), Argument("text", Kind.WORDS, "of what")
        return [
            Tool("machine.status", "status", Level.READ, read),
            Tool("services.status", "status", Level.READ, read, arguments=(unit,)),
            Tool("services.restart", "restart", Level.CHANGE, plan=plan, arguments=(unit,)),
            Tool("time.remind", "remind", Level.CHANGE, plan=plan, arguments=(text,)),
            Tool("power.off", "off", Level.DANGER, plan=plan),
        ]


@contextmanager
def acting_on(machine: Machine, folder: Path) -> Iterator[Acting]:
    """What acts on the machine, under the rules that are shipped."""
    database = Database(folder / "agent.db")
    yield Acting(
        database,
        MachineKey(folder),
        Policy((folder / "policy.d", OWN_RULES), folder / "kept.json"),
        lambda: {tool.name: tool for tool in machine.tools()},
        lambda origin: Context(None, origin.person),  # type: ignore[arg-type]
        [machine],
    )
    database.close()
