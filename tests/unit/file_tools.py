"""Folders for the tools for files, and the tools called as agentd calls them: planned twice, then done.

Not for: what they should do (test_tools_files.py, test_tools_file_changes.py).
"""

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from agentd.tools import arguments, file_changes, files, places
from agentd.tools.bus import Bus
from agentd.tools.local_steps import LocalSteps
from agentd.tools.tool import Answer, Context, Plan, Step

TOOLS = {tool.name: tool for tool in (*files.TOOLS, *file_changes.TOOLS)}


class Folders:
    """A home with agentd's state in it, and what is outside."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.state = self.home / "agent"
        self.vault = self.state / "vault"
        self.outside = folder / "outside"
        for made in (self.vault, self.vault / "people/bob", self.outside):
            made.mkdir(parents=True)
        (self.outside / "secret.txt").write_text("secret")
        (self.state / "key").write_text("secret key")
        places.configure(self.state, self.home)

    def read(self, verb: str, person: str = "owner", **given: Any) -> Answer:
        """A reading tool's answer; what it found is fit for JSON and for a terminal."""
        tool = TOOLS[f"files.{verb}"]
        assert tool.run is not None
        found = tool.run(context(person), arguments.check(tool, given))
        json.dumps(found.facts, ensure_ascii=False).encode()
        assert all(letter.isprintable() or letter in "\n\t" for letter in found.text)
        return found

    def plan(self, verb: str, person: str = "owner", **given: Any) -> Plan:
        """A change's plan, made twice as acting.py does; it has to be the same."""
        tool = TOOLS[f"files.{verb}"]
        assert tool.plan is not None
        checked = arguments.check(tool, given)
        first = tool.plan(context(person), checked)
        assert tool.plan(context(person), checked) == first
        return first

    def do(self, verb: str, person: str = "owner", **given: Any) -> Plan:
        """Plan it and do it."""
        plan = self.plan(verb, person, **given)
        run(plan.steps)
        return plan


def context(person: str) -> Context:
    """A context without a bus: no tool for files asks one."""
    return Context(cast(Bus, None), person)


def run(steps: tuple[Step, ...]) -> None:
    """Do steps as they come back from the database, as JSON."""
    stored = json.loads(json.dumps([[step.verb, dict(step.arguments)] for step in steps]))
    LocalSteps().run([Step(verb, given) for verb, given in stored], {})


@contextmanager
def switching(path: Path, target: Path) -> Iterator[Callable[[], int]]:
    """While it lasts, `path` is a folder and a link to `target` in turn, a thousand times a second.

    Yields how often it was switched.
    """
    stop, count = threading.Event(), [0]
    real, link = path.with_name(f"{path.name}-real"), path.with_name(f"{path.name}-link")
    link.symlink_to(target)

    def switch() -> None:
        # It is a folder most of the time, or nothing that takes several steps would ever come to its end.
        while not stop.wait(0.001):
            path.rename(real)
            try:
                link.rename(path)
                path.rename(link)
                real.rename(path)
            except OSError:  # a folder was made where none was for a moment
                path.rename(path.with_name(f"{path.name}-{count[0]}"))
                real.rename(path)
            count[0] += 1

    thread = threading.Thread(target=switch)
    thread.start()
    try:
        yield lambda: count[0]
    finally:
        stop.set()
        thread.join()
        link.unlink()


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder: a file's content, None for anything else."""
    found: dict[str, bytes | None] = {}
    for path in sorted(folder.rglob("*")):
        is_file = path.is_file() and not path.is_symlink()
        found[os.fspath(path.relative_to(folder))] = path.read_bytes() if is_file else None
    return found


def visible_tree(folder: Path) -> dict[str, bytes | None]:
    """As tree(), without what agentd keeps in hidden folders."""
    return {name: data for name, data in tree(folder).items() if not name.startswith(".agentd-")}
