"""How the `agent` command writes for a person: answers as they come, notes, tables, errors.

stdout has what was asked for, stderr has notes and errors. Nothing but text reaches a terminal: a model
or a log could otherwise write escape sequences to it.
"""

import json
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

from agentd.errors import AgentError

# Control characters, and those that turn the direction of a line: it would read as another one.
_REFUSED = (*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_CONTROL = {code: "�" for code in _REFUSED if chr(code) not in "\n\t"}


def is_plain(stream: TextIO) -> bool:
    """Whether `stream` gets no colours: no terminal, a dumb one, or NO_COLOR (https://no-color.org)."""
    return (
        not stream.isatty() or os.environ.get("TERM", "dumb") == "dumb" or bool(os.environ.get("NO_COLOR"))
    )


def prepare() -> None:
    """Make stdout and stderr fit to be written to. Raises AgentError if stdout is closed."""
    # Python has None for what the caller closed.
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        raise AgentError("the standard output is closed", "to throw the answer away: >/dev/null")
    # A terminal of another encoding shows a question mark for what it does not have.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


class OutputError(Exception):
    """stdout takes no more; `reader_left` when it is a pipe that nobody reads. Not an OSError, which would
    be taken for agentd's connection."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror)
        self.reader_left = isinstance(error, BrokenPipeError)


def write(text: str) -> None:
    """Write a piece of an answer to stdout, at once. Raises OutputError."""
    try:
        sys.stdout.write(text.translate(_CONTROL) if sys.stdout.isatty() else text)
        sys.stdout.flush()
    except OSError as error:
        raise OutputError(error) from error


def print_json(value: Any) -> None:
    """Write `value` as one line of JSON."""
    write(json.dumps(value) + "\n")


def note(text: str) -> None:
    """Write a line that is no part of the answer to stderr, dim on a terminal."""
    line = f"note: {text}".translate(_CONTROL)
    sys.stderr.write(f"{line}\n" if is_plain(sys.stderr) else f"\x1b[2m{line}\x1b[0m\n")
    sys.stderr.flush()


def source(found: dict[str, Any], *, scores: bool) -> None:
    """Write what an answer rests on as a note; with `scores` how it was found, and what was not used."""
    text = " ".join(found["text"].split())
    said = f"{found['id']} ({found['time'][:10]}): {text if len(text) <= 100 else text[:99] + '…'}"
    if not scores:
        note(f"from {said}")
        return
    parts = f"score {found['score']:.2f}, words {found['lexical']:.2f}, meaning {found['semantic']:.2f}"
    note(f"{'used' if found['used'] else 'not used'}  {said}  [{parts}]")


def error(message: str, hint: str) -> None:
    """Write an error and its hint to stderr."""
    sys.stderr.write(f"agent: {message}\n".translate(_CONTROL))
    if hint:
        sys.stderr.write(f"hint: {hint}\n".translate(_CONTROL))
    sys.stderr.flush()


def sessions(found: Sequence[dict[str, Any]]) -> None:
    """Print sessions as a table, newest first."""
    if not found:
        note('no sessions yet; agent "..." begins one')
    for session in found:
        when = session["updated"].replace("T", " ").removesuffix("Z")
        write(f"{session['id']}  {when}  {session['turns']:4} turns  {session['title']}\n")


def history(turns: Sequence[dict[str, Any]]) -> None:
    """Print the turns of a session as a dialogue."""
    for turn in turns:
        who = "you" if turn["role"] == "person" else "agent"
        status = "" if turn["status"] == "complete" else f" ({turn['status']})"
        write(f"{who}{status}: {turn['text'].rstrip()}\n")
        if turn["role"] == "agent":
            write("\n")


def status(found: dict[str, Any]) -> None:
    """Print what the machine and its agent are."""
    model = found["model"]
    context = f", context {model['context']} tokens" if model.get("context") else ""
    built_for = f", llama.cpp for {model['built_for']}" if model.get("built_for") else ""
    detail = f" ({model['detail']})" if model["detail"] and model["state"] != "ready" else ""
    rows = [
        ("machine", found["machine"]),
        ("agentd", f"{found['version']}, since {found['started']}"),
        ("model", f"{model['name'] or '?'}: {model['state']}{detail}{context}{built_for}"),
        ("memory", found.get("problem") or f"{found['sessions']} sessions, {found['turns']} turns"),
    ]
    manifest = found.get("manifest")
    for key, value in (manifest if isinstance(manifest, dict) else {}).items():
        if key != "machine" and isinstance(value, str | int | float):
            rows.append((key, str(value)))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        write(f"{name.ljust(width)}  {value}\n")
