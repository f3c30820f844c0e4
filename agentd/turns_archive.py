"""A person's sessions and turns as records that another machine takes back exactly.

One JSON object a session or turn, in the order of their rows. On a machine whose row numbers are taken the
turns get new ones, and the caller is told which. Not for: conversations of other programs (turns_import.py).
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from agentd.database import Database
from agentd.errors import BadImport

_SESSION = ("id", "title", "created", "updated", "origin", "ref", "summary", "summary_to", "forked_from")
_TURN = (
    *("id", "session", "role", "text", "status", "time", "answers", "prompt"),
    *("speaker", "ref", "sources", "original"),
)
_ROWS_AT_ONCE = 100
_STATUSES = frozenset({"complete", "interrupted", "failed", "forgotten"})


@dataclass(slots=True)
class Restored:
    """New sessions and turns, turns that were there, and new rows of turns that could not keep theirs."""

    sessions: int = 0
    turns: int = 0
    known: int = 0
    moved: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Found:
    """The last row that turns had before the restore; in each session the last that was found moved."""

    last: int
    moved: dict[str, int] = field(default_factory=dict)


def dump(database: Database, person: str, upto: int) -> Iterator[bytes]:
    """The person's finished turns up to the row `upto` as lines of JSON, after the sessions of these."""
    with database.reading() as connection:
        # In the order in which they were made, so that a fork comes after what it was forked from.
        sessions = connection.execute(
            f"SELECT {', '.join(_SESSION)} FROM sessions WHERE person = ? AND EXISTS"
            " (SELECT 1 FROM turns WHERE session = sessions.id AND turns.id <= ?) ORDER BY rowid",
            (person, upto),
        ).fetchall()
    for row in sessions:
        yield _line({"session": dict(zip(_SESSION, row, strict=True))})
    after = 0
    while True:
        with database.reading() as connection:
            rows = connection.execute(
                f"SELECT {', '.join(f'turns.{name}' for name in _TURN)} FROM turns JOIN sessions"
                " ON sessions.id = session WHERE person = ? AND turns.id > ? AND turns.id <= ?"
                " AND status != 'answering' ORDER BY turns.id LIMIT ?",
                (person, after, upto, _ROWS_AT_ONCE),
            ).fetchall()
        if not rows:
            return
        for row in rows:
            yield _line({"turn": dict(zip(_TURN, row, strict=True))})
        after = rows[-1][0]


def restore(connection: sqlite3.Connection, person: str, lines: Iterable[bytes]) -> Restored:
    """Store what is not there yet, in the caller's transaction, which is to be rolled back on BadImport."""
    done = Restored()
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM turns").fetchone()
    found = _Found(last)
    restored: list[str] = []
    for number, line in enumerate(lines, start=1):
        kind, record = _record(line, number)
        try:
            if kind == "session":
                _restore_session(connection, person, record, done)
                restored.append(record["id"])
            else:
                _restore_turn(connection, person, record, done, found)
        except (sqlite3.IntegrityError, KeyError, TypeError) as error:
            raise BadImport(f"turns.jsonl, line {number}: {error}") from error
    connection.execute(
        "UPDATE sessions SET last_turn ="
        " (SELECT coalesce(max(id), 0) FROM turns WHERE session = sessions.id)"
        " WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(restored),),
    )
    return done


def _restore_session(
    database: sqlite3.Connection, person: str, record: dict[str, Any], done: Restored
) -> None:
    there = database.execute("SELECT person FROM sessions WHERE id = ?", (record["id"],)).fetchone()
    if there is not None:
        if there[0] != person:
            raise BadImport(f"the session {record['id']} is somebody else's here")
        return
    parent = database.execute("SELECT 1 FROM sessions WHERE id = ?", (record["forked_from"],)).fetchone()
    values = {**record, "forked_from": record["forked_from"] if parent else None}
    marks = ", ".join("?" for _ in range(len(_SESSION) + 1))
    database.execute(
        f"INSERT INTO sessions (person, {', '.join(_SESSION)}) VALUES ({marks})",
        (person, *(values[name] for name in _SESSION)),
    )
    done.sessions += 1


def _restore_turn(
    database: sqlite3.Connection, person: str, record: dict[str, Any], done: Restored, found: _Found
) -> None:
    row = int(record["id"])
    if record["status"] not in _STATUSES:
        raise BadImport(f"turn {row} has the status {record['status']!r}")
    owned = database.execute(
        "SELECT 1 FROM sessions WHERE id = ? AND person = ?", (record["session"], person)
    ).fetchone()
    if owned is None:
        raise BadImport(f"turn {row} is of the session {record['session']!r}, which is not in the archive")
    known = _known(database, record, found)
    if known is not None:
        done.known += 1
        if known != row:
            done.moved[row] = known
        return
    values = dict(record)
    for name in ("answers", "original"):
        if values[name] is not None:
            values[name] = done.moved.get(values[name], values[name])
    if database.execute("SELECT 1 FROM turns WHERE id = ?", (row,)).fetchone():
        values["id"] = None
    marks = ", ".join("?" for _ in _TURN)
    new = database.execute(
        f"INSERT INTO turns ({', '.join(_TURN)}) VALUES ({marks})", tuple(values[name] for name in _TURN)
    ).lastrowid
    assert new is not None
    if new != row:
        done.moved[row] = new
    done.turns += 1


def _known(database: sqlite3.Connection, record: dict[str, Any], found: _Found) -> int | None:
    """The row that a turn has already: its own, or the one that an earlier import has moved it to.

    A turn may have been forgotten in one of the places and not in the other.
    """
    row, session = record["id"], record["session"]
    moved = found.moved.get(session, 0)
    same = database.execute(
        "SELECT 1 FROM turns WHERE id = ? AND id <= ? AND session = ? AND time = ? AND role = ?"
        " AND (text = ? OR 'forgotten' IN (status, ?))",
        (row, found.last, session, record["time"], record["role"], record["text"], record["status"]),
    ).fetchone()
    # Below the last that was found moved, an equal one of the same second may have been moved to this row.
    if same and row > moved:
        return int(row)
    # They were moved in their order: so of two that are equal each is found, and none is looked for twice.
    again = database.execute(
        "SELECT id FROM turns WHERE session = ? AND id > ? AND id <= ? AND time = ? AND role = ?"
        " AND (text = ? OR status = 'forgotten') ORDER BY id LIMIT 1",
        (session, moved, found.last, record["time"], record["role"], record["text"]),
    ).fetchone()
    if again is not None:
        found.moved[session] = again[0]
        return int(again[0])
    return int(row) if same else None


def _record(line: bytes, number: int) -> tuple[str, dict[str, Any]]:
    try:
        value = json.loads(line)
        [(kind, record)] = value.items()
    except (ValueError, AttributeError, TypeError) as error:
        raise BadImport(f"turns.jsonl, line {number}: it is no record") from error
    wanted = {"session": _SESSION, "turn": _TURN}.get(kind)
    if wanted is None or not isinstance(record, dict) or set(record) != set(wanted):
        raise BadImport(f"turns.jsonl, line {number}: it is no session and no turn")
    return kind, record


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True).encode("utf-8", "replace") + b"\n"
