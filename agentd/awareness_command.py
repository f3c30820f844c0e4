"""`agent notices`, `agent brief` and `agent watch`, as the command line has them."""

import argparse
from collections.abc import Callable
from typing import Any

from agentd import client, display
from agentd.display import print_json
from agentd.errors import AgentError

Parsers = Callable[..., argparse.ArgumentParser]


def add_parsers(
    command: Parsers, common: argparse.ArgumentParser, make: type[argparse.ArgumentParser]
) -> None:
    """Add the commands to the parser of `agent`."""
    notices = command("notices", "what you should know of this machine, newest first")
    notices.add_argument("--all", action="store_true", help="also what is acknowledged or over")
    notices.add_argument("--ack", type=int, metavar="ID", help="acknowledge one: it is no longer open")
    notices.add_argument("--events", action="store_true", help="every event instead of notices")
    notices.add_argument(
        "--quiet",
        metavar="FROM-TO",
        help="set quiet hours: 22:00-07:00, or off (in them only what is critical is told)",
    )
    command("brief", "what happened since you were last here")
    command("watch", "show what happens as it happens, until Ctrl-C")


def run(given: argparse.Namespace) -> int:
    """The command that was given; the exit status. Raises AgentError."""
    match given.command:
        case "brief":
            reply = _call(given, "Brief")
            print_json(reply["facts"]) if given.json else display.write(f"{reply['text']}\n")
            return 0
        case "watch":
            return _watch(given)
    return _notices(given)


def _notices(given: argparse.Namespace) -> int:
    if given.quiet is not None:
        hours = "" if given.quiet == "off" else given.quiet
        reply = _call(given, "Settings", quiet_hours=hours)
        words = f"quiet hours: {reply['quiet_hours'] or 'none'}"
        print_json(reply) if given.json else display.note(words)
        return 0
    if given.ack is not None:
        notice = _call(given, "Acknowledge", id=given.ack)["notice"]
        print_json(notice) if given.json else display.note(f"acknowledged: {notice['text']}")
        return 0
    if given.events:
        events = _call(given, "Events")["events"]
        if given.json:
            print_json(events)
        for event in reversed(events) if not given.json else ():
            display.write(f"{_event_line(event)}\n")
        return 0
    found = _call(given, "Notices", all=given.all)["notices"]
    if given.json:
        print_json(found)
    elif not found:
        display.note("no notice is open" if not given.all else "there was no notice yet")
    for notice in found if not given.json else ():
        display.write(f"{_notice_line(notice)}\n")
        if notice.get("proposal") and notice["state"] == "open":
            display.write(f"       may help: {notice['proposal']['command']}\n")
    return 0


def _watch(given: argparse.Namespace) -> int:
    with client.watching(given.socket) as replies:
        for reply in replies:
            if given.json:
                for kind in ("event", "notice"):
                    for one in reply[f"{kind}s"]:
                        print_json({kind: one})
                continue
            for event in reply["events"]:
                display.write(f"{_event_line(event)}\n")
            for notice in reply["notices"]:
                display.write(f"{notice['severity'].upper()}: {_notice_line(notice)}\n")
            if reply["missed"]:
                display.note(f"{reply['missed']} more happened than could be shown")
    raise AgentError("agentd ended", "it is started again by systemd: agent watch", client.UNREACHABLE)


def _call(given: argparse.Namespace, method: str, **parameters: Any) -> dict[str, Any]:
    return client.call(given.socket, method, interface=client.AWARENESS, **parameters)


def _event_line(event: dict[str, Any]) -> str:
    times = f"  ({event['count']} times)" if event["count"] > 1 else ""
    said = f"  {event['detail']}" if event["detail"] else ""
    return f"{_time(event['time'])}  {event['kind']:<15}  {event['subject']}{said}{times}"


def _notice_line(notice: dict[str, Any]) -> str:
    times = f"  ({notice['count']} times)" if notice["count"] > 1 else ""
    state = "" if notice["state"] == "open" else f"  [{notice['state']}]"
    return f"{notice['id']:>5}  {_time(notice['last'])}  {notice['text']}{times}{state}"


def _time(text: str) -> str:
    from datetime import datetime

    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")
