"""Showing an answer while it comes: for a person, as one JSON object, or as JSON lines."""

from collections.abc import Callable
from typing import Any

from agentd import client, consent, display
from agentd.display import print_json


def show_answer(
    path: str,
    parameters: dict[str, Any],
    form: str,
    began: Callable[[str], None] = lambda session: None,
) -> int:
    """Ask agentd at `path` with Ask's `parameters` and show the answer as it comes; the exit status.

    `form` is "text", "object" (one JSON object at the end) or "lines" (each reply as JSON). `began` gets
    the session's id once the question is stored. Raises AgentError, and KeyboardInterrupt after the answer
    was stopped.
    """
    shown = ""
    noted = 0
    last: dict[str, Any] = {}
    # Closing the replies closes the connection, and that is what stops an answer.
    with client.asking(path, **parameters) as replies:
        try:
            for last in replies:
                began(last["session"])
                if form == "lines":
                    print_json(last)
                if form != "text":
                    continue
                notes = last.get("notes") or []
                # The last reply repeats all notes.
                for note in notes[noted:] if last["done"] else notes:
                    noted += 1
                    _end_line(shown)
                    display.note(note)
                # An answer begins with its first word.
                delta = last["delta"] if shown else last["delta"].lstrip()
                shown += delta
                display.write(delta)
        finally:
            _end_line(shown)
    sources = last.get("sources") or []
    if form == "object":
        fields = ("session", "turn", "text", "status")
        lists = {"notes": last.get("notes") or [], "sources": sources}
        acted = {"outcome": last["outcome"]} if last.get("outcome") else {}
        print_json({key: last.get(key) for key in fields} | lists | acted)
    elif form == "text":
        if not shown:
            display.note("the model said nothing")
        for source in sources:
            display.source(source, scores=bool(parameters.get("why")))
    outcome = last.get("outcome")
    if outcome is not None and form == "text":
        return consent.finish(path, outcome)
    if outcome is not None and outcome["state"] != "done":
        return client.FAILED
    return 0 if last.get("status") == "complete" else client.FAILED


def _end_line(shown: str) -> None:
    if shown and not shown.endswith("\n"):
        display.write("\n")
