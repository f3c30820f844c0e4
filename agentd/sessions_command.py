"""`agent sessions ...` and `agent whoami`: conversations and people, as the command line has them."""

import argparse
from collections.abc import Callable
from typing import Any

from agentd import client, display
from agentd.confirm import is_confirmed
from agentd.display import print_json

Parsers = Callable[..., argparse.ArgumentParser]

# Things said that a search looks at; more would be of no use in a list of sessions.
_LOOKED_AT = 100


def add_parsers(
    command: Parsers, common: argparse.ArgumentParser, make: type[argparse.ArgumentParser]
) -> None:
    """Add `sessions` with its commands, and `whoami`."""
    parser = command("sessions", "list the sessions, newest first; search, rename, fork, delete one")
    parser.add_argument("--limit", type=int, metavar="N", help="only the N newest")
    parser.set_defaults(action="list")
    commands = parser.add_subparsers(dest="action", metavar="COMMAND", parser_class=make)

    def action(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, parents=[common], allow_abbrev=False)

    action("list", "list them, newest first").add_argument("--limit", type=int, metavar="N")
    action("search", "sessions in which something like this was said").add_argument(
        "words", nargs="+", metavar="TEXT"
    )
    rename = action("rename", "give one another title")
    rename.add_argument("id", metavar="ID")
    rename.add_argument("words", nargs="+", metavar="TITLE")
    fork = action("fork", "a new session with the same turns; both go on separately")
    fork.add_argument("id", metavar="ID")
    fork.add_argument("--turn", type=int, metavar="N", help="only up to this turn (agent --json history)")
    delete = action("delete", "remove one and everything said in it")
    delete.add_argument("id", metavar="ID")
    delete.add_argument("--yes", action="store_true", help="do not ask")

    whoami = command("whoami", "show who this machine is, and who you are to it")
    whoami.add_argument("--owner", metavar="NAME", help="the owner says who they are")
    whoami.add_argument("--address", metavar="NAME", help="and how they want to be addressed")
    whoami.add_argument("--name", metavar="NAME", help="what the agent is called")


def sessions(given: argparse.Namespace) -> int:
    """`agent sessions`; the exit status. Raises AgentError."""
    match given.action:
        case "search":
            found = _search(given.socket, " ".join(given.words))
            print_json(found) if given.json else display.sessions(found)
        case "rename":
            _show(given, client.call(given.socket, "Rename", session=given.id, title=" ".join(given.words)))
        case "fork":
            _show(given, client.call(given.socket, "Fork", session=given.id, turn=given.turn))
        case "delete":
            return _delete(given)
        case _:
            found = client.call(given.socket, "Sessions", limit=given.limit)["sessions"]
            print_json(found) if given.json else display.sessions(found)
    return 0


def whoami(given: argparse.Namespace) -> int:
    """`agent whoami`; the exit status. Raises AgentError."""
    told = {"owner": given.owner, "address": given.address, "name": given.name}
    if any(value is not None for value in told.values()):
        client.call(given.socket, "Introduce", **told)
    reply = client.call(given.socket, "Whoami")
    if given.json:
        print_json(reply)
        return 0
    address = f" (called {reply['address']})" if reply["address"] else ""
    owner = f"{reply['owner']}{address}" if reply["owner"] else "nobody yet: agent whoami --owner NAME"
    you = "the owner" if reply["is_owner"] else reply["person"]
    rows = [
        ("agent", reply["name"]),
        ("machine", reply["machine"]),
        ("key", f"{reply['key']} ({reply['fingerprint']})" if reply["key"] else "none"),
        ("owner", owner),
        ("you", you),
    ]
    display.write("".join(f"{name.ljust(8)} {value}\n" for name, value in rows))
    return 0


def _show(given: argparse.Namespace, reply: dict[str, Any]) -> None:
    print_json(reply["session"]) if given.json else display.sessions([reply["session"]])


def _search(path: str, query: str) -> list[dict[str, Any]]:
    """The sessions in which something like `query` was said, the best first."""
    hits = client.memory(path, "Search", query=query, limit=_LOOKED_AT)["hits"]
    order = list(dict.fromkeys(hit["session"] for hit in hits if hit.get("session")))
    known = {session["id"]: session for session in client.call(path, "Sessions")["sessions"]}
    return [known[session] for session in order if session in known]


def _delete(given: argparse.Namespace) -> int:
    if not given.yes:
        display.history(client.history(given.socket, given.id, 4))
        forks = client.call(given.socket, "Forks", session=given.id)["sessions"]
        _tell_forks([fork["id"] for fork in forks])
        if not is_confirmed("Delete this session and everything said in it?", "deleted"):
            return client.FAILED
    reply = client.call(given.socket, "Delete", client.LONG_PATIENCE, session=given.id)
    if given.json:
        print_json(reply)
    else:
        display.write(f"deleted: {reply['turns']} turns\n")
        _tell_forks(reply["forks"])
    return 0


def _tell_forks(ids: list[str]) -> None:
    if ids:
        forks = "1 fork keeps" if len(ids) == 1 else f"{len(ids)} forks keep"
        display.note(f"{forks} a copy of it: {', '.join(ids)}")
