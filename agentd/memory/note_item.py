"""How one memory is written as a list item of a note, and read back.

    - My dentist is Dr. Lee. <!-- m01jdh3k2c9x4q kind=fact created=2026-11-25T04:00:00Z trust=owner -->

Further lines are indented. In the text a backslash, as Markdown has it, goes before `<!--` and before what
would begin another list item (`\\- milk`), so that any text at all can be a memory. In the comment, values
are percent-encoded. Where items are in a note is note_text.py's concern.
"""

import re
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from agentd.errors import AgentError
from agentd.memory.ids import is_id
from agentd.memory.memory import KINDS, TRUST, Memory

# The marker of a list item: its indent, the marker, and the space after it.
BULLET = re.compile(r"([ \t]*)([-*+]|[0-9]{1,9}[.)])(?:[ \t]+|\Z)")
_MARKER = re.compile(r"\A([ \t]*[0-9]*)(\\*[-*+.)](?:[ \t]|\Z))")
_ESCAPED_MARKER = re.compile(r"\A([ \t]*[0-9]*)\\(\\*[-*+.)](?:[ \t]|\Z))")
_ENCODED = re.compile(r"[\s\x00-\x20\x7f%<>]|-(?=-)")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?")
_SURROGATES_AND_NUL = re.compile("[\ud800-\udfff\0]")

_ALWAYS = ("kind", "created", "source", "trust")
_SOMETIMES = ("seen", "shared", "expires", "slot", "supersedes", "superseded-by", "reason")
_TIMES = ("created", "seen", "expires")
_YES, _NO = ("yes", "true", "1"), ("no", "false", "0")
_KEYS = {*_ALWAYS, *_SOMETIMES}
_DEFAULTS = {field.name.replace("_", "-"): field.default for field in fields(Memory)}


class NoteError(AgentError):
    """What is wrong with a note; `line` counts from 1 and is 0 if no line is to blame."""

    def __init__(self, why: str, line: int = 0) -> None:
        super().__init__(f"line {line}: {why}" if line else why)
        self.line = line


def normal(memory: Memory) -> Memory:
    """`memory` as it is read back after it was written; only this is changed:

    line ends become "\\n"; blanks at the ends of lines and blank lines around the text go; NUL and lone
    surrogates, which no UTF-8 file for people can hold, become U+FFFD; `seen` is `created` if empty.
    """
    changes: dict[str, Any] = {
        field.name: _SURROGATES_AND_NUL.sub("\ufffd", getattr(memory, field.name))
        for field in fields(memory)
        if field.name != "shared"
    }
    lines = changes["text"].replace("\r\n", "\n").replace("\r", "\n").split("\n")
    changes["text"] = "\n".join(line.rstrip(" \t") for line in lines).strip(" \t\n")
    changes["seen"] = changes["seen"] or changes["created"]
    return replace(memory, **changes)


def written(memory: Memory, indent: str = "", marker: str = "-", extra: Sequence[str] = ()) -> list[str]:
    """The lines of `memory` as a list item, `extra` going last into its comment.

    Raises NoteError if it has no text, or a field that could not be read back.
    """
    memory = normal(memory)
    if not memory.text:
        raise NoteError("a memory needs a text")
    if not is_id(memory.id):
        raise NoteError(f"{memory.id!r} is not the id of a memory")
    _check(memory, 0)
    tokens = [memory.id]
    for key in (*_ALWAYS, *_SOMETIMES):
        value = getattr(memory, key.replace("-", "_"))
        if key == "seen" and value == memory.created:
            continue
        if value != _DEFAULTS[key] or (key in _ALWAYS and value):
            tokens.append(f"{key}={'yes' if value is True else _encoded(value)}")
    escaped = memory.text.replace("<!--", "\\<!--").split("\n")
    first, *rest = (_MARKER.sub(r"\1\\\2", line) for line in escaped)
    inner = indent + " " * (len(marker) + 1)
    lines = [f"{indent}{marker} {first}", *(inner + line if line else "" for line in rest)]
    lines[-1] += f" <!-- {' '.join((*tokens, *extra))} -->"
    return lines


def _encoded(value: str) -> str:
    return _ENCODED.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), value)


def comment(line: str) -> tuple[int, list[str]] | None:
    """Where the id comment at the end of `line` begins, and the words in it; None if there is none."""
    start = line.rfind("<!--")
    if start < 0 or not line.endswith("-->") or line[start - 1 : start] == "\\":
        return None
    inside = line[start + 4 : -3]
    words = inside.split()
    return (start, words) if words and is_id(words[0]) and "-->" not in inside else None


def text_of(lines: Sequence[str]) -> str:
    """The text that the lines of a list item, without its comment, hold."""
    bullet = BULLET.match(lines[0])
    assert bullet, "an item begins with its marker"
    indent, width = bullet[1], len(bullet[2]) + 1
    texts = [lines[0][bullet.end() :]]
    for line in lines[1:]:
        if line.startswith(indent + "\t"):
            texts.append(line[len(indent) + 1 :])
        elif line.startswith(indent):
            line = line[len(indent) :]
            texts.append(line[min(width, len(line) - len(line.lstrip(" "))) :])
        else:
            texts.append(line.lstrip(" \t"))
    texts = [_ESCAPED_MARKER.sub(r"\1\2", text).rstrip(" \t") for text in texts]
    return "\n".join(texts).replace("\\<!--", "<!--").strip(" \t\n")


def memory_of(text: str, words: Sequence[str], person: str, line: int) -> Memory:
    """The memory with this text and these words in its comment. Raises NoteError for an impossible value."""
    values: dict[str, str | bool] = {}
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if not equals or key not in _KEYS:
            continue
        if key == "shared":
            if value not in _YES + _NO:
                raise NoteError(f"shared={value} is neither yes nor no", line)
            values[key] = value in _YES
        else:
            values[key.replace("-", "_")] = unquote(value)
    values.setdefault("seen", values.get("created", ""))
    memory = Memory(id=words[0], text=text, person=person, **values)  # type: ignore[arg-type]
    _check(memory, line)
    return memory


def _check(memory: Memory, line: int) -> None:
    if memory.kind not in KINDS:
        raise NoteError(f"kind={memory.kind} is none of {', '.join(KINDS)}", line)
    if memory.trust not in TRUST:
        raise NoteError(f"trust={memory.trust} is none of {', '.join(TRUST)}", line)
    for key in _TIMES:
        if (value := getattr(memory, key)) and not _is_time(value):
            raise NoteError(f"{key}={value} is not a time such as 2026-11-25T04:00:00Z", line)


def _is_time(value: str) -> bool:
    if not _TIME.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def unknown_words(words: Sequence[str]) -> list[str]:
    """What a comment holds beside what we know; it is kept when the memory is written again."""
    return [word for word in words[1:] if "=" not in word or word.partition("=")[0] not in _KEYS]
