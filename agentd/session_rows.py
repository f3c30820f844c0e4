"""Rows of the database's sessions and turns: how they are made, named and found.

For the modules that write them inside a transaction of their own: session.py, turns_import.py, erasing.py.
"""

import os
import sqlite3

from agentd.errors import NoSuchSession

TITLE_CHARACTERS = 60
FORKED = " (fork)"
_ID_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"


def new_session(
    database: sqlite3.Connection,
    person: str,
    title: str,
    created: str,
    updated: str,
    *,
    origin: str = "",
    ref: str | None = None,
    forked_from: str | None = None,
) -> str:
    """Make a session without turns; its id."""
    # 8 letters of 31: short enough to type, 8.5e11 of them, and the primary key refuses a collision.
    session = "".join(_ID_LETTERS[byte % len(_ID_LETTERS)] for byte in os.urandom(8))
    database.execute(
        "INSERT INTO sessions (id, person, title, created, updated, origin, ref, forked_from)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (session, person, title, created, updated, origin, ref, forked_from),
    )
    return session


def check_owned(database: sqlite3.Connection, session: str, person: str) -> tuple[str, str]:
    """The title and the origin of a session of `person`. Raises NoSuchSession."""
    row = database.execute(
        "SELECT title, origin FROM sessions WHERE id = ? AND person = ?", (session, person)
    ).fetchone()
    if row is None:
        raise NoSuchSession(session)
    return row[0], row[1]


def title_of(text: str) -> str:
    """`text` as the title of a session: one line, cut to TITLE_CHARACTERS."""
    line = " ".join(text.split())
    return line if len(line) <= TITLE_CHARACTERS else line[: TITLE_CHARACTERS - 1] + "…"


def shown_id(row: int, ref: str | None) -> str:
    """The id of a turn that people see: what it came with, or "t12"."""
    return f"t{row}" if ref is None else ref
