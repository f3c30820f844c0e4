"""What a memory is, and a passage of a note. How they are written is note.py's concern."""

from dataclasses import dataclass

OWNER = "owner"
KINDS = ("fact", "preference", "event", "note", "person", "task", "skill")
# From the most trusted down; what came from outside never changes anything by itself.
TRUST = ("owner", "system", "agent", "untrusted")


@dataclass(frozen=True, slots=True)
class Memory:
    """One thing that is remembered; times are UTC in ISO 8601, to the second.

    `source` says where it came from: "turn:ID", "file:PATH", "import:NAME", "event:NAME" or "person".
    `seen` is when it was last confirmed. `slot` is the question that it answers ("dentist"), so that a newer
    answer supersedes it; `superseded_by`, `supersedes` are ids of memories, `reason` says why. After
    `expires`, if it is not empty, the memory is no longer recalled.
    """

    id: str
    text: str
    kind: str = "fact"
    created: str = ""
    seen: str = ""
    source: str = "person"
    trust: str = "owner"
    person: str = OWNER
    shared: bool = False
    expires: str = ""
    slot: str = ""
    supersedes: str = ""
    superseded_by: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Passage:
    """A paragraph, list item or section of a note that carries no memory id; `line` counts from 1."""

    id: str
    text: str
    heading: str
    line: int
