"""Taking in conversations that were held elsewhere: all of them in one transaction, each turn once.

What the files of others look like is conversation_exports.py's concern. A turn is known by its origin, its
session there and its id there, so the same import again, or a longer one, adds what is new.
"""

import re
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from agentd.database import Database
from agentd.session import MAX_ID, clean, utc_now
from agentd.session_rows import new_session, title_of

# Seconds since 1973 or later; fewer digits are a date without hyphens.
_SECONDS = re.compile(r"\d{9,}(?:\.\d*)?")


@dataclass(frozen=True, slots=True)
class ImportedTurn:
    """One thing said. `role` is "person" or "agent"; `ref` its id, one of its own in its session.

    `time` is ISO 8601 (UTC if it has no offset), seconds since 1970, or empty if it is not known.
    """

    ref: str
    speaker: str
    role: str
    time: str
    text: str


@dataclass(frozen=True, slots=True)
class ImportedSession:
    """A conversation, its turns in the order in which they were said; `title` may be empty."""

    ref: str
    title: str
    turns: Sequence[ImportedTurn]


@dataclass(slots=True)
class ImportCounts:
    """New sessions and turns, turns that were `known`, and those that had `changed` since.

    `conflicts` has a line for each turn that has changed, or whose time cannot be read.
    """

    sessions: int = 0
    turns: int = 0
    known: int = 0
    changed: int = 0
    conflicts: list[str] = field(default_factory=list)


class _Conflicts(Exception):
    """There are conflicts: nothing is to be written."""


class _Row(NamedTuple):
    """A new row of the table turns."""

    id: int
    role: str
    speaker: str
    ref: str
    text: str
    time: str
    answers: int | None


def import_sessions(
    database: Database,
    person: str,
    origin: str,
    sessions: Iterable[ImportedSession],
    *,
    skip_conflicts: bool = False,
) -> ImportCounts:
    """Store what is new of `sessions`: on the disk as a whole when this returns, or not at all.

    With conflicts nothing is written, and no session or turn counted, unless `skip_conflicts` leaves these
    turns out. Sessions are stored in the order of their first times. A turn that was forgotten counts as
    known: it stays so. Raises StoreUnavailable.
    """
    ordered = sorted(sessions, key=_first_time)
    counts = ImportCounts()
    try:
        with database.writing() as connection:
            for session in ordered:
                _store_session(connection, person, origin, session, counts)
            if counts.conflicts and not skip_conflicts:
                raise _Conflicts
    except _Conflicts:
        counts.sessions = counts.turns = 0
    return counts


def utc(time: str) -> str:
    """A time as it is stored: UTC in ISO 8601, to the second; empty for an empty one.

    Takes what ImportedTurn's `time` may be. Raises ValueError.
    """
    if not time:
        return ""
    try:
        if _SECONDS.fullmatch(time):
            when = datetime.fromtimestamp(float(time), UTC)
        else:
            when = datetime.fromisoformat(time)
            when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(f"{time!r} is no time in ISO 8601") from error
    return when.replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def _first_time(session: ImportedSession) -> str:
    for turn in session.turns:
        # One that cannot be read is a conflict when it is its turn.
        with suppress(ValueError):
            if time := utc(turn.time):
                return time
    return ""


def _store_session(
    database: sqlite3.Connection, person: str, origin: str, given: ImportedSession, counts: ImportCounts
) -> None:
    found = database.execute(
        "SELECT id FROM sessions WHERE person = ? AND origin = ? AND ref = ?",
        (person, origin, clean(given.ref)),
    ).fetchone()
    rows = _new_rows(database, found[0] if found else None, given, counts)
    if not rows:
        return
    if found:
        session = found[0]
    else:
        now = utc_now()
        times = sorted(row.time for row in rows if row.time) or [now]
        session = new_session(
            database,
            person,
            title_of(clean(given.title) or rows[0].text),
            times[0],
            times[-1],
            origin=origin,
            ref=clean(given.ref),
        )
        counts.sessions += 1
    database.executemany(
        "INSERT INTO turns (id, role, speaker, ref, text, time, answers, session, status)"
        f" VALUES (?, ?, ?, ?, ?, ?, ?, '{session}', 'complete')",
        rows,
    )
    # Below every session in which something was said here, so that none of these is the newest.
    database.execute(
        "UPDATE sessions SET last_turn = ? WHERE id = ? AND last_turn <= 0", (rows[-1].id - MAX_ID, session)
    )
    counts.turns += len(rows)


def _new_rows(
    database: sqlite3.Connection, session: str | None, given: ImportedSession, counts: ImportCounts
) -> list[_Row]:
    """The turns that `session` does not have yet; the others are counted."""
    # Row and text by id; without a text if it was forgotten.
    stored: dict[str, tuple[int, str | None]] = {
        ref: (row, None if status == "forgotten" else text)
        for ref, row, text, status in database.execute(
            "SELECT ref, id, text, status FROM turns WHERE session = ? AND ref IS NOT NULL", (session,)
        )
    }
    # Nobody else writes until this transaction ends.
    (last,) = database.execute(
        "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'turns'"
    ).fetchone()
    rows: list[_Row] = []
    # The row of the person's turn just before, which an agent's turn answers.
    asked: int | None = None
    for turn in given.turns:
        ref, text = clean(turn.ref), clean(turn.text)
        place = f"turn {ref!r} of session {given.ref!r}"
        if ref in stored:
            row, before = stored[ref]
            if before is None or before == text:
                counts.known += 1
            else:
                counts.changed += 1
                counts.conflicts.append(f"{place} is there already, with another text")
        else:
            try:
                time = utc(turn.time)
            except ValueError as error:
                counts.conflicts.append(f"{place}: {error}")
                continue
            row = last + len(rows) + 1
            answers = asked if turn.role == "agent" else None
            rows.append(_Row(row, turn.role, clean(turn.speaker), ref, text, time, answers))
            stored[ref] = row, text
        asked = row if turn.role == "person" else None
    return rows
