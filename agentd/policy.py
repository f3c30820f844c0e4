"""What may be done: rules that deny, ask or allow, over a tool, its arguments, and where the wish came from.

Rules are in YAML files: the owner's (/etc/agentd/policy.d), and after them agentd's own (policy.d/ beside
this file). Of a folder's rules all that deny are looked at before those that ask, these before those that
allow; the first that matches decides, and what no rule matches is denied. No rule lets a text that is not
the owner's change anything without a yes at the console. A file with a mistake is told, and the last
rules that were without one go on, also over a restart. Not for: asking (acting.py), or what is asked
(tools/).
"""

import itertools
import json
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, cast, get_args

from agentd import log
from agentd.memory.repository import write_file
from agentd.tools.tool import Level

Decision = Literal["deny", "ask", "allow"]
# Where a wish came from: the machine's own console, a login over the network, another program of this
# machine, a timer, the network itself.
Place = Literal["console", "ssh", "socket", "schedule", "network"]
Trust = Literal["owner", "system", "agent", "untrusted"]

OWN_RULES = Path(__file__).with_name("policy.d")
OWNER_RULES = Path("/etc/agentd/policy.d")
LARGEST_FILE = 256 << 10
# Seconds that files must have been left alone before they are read: half of a file may be a valid one, that
# denies less or allows more than the whole.
SETTLED = 1.0
_KINDS: tuple[Decision, ...] = ("deny", "ask", "allow")
_FIELDS = ("name", "tool", "level", "arguments", "person", "trust", "from", "approve", "why")


@dataclass(frozen=True, slots=True)
class Origin:
    """Who wishes it, where, and how far the text that led to it is trusted."""

    person: str
    is_owner: bool
    place: Place
    trust: Trust = "owner"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; an empty field matches everything. Names of tools and values of arguments may hold `*`.

    `approve`: where the person must be who says yes to what a rule asks.
    """

    decision: Decision
    name: str
    tools: tuple[str, ...] = ()
    levels: tuple[str, ...] = ()
    arguments: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    people: tuple[str, ...] = ()
    trust: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    approve: tuple[str, ...] = ()
    why: str = ""

    def matches(self, tool: str, level: Level, arguments: Mapping[str, Any], origin: Origin) -> bool:
        """Whether the rule is about this. A pattern for an argument that is not given does not match."""
        return (
            _any(tool, self.tools)
            and (not self.levels or level in self.levels)
            and all(
                name in arguments and _any(str(arguments[name]), wanted)
                for name, wanted in self.arguments.items()
            )
            and (not self.people or _is_of(origin, self.people))
            and (not self.trust or origin.trust in self.trust)
            and (not self.places or origin.place in self.places)
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rules say of one action, by which rule and why; `approve` are the places that may say yes."""

    decision: Decision
    rule: str
    why: str
    approve: tuple[str, ...] = ()


class PolicyError(ValueError):
    """A file with a mistake: `FILE:LINE: what is wrong`."""


class Policy:
    """The rules in force; they are read again when a file has changed."""

    def __init__(self, folders: Iterable[Path], kept: Path, settled: float = 0.0) -> None:
        """`folders` hold *.yaml, the first decides first; `kept` is where the last good rules are.

        What was written less than `settled` seconds ago is not read yet.
        """
        self._folders = tuple(folders)
        self._kept = kept
        self._settled = settled
        self._rules: tuple[tuple[Rule, ...], ...] | None = None
        self._seen: object = None
        self._lock = threading.Lock()
        # Why the files are not in force, None if they are.
        self.problem: str | None = None

    def judge(self, tool: str, level: Level, arguments: Mapping[str, Any], origin: Origin) -> Verdict:
        """What the rules say; never raises."""
        verdict = self._judge(tool, level, arguments, origin)
        if level is not Level.READ and origin.trust != "owner" and verdict.decision != "deny":
            return Verdict(
                "ask", verdict.rule, "the wish rests on a text that is not the owner's", ("console",)
            )
        return verdict

    def _judge(self, tool: str, level: Level, arguments: Mapping[str, Any], origin: Origin) -> Verdict:
        for rules, kind in itertools.product(self.rules(), _KINDS):
            for rule in rules:
                if rule.decision == kind and rule.matches(tool, level, arguments, origin):
                    return Verdict(kind, rule.name, rule.why, rule.approve)
        return Verdict("deny", "(none)", "no rule allows it")

    def rules(self) -> tuple[tuple[Rule, ...], ...]:
        """The rules in force, by folder."""
        with self._lock:
            state = self._state()
            if self._rules is None or state != self._seen:
                if writing := self._being_written():
                    self.problem = f"{writing}: it was written just now; the rules before it are in force"
                    self._rules = self._rules or self._last_good()
                else:
                    self._read()
                    self._seen = state
            assert self._rules is not None, "reading leaves rules"
            return self._rules

    def _state(self) -> object:
        found = []
        for folder in self._folders:
            for file in folder.glob("*.yaml"):
                with suppress(OSError):
                    state = file.stat()
                    found.append((file, state.st_mtime_ns, state.st_size, state.st_ino))
        return found

    def _being_written(self) -> Path | None:
        """A file that was changed a moment ago; one from the future was not."""
        now = time.time()
        for file in (file for folder in self._folders for file in folder.glob("*.yaml")):
            with suppress(OSError):
                if 0 <= now - file.stat().st_ctime < self._settled:
                    return file
        return None

    def _read(self) -> None:
        try:
            rules = tuple(_rules_of(folder) for folder in self._folders)
        except PolicyError as error:
            if self.problem != str(error):
                log.error(f"policy: {error}; the rules before it stay in force")
            self.problem = str(error)
            if self._rules is None:
                self._rules = self._last_good()
            return
        self.problem = None
        if rules != self._rules:
            self._rules = rules
            with suppress(OSError):  # a full disk: they are in force, and read again at the next start
                write_file(
                    self._kept, json.dumps([[asdict(rule) for rule in one] for one in rules]).encode()
                )

    def _last_good(self) -> tuple[tuple[Rule, ...], ...]:
        """The rules that were in force before a restart; agentd's own alone where there were none."""
        try:
            return tuple(tuple(map(_kept_rule, rules)) for rules in json.loads(self._kept.read_bytes()))
        except (OSError, ValueError, TypeError, KeyError):
            return (_rules_of(OWN_RULES),)


def read(file: Path) -> list[Rule]:
    """The rules of one file. Raises PolicyError for the first mistake in it."""
    import yaml

    try:
        with file.open("rb") as opened:
            data = opened.read(LARGEST_FILE + 1)
        if len(data) > LARGEST_FILE:
            raise PolicyError(f"{file}: it is larger than {LARGEST_FILE >> 10} KiB")
        text = data.decode()
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise PolicyError(f"{file}:{line}: {error.problem}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PolicyError(f"{file}: it cannot be read: {error}") from error
    if root is None:
        return []
    rules = []
    for kind, entries in _pairs(file, root):
        if kind.value not in _KINDS:
            raise _mistake(file, kind, f"'{kind.value}' is none of {', '.join(_KINDS)}")
        if not isinstance(entries, yaml.SequenceNode):
            raise _mistake(file, entries, f"'{kind.value}' needs a list of rules")
        rules += [_rule(file, kind.value, entry) for entry in entries.value]
    if text[-1] not in "\n]}\"'":
        line = text.count("\n") + 1
        raise PolicyError(f"{file}:{line}: it ends within a line, so something may be missing")
    return rules


def _rules_of(folder: Path) -> tuple[Rule, ...]:
    return tuple(rule for file in sorted(folder.glob("*.yaml")) for rule in read(file))


def _rule(file: Path, kind: str, entry: Any) -> Rule:
    given: dict[str, Any] = {}
    for key, value in _pairs(file, entry):
        if key.value not in _FIELDS:
            raise _mistake(file, key, f"a rule has no '{key.value}'; it has {', '.join(_FIELDS)}")
        if key.value == "arguments":
            given["arguments"] = {name.value: _texts(file, texts) for name, texts in _pairs(file, value)}
        else:
            given[key.value] = _texts(file, value)
    for name, allowed in (
        ("level", tuple(Level)),
        ("from", get_args(Place)),
        ("approve", get_args(Place)),
        ("trust", get_args(Trust)),
    ):
        for text in given.get(name, ()):
            if text not in allowed:
                raise _mistake(file, entry, f"{name}: '{text}' is none of {', '.join(allowed)}")
    if not given.keys() & {"tool", "level"}:
        raise _mistake(file, entry, "a rule names a tool or a level")
    if given.get("approve") and kind != "ask":
        raise _mistake(file, entry, "'approve' is for what is asked")
    line = entry.start_mark.line + 1
    return Rule(
        cast(Decision, kind),
        " ".join(given.get("name", ())) or f"{file.name}:{line}",
        given.get("tool", ()),
        given.get("level", ()),
        given.get("arguments", {}),
        given.get("person", ()),
        given.get("trust", ()),
        given.get("from", ()),
        given.get("approve", ()),
        " ".join(given.get("why", ())),
    )


def _pairs(file: Path, node: Any) -> list[tuple[Any, Any]]:
    import yaml

    if not isinstance(node, yaml.MappingNode):
        raise _mistake(file, node, "here belongs 'name: value'")
    seen = set()
    for key, _ in node.value:
        if key.value in seen:
            raise _mistake(file, key, f"'{key.value}' is there twice")
        seen.add(key.value)
    return list(node.value)


def _texts(file: Path, node: Any) -> tuple[str, ...]:
    """One text, or a list of texts."""
    import yaml

    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
    for one in nodes:
        if not isinstance(one, yaml.ScalarNode) or not one.value:
            raise _mistake(file, one, "here belongs a text, or a list of texts")
    return tuple(one.value for one in nodes)


def _mistake(file: Path, node: Any, what: str) -> PolicyError:
    return PolicyError(f"{file}:{node.start_mark.line + 1}: {what}")


def _kept_rule(kept: Mapping[str, Any]) -> Rule:
    lists = ("tools", "levels", "people", "trust", "places", "approve")
    return Rule(
        **{
            **kept,
            **{name: tuple(kept[name]) for name in lists},
            "arguments": {name: tuple(texts) for name, texts in kept["arguments"].items()},
        }
    )


def _any(text: str, patterns: tuple[str, ...]) -> bool:
    return not patterns or any(fnmatchcase(text, pattern) for pattern in patterns)


def _is_of(origin: Origin, people: tuple[str, ...]) -> bool:
    """Whether a rule is about a person: by name, "owner", or "other" for everybody else."""
    return origin.person in people or ("other" in people and not origin.is_owner)
