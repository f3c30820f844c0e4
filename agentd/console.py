"""`agent chat`: a conversation on a terminal, and what the machine's consoles show.

On a console unit (`--console`) it waits for agentd, and leaving it gives a login: the unit ends well and
systemd starts agentd-login@.service in its place (docs/agent.md). Works on a serial line.
"""

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from agentd import client, display
from agentd.answer import show_answer
from agentd.errors import AgentError
from agentd.reminder_command import tell_unseen

PROMPT = "> "

_HELP = """\
/new              begin a new session
/sessions         list the sessions
/session ID       go on in another one
/history          what was said in this one
/status           this machine, its agent and its model
/quit or Ctrl-D   {leave}
Ctrl-C            stop the answer; on an empty line: nothing
Everything else is said to the agent; //word says "/word"."""


class Chat:
    """A conversation in `session`, which is None until the first question begins one."""

    def __init__(self, path: str, max_tokens: int | None, *, on_console: bool) -> None:
        self.session: str | None = None
        self._path = path
        self._max_tokens = max_tokens
        self._on_console = on_console

    def wait_for_agentd(self) -> None:
        """Return once agentd answers; one line says so while it does not."""
        told = False
        while True:
            try:
                client.call(self._path, "Health", patience=3.0 if not told else client.PATIENCE)
            except AgentError as error:
                if error.status != client.UNREACHABLE:
                    raise
                if not told:
                    told = True
                    display.write("The agent is starting ...\n")
                time.sleep(1.0)
            else:
                return

    def run(self) -> int:
        """Talk until the person leaves; the exit status."""
        if sys.stdin.isatty():
            _edit_lines()
            _remove_old_history()
        if self._on_console:
            # Ctrl-Z and Ctrl-\ would leave a console with nobody to bring the chat back.
            signal.signal(signal.SIGTSTP, signal.SIG_IGN)
            signal.signal(signal.SIGQUIT, signal.SIG_IGN)
        self._greet()
        while True:
            self._tell_reminders()
            try:
                line = input(PROMPT if sys.stdin.isatty() else "").strip()
            except EOFError:
                display.write("\n" if sys.stdin.isatty() else "")
                return 0
            except KeyboardInterrupt:
                display.write("\n")
                continue
            except UnicodeDecodeError:
                display.error("that line is not UTF-8", "type it again")
                continue
            if not line:
                continue
            if not self._handle(line):
                return 0

    def _greet(self) -> None:
        if not sys.stdin.isatty():
            return
        try:
            status = client.call(self._path, "Status")
        except AgentError as error:
            display.error(error.message, error.hint)
            return
        leave = "/shell or Ctrl-D for a login" if self._on_console else "Ctrl-D to leave"
        display.write(f"\nThis is {status['machine']}. Ask it something; /help for more, {leave}.\n")
        model = status["model"]
        if model["state"] != "ready":
            display.note(f"the model is {model['state']}: {model['detail']}")
        if status.get("problem"):
            display.error(status["problem"], "agent health")
        else:
            self._recall_lines()
            self._introduce()

    def _recall_lines(self) -> None:
        """Let the arrow keys bring back what was asked in earlier chats; input() adds the lines of this one.

        It is agentd that keeps it: a file of lines would still have what was forgotten.
        """
        try:
            import readline
        except ImportError:
            return
        try:
            lines = client.call(self._path, "Lines")["lines"]
        except AgentError as error:
            display.error(error.message, error.hint)
            return
        for line in lines:
            # As it was typed: see _handle(). Nothing but text, which the terminal would act upon.
            if line.isprintable():
                readline.add_history(f"/{line}" if line.startswith("/") else line)

    def _introduce(self) -> None:
        """Ask the owner's name, once: until somebody has told it, each new chat asks again."""
        try:
            me = client.call(self._path, "Whoami")
            if me["owner"] or not me["is_owner"]:
                return
            display.write(f"I am {me['name']}. We have not met yet.\n")
            name = input("What is your name? (Enter: later) ").strip()
            if not name:
                return
            address = input(f"And how shall I call you? (Enter: {name}) ").strip()
            told = client.call(self._path, "Introduce", owner=name, address=address or None)
            display.write(f"Hello, {told['address']}. I will remember that: agent whoami shows it.\n")
        except AgentError as error:
            display.error(error.message, error.hint)
        except (EOFError, KeyboardInterrupt, UnicodeDecodeError):
            display.write("\n")

    def _tell_reminders(self) -> None:
        """Write what rang since the last prompt."""
        if not sys.stdin.isatty():
            return
        # What is wrong with agentd is told when it is asked something.
        with suppress(AgentError):
            tell_unseen(self._path)

    def _handle(self, line: str) -> bool:
        """Do what `line` says; False when it says to leave."""
        if line in ("/quit", "/exit", "/shell"):
            return False
        try:
            if line.startswith("/") and not line.startswith("//"):
                self._command(*line.split(maxsplit=1))
            else:
                self._say(line.removeprefix("/") if line.startswith("//") else line)
        except AgentError as error:
            display.error(error.message, error.hint)
        except KeyboardInterrupt:
            display.write("\n")
        return True

    def _command(self, name: str, argument: str = "") -> None:
        match name:
            case "/help":
                leave = "leave; a login comes" if self._on_console else "leave"
                display.write(_HELP.format(leave=leave) + "\n")
            case "/new":
                self.session = None
                display.note("the next question begins a new session")
            case "/sessions":
                display.sessions(client.call(self._path, "Sessions", limit=20)["sessions"])
            case "/session" if argument:
                turns = client.history(self._path, argument, 4)
                self.session = argument
                display.history(turns)
            case "/history" if self.session:
                display.history(client.history(self._path, self.session))
            case "/history":
                display.note("nothing was said yet")
            case "/status":
                display.status(client.call(self._path, "Status"))
            case "/session":
                raise AgentError("which session?", "/sessions lists them; /session ID")
            case _ if "." in name or self._is_skill(name[1:]):
                self._say(f"{name} {argument}".strip())
            case _:
                raise AgentError(f"there is no command {name}", "/help, agent skills")

    def _is_skill(self, name: str) -> bool:
        """Whether there is a skill or a command of that name; with a mistake in its file agentd tells it."""
        reply = client.tools(self._path, "Skills")
        named = (f"commands/{name}.md:", f"skills/{name}/", f"skills/{name}:")
        return any(one["name"] == name for one in reply["skills"]) or any(
            part in line for line in reply["problems"] for part in named
        )

    def _say(self, text: str) -> None:
        parameters = {"text": text, "session": self.session, "max_tokens": self._max_tokens}
        show_answer(self._path, parameters, "text", began=self._began)

    def _began(self, session: str) -> None:
        # Known from the first reply on: an answer that is stopped or fails belongs to it as well.
        self.session = session


def _edit_lines() -> None:
    """Turn on line editing.

    readline is not in every image: without it the terminal's own line editing is used.
    """
    with suppress(ImportError):
        import readline

        # The escape sequences of bracketed paste disturb serial terminals.
        readline.parse_and_bind("set enable-bracketed-paste off")


def _remove_old_history() -> None:
    # Chats before this one kept each line in a file, also when it was forgotten.
    base = os.environ.get("XDG_STATE_HOME") or os.environ.get("STATE_DIRECTORY") or ""
    with suppress(OSError, RuntimeError):
        folder = Path(base) if base else Path.home() / ".local" / "state"
        (folder / "agent" / "chat-history").unlink(missing_ok=True)
