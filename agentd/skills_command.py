"""`agent skills`: a person's skills and slash commands, and what is wrong with those that do not work."""

import argparse
from collections.abc import Callable

from agentd import client, display
from agentd.display import print_json

Parsers = Callable[..., argparse.ArgumentParser]


def add_parser(command: Parsers) -> None:
    """Add `skills` to the parser of `agent`."""
    command("skills", "list your skills and slash commands, and what is wrong with those that do not work")


def run(given: argparse.Namespace) -> int:
    """`agent skills`; the exit status. Raises AgentError."""
    reply = client.tools(given.socket, "Skills")
    if given.json:
        print_json(reply)
        return 0
    found = reply["skills"]
    if not found and not reply["problems"]:
        display.note("there are none yet; docs/skills.md says how to write one")
    width = max((len(one["name"]) for one in found), default=0)
    for one in found:
        tools = one.get("allowed_tools")
        only = "" if tools is None else f"  [only {', '.join(tools) or 'talk, no tools'}]"
        display.write(f"/{one['name'].ljust(width)}  {one['kind']:<7}  {one['description']}{only}\n")
    for line in reply["problems"]:
        display.note(line)
    return 0
