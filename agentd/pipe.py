"""Text piped into the `agent` command: what a question is about, or the question itself.

Only the end is kept, since what is piped is mostly a log; agentd cuts further, to the model's context.
"""

import os
import select
import stat
from collections.abc import Callable
from dataclasses import dataclass

from agentd.errors import AgentError

# All of it is read, so that the count in the note is true, up to here.
MAX_READ_BYTES = 16 << 20
# What is sent: more than any context of today's small models (8,192 tokens are about 32,000 characters).
MAX_SENT_BYTES = 256 << 10
# Seconds of silence after which the person is told what the command waits for.
SILENCE = 3.0


@dataclass(frozen=True, slots=True)
class Piped:
    """The end of a text; `left_out` characters of its beginning are not in it."""

    text: str
    left_out: int


def is_piped(descriptor: int) -> bool:
    """Whether the command was given an input: a pipe, a file or a socket, not a terminal or /dev/null."""
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def read_piped(descriptor: int, tell: Callable[[str], None]) -> Piped:
    """Read `descriptor` to its end. `tell` gets a line when nothing comes for a while.

    Raises AgentError when the input is not text or is longer than MAX_READ_BYTES.
    """
    chunks: list[bytes] = []
    size = 0
    told = False
    while True:
        if not told and not select.select([descriptor], [], [], SILENCE)[0]:
            told = True
            tell("reading the standard input to its end (if there is none: </dev/null)")
        try:
            chunk = os.read(descriptor, 1 << 18)
        except OSError as error:
            raise AgentError(f"cannot read the standard input: {error.strerror}") from error
        if not chunk:
            break
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_READ_BYTES:
            raise AgentError(
                f"the input is longer than {MAX_READ_BYTES >> 20} MiB",
                "pipe a part of it: ... | tail -n 1000",
            )
    whole = b"".join(chunks)
    if b"\0" in whole[:8192]:
        raise AgentError("the input is not text", "pipe text, such as the output of a command")
    text = whole.decode("utf-8", "replace")
    if len(whole) <= MAX_SENT_BYTES:
        return Piped(text, 0)
    kept = text.encode()[-MAX_SENT_BYTES:].decode("utf-8", "ignore")
    return Piped(kept, len(text) - len(kept))
