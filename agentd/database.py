"""agentd's database: one SQLite file, opened, migrated and written so that a commit survives a power cut.

Here is how the file is kept; what is in the tables is the concern of session.py. WAL with synchronous=FULL
makes every commit wait for the disk (https://www.sqlite.org/pragma.html#pragma_synchronous). One
connection and one lock: writers never meet, and a reader sees what was committed last.

A file that is damaged or from a newer agentd is left exactly as it is. agentd stays up, every use raises
StoreUnavailable, and a person decides. One that cannot be opened (read-only disk) is tried again at each
use. On a full disk what is there can be read.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agentd import log
from agentd.errors import StoreUnavailable

# Entry N brings a file from schema N to N + 1 in one transaction. Released entries never change.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE sessions (
            id TEXT PRIMARY KEY,
            title TEXT NOT NULL,
            created TEXT NOT NULL,
            updated TEXT NOT NULL,
            last_turn INTEGER NOT NULL DEFAULT 0,
            context_from INTEGER NOT NULL DEFAULT 0
        ) STRICT""",
        """CREATE TABLE turns (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            session TEXT NOT NULL REFERENCES sessions (id),
            role TEXT NOT NULL CHECK (role IN ('person', 'agent')),
            text TEXT NOT NULL,
            status TEXT NOT NULL CHECK (status IN ('answering', 'complete', 'interrupted', 'failed')),
            time TEXT NOT NULL,
            answers INTEGER REFERENCES turns (id),
            prompt TEXT
        ) STRICT""",
        "CREATE INDEX turns_of_session ON turns (session, id)",
        "CREATE INDEX sessions_by_last_turn ON sessions (last_turn)",
        # One row that Health writes, to prove that the disk takes a commit.
        "CREATE TABLE probe (id INTEGER PRIMARY KEY CHECK (id = 1), time TEXT NOT NULL) STRICT",
    ),
    (
        # `origin` and `ref` say what was imported from where, and under which id it was there. `summary`
        # stands for the exchanges whose question is before the turn `summary_to`.
        "ALTER TABLE sessions ADD COLUMN person TEXT NOT NULL DEFAULT 'owner'",
        "ALTER TABLE sessions ADD COLUMN origin TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE sessions ADD COLUMN ref TEXT",
        "ALTER TABLE sessions ADD COLUMN summary TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE sessions ADD COLUMN summary_to INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE sessions ADD COLUMN forked_from TEXT REFERENCES sessions (id) ON DELETE SET NULL",
        "DROP INDEX sessions_by_last_turn",
        "CREATE INDEX sessions_of_person ON sessions (person, last_turn)",
        "CREATE INDEX forks_of_session ON sessions (forked_from) WHERE forked_from IS NOT NULL",
        "CREATE UNIQUE INDEX sessions_by_ref ON sessions (person, origin, ref) WHERE ref IS NOT NULL",
        # Made anew for the status "forgotten" (https://www.sqlite.org/lang_altertable.html#otheralter).
        # `original` is the turn that a fork copied, `sources` what was recalled for an answer (JSON).
        """CREATE TABLE new_turns (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            session TEXT NOT NULL REFERENCES sessions (id),
            role TEXT NOT NULL CHECK (role IN ('person', 'agent')),
            text TEXT NOT NULL,
            status TEXT NOT NULL
                CHECK (status IN ('answering', 'complete', 'interrupted', 'failed', 'forgotten')),
            time TEXT NOT NULL,
            answers INTEGER REFERENCES turns (id),
            prompt TEXT,
            speaker TEXT NOT NULL DEFAULT '',
            ref TEXT,
            sources TEXT NOT NULL DEFAULT '',
            original INTEGER
        ) STRICT""",
        "INSERT INTO new_turns (id, session, role, text, status, time, answers, prompt)"
        " SELECT id, session, role, text, status, time, answers, prompt FROM turns",
        "DROP TABLE turns",
        "ALTER TABLE new_turns RENAME TO turns",
        "CREATE INDEX turns_of_session ON turns (session, id)",
        "CREATE UNIQUE INDEX turns_by_ref ON turns (session, ref) WHERE ref IS NOT NULL",
        # Without it, each turn that is deleted costs a look at all of them for its answer.
        "CREATE INDEX turns_by_question ON turns (answers) WHERE answers IS NOT NULL",
        "CREATE INDEX turns_unanswered ON turns (id) WHERE status = 'answering'",
        # How far what follows the turns has come; it must not begin anew when the index does.
        "CREATE TABLE marks (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    ),
    (
        # `about` is JSON. Each hash covers the one before it (audit.py).
        """CREATE TABLE audit (
            number INTEGER PRIMARY KEY,
            time TEXT NOT NULL,
            what TEXT NOT NULL,
            about TEXT NOT NULL,
            hash TEXT NOT NULL,
            signature TEXT NOT NULL
        ) STRICT""",
        # Changes that can be taken back: their steps and the steps back (JSON).
        """CREATE TABLE undo (
            number INTEGER PRIMARY KEY REFERENCES audit (number),
            person TEXT NOT NULL,
            time TEXT NOT NULL,
            summary TEXT NOT NULL,
            steps TEXT NOT NULL,
            back TEXT NOT NULL,
            taken_back INTEGER NOT NULL DEFAULT 0
        ) STRICT""",
        "CREATE INDEX undo_of_person ON undo (person, number)",
    ),
    (
        # What happened on the machine, repeats counted (awareness/); times are seconds since 1970.
        """CREATE TABLE events (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            kind TEXT NOT NULL,
            subject TEXT NOT NULL,
            detail TEXT NOT NULL,
            severity TEXT NOT NULL,
            first REAL NOT NULL,
            last REAL NOT NULL,
            count INTEGER NOT NULL,
            source TEXT NOT NULL,
            trust TEXT NOT NULL,
            facts TEXT NOT NULL
        ) STRICT""",
        # `noted` is whether it is in the journal of the vault; `proposal` is JSON, "" for none.
        """CREATE TABLE notices (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            kind TEXT NOT NULL,
            subject TEXT NOT NULL,
            text TEXT NOT NULL,
            severity TEXT NOT NULL,
            trust TEXT NOT NULL,
            first REAL NOT NULL,
            last REAL NOT NULL,
            count INTEGER NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('open', 'acknowledged', 'gone')),
            ended REAL,
            proposal TEXT NOT NULL,
            noted INTEGER NOT NULL DEFAULT 0
        ) STRICT""",
        "CREATE INDEX notices_to_note ON notices (id) WHERE noted = 0",
        # `clean` is NULL as long as it is not known how a boot ended.
        """CREATE TABLE boots (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL,
            began REAL NOT NULL,
            ended REAL,
            clean INTEGER,
            kernel TEXT NOT NULL,
            image TEXT NOT NULL
        ) STRICT""",
    ),
    (
        # A reminder comes once at `moment` or again by `schedule`. A time for which one is due rings once.
        """CREATE TABLE reminders (
            id TEXT PRIMARY KEY,
            person TEXT NOT NULL,
            text TEXT NOT NULL,
            moment TEXT,
            schedule TEXT,
            created TEXT NOT NULL,
            CHECK ((moment IS NULL) <> (schedule IS NULL))
        ) STRICT""",
        "CREATE INDEX reminders_of_person ON reminders (person)",
        """CREATE TABLE rings (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            reminder TEXT NOT NULL REFERENCES reminders (id) ON DELETE CASCADE,
            due TEXT NOT NULL,
            time TEXT NOT NULL,
            seen INTEGER NOT NULL DEFAULT 0,
            UNIQUE (reminder, due)
        ) STRICT""",
    ),
)

# Bytes that the write-ahead log keeps when it has been copied into the file.
_LARGEST_LOG = 4 << 20
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT)
_NOT_WRITABLE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR)


class Database:
    """The open database. `problem` is None, or a line that says why it cannot be used."""

    def __init__(self, path: Path) -> None:
        """Open or create `path`; never raises for what is wrong with the file: that is `problem`."""
        self.path = path
        self.problem: str | None = None
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        # Damaged, from a newer agentd, or closed by us: never opened again.
        self._final = False
        with suppress(StoreUnavailable), self.reading():
            pass

    def _open(self) -> sqlite3.Connection:
        """The connection to the file. Raises StoreUnavailable with the `problem`."""
        connection: sqlite3.Connection | None = None
        try:
            connection = connect(self.path)
            # Before anything that writes.
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > len(MIGRATIONS):
                self._final = True
                raise sqlite3.Error(f"it has schema {version}, this agentd knows up to {len(MIGRATIONS)}")
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            if mode != "wal":
                raise sqlite3.Error(f"cannot use write-ahead logging (journal mode is {mode})")
            connection.execute("PRAGMA synchronous = FULL")
            # What is forgotten is overwritten; a long import leaves no long log behind.
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute(f"PRAGMA journal_size_limit = {_LARGEST_LOG}")
            # A table that others refer to can be made anew only while nobody minds.
            connection.execute("PRAGMA foreign_keys = OFF")
            _migrate(connection, version)
            connection.execute("PRAGMA foreign_keys = ON")
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            raise StoreUnavailable(self._found_unusable(error)) from error
        self.problem = None
        return connection

    def _found_unusable(self, error: sqlite3.Error) -> str:
        """Set and log `problem`, for good if it is damage."""
        why = str(error)
        self._final |= is_damage(error)
        with suppress(OSError):
            if os.statvfs(self.path.parent).f_flag & os.ST_RDONLY:
                why += " (the file system is read-only)"
        problem = f"the database {self.path} cannot be used and was left as it is: {why}"
        if problem != self.problem:
            log.error(problem)
        self.problem = problem
        return problem

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for queries. Raises StoreUnavailable."""
        with self._lock, self._translated():
            if self._connection is None:
                if self._final:
                    raise StoreUnavailable(self.problem or "the database is closed")
                self._connection = self._open()
            yield self._connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The connection inside one transaction: on the disk when the block is left, or not at all."""
        with self.reading() as connection, transaction(connection):
            yield connection

    def scrub(self) -> None:
        """Leave nothing of what was deleted in the file or its log; needs room for two copies of the file.

        secure_delete overwrites what is deleted, but not what moved within a page, or what was deleted
        before it was on.
        """
        with self.reading() as connection:
            connection.execute("VACUUM")
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                raise StoreUnavailable("the database is being read; what was deleted is still in its log")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if is_damage(error):
                self._found_unusable(error)
                self.close()
            raise StoreUnavailable(self.problem or f"the database refused: {error}") from error

    def close(self) -> None:
        """Close the file for good; what was committed is on the disk already."""
        with self._lock:
            self._final = True
            connection, self._connection = self._connection, None
            if connection is None:
                return
            try:
                connection.close()
            except sqlite3.Error as error:
                log.warning(f"closing the database: {error}")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction: committed when the block is left, rolled back when it fails."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A failed COMMIT (disk full) may have rolled back already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def connect(path: Path) -> sqlite3.Connection:
    """A connection to a file of ours, which any thread may use. Raises sqlite3.Error."""
    connection = _connect(path)
    try:
        connection.execute("PRAGMA user_version")
    except sqlite3.Error as error:
        connection.close()
        if error.sqlite_errorcode != sqlite3.SQLITE_IOERR_SHMSIZE:
            raise
        # The disk is full. Alone with its file SQLite needs no shared memory beside it: what is there can
        # be read (https://www.sqlite.org/wal.html#noshm). Other programs have to wait until agentd ends.
        log.warning(f"the disk has no room: {path} can only be read")
        connection = _connect(path)
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether SQLite says that the file is damaged (https://www.sqlite.org/rescode.html)."""
    return code_of(error) in _DAMAGE


def is_not_writable(refusal: StoreUnavailable) -> bool:
    """Whether it was raised because the disk takes no more, though what is there may be read."""
    return isinstance(refusal.__cause__, sqlite3.Error) and code_of(refusal.__cause__) in _NOT_WRITABLE


def code_of(error: sqlite3.Error) -> int:
    """SQLite's result code; 0 for Python's own errors, which have none."""
    # An extended code has its kind in the low byte.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
        with transaction(connection):
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
    # The file says WAL and a version, yet may be anything: read one row of each table.
    for table in ("sessions", "turns", "probe"):
        connection.execute(f"SELECT * FROM {table} ORDER BY rowid DESC LIMIT 1").fetchone()
