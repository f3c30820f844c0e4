"""The head of a skill's or a command's file: its front matter, every key of the type that it has to have.

All mistakes of a file are collected, each with its line. A key that nobody knows is no mistake, as the Agent
Skills format has it, but for one that was to be `allowed-tools`: to overlook it would allow every tool.
"""

import re
from typing import Any

from agentd.memory.note_item import NoteError
from agentd.memory.note_text import front_matter
from agentd.skills import narrowing

ALLOWED = "allowed-tools"
LONGEST_DESCRIPTION = 1024
LONGEST_NAME = 64
NAME_RULE = f"of lower case letters and digits, single hyphens between, at most {LONGEST_NAME} characters"
# https://agentskills.io/specification: no hyphen first, last, or beside another.
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class BadFile(Exception):
    """A skill or a command that cannot be used: `lines` are its mistakes, "PATH:LINE: what is wrong"."""

    def __init__(self, lines: tuple[str, ...]) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


def is_name(text: str) -> bool:
    """Whether a skill or a command can have this name."""
    return len(text) <= LONGEST_NAME and _NAME.fullmatch(text) is not None


class Head:
    """What the file at `path` says in its front matter; `body` is the rest, from the line `body_line` on."""

    def __init__(self, path: str, text: str) -> None:
        """Raises BadFile if the front matter cannot be read at all."""
        self._path = path
        self._text = text
        self._mistakes: list[str] = []
        try:
            self._front, start = front_matter(text)
        except NoteError as error:
            raise BadFile((_line(path, error.line, error.message.partition(": ")[2]),)) from error
        self._source = text[:start]
        rest = text[start:]
        self.body = rest.strip()
        self.body_line = text.count("\n", 0, start + len(rest) - len(rest.lstrip())) + 1
        if not self.body:
            self.mistake("there is no text below the front matter", self.body_line)
        if "\0" in text:
            self.mistake("there is a NUL character", text.count("\n", 0, text.index("\0")) + 1)
        for key in self._front:
            if key != ALLOWED and re.sub("[-_ ]", "", key.lower()) == "allowedtools":
                self.mistake(f"'{key}' is written {ALLOWED}", self.line_of(key))

    def text(self, key: str, most: int | None = None, *, required: bool = False) -> str:
        """A text of at most `most` characters, "" where there is none."""
        value = self._front.get(key)
        if value is None:
            if required:
                self.mistake(f"there is no '{key}' in the front matter", 1)
            return ""
        if not isinstance(value, str):
            self.mistake(f"'{key}' is a text", self.line_of(key))
            return ""
        if not value.strip():
            self.mistake(f"'{key}' is empty", self.line_of(key))
        if most is not None and len(value) > most:
            self.mistake(f"'{key}' has {len(value)} characters; the limit is {most}", self.line_of(key))
        return value.strip()

    def names(self, key: str) -> tuple[str, ...] | None:
        """Names, written as a list or as one text; None where the key is not there."""
        value: Any = self._front.get(key)
        if value is None:
            return None
        if isinstance(value, str):
            return narrowing.names(value)
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            self.mistake(f"'{key}' is a list of names, or a text of names", self.line_of(key))
            return ()
        return tuple(one.strip() for one in value)

    def mapping(self, key: str) -> None:
        """See that `key`, if it is there, is a mapping."""
        if not isinstance(self._front.get(key, {}), dict):
            self.mistake(f"'{key}' is a list of `name: value`", self.line_of(key))

    def line_of(self, key: str) -> int:
        """The line on which a key is written, the first one where that cannot be told."""
        found = re.search(rf"^[\"']?{re.escape(key)}[\"']?[ \t]*:", self._source, re.MULTILINE)
        return self._source.count("\n", 0, found.start()) + 1 if found else 1

    def mistake(self, what: str, line: int) -> None:
        """Keep a mistake for check()."""
        self._mistakes.append(_line(self._path, line, what))

    def check(self) -> None:
        """Raise BadFile if there was a mistake."""
        if self._mistakes:
            raise BadFile(tuple(self._mistakes))


def _line(path: str, line: int, what: str) -> str:
    return f"{path}:{max(line, 1)}: {what}"
