"""`agent memory ...`: its arguments, and what each of its commands asks of agentd.

Not for: what is printed (memory_display.py) or finding the files of an import (import_files.py).
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agentd import client, display, memory_display
from agentd.confirm import is_confirmed
from agentd.display import print_json
from agentd.errors import AgentError
from agentd.memory.memory import KINDS

FORMATS = ("archive", "markdown", "chatgpt", "claude", "jsonl")
_CHUNK = 2 << 20

Parsers = Callable[..., argparse.ArgumentParser]

_DESCRIPTION = """\
What this machine remembers: memories, everything said, and the notes in its vault.

  agent memory add "My dentist is Dr. Lee"     remember a text
  agent memory search "dentist"                find memories, things said and notes
  agent memory forget m01jdh3k2c9x4q           remove it everywhere, after a preview
  agent memory export -o memories.tar          everything of yours in one file"""


def add_parser(
    command: Parsers, common: argparse.ArgumentParser, make: type[argparse.ArgumentParser]
) -> None:
    """Add `memory` and its commands to the command line of `agent`."""
    parser = command("memory", "what is remembered: add, search, forget, history, export ...")
    parser.description = _DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(dest="action", required=True, metavar="COMMAND", parser_class=make)

    def action(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, parents=[common], allow_abbrev=False)

    add = action("add", "remember a text")
    add.add_argument("words", nargs="+", metavar="TEXT", help="words are joined by spaces")
    add.add_argument("--kind", choices=KINDS, help="default: what the text looks like, else fact")
    add.add_argument("--expires", metavar="DATE", help="2027-01-31, or with a time in ISO 8601")
    add.add_argument("--shared", action="store_true", help="for everybody on this machine")
    search = action("search", "find memories, things said and notes, the best first")
    search.add_argument("words", nargs="+", metavar="TEXT")
    search.add_argument("-k", "--limit", type=int, metavar="N", help="at most N (default: 10)")
    search.add_argument("--archived", action="store_true", help="also what was superseded or has expired")
    listed = action("list", "list memories, newest first")
    listed.add_argument("--kind", choices=KINDS)
    listed.add_argument("--limit", type=int, metavar="N")
    listed.add_argument("--archived", action="store_true", help="also what was superseded or has expired")
    action("show", "show one memory, turn or passage, and where it comes from").add_argument(
        "id", metavar="ID"
    )
    forget = action("forget", "remove it from everywhere; it cannot be taken back")
    forget.add_argument("what", nargs="+", metavar="ID|TEXT", help="an id, or what a search must find")
    forget.add_argument("--turns", action="store_true", help="also what was said that it came from")
    forget.add_argument("--yes", action="store_true", help="do not ask")
    correct = action("correct", "replace its text; the old one stays in the history")
    correct.add_argument("id", metavar="ID")
    correct.add_argument("words", nargs="+", metavar="TEXT")
    share = action("share", "share it with everybody on this machine")
    share.add_argument("id", metavar="ID")
    share.add_argument("--no", action="store_true", help="no longer")
    history = action("history", "the commits of the vault, or those of one memory")
    history.add_argument("id", nargs="?", metavar="ID")
    history.add_argument("--limit", type=int, metavar="N")
    action("diff", "what a commit changed").add_argument("revision", metavar="REVISION")
    restore = action("restore", "bring back what it was before a commit")
    restore.add_argument("revision", metavar="REVISION")
    restore.add_argument(
        "id", nargs="?", metavar="ID", help="one memory (default: all that the commit changed)"
    )
    export = action("export", "write everything of yours to one file")
    export.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="a tar file; - is stdout"
    )
    imported = action("import", "take in an archive, a folder of Markdown, or conversations")
    imported.add_argument("path", type=Path, metavar="PATH", help="a file, a folder, or - for stdin")
    imported.add_argument("--format", choices=FORMATS, help="default: what the file looks like")
    imported.add_argument("--source", metavar="NAME", help="where it comes from (default: the format)")
    imported.add_argument("--skip", action="store_true", help="leave bad records out instead of ending")
    action("stats", "how much is remembered, and what is wrong")
    check = action("check", "whether vault, turns, index and history agree")
    check.add_argument("--repair", action="store_true", help="put right what can be put right")


def run(given: argparse.Namespace) -> int:
    """Do what the command line says; the exit status. Raises AgentError."""
    match given.action:
        case "forget":
            return _forget(given)
        case "export":
            return _export(given)
        case "check":
            reply = client.memory(given.socket, "Check", client.LONG_PATIENCE, repair=given.repair)
            print_json(reply) if given.json else memory_display.check(reply)
            return client.FAILED if reply["problems"] else 0
    reply, show = _reply(given)
    print_json(reply) if given.json else show(reply)
    return 0


def _reply(given: argparse.Namespace) -> tuple[Any, Callable[[Any], None]]:
    """What agentd says, and how it is shown to a person."""

    def ask(method: str, **parameters: Any) -> dict[str, Any]:
        return client.memory(given.socket, method, **parameters)

    match given.action:
        case "add":
            text, shared = " ".join(given.words), given.shared or None
            reply = ask("Add", text=text, kind=given.kind, expires=given.expires, shared=shared)
            return reply, memory_display.remembered
        case "search":
            query, archived = " ".join(given.words), given.archived or None
            return ask("Search", query=query, limit=given.limit, archived=archived), memory_display.hits
        case "list":
            return _list(given), memory_display.memories
        case "show":
            return ask("Show", id=given.id), memory_display.shown
        case "correct":
            return ask("Correct", id=given.id, text=" ".join(given.words)), memory_display.remembered
        case "share":
            return ask("Share", id=given.id, shared=not given.no), memory_display.remembered
        case "history":
            found = ask("History", id=given.id, limit=given.limit)["changes"]
            return found, memory_display.changes
        case "diff":
            return ask("Diff", revision=given.revision), memory_display.diff
        case "restore":
            return ask("Restore", revision=given.revision, id=given.id), memory_display.restored
        case "import":
            return _import(given), memory_display.imported
        case _:
            return ask("Stats"), memory_display.stats


def _list(given: argparse.Namespace) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    more = True
    while more and (given.limit is None or len(found) < given.limit):
        reply = client.memory(
            given.socket,
            "List",
            kind=given.kind,
            archived=given.archived or None,
            limit=None if given.limit is None else given.limit - len(found),
            after=found[-1]["id"] if found else None,
        )
        found += reply["memories"]
        more = reply["more"]
    return found


def _forget(given: argparse.Namespace) -> int:
    wanted = " ".join(given.what)
    by_id = len(given.what) == 1 and wanted[:1] in "mtp" and any(letter.isdigit() for letter in wanted)
    preview = client.memory(
        given.socket,
        "Preview",
        id=wanted if by_id else None,
        query=None if by_id else wanted,
        turns=given.turns or None,
    )
    if not preview["items"]:
        raise AgentError(
            f"nothing is remembered for certain about '{wanted}'", "agent memory search; then its id"
        )
    if not given.yes:
        memory_display.preview(preview["items"])
        if not is_confirmed("Forget this for ever?", "forgotten"):
            return client.FAILED
    reply = client.memory(given.socket, "Forget", client.LONG_PATIENCE, token=preview["token"])
    print_json(reply) if given.json else memory_display.forgotten(reply)
    return 0


def _export(given: argparse.Namespace) -> int:
    from agentd import import_files  # tar and zip: nothing else needs them

    pieces = client.export(given.socket)
    if str(given.output) == "-":
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return 0
    size = import_files.write_whole(given.output, pieces)
    if given.json:
        print_json({"file": str(given.output), "size": size})
    else:
        display.write(f"{given.output}: {size} bytes\n")
    return 0


def _import(given: argparse.Namespace) -> dict[str, Any]:
    from agentd import import_files

    found = import_files.open_import(given.path, given.format)
    upload: str | None = None
    with found.file as file:
        while True:
            piece = file.read(_CHUNK)
            last = len(piece) < _CHUNK
            reply = client.memory(
                given.socket,
                "Import",
                client.LONG_PATIENCE,
                data=import_files.encoded(piece),
                upload=upload,
                format=found.format,
                source=given.source,
                skip=given.skip or None,
                last=last or None,
            )
            if last:
                return reply
            upload = reply["upload"]
