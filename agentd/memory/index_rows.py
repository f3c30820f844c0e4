"""How turns and files of the vault become rows of the index, with their neighbours and their words.

Each function is one part of a transaction of Index. The row of an item stands for one text: another text
gets another row, never used before, so that a vector that was long in the making comes to no wrong one.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from agentd.memory.items import FileItem, TurnItem
from agentd.memory.query import dated

THESE = "IN (SELECT value FROM json_each(?))"
_FIELDS = "id, type, text, extra, person, shared, session, file, time, speaker, kind, trust, expires, active"
_TURN = "id, position, session, person, speaker, time, text"
_INSERT = f"INSERT INTO items ({_FIELDS}, position, pending) VALUES ({'?, ' * 15}trim(?3) != '')"
# The neighbours of turns, looked up again.
_NEAR = "SELECT near.row FROM items AS near WHERE near.type = 'turn' AND near.session = items.session"
_LINK = (
    f"UPDATE items SET before = ({_NEAR} AND near.position < items.position ORDER BY position DESC LIMIT 1),"
    f" after = ({_NEAR} AND near.position > items.position ORDER BY position LIMIT 1) WHERE "
)
_SPAN = "type = 'turn' AND session = ? AND position BETWEEN ? AND ?"
# A row of `words` changes only between these two: FTS5 is told what it held, and what it holds.
_UNWORD = (
    "INSERT INTO words (words, rowid, body, previous, next, extra)"
    " SELECT 'delete', row, body, previous, next, extra FROM texts WHERE "
)
_WORD = (
    "INSERT INTO words (rowid, body, previous, next, extra)"
    " SELECT row, body, previous, next, extra FROM texts WHERE "
)

Database = sqlite3.Connection
# The fields of an item as _FIELDS names them.
Fields = tuple[str | bytes | bool, ...]


def known_turns(database: Database, rows: Iterable[int]) -> dict[int, TurnItem]:
    """Those of the turns `rows` that are indexed, as they are."""
    found = database.execute(f"SELECT {_TURN} FROM items WHERE position {THESE}", (json.dumps(list(rows)),))
    return {turn[1]: TurnItem(*turn) for turn in found}


def change_turns(database: Database, stale: Sequence[TurnItem], new: Sequence[TurnItem]) -> list[int]:
    """Take turns out and put turns in, and tell their neighbours; the rows that are gone."""
    positions: dict[str, list[int]] = {}
    for turn in (*stale, *new):
        positions.setdefault(turn.session, []).append(turn.row)
    spans = [_span(database, session, rows) for session, rows in positions.items()]
    for span in spans:
        database.execute(_UNWORD + _SPAN, span)
    gone = _rows(database, f"position {THESE}", json.dumps([turn.row for turn in stale])) if stale else []
    _delete(database, gone)
    database.executemany(_INSERT, [(*_fields_of_turn(turn), turn.row) for turn in new])
    for span in spans:
        database.execute(_LINK + _SPAN, span)
        database.execute(_WORD + _SPAN, span)
    return gone


def _span(database: Database, session: str, rows: Sequence[int]) -> tuple[str, int, int]:
    """From the turn before `rows` to the turn after them, as far as there are such."""
    first, last = min(rows), max(rows)
    before, after = database.execute(
        "SELECT (SELECT max(position) FROM items WHERE type = 'turn' AND session = ? AND position < ?),"
        " (SELECT min(position) FROM items WHERE type = 'turn' AND session = ? AND position > ?)",
        (session, first, session, last),
    ).fetchone()
    return session, first if before is None else before, last if after is None else after


def _fields_of_turn(turn: TurnItem) -> Fields:
    extra = f"{dated(turn.time)} {turn.speaker}"
    place = (turn.person, False, turn.session, b"", turn.time, turn.speaker)
    return (turn.id, "turn", turn.text, extra, *place, "", "", "", True)


def _fields_of(item: FileItem, file: bytes) -> Fields:
    text, heading = (part.encode("utf-8", "replace").decode() for part in (item.text, item.heading))
    place = (item.person, item.shared, "", file, item.time, "")
    about = (item.kind, item.trust, item.expires, item.active)
    return (item.id, item.type, text, f"{dated(item.time)} {heading}", *place, *about)


def change_file(database: Database, path: str, items: Mapping[str, FileItem]) -> tuple[list[int], list[int]]:
    """Let `items` be what a file holds; the rows that are gone and those that came."""
    file = os.fsencode(path)
    # Text from bytes that were not UTF-8 has halves of surrogate pairs, which SQLite refuses: "?".
    wanted = {id: _fields_of(item, file) for id, item in items.items()}
    held = database.execute(f"SELECT row, {_FIELDS} FROM items WHERE file = ?", (file,)).fetchall()
    gone = [row for row, *fields in held if wanted.get(fields[0]) != tuple(fields)]
    kept = {fields[0] for row, *fields in held if wanted.get(fields[0]) == tuple(fields)}
    database.execute(f"{_UNWORD}row {THESE}", (json.dumps(gone),))
    last = _last_row(database)
    database.executemany(_INSERT, [(*fields, None) for id, fields in wanted.items() if id not in kept])
    # An item that changed but for its text takes its vector along.
    database.execute(
        "UPDATE vectors SET item = fresh.row FROM items AS old JOIN items AS fresh"
        " ON fresh.file = old.file AND fresh.id = old.id AND fresh.text = old.text AND fresh.row > ?"
        f" WHERE vectors.item = old.row AND old.row {THESE}",
        (last, json.dumps(gone)),
    )
    database.execute(
        "UPDATE items SET pending = 0 WHERE row > ? AND row IN (SELECT item FROM vectors)", (last,)
    )
    _delete(database, gone)
    database.execute(f"{_WORD}row > ?", (last,))
    return gone, list(range(last + 1, _last_row(database) + 1))


def _delete(database: Database, rows: Sequence[int]) -> None:
    database.execute(f"DELETE FROM vectors WHERE item {THESE}", (json.dumps(rows),))
    database.execute(f"DELETE FROM items WHERE row {THESE}", (json.dumps(rows),))


def _rows(database: Database, condition: str, *values: str) -> list[int]:
    return [row for (row,) in database.execute(f"SELECT row FROM items WHERE {condition}", values)]


def _last_row(database: Database) -> int:
    """The highest row that was ever used."""
    found = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'items'").fetchone()
    return found[0] if found else 0
