"""Following what people say, turn by turn, and remembering what is worth it.

Each turn is looked at once: a mark beside the turns says up to which. It is not in the index, or an index
made anew would bring back what was forgotten. Turns of an archive were looked at where they were said, and
what came of it is in the archive; so whoever restores them moves the mark past them in the same transaction
(is_behind, pass_over). Not for: which sentences are worth it (distil.py).
"""

import sqlite3

from agentd.database import Database
from agentd.memory import distil
from agentd.memory.memories import Memories
from agentd.memory.memory import OWNER

_MARK = "distilled"
# What was imported was said to somebody else, and a fork's copy was looked at where it was said. An answer
# that is still being written is no reason to wait: only what people say counts.
_SAID = "FROM turns WHERE id > ? AND role = 'person' AND ref IS NULL AND original IS NULL AND text != ''"


class Distilling:
    """What is remembered without being asked to. May be used by several threads."""

    def __init__(self, memories: Memories, database: Database) -> None:
        """`database` is the one with the turns that `memories` are of."""
        self._memories = memories
        self._database = database
        # Whoever restores turns holds it, too, or a step would set the mark back. It comes before the
        # database's lock, never within a transaction.
        self._lock = memories.indexing.lock

    def step(self) -> bool:
        """Look at the next turn that a person said here; whether there was one.

        Raises InvalidMemory, VaultConflict, StoreUnavailable; the turn is then looked at again.
        """
        with self._lock:
            with self._database.reading() as connection:
                mark = _mark(connection)
                turn = connection.execute(
                    "SELECT id, text, (SELECT person FROM sessions WHERE sessions.id = session)"
                    f" {_SAID} ORDER BY id LIMIT 1",
                    (mark,),
                ).fetchone()
                newest = _newest(connection)
            if turn is not None:
                row, text, person = turn
                self._remember(row, text, person)
                newest = row
            if newest > mark:
                with self._database.writing() as connection:
                    _set_mark(connection, newest)
            return turn is not None

    def catch_up(self) -> int:
        """Look at everything; the turn up to which that was done. Raises what step() does."""
        while self.step():
            pass
        with self._database.reading() as connection:
            return _mark(connection)

    def is_behind(self, connection: sqlite3.Connection) -> bool:
        """Whether something was said that has not been looked at."""
        return connection.execute(f"SELECT 1 {_SAID} LIMIT 1", (_mark(connection),)).fetchone() is not None

    def pass_over(self, connection: sqlite3.Connection) -> None:
        """Count every turn there is as looked at; for a transaction at whose start is_behind() was false."""
        _set_mark(connection, max(_newest(connection), _mark(connection)))

    def _remember(self, row: int, text: str, person: str) -> None:
        # What was asked for was stored already.
        if distil.explicit(text) is not None:
            return
        trust = "agent" if person == OWNER else "untrusted"
        for one in distil.findings(text):
            self._memories.add(one.text, person, kind=one.kind, source=f"turn:{row}", trust=trust)


def _mark(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT value FROM marks WHERE name = ?", (_MARK,)).fetchone()
    return int(row[0]) if row else 0


def _set_mark(connection: sqlite3.Connection, row: int) -> None:
    connection.execute("INSERT OR REPLACE INTO marks (name, value) VALUES (?, ?)", (_MARK, str(row)))


def _newest(connection: sqlite3.Connection) -> int:
    (row,) = connection.execute("SELECT coalesce(max(id), 0) FROM turns").fetchone()
    return int(row)
