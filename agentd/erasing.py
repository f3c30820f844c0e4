"""Forgetting in the database: the text of turns, and every place that it was copied to.

An erased turn stays as an empty row of the status "forgotten", so that the conversation around it keeps its
order and a repeated import does not bring it back. Not for: memories, the index, the model's states; what is
left in the file's free space is Database.scrub()'s concern.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence

from agentd.session_rows import FORKED, shown_id, title_of

FORGOTTEN = "(forgotten)"
_THESE = "IN (SELECT value FROM json_each(?))"


def erase_turns(database: sqlite3.Connection, rows: Iterable[int]) -> list[int]:
    """Empty turns, the copies of them that forks have, and what was made of them; the rows of all of them.

    Titles that repeat a text are replaced, summaries of the sessions are dropped (the next one is made of
    what is left), and answers no longer have these turns among their sources.
    """
    originals = database.execute(
        f"SELECT coalesce(original, id) FROM turns WHERE id {_THESE}", (json.dumps(list(rows)),)
    ).fetchall()
    among = json.dumps([id for (id,) in originals])
    found = database.execute(
        f"SELECT id, session, text FROM turns WHERE id {_THESE} OR original {_THESE}", (among, among)
    ).fetchall()
    erased = [row for row, _, _ in found]
    shown = shown_ids(database, erased)
    database.execute(
        f"UPDATE turns SET text = '', prompt = NULL, sources = '', status = 'forgotten' WHERE id {_THESE}",
        (json.dumps(erased),),
    )
    texts: dict[str, list[str]] = {}
    for _, session, text in found:
        texts.setdefault(session, []).append(" ".join(text.split()))
    for session, forgotten in texts.items():
        database.execute("UPDATE sessions SET summary = '', summary_to = 0 WHERE id = ?", (session,))
        _retitle(database, session, forgotten)
    erase_sources(database, shown)
    return erased


def erase_sources(database: sqlite3.Connection, ids: Iterable[str]) -> None:
    """Take what is shown under these ids out of what was recalled for answers, and out of what the model
    read for them, with the summaries that were made of that."""
    gone = set(ids)
    found = database.execute(
        "SELECT id, sources FROM turns WHERE sources != '' AND EXISTS"
        f" (SELECT 1 FROM json_each(sources) AS source WHERE source.value ->> 'id' {_THESE})",
        (json.dumps(list(gone)),),
    ).fetchall()
    for row, sources in found:
        left = [source for source in json.loads(sources) if source["id"] not in gone]
        database.execute("UPDATE turns SET sources = ? WHERE id = ?", (json.dumps(left), row))
    # What was recalled stands in the question as the model read it, too.
    answers = json.dumps([row for row, _ in found])
    database.execute(
        f"UPDATE turns SET prompt = NULL WHERE id IN (SELECT answers FROM turns WHERE id {_THESE})",
        (answers,),
    )
    database.execute(
        "UPDATE sessions SET summary = '', summary_to = 0 WHERE id IN"
        f" (SELECT session FROM turns WHERE id {_THESE})",
        (answers,),
    )


def shown_ids(database: sqlite3.Connection, rows: Sequence[int]) -> list[str]:
    """The ids of turns that people see."""
    found = database.execute(f"SELECT id, ref FROM turns WHERE id {_THESE}", (json.dumps(rows),))
    return [shown_id(*row) for row in found]


def _retitle(database: sqlite3.Connection, session: str, forgotten: Sequence[str]) -> None:
    """Give a session whose title repeats a forgotten text the title of what is left."""
    (title,) = database.execute("SELECT title FROM sessions WHERE id = ?", (session,)).fetchone()
    said = title.removesuffix(FORKED).removesuffix("…")
    if not any(said in text or (text and text in said) for text in forgotten):
        return
    left = database.execute(
        "SELECT text FROM turns WHERE session = ? AND role = 'person' AND text != '' ORDER BY id LIMIT 1",
        (session,),
    ).fetchone()
    database.execute(
        "UPDATE sessions SET title = ? WHERE id = ?", (title_of(left[0]) if left else FORGOTTEN, session)
    )


def erase_copies(database: sqlite3.Connection, texts: Sequence[str]) -> None:
    """Remove what holds one of these texts besides turns: the steps that take back a change, and notices."""
    for text in texts:
        # As acting.py stores steps.
        escaped = json.dumps(text)[1:-1]
        database.execute(
            "DELETE FROM undo WHERE instr(steps, ?) OR instr(back, ?) OR instr(summary, ?)",
            (escaped, escaped, text),
        )
        for table, column in (("notices", "text"), ("events", "detail")):
            database.execute(
                f"DELETE FROM {table} WHERE {column} != '' AND (instr(?, {column}) OR instr({column}, ?))",
                (text, text),
            )
