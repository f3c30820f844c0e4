"""A change that waits for a yes: showing what it would do, asking, and telling how it went."""

import sys
from typing import Any

from agentd import client, display
from agentd.confirm import is_confirmed
from agentd.display import print_json

# Seconds that an approved change may take.
LONG_CHANGE = 300.0


def settle(path: str, outcome: dict[str, Any], *, json_form: bool, yes: bool = False) -> int:
    """Show an outcome, ask for the yes that it waits for where somebody can be asked; the exit status.

    `yes` says it without asking. Raises AgentError.
    """
    if yes and outcome.get("waiting"):
        outcome = say(path, outcome["waiting"]["id"], True)
    if json_form:
        print_json(outcome)
    elif outcome["state"] in ("denied", "failed"):
        display.error(outcome["text"], _hint(outcome))
    else:
        display.write("\n  ".join([outcome["text"], *outcome["effects"]]) + "\n")
        return finish(path, outcome)
    return 0 if outcome["state"] == "done" else client.FAILED


def finish(path: str, outcome: dict[str, Any]) -> int:
    """Ask for the yes that a shown outcome waits for, where somebody can be asked; the exit status."""
    waiting = outcome.get("waiting")
    if waiting is None:
        return 0 if outcome["state"] == "done" else client.FAILED
    if waiting["approve"]:
        display.note(f"only at the {' or '.join(waiting['approve'])} can it be agreed to")
    if not sys.stdin.isatty():
        display.note(f"nothing was done yet. Within five minutes: agent approve {waiting['id']}")
        return client.FAILED
    yes = is_confirmed("Do it?", "done")
    done = say(path, waiting["id"], yes)
    return settle(path, done, json_form=False) if yes else client.FAILED


def say(path: str, id: str, yes: bool) -> dict[str, Any]:
    """Say yes or no to what waits under `id`; the outcome. Raises AgentError."""
    found: dict[str, Any] = client.tools(path, "Answer", LONG_CHANGE, id=id, yes=yes)["outcome"]
    return found


def _hint(outcome: dict[str, Any]) -> str:
    if outcome["state"] == "denied":
        return 'agent policy check "..." says by which rule'
    # Of what was only looked for there is no entry.
    return "agent log" if outcome.get("entry") else ""
