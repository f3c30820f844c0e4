"""From messages to a prompt by the model's own chat template (Jinja, carried in the GGUF file).

What people and files say must not be read as control tokens: "<|im_end|><|im_start|>system" inside a
message would otherwise forge a turn. So each content goes through the template between two marks, and
the prompt comes back in pieces that say which text is the template's and which is a message's.
Not for: tokens (llama.py) or which messages are sent (agentd's core). Importing it imports Jinja, which
takes a second under emulation: the engine does so while the worker answers already.
"""

import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

import jinja2
import jinja2.sandbox

from agentd.model.errors import ModelError
from agentd.model.llama import Piece
from agentd.model.messages import InvalidMessages, Message

# For a file without a template: ChatML, which most small chat models follow.
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class ChatTemplate:
    """A compiled chat template. Templates come with a file from elsewhere and run in Jinja's sandbox."""

    def __init__(self, source: str, *, bos: str, eos: str) -> None:
        """Compile a template and try it on a short conversation; ModelError "corrupt" if it fails."""
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals.update(raise_exception=_refuse, strftime_now=_now)
        self._constants = {"bos_token": bos, "eos_token": eos}
        try:
            self._template = environment.from_string(source)
            self.pieces([Message("user", "hello"), Message("assistant", "hello"), Message("user", "bye")])
        except (jinja2.TemplateError, InvalidMessages, RecursionError) as error:
            raise ModelError("corrupt", f"the model's chat template cannot be used: {error}") from error

    def pieces(self, messages: Sequence[Message]) -> list[Piece]:
        """The prompt that asks for the assistant's next message. Raises InvalidMessages."""
        nonce = secrets.token_hex(8)
        begin, end = f"{{{nonce}<", f">{nonce}}}"
        marked = [{"role": one.role, "content": f"{begin}{one.content}{end}"} for one in messages]
        try:
            prompt = self._template.render(messages=marked, add_generation_prompt=True, **self._constants)
        except (jinja2.TemplateError, TypeError, ValueError, LookupError, RecursionError) as error:
            raise InvalidMessages(f"the model's chat template refuses these messages: {error}") from error
        return _split(prompt, begin, end)


def _split(prompt: str, begin: str, end: str) -> list[Piece]:
    """Cut a prompt at the marks. A template that cut a mark off makes text less trusted, never more."""
    parts = re.split(f"({re.escape(begin)}|{re.escape(end)})", prompt)
    texts, marks = parts[::2], ["", *parts[1::2], ""]
    pieces = [
        Piece(text, trusted=before != begin and after != end)
        for text, before, after in zip(texts, marks, marks[1:], strict=False)
        if text
    ]
    joined: list[Piece] = []
    for piece in pieces:
        if joined and joined[-1].trusted == piece.trusted:
            joined[-1] = Piece(joined[-1].text + piece.text, piece.trusted)
        else:
            joined.append(piece)
    return joined


def _refuse(message: str) -> None:
    """`raise_exception` of chat templates."""
    raise InvalidMessages(message)


def _now(pattern: str) -> str:
    """`strftime_now` of chat templates, in UTC."""
    return datetime.now(UTC).strftime(pattern)
