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
_ROWS_AT_ONCE = 1000
_STATUSES = frozenset({"complete", "interrupted", "failed", "forgotten"})


@dataclass(slots=True)
class Restored:
    """New sessions and turns, turns that were there, and new rows of turns that could not keep theirs."""

    sessions: int = 0
    turns: int = 0
    known: int = 0
    moved: dict[int, int] = field(default_factory=dict)


def dump(database: Database, person: str) -> Iterator[bytes]:
    """The person's sessions, then their finished turns, as lines of JSON."""
    with database.reading() as connection:
        sessions = connection.execute(
            f"SELECT {', '.join(_SESSION)} FROM sessions WHERE person = ? ORDER BY id", (person,)
        ).fetchall()
    for row in sessions:
        yield _line({"session": dict(zip(_SESSION, row, strict=True))})
    after = 0
    while True:
        with database.reading() as connection:
            rows = connection.execute(
                f"SELECT {', '.join(f'turns.{name}' for name in _TURN)} FROM turns JOIN sessions"
                " ON sessions.id = session WHERE person = ? AND turns.id > ? AND status != 'answering'"
                " ORDER BY turns.id LIMIT ?",
                (person, after, _ROWS_AT_ONCE),
            ).fetchall()
        if not rows:
            return
        for row in rows:
            yield _line({"turn": dict(zip(_TURN, row, strict=True))})
        after = rows[-1][0]


def restore(database: Database, person: str, lines: Iterable[bytes]) -> Restored:
    """Store what is not there yet, all of it or nothing. Raises BadImport, StoreUnavailable."""
    done = Restored()
    restored: list[str] = []
    with database.writing() as connection:
        for number, line in enumerate(lines, start=1):
            kind, record = _record(line, number)
            try:
                if kind == "session":
                    _restore_session(connection, person, record, done)
                    restored.append(record["id"])
                else:
                    _restore_turn(connection, person, record, done)
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


def _restore_turn(database: sqlite3.Connection, person: str, record: dict[str, Any], done: Restored) -> None:
    row = int(record["id"])
    if record["status"] not in _STATUSES:
        raise BadImport(f"turn {row} has the status {record['status']!r}")
    owned = database.execute(
        "SELECT 1 FROM sessions WHERE id = ? AND person = ?", (record["session"], person)
    ).fetchone()
    if owned is None:
        raise BadImport(f"turn {row} is of the session {record['session']!r}, which is not in the archive")
    there = database.execute("SELECT session, time, role FROM turns WHERE id = ?", (row,)).fetchone()
    if there == (record["session"], record["time"], record["role"]):
        done.known += 1
        return
    # One that was moved by an earlier import of the same archive.
    again = database.execute(
        "SELECT id FROM turns WHERE session = ? AND time = ? AND role = ? AND text = ?",
        (record["session"], record["time"], record["role"], record["text"]),
    ).fetchone()
    if again is not None:
        done.known += 1
        done.moved[row] = again[0]
        return
    values = dict(record)
    for name in ("answers", "original"):
        if values[name] is not None:
            values[name] = done.moved.get(values[name], values[name])
    if there is not None:
        values["id"] = None
    marks = ", ".join("?" for _ in _TURN)
    new = database.execute(
        f"INSERT INTO turns ({', '.join(_TURN)}) VALUES ({marks})", tuple(values[name] for name in _TURN)
    ).lastrowid
    assert new is not None
    if new != row:
        done.moved[row] = new
    done.turns += 1


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
