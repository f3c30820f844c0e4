"""What goes into the index and what comes out of it: values without behaviour."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

from agentd.memory.memory import OWNER, Memory, Passage

TYPES = ("memory", "passage", "turn")


@dataclass(frozen=True, slots=True)
class TurnItem:
    """A turn: `row` is its number in the turns' database, which also orders turns; `id` is what is shown."""

    id: str
    row: int
    session: str
    person: str
    speaker: str
    time: str
    text: str


@dataclass(frozen=True, slots=True)
class FileItem:
    """A memory or a passage as it stands in a file of the vault; `heading` is searched as dates are."""

    id: str
    type: str
    text: str
    person: str = OWNER
    shared: bool = False
    time: str = ""
    kind: str = "note"
    trust: str = "owner"
    expires: str = ""
    active: bool = True
    heading: str = ""

    @classmethod
    def of_memory(cls, memory: Memory) -> Self:
        """A memory; one that was superseded is not active."""
        return cls(
            id=memory.id,
            type="memory",
            text=memory.text,
            person=memory.person,
            shared=memory.shared,
            time=memory.seen or memory.created,
            kind=memory.kind,
            trust=memory.trust,
            expires=memory.expires,
            active=not memory.superseded_by,
            heading=memory.slot,
        )

    @classmethod
    def of_passage(cls, passage: Passage, person: str = OWNER, time: str = "") -> Self:
        """A passage of a note of `person`; `time` is the day that the note is about, if it has one."""
        return cls(passage.id, "passage", passage.text, person, time=time, heading=passage.heading)


class FileState(Protocol):
    """What a scan of the vault saw of a file; vault.FileState is one."""

    @property
    def path(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def mtime_ns(self) -> int: ...
    @property
    def inode(self) -> int: ...


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """A file as it was when it was indexed."""

    path: str
    size: int
    mtime_ns: int
    inode: int
    digest: str


class Item(NamedTuple):
    """A row of the index. Of a turn, `before` and `after` are the rows of its neighbours in the session.

    `file` is the path as os.fsencode() gives it. A tuple: some hundred are made for each search.
    """

    row: int
    id: str
    type: str
    text: str
    person: str
    shared: bool
    session: str
    position: int
    file: bytes
    time: str
    speaker: str
    kind: str
    trust: str
    expires: str
    active: bool
    before: int | None
    after: int | None


@dataclass(frozen=True, slots=True)
class Scope:
    """What a search may find: items of `person` and shared ones, of these `types`.

    Those that were superseded or have expired at `now` (UTC, ISO 8601) only if `archived`. With `without`,
    no turn of that session from that position on: those are in the model's context already.
    """

    person: str
    now: str
    types: Collection[str] = TYPES
    archived: bool = False
    without: tuple[str, int] | None = None

    def condition(self) -> str:
        """This as a condition on the table `items`, in SQL, with the names of values()."""
        parts = ["(items.person = :person OR items.shared = 1)"]
        if not self.archived:
            parts.append("items.active = 1 AND (items.expires = '' OR items.expires > :now)")
        if set(self.types) != set(TYPES):
            parts.append("items.type IN (SELECT value FROM json_each(:types))")
        if self.without is not None:
            parts.append("(items.session != :session OR items.position < :position)")
        return " AND ".join(parts)

    def values(self) -> dict[str, str | int]:
        """The values of condition()."""
        session, position = self.without or ("", 0)
        types = json.dumps(list(self.types))
        return {
            "person": self.person,
            "now": self.now,
            "types": types,
            "session": session,
            "position": position,
        }


@dataclass(frozen=True, slots=True)
class Worded:
    """BM25 scores of rows, more is better, and the sum of the idf of the words that were looked for.

    A row of average length that holds each of the words once scores as much as that sum.
    """

    scores: dict[int, float]
    idf: float


@dataclass(frozen=True, slots=True)
class Counts:
    """How many there are; `pending` items still lack a vector."""

    turns: int
    memories: int
    passages: int
    files: int
    vectors: int
    pending: int
