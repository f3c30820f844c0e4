"""The `agent` command: arguments, and which function of the package answers them.

Exit status: 0 done, 1 the answer failed, 2 a mistake in how the command was used, 3 agentd cannot be
reached, 130 Ctrl-C, 141 the reader of the output is gone.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from agentd import (
    __version__,
    awareness_command,
    client,
    display,
    memory_command,
    pipe,
    reminder_command,
    sessions_command,
    skills_command,
    tools_command,
)
from agentd.answer import show_answer
from agentd.display import print_json
from agentd.errors import AgentError

COMMANDS = (
    *("ask", "chat", "memory", "sessions", "history", "whoami", "status", "health", "hardware"),
    *("tools", "tool", "approve", "refuse", "undo", "log", "route", "policy", "skills"),
    *("reminders", "ring-reminder"),
    *("notices", "brief", "watch"),
    *("completion", "help"),
)
_WITH_VALUE = ("--socket", "--session", "--max-tokens", "--limit", "--wait")

_DESCRIPTION = """\
Talk to the agent of this machine.

  agent "question"              ask; the answer is written as it comes
  agent -c "question"           ask in the newest session
  COMMAND | agent "question"    ask about the output of a command (its end, as far as it fits)
  COMMAND | agent               ask what is piped in
  agent                         on a terminal: chat"""

_EPILOG = """\
A question that is the name of a command:  agent -- status
Exit status: 0 done, 1 the answer failed, 2 wrong use, 3 agentd cannot be reached, 130 Ctrl-C.
Environment: AGENTD_SOCKET is the default of --socket; NO_COLOR and TERM=dumb turn dim notes off."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise AgentError(message, f"{self.prog} --help", client.MISTAKE)


def main(arguments: list[str] | None = None) -> int:
    """The command `agent`; its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    wants_json = "--json" in arguments
    try:
        display.prepare()
        return _run(arguments)
    except AgentError as error:
        display.error(error.message, error.hint)
        if wants_json:
            print_json({"error": error.message, "hint": error.hint, "status": error.status})
        return error.status
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return client.INTERRUPTED
    except display.OutputError as error:
        # Python would complain about the same once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.reader_left:  # `agent ... | head -1`: whoever read has enough
            return 141
        display.error(f"cannot write the answer: {error}", "it is kept: agent history")
        return client.FAILED


def _run(arguments: list[str]) -> int:
    parser = create_parser()
    given = parser.parse_args(_with_command(arguments))
    given.socket = client.socket_path(given.socket)
    match given.command:
        case "ask":
            return _ask(given)
        case "chat":
            return _chat(given)
        case "memory":
            return memory_command.run(given)
        case "sessions":
            return sessions_command.sessions(given)
        case "whoami":
            return sessions_command.whoami(given)
        case "tools" | "tool" | "approve" | "refuse" | "undo" | "log" | "route" | "policy":
            return tools_command.run(given)
        case "notices" | "brief" | "watch":
            return awareness_command.run(given)
        case "skills":
            return skills_command.run(given)
        case "reminders" | "ring-reminder":
            return reminder_command.run(given)
        case "history":
            session = given.id or given.session or _newest_session(given.socket)
            if session is None:
                raise AgentError("there is no session yet", 'begin one: agent "..."')
            turns = client.history(given.socket, session, given.limit)
            print_json(turns) if given.json else display.history(turns)
        case "status":
            reply = client.call(given.socket, "Status")
            print_json(reply) if given.json else display.status(reply)
        case "health":
            return _health(given)
        case "hardware":
            from agentd import hardware_command

            return hardware_command.show(given.json)
        case "completion":
            script = Path(__file__).parent / "completions" / f"agent.{given.shell}"
            display.write(script.read_text(encoding="utf-8"))
        case "help":
            parser.print_help()
    return 0


def create_parser() -> argparse.ArgumentParser:
    """The parser of the command line, with the command always given."""
    common, inner = _Parser(add_help=False), _Parser(add_help=False)
    common.add_argument("--socket", metavar="PATH", default=None, help="agentd's socket")
    common.add_argument("--json", action="store_true", help="write JSON")
    # A command of a command must not undo what was said before it.
    unsaid = argparse.SUPPRESS
    inner.add_argument("--socket", metavar="PATH", default=unsaid, help="agentd's socket")
    inner.add_argument("--json", action="store_true", default=unsaid, help="write JSON")
    where = _Parser(add_help=False)
    where.add_argument(
        "-c", "--continue", dest="newest", action="store_true", help="go on in the newest session"
    )
    where.add_argument("--session", metavar="ID", help="go on in this session")
    length = _Parser(add_help=False)
    length.add_argument("--max-tokens", type=int, metavar="N", help="end the answer after N tokens")

    parser = _Parser(
        prog="agent",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"agent {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)

    def command(name: str, text: str, *parents: _Parser) -> argparse.ArgumentParser:
        return commands.add_parser(
            name, help=text, description=text, parents=[common, *parents], allow_abbrev=False
        )

    ask = command("ask", "ask one question (the command may be left out)", where, length)
    ask.add_argument("--why", action="store_true", help="show what was recalled, and how it scored")
    ask.add_argument("--stream", action="store_true", help="with --json: each reply as a line, as it comes")
    ask.add_argument("words", nargs="*", metavar="QUESTION", help="words are joined by spaces")
    chat = command("chat", "talk, one line after the other", where, length)
    chat.add_argument("--console", action="store_true", help=argparse.SUPPRESS)
    memory_command.add_parser(command, inner, _Parser)
    sessions_command.add_parsers(command, inner, _Parser)
    tools_command.add_parsers(command, inner, _Parser)
    awareness_command.add_parsers(command, inner, _Parser)
    skills_command.add_parser(command)
    reminder_command.add_parsers(
        command, lambda name: commands.add_parser(name, parents=[common], allow_abbrev=False)
    )
    history = command("history", "show what was said in a session")
    history.add_argument("id", nargs="?", metavar="ID", help="the session (default: the newest)")
    history.add_argument("--session", metavar="ID", help="the same")
    history.add_argument("--limit", type=int, metavar="N", help="only the last N turns")
    command("status", "show what this machine, its agent and its model are")
    health = command("health", "tell by the exit status whether agentd works")
    health.add_argument(
        "--wait", type=float, default=0.0, metavar="SECONDS", help="wait so long for it to become healthy"
    )
    command("hardware", "show what this machine is; --json is the report for `aether detect --report`")
    completion = command("completion", "print a completion script for a shell")
    completion.add_argument("shell", choices=("bash", "zsh", "fish"))
    command("help", "show this help")
    return parser


def _with_command(arguments: list[str]) -> list[str]:
    """The arguments with the command in front: the first word names it, or is a question's.

    Raises AgentError for a single word that looks like a mistyped command.
    """
    position = 0
    while position < len(arguments):
        word = arguments[position]
        if word in ("-h", "--help", "--version") and position == 0:
            return [word]
        if word == "--" or not word.startswith("-") or word == "-":
            break
        position += 2 if word in _WITH_VALUE else 1
    rest = arguments[position:]
    if rest and rest[0] in COMMANDS:
        words = rest[1:]
        if rest[0] == "tool":
            # argparse takes no more words of a list after an option in it.
            words = sorted(words, key=lambda word: word not in ("--json", "--yes"))
        return [rest[0], *arguments[:position], *words]
    if not rest and os.isatty(0) and "--json" not in arguments and "--help" not in arguments:
        return ["chat", *arguments]
    if len(rest) == 1 and rest[0].isalpha() and rest[0].islower():
        import difflib

        # Many words are near to a short one.
        long = [name for name in COMMANDS if len(name) > 4]
        near = difflib.get_close_matches(rest[0], long, n=1, cutoff=0.75)
        if near:
            raise AgentError(
                f"there is no command '{rest[0]}'; did you mean '{near[0]}'?",
                f"to ask it as a question: agent -- {rest[0]}",
            )
    return ["ask", *arguments]


def _ask(given: argparse.Namespace) -> int:
    text = " ".join(given.words).strip()
    piped = pipe.Piped("", 0)
    if pipe.is_piped(0):
        piped = pipe.read_piped(0, display.note)
    parameters: dict[str, Any] = {
        "session": _wanted_session(given),
        "max_tokens": given.max_tokens,
        "why": given.why or None,
    }
    if not text:
        if not piped.text.strip():
            raise AgentError("what is the question?", 'agent "..."; agent --help')
        if piped.left_out:
            raise AgentError(
                f"the question is longer than {pipe.MAX_SENT_BYTES} bytes",
                'to ask about a text: COMMAND | agent "..."',
            )
        parameters["text"] = piped.text
    else:
        parameters["text"] = text
        if piped.text.strip():
            parameters["attachment"] = piped.text
            parameters["left_out"] = piped.left_out or None
    return show_answer(
        given.socket, parameters, "lines" if given.stream else "object" if given.json else "text"
    )


def _wanted_session(given: argparse.Namespace) -> str | None:
    if given.session is not None or not given.newest:
        session: str | None = given.session
        return session
    newest = _newest_session(given.socket)
    if newest is None:
        display.note("there is no session yet; a new one begins")
    return newest


def _newest_session(path: str) -> str | None:
    found = client.call(path, "Sessions", limit=1)["sessions"]
    return found[0]["id"] if found else None


def _chat(given: argparse.Namespace) -> int:
    if given.json:
        raise AgentError("a chat has no --json", 'agent --json "..."')
    from agentd.console import Chat

    chat = Chat(given.socket, given.max_tokens, on_console=given.console)
    if given.console:
        chat.wait_for_agentd()
    chat.session = _wanted_session(given)
    return chat.run()


def _health(given: argparse.Namespace) -> int:
    deadline = time.monotonic() + given.wait
    while True:
        try:
            reply = client.call(given.socket, "Health")
        except AgentError as error:
            if error.status != client.UNREACHABLE or time.monotonic() >= deadline:
                raise
        else:
            if reply["healthy"] or time.monotonic() >= deadline:
                break
        time.sleep(0.2)
    if given.json:
        print_json(reply)
    elif reply["healthy"]:
        display.write(f"{reply['detail']}\n")
    else:
        display.error(reply["detail"], "agentd left the file as it is; see: journalctl -u agentd")
    return 0 if reply["healthy"] else client.FAILED


if __name__ == "__main__":
    sys.exit(main())
