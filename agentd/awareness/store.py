"""Events, notices and boots in agentd's database: bounded in number and in age.

Not for: what is folded (folding.py) or what becomes a notice (rules.py).
"""

import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agentd.awareness.event import Event, Severity
from agentd.awareness.folding import Fold
from agentd.awareness.rules import ENDS_WITH_BOOT, Key, Proposal, judge
from agentd.database import Database

MOST_EVENTS = 20_000
MOST_NOTICES = 2_000
MOST_OPEN = 300
MOST_BOOTS = 500
LONGEST_KEPT = 400 * 86400.0
# What merely happened is no longer open after this.
LONGEST_OPEN = 7 * 86400.0
# What has a cause that can be gone, and stays open until it is.
_LASTING = ("disk.full", *(kind for kind in ENDS_WITH_BOOT if not kind.startswith("device.")))
_NOTICE = (
    "SELECT id, kind, subject, text, severity, trust, first, last, count, state, ended, proposal"
    " FROM notices"
)
_EVENT = "SELECT id, kind, subject, detail, severity, first, last, count, source, trust, facts FROM events"
_BOOT = "SELECT number, id, began, ended, clean, kernel, image FROM boots"


@dataclass(frozen=True, slots=True)
class Record:
    """An event as it is kept: the last of `count`, the first of which came at `first`."""

    id: int
    event: Event
    first: float
    count: int


@dataclass(frozen=True, slots=True)
class Notice:
    """What a person should know; times are in seconds since 1970.

    `state` is open, acknowledged, or gone: its cause, or after a week its news. `ended` is when it came to
    either.
    """

    id: int
    kind: str
    subject: str
    text: str
    severity: Severity
    trust: str
    first: float
    last: float
    count: int
    state: str
    ended: float | None
    proposal: Proposal | None


@dataclass(frozen=True, slots=True)
class Boot:
    """A boot; `clean` is how it ended, None if it has not or nobody knows."""

    number: int
    id: str
    began: float
    ended: float | None
    clean: bool | None
    kernel: str
    image: str


class Store:
    """The tables. Every method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # ---- writing

    def write(self, folds: Sequence[Fold], marks: dict[str, str]) -> tuple[list[Record], list[Notice]]:
        """Write what is new of these folds, and what follows from it; the events, and the notices that are
        new, have ended, or have become more severe. All in one transaction, or nothing.

        The folds are not changed: after a failure they can be written again. `marks` are set beside them.
        """
        records, changed = [], dict[int, Notice]()
        with self._database.writing() as connection:
            for fold in folds:
                row = _write_event(connection, fold)
                records.append(Record(row, fold.event, fold.first, fold.count))
                for notice in _follow(connection, fold):
                    changed[notice.id] = notice
            for name, value in marks.items():
                connection.execute("INSERT OR REPLACE INTO marks (name, value) VALUES (?, ?)", (name, value))
            _bound(connection)
        return records, list(changed.values())

    def acknowledge(self, id: int, now: float) -> Notice | None:
        """Have a notice acknowledged; None if there is none that is open under this id."""
        with self._database.writing() as connection:
            done = connection.execute(
                "UPDATE notices SET state = 'acknowledged', ended = ? WHERE id = ? AND state = 'open'",
                (now, id),
            ).rowcount
            rows = _notices(connection, "WHERE id = ?", (id,)) if done else []
        return rows[0] if rows else None

    def new_boot(self, now: float) -> None:
        """End the notices whose cause was of the boot before."""
        marks = ",".join("?" * len(ENDS_WITH_BOOT))
        with self._database.writing() as connection:
            connection.execute(
                f"UPDATE notices SET state = 'gone', ended = ? WHERE state != 'gone' AND kind IN ({marks})",
                (now, *ENDS_WITH_BOOT),
            )

    def expire(self, now: float) -> None:
        """Close what merely happened and is old, and drop what is older than is kept."""
        lasting = ",".join("?" * len(_LASTING))
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE notices SET state = 'gone', ended = ? WHERE state = 'open' AND last < ?"
                f" AND kind NOT IN ({lasting})",
                (now, now - LONGEST_OPEN, *_LASTING),
            )
            oldest = now - LONGEST_KEPT
            connection.execute("DELETE FROM events WHERE last < ?", (oldest,))
            connection.execute("DELETE FROM notices WHERE last < ? AND state != 'open'", (oldest,))

    def noted(self, ids: Collection[int]) -> None:
        """These notices are in the journal of the vault, or will never be."""
        with self._database.writing() as connection:
            connection.executemany("UPDATE notices SET noted = 1 WHERE id = ?", [(id,) for id in ids])

    def set_mark(self, name: str, value: str) -> None:
        """Set one of the database's marks."""
        with self._database.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO marks (name, value) VALUES (?, ?)", (name, value))

    # ---- boots

    def add_boot(self, boot: Boot) -> None:
        """Note that a boot has begun; its number is the next."""
        with self._database.writing() as connection:
            connection.execute(
                "INSERT INTO boots (id, began, kernel, image) VALUES (?, ?, ?, ?)",
                (boot.id, boot.began, boot.kernel, boot.image),
            )
            connection.execute(
                "DELETE FROM boots WHERE number <= (SELECT max(number) FROM boots) - ?", (MOST_BOOTS,)
            )

    def end_boot(self, id: str, ended: float, *, clean: bool) -> None:
        """Note how a boot ended."""
        with self._database.writing() as connection:
            connection.execute("UPDATE boots SET ended = ?, clean = ? WHERE id = ?", (ended, int(clean), id))

    def reopen_boot(self, id: str) -> None:
        """It has not ended: agentd alone did."""
        with self._database.writing() as connection:
            connection.execute("UPDATE boots SET ended = NULL, clean = NULL WHERE id = ?", (id,))

    # ---- reading

    def boots(self, limit: int) -> list[Boot]:
        """The last boots, newest first."""
        with self._database.reading() as connection:
            rows = connection.execute(f"{_BOOT} ORDER BY number DESC LIMIT ?", (limit,)).fetchall()
        return [
            Boot(number, id, began, ended, None if clean is None else bool(clean), kernel, image)
            for number, id, began, ended, clean, kernel, image in rows
        ]

    def last_boot(self) -> Boot | None:
        """The newest boot that is known."""
        return next(iter(self.boots(1)), None)

    def mark(self, name: str) -> str:
        """One of the database's marks, "" if it was never set."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT value FROM marks WHERE name = ?", (name,)).fetchone()
        return row[0] if row else ""

    def lasting_subjects(self, kind: str) -> set[str]:
        """What the notices of a kind are about whose cause is not gone, acknowledged ones too."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT subject FROM notices WHERE state != 'gone' AND kind = ?", (kind,)
            ).fetchall()
        return {row[0] for row in rows}

    def notices(self, *, all: bool = False, since: float | None = None, limit: int = 1000) -> list[Notice]:
        """The open notices or, with `all`, also those that are no longer; newest first.

        With `since` only those of which something came at or after it.
        """
        condition = "WHERE (? OR state = 'open') AND (? IS NULL OR last >= ?) ORDER BY id DESC LIMIT ?"
        with self._database.reading() as connection:
            return _notices(connection, condition, (all, since, since, limit))

    def to_note(self, limit: int) -> list[Notice]:
        """Notices that are not in the journal of the vault yet, oldest first."""
        with self._database.reading() as connection:
            return _notices(connection, "WHERE noted = 0 ORDER BY id LIMIT ?", (limit,))

    def events(self, limit: int, *, kinds: Collection[str] = (), since: float | None = None) -> list[Record]:
        """The last events, newest first; of these kinds alone, if any are named."""
        marks = ",".join("?" * len(kinds))
        of_kinds = f"kind IN ({marks})" if kinds else "TRUE"
        with self._database.reading() as connection:
            rows = connection.execute(
                f"{_EVENT} WHERE {of_kinds} AND (? IS NULL OR last >= ?) ORDER BY id DESC LIMIT ?",
                (*kinds, since, since, limit),
            ).fetchall()
        return [_record(row) for row in rows]

    def turn_times(self, person: str, limit: int) -> list[str]:
        """When a person said something here (ISO 8601), newest first; not what was imported."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT turns.time FROM turns JOIN sessions ON sessions.id = session"
                " WHERE sessions.person = ? AND role = 'person' AND turns.ref IS NULL"
                " AND turns.original IS NULL ORDER BY turns.id DESC LIMIT ?",
                (person, limit),
            ).fetchall()
        return [row[0] for row in rows]


def unwritten(fold: Fold) -> Notice | None:
    """The notice that will follow from a fold which the disk does not take; its id is 0."""
    found, event = judge(fold.event), fold.event
    if not found.text:
        return None
    return Notice(
        id=0,
        kind=event.kind,
        subject=event.subject,
        text=found.text,
        severity=found.severity,
        trust=event.trust,
        first=fold.first,
        last=event.time,
        count=fold.count,
        state="open",
        ended=None,
        proposal=found.proposal,
    )


def _write_event(connection: sqlite3.Connection, fold: Fold) -> int:
    event = fold.event
    if fold.row is None:
        row = connection.execute(
            "INSERT INTO events (kind, subject, detail, severity, first, last, count, source, trust, facts)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(event.kind, event.subject, event.detail, event.severity.value, fold.first, event.time),
                *(fold.count, event.source, event.trust, json.dumps(dict(event.facts))),
            ),
        ).lastrowid
        assert row is not None  # sqlite3 types it for statements that insert nothing
        return row
    connection.execute(
        "UPDATE events SET detail = ?, severity = ?, last = ?, count = ?, facts = ? WHERE id = ?",
        (
            *(event.detail, event.severity.value, event.time, fold.count),
            *(json.dumps(dict(event.facts)), fold.row),
        ),
    )
    return fold.row


def _follow(connection: sqlite3.Connection, fold: Fold) -> list[Notice]:
    """Do what the rules say of a fold; the notices that are to be told of."""
    event, found = fold.event, judge(fold.event)
    told = []
    for kind, subject in found.ends:
        told += _end(connection, (kind, subject), event.time)
    if not found.text:
        return told
    condition = "WHERE state = 'open' AND kind = ? AND subject = ?"
    for known in _notices(connection, condition, (event.kind, event.subject)):
        severity = max(known.severity, found.severity, key=lambda one: one.rank)
        connection.execute(
            "UPDATE notices SET text = ?, severity = ?, last = ?, count = count + ? WHERE id = ?",
            (found.text, severity.value, event.time, fold.count - fold.written, known.id),
        )
        if severity is not known.severity:
            told.append(replace(known, text=found.text, severity=severity, last=event.time))
        return told
    proposal = "" if found.proposal is None else _stored(found.proposal)
    # What was written of the fold before belongs to a notice that has ended since.
    first = event.time if fold.written else fold.first
    id = connection.execute(
        "INSERT INTO notices (kind, subject, text, severity, trust, first, last, count, state, proposal)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'open', ?)",
        (
            *(event.kind, event.subject, found.text, found.severity.value, event.trust, first),
            *(event.time, fold.count - fold.written, proposal),
        ),
    ).lastrowid
    return [*told, *_notices(connection, "WHERE id = ?", (id,))]


def _end(connection: sqlite3.Connection, key: Key, now: float) -> list[Notice]:
    """End the notices of a kind and subject, of all subjects if it is ""; those that were open."""
    kind, subject = key
    condition = "WHERE state != 'gone' AND kind = ? AND ? IN ('', subject)"
    ended = _notices(connection, condition, (kind, subject))
    connection.execute(f"UPDATE notices SET state = 'gone', ended = ? {condition}", (now, kind, subject))
    return [replace(one, state="gone", ended=now) for one in ended if one.state == "open"]


def _bound(connection: sqlite3.Connection) -> None:
    """Keep the tables small; what is open is the last to go."""
    connection.execute("DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?", (MOST_EVENTS,))
    for state, most in (("state = 'open'", MOST_OPEN), ("TRUE", MOST_NOTICES)):
        connection.execute(
            f"DELETE FROM notices WHERE {state} AND id <= (SELECT id FROM notices WHERE {state}"
            " ORDER BY id DESC LIMIT 1 OFFSET ?)",
            (most,),
        )


def _notices(connection: sqlite3.Connection, condition: str, values: Sequence[Any]) -> list[Notice]:
    rows = connection.execute(f"{_NOTICE} {condition}", values).fetchall()
    return [
        Notice(
            id=row[0],
            kind=row[1],
            subject=row[2],
            text=row[3],
            severity=Severity(row[4]),
            trust=row[5],
            first=row[6],
            last=row[7],
            count=row[8],
            state=row[9],
            ended=row[10],
            proposal=_proposal(row[11]),
        )
        for row in rows
    ]


def _record(row: tuple[Any, ...]) -> Record:
    id, kind, subject, detail, severity, first, last, count, source, trust, facts = row
    event = Event(kind, subject, detail, Severity(severity), last, source, trust, json.loads(facts))
    return Record(id, event, first, count)


def _stored(proposal: Proposal) -> str:
    return json.dumps([proposal.tool, dict(proposal.arguments)])


def _proposal(stored: str) -> Proposal | None:
    return Proposal(*json.loads(stored)) if stored else None
