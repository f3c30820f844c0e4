"""What the agent did, in a chain of hashes: a changed, removed or reordered entry is found and named.

Each entry's hash is the SHA-256 of the hash before it and of the entry as canonical JSON. The newest hash is
signed by the machine's key and goes to the log (the journal) with each entry, so an end that was cut off or
written anew does not match what the journal has. An entry is on the disk before what it tells is done.
Not for: deciding or doing (acting.py).
"""

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from agentd import log
from agentd.database import Database
from agentd.machine_key import MachineKey, verify
from agentd.session import utc_now

# Under which agentd's lines are in the journal; who writes there cannot choose it.
UNIT = "agentd.service"
_FIRST = "0" * 64
_HEAD = re.compile(r"audit (\d{1,15}) \w+ ([0-9a-f]{64}) ")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: `what` is asked, approved, refused, denied, began, done, failed, undone or event; `about`
    is JSON: the tool, its arguments, the person, the rule, the result."""

    number: int
    time: str
    what: str
    about: Mapping[str, Any]
    hash: str


class Audit:
    """The chain in agent.db. Every method may raise StoreUnavailable."""

    def __init__(self, database: Database, key: MachineKey) -> None:
        self._database = database
        self._key = key

    def add(self, what: str, about: Mapping[str, Any]) -> Entry:
        """Add an entry; it is on the disk when this returns. Raises AgentError if the key cannot be used."""
        time = utc_now()
        with self._database.writing() as connection:
            last = connection.execute(
                "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1"
            ).fetchone()
            number, before = (last[0] + 1, last[1]) if last else (1, _FIRST)
            text = _canonical(about)
            digest = _hash(before, number, time, what, text)
            signature = self._key.sign(_head(number, digest))
            connection.execute(
                "INSERT INTO audit (number, time, what, about, hash, signature) VALUES (?, ?, ?, ?, ?, ?)",
                (number, time, what, text, digest, signature),
            )
        log.info(f"audit {number} {what} {digest} {signature}")
        return Entry(number, time, what, about, digest)

    def entries(self, limit: int, before: int | None = None) -> list[Entry]:
        """The newest `limit` entries, newest first; with `before` only those of a smaller number."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT number, time, what, about, hash FROM audit WHERE number < ?"
                " ORDER BY number DESC LIMIT ?",
                (before or 1 << 62, limit),
            ).fetchall()
        return [Entry(row[0], row[1], row[2], _about(row[3]), row[4]) for row in rows]

    def verify(self, heads: Mapping[int, str] | None = None) -> tuple[int, list[str]]:
        """How many entries there are, and a line for each that is not as it was written.

        `heads` are hashes by their numbers from elsewhere, such as the journal.
        """
        with self._database.reading() as connection:
            return _verify(connection, self._key.public(), dict(heads or {}))


def journal_heads() -> dict[int, str]:
    """The newest hashes that the journal has of this machine's agentd, by numbers. Raises Lacking."""
    from agentd.tools import journal

    query = journal.Query(unit=UNIT, words=("audit",), lines=journal.MOST_LINES)
    found = journal.read(query).entries
    heads = (_HEAD.match(entry.message) for entry in found if entry.unit == UNIT)
    return {int(head[1]): head[2] for head in heads if head}


def _verify(connection: sqlite3.Connection, public: str, heads: dict[int, str]) -> tuple[int, list[str]]:
    wrong: list[str] = []
    before, expected, count = _FIRST, 1, 0
    for number, time, what, about, digest, signature in _rows(connection):
        count += 1
        if number != expected:
            missing = f"{expected}" if number == expected + 1 else f"{expected} to {number - 1}"
            wrong.append(f"entry {missing} is missing")
        elif digest != _hash(before, number, time, what, about):
            wrong.append(f"entry {number} was changed, or put in another place")
        if not verify(public, _head(number, digest), signature):
            wrong.append(f"entry {number} is not signed by this machine's key")
        if heads.get(number, digest) != digest:
            wrong.append(f"entry {number} is another one than the journal has")
        before, expected = digest, number + 1
    wrong += [
        f"entry {number} is missing: the journal has it" for number in sorted(heads) if number >= expected
    ]
    return count, wrong


def _rows(connection: sqlite3.Connection) -> Iterator[tuple[int, str, str, str, str, str]]:
    yield from connection.execute(
        "SELECT number, time, what, about, hash, signature FROM audit ORDER BY number"
    )


def _canonical(about: Mapping[str, Any]) -> str:
    return json.dumps(about, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _hash(before: str, number: int, time: str, what: str, about: str) -> str:
    entry = json.dumps([before, number, time, what, about], separators=(",", ":"), ensure_ascii=False)
    return sha256(entry.encode("utf-8", "surrogatepass")).hexdigest()


def _head(number: int, digest: str) -> bytes:
    return f"aetheros audit {number} {digest}".encode()


def _about(text: str) -> dict[str, Any]:
    """An entry's JSON; what somebody wrote into the file instead is shown as it is."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"unreadable": text}
