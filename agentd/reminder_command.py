"""`agent reminders`, and `agent ring-reminder ID`, which a reminder's unit runs when its time has come."""

import argparse
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from agentd import client, display
from agentd.display import print_json
from agentd.reminder_display import listing, rang

Parsers = Callable[..., argparse.ArgumentParser]

# A unit that is started so much too early waits: the clock was set back by a little just then.
_CLOSE = 60.0
# Two clocks are at work: one counts the wait, another says whether it is due.
_MARGIN = 0.5
# Seconds that a prompt may be kept from a person by an agentd that hangs.
_PATIENCE = 5.0


def add_parsers(command: Parsers, hidden: Parsers) -> None:
    """Add the commands; `hidden` makes one that no help lists."""
    reminders = command("reminders", "list reminders, timers and recurring tasks, and what rang")
    reminders.add_argument("--unseen", action="store_true", help="only what rang and was not seen")
    hidden("ring-reminder").add_argument("id", metavar="ID")


def run(given: argparse.Namespace) -> int:
    """The command that was given; the exit status. Raises AgentError."""
    return _ring(given) if given.command == "ring-reminder" else _list(given)


def tell_unseen(path: str) -> None:
    """Write what rang and was not seen yet, which is seen then. Raises AgentError."""
    found = client.tools(path, "Reminders", _PATIENCE, unseen=True)["reminders"]
    if found:
        display.write("".join(f"{rang(one)}\n" for one in found))
        _seen(path, found)


def _ring(given: argparse.Namespace) -> int:
    """Whatever cannot be mended by trying again is said, and is no failure: systemd would try for ever."""
    reply = client.tools(given.socket, "Ring", id=given.id)
    seconds = reply.get("seconds")
    if reply["state"] in ("early", "again") and seconds is not None and 0 < seconds <= _CLOSE:
        time.sleep(seconds + _MARGIN)
        reply = client.tools(given.socket, "Ring", id=given.id)
    print_json(reply) if given.json else display.write(f"{reply['text']}\n")
    return 0


def _list(given: argparse.Namespace) -> int:
    found = client.tools(given.socket, "Reminders", unseen=given.unseen)["reminders"]
    if given.json:
        # Read by a program: nobody has seen it yet.
        print_json(found)
        return 0
    unseen = [one for one in found if one["unseen"]]
    display.write("".join(f"{rang(one)}\n" for one in unseen))
    if not given.unseen:
        if found:
            display.write(f"{listing(found, datetime.now(UTC))}\n")
        else:
            display.note('no reminder is set; agent "remind me at six of the soup"')
    _seen(given.socket, unseen)
    return 0


def _seen(path: str, found: list[dict[str, Any]]) -> None:
    if found:
        client.tools(path, "Seen", ring=max(one["ring"] for one in found))
