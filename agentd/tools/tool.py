"""What a tool is: a declaration, and the function that does it.

The declaration is what is chosen from, judged by policy and documented; docs/tools.md is made from it.
Its example requests are in examples/. Not for: which tool a request means (routing/), or what its words
for a unit or a time stand for (arguments.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentd.tools.bus import Bus


class Level(StrEnum):
    """What it takes: reading is allowed, a change asks, danger is for the local console alone."""

    READ = "read"
    CHANGE = "change"
    DANGER = "danger"


class Kind(StrEnum):
    """What an argument's words stand for."""

    UNIT = "unit"  # a service: nginx.service
    WORDS = "words"  # free text
    NAME = "name"  # a name without spaces
    PATH = "path"  # a file or folder
    SINCE = "since"  # a moment in the past, ISO 8601 with offset, or "boot"
    WHEN = "when"  # a moment to come, ISO 8601 with offset
    DURATION = "duration"  # whole seconds, as a number
    SCHEDULE = "schedule"  # moments that come again: an OnCalendar expression of systemd.time(7)
    COUNT = "count"  # a number above zero
    CHOICE = "choice"  # one of `choices`
    LEVEL = "level"  # percent, "0" to "100", or steps from where it is: "+10", "-10"
    LINK = "link"  # a network interface: wlan0
    NETWORK = "network"  # the name of a Wi-Fi network
    HOST = "host"  # a host name, with or without domain; or an IP address
    ZONE = "zone"  # a time zone: Europe/Berlin
    LOCALE = "locale"  # a locale: de_DE.UTF-8
    LAYOUT = "layout"  # a keyboard layout, and its variant after a "-": us, us-intl


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument; without it `default` is taken, unless it is required. `most` bounds a count."""

    name: str
    kind: Kind
    purpose: str
    required: bool = True
    default: Any = None
    choices: tuple[str, ...] = ()
    most: int = 1000


@dataclass(frozen=True, slots=True)
class Context:
    """What a tool works with: the system bus of this machine and who asks."""

    bus: "Bus"
    person: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool found: `text` for a person, `facts` the same as JSON, and where they come from."""

    text: str
    facts: Any
    sources: tuple[str, ...] = ()


Arguments = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to be done: a verb ("unit.restart") and its arguments, as JSON."""

    verb: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a change will do, before it is done.

    `summary` is the change in a few words, `effects` are what it touches, a line each; `basis` is the state
    that it was planned upon, `done` what is said afterwards. `undo` are the steps back, if there are any.
    """

    summary: str
    steps: tuple[Step, ...]
    effects: tuple[str, ...] = ()
    undo: tuple[Step, ...] = ()
    basis: str = ""
    done: str = ""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool by its name "family.verb". One that reads has `run`, one that changes something has `plan`.

    What is `reversible` is planned with steps back, if the state before is one that can be had again. Both
    may raise Lacking for what a machine has not, and nothing else.
    """

    name: str
    purpose: str
    level: Level
    run: Callable[[Context, Arguments], Answer] | None = None
    plan: Callable[[Context, Arguments], Plan] | None = None
    arguments: tuple[Argument, ...] = field(default=())
    reversible: bool = False


class Lacking(Exception):
    """What the tool needs is not here: a device, a service, an interface. One line, and what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Unfit(Lacking):
    """An argument that names nothing here, or cannot be what it should be. One line, and what to do."""
