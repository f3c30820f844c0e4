"""Reminders on a clock that tests set, with a broker that writes and removes files as the real one does."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agentd.acting import Acting, StepFailed
from agentd.database import Database
from agentd.exec import verbs
from agentd.machine_key import MachineKey
from agentd.policy import OWN_RULES, Origin, Policy
from agentd.reminders import ReminderStore
from agentd.tools.reminders import Reminders
from agentd.tools.tool import Argument, Context, Kind, Level, Step, Tool

OWNER = Origin("owner", True, "console")


class Clock:
    """The machine's clock, which stands still until it is set."""

    def __init__(self, text: str) -> None:
        self.set(text)

    def set(self, text: str) -> None:
        """Set it to a time in UTC: "2026-11-25 08:00"."""
        self.now = at(text)

    def __call__(self) -> datetime:
        return self.now


class FakeBroker:
    """An executor whose timers are files in `folder`; `problem` is why it can do nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problem = ""
        self.steps: list[Step] = []

    def can(self, verb: str) -> bool:
        return verb in ("timer.set", "timer.remove")

    def run(self, steps: Sequence[Step], token: Mapping[str, str]) -> None:
        for step in steps:
            if self.problem:
                raise StepFailed(self.problem)
            verbs.check(step)
            self.steps.append(step)
            file = self.folder / f"agentd-reminder-{step.arguments['id']}.timer"
            if (step.verb == "timer.remove") != file.exists():
                raise StepFailed("there is one already, or there is none.")
            if step.verb == "timer.set":
                file.write_text(str(step.arguments.get("when") or step.arguments["schedule"]))
            else:
                file.unlink()


class World:
    """A machine with reminders: everything from a request to the database is the real thing."""

    def __init__(self, folder: Path, now: str) -> None:
        self.clock = Clock(now)
        units = folder / "units"
        units.mkdir(parents=True)
        self.database = Database(folder / "agent.db")
        self.store = ReminderStore(self.database, units, self.clock)
        self.broker = FakeBroker(units)
        reminders = Reminders(self.store)
        undo = Tool(
            "agent.undo", "undo", Level.CHANGE, arguments=(Argument("change", Kind.COUNT, "x", False),)
        )
        self.acting = Acting(
            self.database,
            MachineKey(folder),
            Policy((OWN_RULES,), folder / "kept.json"),
            lambda: {tool.name: tool for tool in (*reminders.tools(), undo)},
            lambda origin: Context(None, origin.person),  # type: ignore[arg-type]
            [reminders, self.broker],
        )

    def ask(self, name: str, origin: Origin = OWNER, /, **arguments: object) -> str:
        """What is asked for before it is done, or why it is not."""
        outcome = self.acting.do(name, arguments, origin)
        self.waiting = outcome.waiting
        return outcome.text

    def say_yes(self) -> str:
        """How what was asked for went."""
        assert self.waiting is not None
        return self.acting.answer(self.waiting.id, True, OWNER).text

    def do(self, name: str, /, **arguments: object) -> str:
        """How a change went, with a yes."""
        told = self.ask(name, **arguments)
        assert self.waiting is not None, told
        return self.say_yes()

    def set(self, name: str, /, **arguments: object) -> str:
        """The id of a new reminder."""
        before = {one.id for one in self.store.of("owner")}
        told = self.do(name, **arguments)
        [new] = {one.id for one in self.store.of("owner")} - before
        assert "To take it back" in told
        return new

    def timers(self) -> list[str]:
        """What the timers on this machine say, in the order of their names."""
        return [file.read_text() for file in sorted(self.broker.folder.iterdir())]


def at(text: str) -> datetime:
    """A time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@contextmanager
def zone(name: str) -> Iterator[None]:
    """The machine's time zone."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TZ", name)
        time.tzset()
        yield
    time.tzset()
