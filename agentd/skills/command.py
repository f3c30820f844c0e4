"""A slash command: a text with places for words, which is a prompt for the model or a list of tool calls.

The file is NAME.md in the folder commands. Its text has `$1` to `$9`, `$ARGUMENTS`, or `{name}` where the
front matter names its arguments; `$$` is a dollar sign. What is put into a place is never looked at again:
the calls, their tools and the names of their arguments are those of the file, whatever the words are.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from agentd.skills.head import ALLOWED, LONGEST_DESCRIPTION, NAME_RULE, BadFile, Head, is_name
from agentd.skills.narrowing import allows

MOST_CALLS = 20
# One cannot say more than this with a command, its places filled.
LONGEST_FILLED = 256 << 10

_PLACE = re.compile(r"\$\$|\$([1-9])(?![0-9])|\$ARGUMENTS\b|\{([a-z][a-z0-9_-]{0,31})\}")
_ARGUMENT = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_TOOL = re.compile(r"/([a-z_]+\.[a-z_]+)(?:\s|$)")


class Misused(Exception):
    """The words do not fit the command; one line for the person."""


@dataclass(frozen=True, slots=True)
class Call:
    """One use of a tool. In a command's file the values still have places in them."""

    tool: str
    arguments: tuple[tuple[str, str], ...]

    def line(self) -> str:
        """The call as a person would type it."""
        return " ".join(
            [f"/{self.tool}", *(shlex.quote(f"{name}={value}") for name, value in self.arguments)]
        )


@dataclass(frozen=True, slots=True)
class Command:
    """A command that can be used: its `calls` if it has some, else its `body` is a prompt.

    `arguments` are the names of its places where the file gives names; `allowed_tools` is None where it has
    no such list.
    """

    name: str
    description: str
    body: str
    path: str
    arguments: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    allowed_tools: tuple[str, ...] | None = None

    def has_places(self) -> bool:
        """Whether words that come with the command go into its text."""
        return any(place[0] != "$$" for place in self._places())

    def fill(self, text: str) -> tuple[str, tuple[Call, ...]]:
        """The prompt, or the calls, with `text`, what was said after the command's name, in the places.

        The last place takes all the words that are left. Raises Misused.
        """
        words = _words(text)
        count = len(self.arguments) or max((int(place[1] or 0) for place in self._places()), default=0)
        if len(words) < len(self.arguments):
            raise Misused(f"/{self.name} needs {self._usage(words)}")
        if self.calls and words and not self.has_places():
            raise Misused(f"/{self.name} takes no words; what is {' '.join(words)!r}?")
        if 0 < count < len(words):
            words = [*words[: count - 1], " ".join(words[count - 1 :])]
        values = _Values(text, words, self.arguments)
        if self.calls:
            filled = [
                Call(call.tool, tuple((name, values.into(value)) for name, value in call.arguments))
                for call in self.calls
            ]
            return "", tuple(filled)
        prompt = values.into(self.body)
        if not prompt.strip():
            raise Misused(f"/{self.name} says nothing without words")
        return prompt, ()

    def _places(self) -> list[re.Match[str]]:
        return [place for place in _PLACE.finditer(self.body) if not place[2] or place[2] in self.arguments]

    def _usage(self, words: Sequence[str]) -> str:
        missing = " and ".join(f"'{name}'" for name in self.arguments[len(words) :])
        return f"{missing}: /{self.name} {' '.join(name.upper() for name in self.arguments)}"


class _Values:
    """What is put into places; no more than LONGEST_FILLED characters altogether."""

    def __init__(self, text: str, words: Sequence[str], names: Sequence[str]) -> None:
        self._text = text
        self._words = words
        self._names = names
        self._room = LONGEST_FILLED

    def into(self, template: str) -> str:
        """`template` with its places filled. Raises Misused if it is too long."""
        places = [self._value(place) for place in _PLACE.finditer(template)]
        # Counted before it is made: a file of 64 KiB can name its words six thousand times.
        self._room -= len(template) + sum(map(len, places))
        if self._room < 0:
            raise Misused(f"with these words it is longer than {LONGEST_FILLED >> 10} KiB")
        left = iter(places)
        return _PLACE.sub(lambda _: next(left), template)

    def _value(self, place: re.Match[str]) -> str:
        if place[0] == "$$":
            return "$"
        if place[0] == "$ARGUMENTS":
            return self._text
        if place[2] and place[2] not in self._names:
            return place[0]
        index = int(place[1]) - 1 if place[1] else self._names.index(place[2])
        return self._words[index] if index < len(self._words) else ""


def parse(path: str, text: str) -> Command:
    """The command at `path` in the vault, ".../commands/NAME.md". Raises BadFile with all mistakes."""
    name = PurePosixPath(path).stem
    if not is_name(name):
        raise BadFile((f"{path}:1: the name {name!r} is not {NAME_RULE}",))
    head = Head(path, text)
    description = head.text("description", LONGEST_DESCRIPTION)
    arguments = head.names("arguments") or ()
    allowed = head.names(ALLOWED)
    _check_arguments(head, arguments)
    calls = _calls(head, allowed)
    head.check()
    first = head.body.partition("\n")[0][:LONGEST_DESCRIPTION]
    return Command(
        name, " ".join((description or first).split()), head.body, path, arguments, calls, allowed
    )


def _check_arguments(head: Head, arguments: Sequence[str]) -> None:
    line = head.line_of("arguments")
    for name in arguments:
        if not _ARGUMENT.fullmatch(name):
            head.mistake(f"{name!r} is no name for an argument", line)
    if len(set(arguments)) < len(arguments):
        head.mistake("two arguments have the same name", line)
    for number, text in enumerate(head.body.split("\n"), head.body_line):
        for place in _PLACE.finditer(text):
            if arguments and place[1] and int(place[1]) > len(arguments):
                head.mistake(f"{place[0]}, but 'arguments' names {len(arguments)}", number)


def _calls(head: Head, allowed: Sequence[str] | None) -> tuple[Call, ...]:
    """The calls of a body that begins with one; mistakes go to `head`."""
    if not _TOOL.match(head.body):
        _check_prompt(head)
        return ()
    calls = []
    for number, text in enumerate(head.body.split("\n"), head.body_line):
        if not text.strip():
            continue
        found = _TOOL.match(text.strip())
        if found is None:
            head.mistake("a command that begins with /family.verb has nothing but such lines", number)
        elif not allows(allowed, found[1]):
            head.mistake(f"{found[1]} is not among its {ALLOWED}", number)
        else:
            calls.append(Call(found[1], _pairs(head, text.strip()[found.end() :], number)))
    if len(calls) > MOST_CALLS:
        head.mistake(f"there are {len(calls)} calls; the limit is {MOST_CALLS}", head.body_line)
    return tuple(calls)


def _check_prompt(head: Head) -> None:
    """A text that only looks like a call would be said to the model, and nothing would be done."""
    first = next(iter(head.body.split()), "")
    if not first.startswith("/") or "/" in first[1:]:
        return
    if is_name(first[1:]):
        head.mistake(f"a command uses tools, not another command: {first}", head.body_line)
    elif "." in first:
        head.mistake(f"{first!r} is no tool: /family.verb NAME=VALUE", head.body_line)


def _pairs(head: Head, text: str, number: int) -> tuple[tuple[str, str], ...]:
    try:
        words = shlex.split(text)
    except ValueError:
        head.mistake("a quotation mark is not closed", number)
        return ()
    pairs: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not _ARGUMENT.fullmatch(name):
            head.mistake(f"{word!r} is not NAME=VALUE", number)
        elif name in pairs:
            head.mistake(f"'{name}' is there twice", number)
        pairs[name] = value
    return tuple(pairs.items())


def _words(text: str) -> list[str]:
    """The words of a text, those in quotation marks together; one with an odd mark (don't) has none."""
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
