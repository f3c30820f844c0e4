"""Conversations that continue across reboots and front ends: sessions and their turns.

What is said is stored here and read back; how the file survives a power cut is database.py's concern, what
the model gets to read of it is prompt.py's. A question and its still empty answer are stored together, so
an answer that never came is found at the next start and marked "interrupted".

Order is the order of turn ids, never of clocks: a machine without a battery clock wakes up in the past.
"""

import os
import time
from contextlib import closing
from dataclasses import dataclass

from agentd.database import Database
from agentd.errors import NoSuchSession

TITLE_CHARACTERS = 60
# SQLite's largest row id.
MAX_ID = (1 << 63) - 1
_ID_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"


@dataclass(frozen=True, slots=True)
class Turn:
    """One thing said; the fields are those of io.aetheros.Agent's Turn."""

    id: int
    session: str
    role: str
    text: str
    status: str
    time: str


@dataclass(frozen=True, slots=True)
class Session:
    """A conversation; the fields are those of io.aetheros.Agent's Session."""

    id: str
    title: str
    created: str
    updated: str
    turns: int


@dataclass(frozen=True, slots=True)
class Begun:
    """A stored question: its session, its turn id, and the turn id its answer will have."""

    session: str
    question: int
    answer: int


@dataclass(frozen=True, slots=True)
class Exchange:
    """An answered question as the model read and wrote it; `question` is the question's turn id."""

    question: int
    asked: str
    answered: str


class Conversations:
    """The sessions and turns in one database. Every method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._swept = False

    def begin(self, text: str, session: str | None) -> Begun:
        """Store a question, in a new session when `session` is None. On the disk when this returns."""
        if not self._swept:  # the database could not be used at the start
            self.interrupt_unanswered()
        now = utc_now()
        with self._database.writing() as database:
            if session is None:
                session = _new_id()
                database.execute(
                    "INSERT INTO sessions (id, title, created, updated) VALUES (?, ?, ?, ?)",
                    (session, _title(text), now, now),
                )
            question = database.execute(
                "INSERT INTO turns (session, role, text, status, time)"
                " SELECT id, 'person', ?, 'complete', ? FROM sessions WHERE id = ?",
                (text, now, session),
            )
            if question.rowcount != 1 or question.lastrowid is None:
                raise NoSuchSession(session)
            answer = database.execute(
                "INSERT INTO turns (session, role, text, status, time, answers)"
                " VALUES (?, 'agent', '', 'answering', ?, ?)",
                (session, now, question.lastrowid),
            )
            database.execute(
                "UPDATE sessions SET updated = ?, last_turn = ? WHERE id = ?",
                (now, answer.lastrowid, session),
            )
            return Begun(session, question.lastrowid, answer.lastrowid or 0)

    def keep(self, begun: Begun, text: str) -> None:
        """Store what was answered so far, against a power cut."""
        with self._database.writing() as database:
            database.execute(
                "UPDATE turns SET text = ? WHERE id = ? AND status = 'answering'", (text, begun.answer)
            )

    def finish(self, begun: Begun, text: str, status: str, prompt: str | None) -> None:
        """Store the answer and how it ended; `prompt` is the question as the model read it, if it did."""
        now = utc_now()
        with self._database.writing() as database:
            database.execute(
                "UPDATE turns SET text = ?, status = ?, time = ? WHERE id = ?",
                (text, status, now, begun.answer),
            )
            database.execute("UPDATE turns SET prompt = ? WHERE id = ?", (prompt, begun.question))
            database.execute("UPDATE sessions SET updated = ? WHERE id = ?", (now, begun.session))

    def interrupt_unanswered(self) -> int:
        """Mark the answers that a power cut or a kill left open, once; how many they were."""
        with self._database.writing() as database:
            if self._swept:
                return 0
            found = database.execute(
                "UPDATE turns SET status = 'interrupted' WHERE status = 'answering'"
            ).rowcount
        # Set before this thread may store a question: a second sweep never meets an answer of now.
        self._swept = True
        return found

    def exchanges(self, begun: Begun) -> list[Exchange]:
        """The answered questions before `begun` that are still in the model's context, oldest first."""
        with self._database.reading() as database:
            rows = database.execute(
                "SELECT asked.id, coalesce(asked.prompt, asked.text), answered.text"
                " FROM turns AS asked JOIN turns AS answered ON answered.answers = asked.id"
                " JOIN sessions ON sessions.id = asked.session"
                " WHERE asked.session = ? AND asked.id < ? AND asked.id >= sessions.context_from"
                " AND answered.session = asked.session"
                " AND answered.status IN ('complete', 'interrupted') AND answered.text != ''"
                " ORDER BY asked.id",
                (begun.session, begun.question),
            ).fetchall()
        return [Exchange(*row) for row in rows]

    def forget_before(self, session: str, question: int) -> None:
        """Let the model's context of `session` begin at the turn `question` from now on."""
        with self._database.writing() as database:
            database.execute(
                "UPDATE sessions SET context_from = max(context_from, ?) WHERE id = ?", (question, session)
            )

    def sessions(self, limit: int | None) -> list[Session]:
        """The sessions, newest first."""
        with self._database.reading() as database:
            rows = database.execute(
                "SELECT id, title, created, updated,"
                " (SELECT count(*) FROM turns WHERE turns.session = sessions.id)"
                " FROM sessions ORDER BY last_turn DESC LIMIT ?",
                (-1 if limit is None else limit,),
            ).fetchall()
        return [Session(*row) for row in rows]

    def history(
        self, session: str, limit: int, *, before: int | None = None, size: int = MAX_ID
    ) -> tuple[list[Turn], bool]:
        """The last `limit` turns of one session, oldest first, and whether there are older ones.

        With `before` only turns of smaller id. Together they have at most `size` bytes, but for the last
        one, which is always there. Raises NoSuchSession.
        """
        found: list[Turn] = []
        with self._database.reading() as database:
            if database.execute("SELECT 1 FROM sessions WHERE id = ?", (session,)).fetchone() is None:
                raise NoSuchSession(session)
            rows = database.execute(
                "SELECT id, session, role, text, status, time FROM turns WHERE session = ? AND id < ?"
                " ORDER BY id DESC",
                (session, MAX_ID if before is None else max(0, min(before, MAX_ID))),
            )
            with closing(rows):
                for row in rows:
                    turn = Turn(*row)
                    size -= len(turn.text.encode())
                    if found and (size < 0 or len(found) == limit):
                        return found[::-1], True
                    found.append(turn)
        return found[::-1], False

    def counts(self) -> tuple[int, int]:
        """How many sessions and how many turns there are."""
        with self._database.reading() as database:
            row = database.execute(
                "SELECT (SELECT count(*) FROM sessions), (SELECT count(*) FROM turns)"
            ).fetchone()
        return row[0], row[1]

    def probe(self) -> None:
        """Prove that the disk takes a commit."""
        with self._database.writing() as database:
            database.execute("INSERT OR REPLACE INTO probe (id, time) VALUES (1, ?)", (utc_now(),))


def utc_now() -> str:
    """The time in UTC as ISO 8601, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _new_id() -> str:
    # 8 letters of 31: short enough to type, 8.5e11 of them, and the primary key refuses a collision.
    return "".join(_ID_LETTERS[byte % len(_ID_LETTERS)] for byte in os.urandom(8))


def _title(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TITLE_CHARACTERS else line[: TITLE_CHARACTERS - 1] + "…"
