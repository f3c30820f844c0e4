"""A conversation's messages as the worker takes them. Not for: making a prompt of them (template.py)."""

from collections.abc import Sequence
from dataclasses import dataclass

ROLES = ("system", "user", "assistant")


class InvalidMessages(Exception):
    """The messages cannot be put to this model; the text says why."""


@dataclass(frozen=True)
class Message:
    """One message of a conversation; `role` is one of ROLES."""

    role: str
    content: str


def check_messages(messages: Sequence[Message]) -> None:
    """Raise InvalidMessages unless the model could answer these messages."""
    if not messages:
        raise InvalidMessages("there is no message")
    for number, message in enumerate(messages, 1):
        if message.role not in ROLES:
            roles = ", ".join(ROLES)
            raise InvalidMessages(f"message {number}: the role {message.role!r} is not one of {roles}")
    if messages[-1].role == "assistant":
        raise InvalidMessages("the last message is the assistant's own: there is nothing to answer")
