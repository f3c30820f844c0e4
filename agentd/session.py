"""Conversations that continue across reboots and front ends: sessions and their turns.

What is said is stored here and read back; how the file survives a power cut is database.py's concern, what
the model gets to read of it is prompt.py's. A question and its still empty answer are stored together, so
an answer that never came is found at the next question and marked "interrupted".

Order is the order of turn ids, never of clocks: a machine without a battery clock wakes up in the past. Each
session belongs to one person; for another it does not exist. What was said elsewhere comes in by
turns_import.py, and is taken out again by erasing.py.
"""

import json
import sqlite3
import time
from collections.abc import Collection, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass

from agentd import erasing
from agentd.database import Database
from agentd.errors import Busy, InvalidQuestion, NoSuchSession
from agentd.exclusion import Exclusion
from agentd.memory.memory import OWNER
from agentd.session_rows import FORKED, check_owned, new_session, shown_id, title_of

# A question of more characters was pasted or piped: no line to be typed again.
LONGEST_LINE = 1000
# SQLite's largest row id.
MAX_ID = (1 << 63) - 1
_TURN_ROW = (
    "SELECT turns.id, turns.ref, session, person, role, speaker, time, text, status, original"
    " FROM turns JOIN sessions ON sessions.id = session"
)
_SESSION = (
    "SELECT id, title, created, updated,"
    " (SELECT count(*) FROM turns WHERE turns.session = sessions.id), origin FROM sessions"
)


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
    """A conversation; the fields are those of io.aetheros.Agent's Session.

    `origin` is empty for what was said here, else what it was imported from.
    """

    id: str
    title: str
    created: str
    updated: str
    turns: int
    origin: str


@dataclass(frozen=True, slots=True)
class TurnRow:
    """One thing said as the index needs it; `row` is its turn id, `ref` the id that it was imported with.

    `original` is the turn of which it is a copy in a fork.
    """

    row: int
    ref: str | None
    session: str
    person: str
    role: str
    speaker: str
    time: str
    text: str
    status: str
    original: int | None = None

    @property
    def id(self) -> str:
        """The id that people see."""
        return shown_id(self.row, self.ref)


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


@dataclass(frozen=True, slots=True)
class Summary:
    """What stands for the exchanges of a session whose question is before the turn `upto`."""

    text: str
    upto: int


class Conversations:
    """The sessions and turns in one database. Every method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Whoever answers or forgets holds it all the while.
        self.exclusion = Exclusion()
        # The answers that are being written, by their turn ids; guarded by the database's lock.
        self._open: set[int] = set()

    def begin(self, text: str, session: str | None, person: str = OWNER) -> Begun:
        """Store a question, in a new session when `session` is None. On the disk when this returns.

        Raises NoSuchSession.
        """
        now = utc_now()
        with self._database.writing() as database:
            self._interrupt(database)
            if session is None:
                session = new_session(database, person, title_of(text), now, now)
            else:
                check_owned(database, session, person)
            question = database.execute(
                "INSERT INTO turns (session, role, text, status, time)"
                " VALUES (?, 'person', ?, 'complete', ?)",
                (session, text, now),
            ).lastrowid
            answer = database.execute(
                "INSERT INTO turns (session, role, text, status, time, answers)"
                " VALUES (?, 'agent', '', 'answering', ?, ?)",
                (session, now, question),
            ).lastrowid
            database.execute(
                "UPDATE sessions SET updated = ?, last_turn = ? WHERE id = ?", (now, answer, session)
            )
            # sqlite3 types it for statements that insert nothing.
            assert question is not None and answer is not None
            self._open.add(answer)
        return Begun(session, question, answer)

    def keep(self, begun: Begun, text: str) -> None:
        """Store what was answered so far, against a power cut."""
        with self._database.writing() as database:
            database.execute(
                "UPDATE turns SET text = ? WHERE id = ? AND status = 'answering'", (text, begun.answer)
            )

    def finish(self, begun: Begun, text: str, status: str, prompt: str | None, sources: str = "") -> None:
        """Store the answer and how it ended.

        `prompt` is the question as the model read it, if it did; `sources` what was recalled for the answer,
        a JSON list of objects with an "id". What was forgotten meanwhile stays so.
        """
        now = utc_now()
        try:
            with self._database.writing() as database:
                database.execute(
                    "UPDATE turns SET text = ?, status = ?, time = ?, sources = ?"
                    " WHERE id = ? AND status = 'answering'",
                    (text, status, now, sources, begun.answer),
                )
                database.execute(
                    "UPDATE turns SET prompt = ? WHERE id = ? AND status = 'complete'",
                    (prompt, begun.question),
                )
                database.execute("UPDATE sessions SET updated = ? WHERE id = ?", (now, begun.session))
        finally:
            self._open.discard(begun.answer)

    def interrupt_unanswered(self) -> int:
        """Mark the answers that a power cut, a kill or a full disk left open; how many they were."""
        with self._database.writing() as database:
            return self._interrupt(database)

    def _interrupt(self, database: sqlite3.Connection) -> int:
        left = database.execute("SELECT id FROM turns WHERE status = 'answering'").fetchall()
        left = [(id,) for (id,) in left if id not in self._open]
        database.executemany("UPDATE turns SET status = 'interrupted' WHERE id = ?", left)
        return len(left)

    def exchanges(self, begun: Begun) -> list[Exchange]:
        """The answered questions before `begun` that are still in the model's context, oldest first."""
        return self._exchanges(begun, "asked.id >= sessions.context_from")

    def uncovered(self, begun: Begun) -> list[Exchange]:
        """Those that are no longer in the model's context and not in the summary either, oldest first.

        There are such after something was forgotten, and in a session that is older than summaries.
        """
        return self._exchanges(begun, "asked.id < context_from AND asked.id >= summary_to")

    def _exchanges(self, begun: Begun, condition: str) -> list[Exchange]:
        with self._database.reading() as database:
            rows = database.execute(
                "SELECT asked.id, coalesce(asked.prompt, asked.text), answered.text"
                " FROM turns AS asked JOIN turns AS answered ON answered.answers = asked.id"
                " JOIN sessions ON sessions.id = asked.session"
                f" WHERE asked.session = ? AND asked.id < ? AND {condition}"
                " AND answered.session = asked.session AND asked.status = 'complete'"
                " AND answered.status IN ('complete', 'interrupted') AND answered.text != ''"
                " ORDER BY asked.id",
                (begun.session, begun.question),
            ).fetchall()
        return [Exchange(*row) for row in rows]

    def compact(self, session: str, summary: str, upto: int) -> None:
        """Let `summary` stand for the exchanges before the turn `upto`, where the context begins now.

        The turns stay as they are.
        """
        with self._database.writing() as database:
            database.execute(
                "UPDATE sessions SET context_from = max(context_from, ?), summary = ?, summary_to = ?"
                " WHERE id = ?",
                (upto, summary, upto, session),
            )

    def summary(self, session: str) -> Summary:
        """What compact() stored last; an empty one up to 0 if there is none. Raises NoSuchSession."""
        with self._database.reading() as database:
            row = database.execute(
                "SELECT summary, summary_to FROM sessions WHERE id = ?", (session,)
            ).fetchone()
        if row is None:
            raise NoSuchSession(session)
        return Summary(*row)

    def sessions(self, limit: int | None = None, person: str = OWNER) -> list[Session]:
        """The person's sessions, newest first; those that were only imported come after all others."""
        with self._database.reading() as database:
            rows = database.execute(
                f"{_SESSION} WHERE person = ? ORDER BY last_turn DESC LIMIT ?",
                (person, -1 if limit is None else limit),
            ).fetchall()
        return [Session(*row) for row in rows]

    def session(self, session: str, person: str = OWNER) -> Session:
        """One session. Raises NoSuchSession."""
        with self._database.reading() as database:
            row = database.execute(f"{_SESSION} WHERE id = ? AND person = ?", (session, person)).fetchone()
        if row is None:
            raise NoSuchSession(session)
        return Session(*row)

    def rename(self, session: str, title: str, person: str = OWNER) -> None:
        """Give a session another title. Raises NoSuchSession, InvalidQuestion for an empty title."""
        title = title_of(title)
        if not title:
            raise InvalidQuestion("the title is empty")
        with self._database.writing() as database:
            check_owned(database, session, person)
            database.execute("UPDATE sessions SET title = ? WHERE id = ?", (title, session))

    def fork(self, session: str, upto: int | None = None, person: str = OWNER) -> str:
        """A new session with the same turns, up to and with the turn `upto` or all; its id.

        An answer that is being written is not among them. Raises NoSuchSession, InvalidQuestion if `upto` is
        not a turn of the session.
        """
        now = utc_now()
        with self._database.writing() as database:
            title, origin = check_owned(database, session, person)
            rows = database.execute(
                "SELECT id, coalesce(original, id), answers, role, text, status, time, prompt, speaker,"
                " sources FROM turns WHERE session = ? AND id <= ? ORDER BY id",
                (session, MAX_ID if upto is None else _row(upto)),
            ).fetchall()
            if upto is not None and (not rows or rows[-1][0] != upto):
                raise InvalidQuestion(f"turn {upto} is not in session {session}")
            fork = new_session(
                database,
                person,
                title.removesuffix(FORKED) + FORKED,
                now,
                now,
                origin=origin,
                forked_from=session,
            )
            # Turn ids there and here. The ids that imported turns came with stay with the first session.
            copies: dict[int, int | None] = {}
            for row, original, answers, *said in rows:
                if row in self._open:
                    continue
                copies[row] = database.execute(
                    "INSERT INTO turns (session, original, answers, role, text, status, time, prompt,"
                    " speaker, sources) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (fork, original, copies.get(answers), *said),
                ).lastrowid
            database.execute(
                "UPDATE sessions SET last_turn = (SELECT coalesce(max(id), 0) FROM turns WHERE session = ?1)"
                " WHERE id = ?1",
                (fork,),
            )
        return fork

    def forks(self, session: str, person: str = OWNER) -> list[Session]:
        """The forks that have copies of a session's turns, newest first; those of its forks, too.

        Raises NoSuchSession.
        """
        with self._database.reading() as database:
            check_owned(database, session, person)
            rows = database.execute(
                f"{_SESSION} WHERE id != ?1 AND id IN (SELECT session FROM turns WHERE original IN"
                " (SELECT coalesce(original, id) FROM turns WHERE session = ?1)) ORDER BY last_turn DESC",
                (session,),
            ).fetchall()
        return [Session(*row) for row in rows]

    def delete(self, session: str, person: str = OWNER) -> list[int]:
        """Remove a session and its turns; their row ids. Forks of it stay, with their copies.

        Raises NoSuchSession, and Busy while an answer in it is being written.
        """
        with self._database.writing() as database:
            check_owned(database, session, person)
            rows = [row for (row,) in database.execute("SELECT id FROM turns WHERE session = ?", (session,))]
            if not self._open.isdisjoint(rows):
                raise Busy("an answer in this session is being written; stop it first")
            shown = erasing.shown_ids(database, rows)
            database.execute("DELETE FROM turns WHERE session = ?", (session,))
            database.execute("DELETE FROM sessions WHERE id = ?", (session,))
            erasing.erase_sources(database, shown)
        return rows

    def history(
        self,
        session: str,
        limit: int,
        *,
        before: int | None = None,
        size: int = MAX_ID,
        person: str = OWNER,
    ) -> tuple[list[Turn], bool]:
        """The last `limit` turns of one session, oldest first, and whether there are older ones.

        With `before` only turns of smaller id. Together they have at most `size` bytes, but for the last
        one, which is always there. Raises NoSuchSession.
        """
        found: list[Turn] = []
        with self._database.reading() as database:
            check_owned(database, session, person)
            rows = database.execute(
                "SELECT id, session, role, text, status, time FROM turns WHERE session = ? AND id < ?"
                " ORDER BY id DESC",
                (session, MAX_ID if before is None else _row(before)),
            )
            with closing(rows):
                for row in rows:
                    turn = Turn(*row)
                    size -= len(turn.text.encode())
                    if found and (size < 0 or len(found) == limit):
                        return found[::-1], True
                    found.append(turn)
        return found[::-1], False

    def lines(self, limit: int, person: str = OWNER) -> list[str]:
        """The last `limit` questions of a person in one line, over all sessions, the newest last.

        Not those that were imported, or copied by a fork, or have more than LONGEST_LINE characters.
        """
        with self._database.reading() as database:
            rows = database.execute(
                "SELECT turns.text FROM turns JOIN sessions ON sessions.id = session"
                " WHERE person = ? AND role = 'person' AND origin = '' AND original IS NULL"
                " AND length(text) BETWEEN 1 AND ? AND instr(text, char(10)) = 0"
                " ORDER BY turns.id DESC LIMIT ?",
                (person, LONGEST_LINE, limit),
            ).fetchall()
        return [text for (text,) in rows[::-1]]

    def turns_after(self, row: int, limit: int) -> list[TurnRow]:
        """The next `limit` finished turns with text after the turn `row`, of all people, by row.

        It ends before an answer that is being written, so that none is passed over when it is finished.
        """
        with self._database.reading() as database:
            rows = database.execute(
                f"{_TURN_ROW} WHERE turns.id > ? AND text != '' AND turns.id <"
                " (SELECT coalesce(min(id), ?) FROM turns WHERE status = 'answering')"
                " ORDER BY turns.id LIMIT ?",
                (_row(row), MAX_ID, limit),
            ).fetchall()
        return [TurnRow(*found) for found in rows]

    def turn(self, row: int) -> TurnRow | None:
        """One turn, of whatever status, or None."""
        with self._database.reading() as database:
            found = database.execute(f"{_TURN_ROW} WHERE turns.id = ?", (_row(row),)).fetchone()
        return None if found is None else TurnRow(*found)

    def turns_near(self, row: int, session: str, around: int) -> list[TurnRow]:
        """A turn of a session, and as many as `around` before and after it, oldest first."""
        with self._database.reading() as database:
            before = database.execute(
                f"{_TURN_ROW} WHERE session = ? AND turns.id <= ? ORDER BY turns.id DESC LIMIT ?",
                (session, min(row, MAX_ID), around + 1),
            ).fetchall()
            after = database.execute(
                f"{_TURN_ROW} WHERE session = ? AND turns.id > ? ORDER BY turns.id LIMIT ?",
                (session, min(row, MAX_ID), around),
            ).fetchall()
        return [TurnRow(*found) for found in (*before[::-1], *after)]

    def answers_from(self, ids: Collection[str]) -> list[int]:
        """The answers that what is shown under these ids was recalled for."""
        with self._database.reading() as database:
            rows = database.execute(
                "SELECT DISTINCT turns.id FROM turns, json_each(turns.sources)"
                " WHERE turns.sources != '' AND json_extract(json_each.value, '$.id') IN"
                " (SELECT value FROM json_each(?))",
                (json.dumps(list(ids)),),
            ).fetchall()
        return [row for (row,) in rows]

    def unsettled(self) -> int:
        """The first turn that is not finished or has yet to come: where turns_after() ends."""
        with self._database.reading() as database:
            row = database.execute(
                "SELECT coalesce((SELECT min(id) FROM turns WHERE status = 'answering'),"
                " (SELECT max(id) + 1 FROM turns), 1)"
            ).fetchone()
        return int(row[0])

    def answers_beside(self, rows: Collection[int], since: int) -> list[int]:
        """The answers from the turn `since` on in the sessions that these turns are in."""
        with self._database.reading() as database:
            found = database.execute(
                "SELECT id FROM turns WHERE id >= ? AND role = 'agent' AND session IN"
                " (SELECT session FROM turns WHERE id IN (SELECT value FROM json_each(?)))",
                (since, json.dumps(list(rows))),
            ).fetchall()
        return [row for (row,) in found]

    def context_from(self, begun: Begun) -> int:
        """The turn from which the model reads a session."""
        with self._database.reading() as database:
            row = database.execute(
                "SELECT context_from FROM sessions WHERE id = ?", (begun.session,)
            ).fetchone()
        return 0 if row is None else int(row[0])

    def sources(self, row: int) -> str:
        """What was recalled for the answer `row`, as finish() was given it; empty if nothing was."""
        with self._database.reading() as database:
            found = database.execute("SELECT sources FROM turns WHERE id = ?", (_row(row),)).fetchone()
        return "" if found is None else str(found[0])

    def erase_turns(self, rows: Iterable[int]) -> list[int]:
        """Empty turns and their copies in forks; the rows of all of them. See erasing.py."""
        with self._database.writing() as database:
            return erasing.erase_turns(database, rows)

    def erase_sources(self, ids: Iterable[str]) -> None:
        """Take what is shown under these ids out of what was recalled for answers."""
        with self._database.writing() as database:
            erasing.erase_sources(database, ids)

    def erase_copies(self, texts: Sequence[str]) -> None:
        """Remove what holds one of these texts besides: steps that take back a change, and notices."""
        with self._database.writing() as database:
            erasing.erase_copies(database, texts)

    def scrub(self) -> None:
        """Leave nothing of what was erased or deleted in the database's files. Not within a transaction."""
        self._database.scrub()

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


def clean(text: str) -> str:
    """The text of a message as it can be stored, looked up and read by the model."""
    # Half of a surrogate pair is valid JSON and no text; NUL ends a C string in the worker.
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")


def _row(number: int) -> int:
    """A caller's number as SQLite takes it."""
    return max(0, min(number, MAX_ID))
