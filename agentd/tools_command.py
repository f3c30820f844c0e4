"""`agent tools`, `tool`, `approve`, `refuse`, `undo`, `log`, `route`, `policy`: acting by commands."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

from agentd import client, display
from agentd.consent import LONG_CHANGE, say, settle
from agentd.display import print_json
from agentd.errors import AgentError

Parsers = Callable[..., argparse.ArgumentParser]

# Texts that one call routes; more are sent piece by piece.
_AT_ONCE = 100


def add_parsers(
    command: Parsers, common: argparse.ArgumentParser, make: type[argparse.ArgumentParser]
) -> None:
    """Add the commands to the parser of `agent`."""
    command("tools", "list what the agent can do on this machine")
    tool = command("tool", "use a tool by its name: agent tool services.status unit=ssh")
    tool.add_argument("tool", metavar="TOOL")
    tool.add_argument("arguments", nargs="*", metavar="NAME=VALUE")
    tool.add_argument("--yes", action="store_true", help="say yes to what is asked")
    for name, text in (
        ("approve", "say yes to a change that waits (without ID: list what waits)"),
        ("refuse", "say no to it"),
    ):
        command(name, text).add_argument("id", nargs="?", metavar="ID")
    undo = command("undo", "take back the last change, or the one of that number in the log")
    undo.add_argument("number", nargs="?", metavar="N")
    undo.add_argument("--yes", action="store_true", help="do not ask")
    log = command("log", "what was asked, approved, done and refused, newest first")
    log.add_argument("--limit", type=int, metavar="N", default=30)
    log.add_argument("--verify", action="store_true", help="check that nobody changed the log")
    route = command("route", "show which tool requests would be taken to mean (one a line on stdin)")
    route.add_argument("words", nargs="*", metavar="REQUEST")
    policy = command("policy", "what would be allowed, and by which rule")
    commands = policy.add_subparsers(dest="action", required=True, metavar="COMMAND", parser_class=make)
    text = "what would happen with a request, or with --tool; with neither, whether all rules are in force"
    check = commands.add_parser("check", help=text, description=text, parents=[common], allow_abbrev=False)
    check.add_argument("--tool", metavar="TOOL", help="a tool by its name, with NAME=VALUE ...")
    check.add_argument("words", nargs="*", metavar="REQUEST")


def run(given: argparse.Namespace) -> int:
    """The command that was given; the exit status. Raises AgentError."""
    match given.command:
        case "tools":
            return _tools(given)
        case "tool":
            return _do(given, given.tool, _pairs(given.arguments))
        case "undo":
            return _do(given, "agent.undo", {"change": given.number} if given.number else {})
        case "approve" | "refuse":
            return _answer(given)
        case "log":
            return _log(given)
        case "route":
            return _route(given)
    return _check(given)


def _do(given: argparse.Namespace, tool: str, arguments: dict[str, str]) -> int:
    reply = client.tools(given.socket, "Do", LONG_CHANGE, tool=tool, arguments=arguments)
    return settle(given.socket, reply["outcome"], json_form=given.json, yes=given.yes)


def _answer(given: argparse.Namespace) -> int:
    if given.id is not None:
        outcome = say(given.socket, given.id, given.command == "approve")
        if given.command == "refuse" and not given.json:
            display.write(f"{outcome['text']}\n")
            return 0
        return settle(given.socket, outcome, json_form=given.json)
    found = client.tools(given.socket, "Waiting")["waiting"]
    if given.json:
        print_json(found)
    elif not found:
        display.note("nothing waits for a yes")
    for one in found if not given.json else ():
        where = f"  (at the {' or '.join(one['approve'])} only)" if one["approve"] else ""
        display.write(f"{one['id']}  {one['summary']}{where}\n")
    return 0


def _tools(given: argparse.Namespace) -> int:
    found = client.tools(given.socket, "List")["tools"]
    if given.json:
        print_json(found)
        return 0
    width = max(len(_usage(tool)) for tool in found)
    for tool in found:
        level = "" if tool["level"] == "read" else f"  [{tool['level']}]"
        display.write(f"{_usage(tool).ljust(width)}  {tool['purpose']}{level}\n")
    return 0


def _usage(tool: dict[str, Any]) -> str:
    words = [one["name"] if one["required"] else f"[{one['name']}]" for one in tool["arguments"]]
    return " ".join([tool["name"], *words])


def _log(given: argparse.Namespace) -> int:
    if given.verify:
        reply = client.tools(given.socket, "Verify", LONG_CHANGE)
        if given.json:
            print_json(reply)
        elif reply["wrong"]:
            display.write("".join(f"{line}\n" for line in reply["wrong"]))
            display.error("the log is not as it was written", "agent log shows what it says now")
        else:
            display.write(
                f"{reply['entries']} entries, none changed, removed or moved;"
                f" the journal confirms {reply['journal']}\n"
            )
        if reply.get("problem") and not given.json:
            display.note(f"the journal could not be asked whether the end was cut off: {reply['problem']}")
        return client.FAILED if reply["wrong"] else 0
    entries = client.tools(given.socket, "Log", limit=given.limit)["entries"]
    if given.json:
        print_json(entries)
        return 0
    if not entries:
        display.note("nothing was changed, asked for or refused yet")
    for entry in entries:
        about = entry["about"]
        words = _words(about.get("arguments", {}))
        more = about.get("detail") or about.get("rule") or about.get("by") or ""
        line = f"{entry['number']:>5}  {entry['time']}  {entry['what']:<8}  {about.get('tool', '')} {words}"
        display.write(f"{line.rstrip()}{f'  ({more})' if more else ''}\n")
    return 0


def _route(given: argparse.Namespace) -> int:
    texts = iter([" ".join(given.words)]) if given.words else _lines()
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == _AT_ONCE:
            _show_routes(given, batch)
            batch = []
    if batch:
        _show_routes(given, batch)
    return 0


def _lines() -> Iterator[str]:
    if sys.stdin.isatty():
        raise AgentError("which request?", 'agent route "restart nginx", or one a line on stdin')
    for line in sys.stdin:
        if text := line.strip():
            yield text


def _show_routes(given: argparse.Namespace, texts: list[str]) -> None:
    for found in client.tools(given.socket, "Route", LONG_CHANGE, texts=texts)["routes"]:
        if given.json:
            for name in ("tool", "runner_up", "question"):
                found.setdefault(name, None)
            print_json(found)
            continue
        tool = found.get("tool") or "talk"
        words = _words(found["arguments"])
        second = ""
        if found.get("runner_up"):
            second = f", then {found['runner_up']} {found['runner_up_confidence']:.2f}"
        question = f"  {found['question']}" if found.get("question") else ""
        display.write(f"{f'{tool} {words}'.strip()}  ({found['confidence']:.2f}{second}){question}\n")


def _check(given: argparse.Namespace) -> int:
    parameters: dict[str, Any]
    if given.tool:
        parameters = {"tool": given.tool, "arguments": _pairs(given.words)}
    elif given.words:
        parameters = {"text": " ".join(given.words)}
    else:
        parameters = {}
    reply = client.tools(given.socket, "Check", **parameters)
    if given.json:
        print_json(reply)
        return 0
    route, verdict = reply.get("route"), reply.get("verdict")
    if route is not None:
        tool = route.get("tool") or "none: it is talk"
        display.write(f"tool      {tool} {_words(route['arguments'])}".rstrip() + "\n")
    if verdict is not None:
        display.write(f"decision  {verdict['decision']}\nrule      {verdict['rule']}\n")
        if verdict["why"]:
            display.write(f"why       {verdict['why']}\n")
        if verdict["approve"]:
            display.write(f"approve   at the {' or '.join(verdict['approve'])} only\n")
    if not parameters and not reply.get("problem"):
        display.write("every file of rules is in force\n")
    if reply.get("problem"):
        display.error(reply["problem"], "until it is mended the last good rules stay in force")
    return 0


def _words(arguments: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in arguments.items() if value is not None)


def _pairs(words: list[str]) -> dict[str, str]:
    """NAME=VALUE words, or one JSON object, as arguments. Raises AgentError."""
    if len(words) == 1 and words[0].startswith("{"):
        try:
            return dict(json.loads(words[0]))
        except ValueError as error:
            raise AgentError("that is no JSON object", "agent tool TOOL NAME=VALUE ...") from error
    pairs = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise AgentError(f"'{word}' is not NAME=VALUE", "agent tools lists what each tool takes")
        pairs[name] = value
    return pairs
