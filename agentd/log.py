"""Log lines on stderr: one line for one event, never the text of a conversation.

Under journald each line carries its priority as sd-daemon(3) describes (`<6>`). The logging package is
not used because its import alone costs more than everything here, and start-up under emulation is slow.
"""

import os

_TO_JOURNAL = "JOURNAL_STREAM" in os.environ


def error(message: str) -> None:
    """Something does not work and somebody should look."""
    _write(3, message)


def warning(message: str) -> None:
    """Something went wrong and was dealt with."""
    _write(4, message)


def info(message: str) -> None:
    """An ordinary event."""
    _write(6, message)


def _write(priority: int, message: str) -> None:
    # A name in a model file must not write escape sequences to a developer's terminal.
    one_line = "".join(letter if letter.isprintable() else "?" for letter in " ".join(message.split()))
    prefix = f"<{priority}>" if _TO_JOURNAL else "agentd: "
    # One write for one line, so that lines of two threads never mix. A closed stderr must not stop agentd.
    try:
        os.write(2, f"{prefix}{one_line}\n".encode("utf-8", "replace"))
    except OSError:
        return
