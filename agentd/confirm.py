"""Asking a person whether something that cannot be taken back shall be done."""

import sys

from agentd import display
from agentd.errors import AgentError


def is_confirmed(question: str, done: str) -> bool:
    """Whether the person types yes; a note says that nothing was `done` ("forgotten") if not.

    Raises AgentError where nobody can be asked.
    """
    if not sys.stdin.isatty():
        raise AgentError(f"nothing was {done}: nobody is there to say yes", "--yes")
    try:
        answer = input(f"{question} Type yes: ")
    except EOFError:
        display.write("\n")
        answer = ""
    if answer.strip().lower() == "yes":
        return True
    display.note(f"nothing was {done}")
    return False
