"""Who this machine is and who its owner is: IDENTITY.md and OWNER.md in the vault, for anybody to edit.

The front matter of the two notes is what counts; the text below it is for people and is found like any note.
Before the first boot the owner may have said both by the systemd credentials agentd.name and agentd.owner
(systemd.exec(5), LoadCredential=).
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentd.errors import InvalidMemory
from agentd.memory import note
from agentd.memory.memories import Memories
from agentd.memory.note import NoteError
from agentd.memory.vault import VaultError

IDENTITY, OWNER_NOTE = "IDENTITY.md", "OWNER.md"
LONGEST_NAME = 80

_IDENTITY_TEXT = """\
---
name: {name}
role: the agent of {machine}
manner: brief and plain
---
# Who I am

My name is {name}. I am the agent of {machine}.

## Rules

- I answer from what I remember, and say so when I do not know.
- What I remember stays on this machine.
"""
_OWNER_TEXT = """\
---
name: {owner}
address: {address}
---
# My owner

The owner's name is {owner}. The owner wants to be called {address}.
"""


@dataclass(frozen=True, slots=True)
class Introduction:
    """What the two notes say; `owner` and `address` are empty until somebody has told."""

    name: str
    owner: str
    address: str


def read(memories: Memories, machine: str) -> Introduction:
    """What the notes say now; the machine's name where they say nothing or cannot be read."""
    name = str(_front(memories, IDENTITY).get("name") or machine)
    told = _front(memories, OWNER_NOTE)
    owner = str(told.get("name") or "")
    return Introduction(name, owner, str(told.get("address") or owner))


def begin(memories: Memories, machine: str) -> None:
    """At the first start: write IDENTITY.md, and OWNER.md if a credential names the owner."""
    name, owner = _credential("agentd.name"), _credential("agentd.owner")
    if not _is_there(memories, IDENTITY):
        text = _IDENTITY_TEXT.format(name=name or machine, machine=machine)
        memories.shelf.rewrite({IDENTITY: text}, "First start")
    if owner and not _is_there(memories, OWNER_NOTE):
        text = _OWNER_TEXT.format(owner=owner, address=owner)
        memories.shelf.rewrite({OWNER_NOTE: text}, "The owner is known by a credential")


def tell(
    memories: Memories, machine: str, *, owner: str | None, address: str | None, name: str | None
) -> Introduction:
    """Write what the owner tells; what is None stays. Raises InvalidMemory, VaultConflict."""
    known = read(memories, machine)
    owner, address, name = (_checked(value) for value in (owner, address, name))
    told = Introduction(
        name or known.name, owner or known.owner, address or (owner if owner else known.address)
    )
    texts: dict[str, str | None] = {}
    if name is not None:
        texts[IDENTITY] = _IDENTITY_TEXT.format(name=told.name, machine=machine)
    if owner is not None or address is not None:
        if not told.owner:
            raise InvalidMemory("who is the owner? Tell the name first")
        texts[OWNER_NOTE] = _OWNER_TEXT.format(owner=told.owner, address=told.address)
    if texts:
        memories.shelf.rewrite(texts, "Introduced")
    return told


def _checked(value: str | None) -> str | None:
    if value is None:
        return None
    line = " ".join(value.split())
    if (
        not line
        or len(line) > LONGEST_NAME
        or not line.isprintable()
        or set(line) & set("#:{}[]\"'`|>&*!%@")
    ):
        raise InvalidMemory(f"a name has 1 to {LONGEST_NAME} letters, digits, blanks, dots and hyphens")
    return line


def _front(memories: Memories, path: str) -> dict[str, Any]:
    try:
        return note.parse(memories.vault.read(path), path=path).front
    except (VaultError, NoteError):
        return {}


def _is_there(memories: Memories, path: str) -> bool:
    try:
        return memories.vault.find(path) is not None
    except VaultError:
        return True  # it is there and cannot be read: never written over


def _credential(name: str) -> str:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return ""
    try:
        value = (Path(folder) / name).read_text(encoding="utf-8")
        return _checked(value.strip()) or ""
    except (OSError, ValueError, InvalidMemory):
        return ""
