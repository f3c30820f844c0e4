"""The index's file: its tables, and how it is opened, written, and made again when it is damaged.

The file is a cache. One that is damaged or has another schema is deleted and begun anew: `fresh` says so,
and the marks are gone with it, so that whoever fills the index starts from nothing. WAL with
synchronous=NORMAL: after a power cut the file is consistent but may lack its last commits, marks included,
which are then made again (https://www.sqlite.org/pragma.html#pragma_synchronous). A file that cannot be
opened (read-only disk, no room for a new one) is left alone and tried again at each use. Not for: what is in
the tables (index.py).

FTS5 keeps no text of its own: it reads the view `texts`, where a turn stands between its neighbours
(https://www.sqlite.org/fts5.html#external_content_tables). Works with SQLite 3.40 and newer.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agentd import log
from agentd.database import code_of, connect, is_damage, transaction
from agentd.errors import StoreUnavailable

# Another number makes every file anew.
SCHEMA = 1
_TABLES = """
CREATE TABLE items (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    type TEXT NOT NULL CHECK (type IN ('memory', 'passage', 'turn')),
    text TEXT NOT NULL,
    extra TEXT NOT NULL,
    person TEXT NOT NULL,
    shared INTEGER NOT NULL,
    session TEXT NOT NULL,
    position INTEGER UNIQUE,
    file BLOB NOT NULL,
    time TEXT NOT NULL,
    speaker TEXT NOT NULL,
    kind TEXT NOT NULL,
    trust TEXT NOT NULL,
    expires TEXT NOT NULL,
    active INTEGER NOT NULL,
    pending INTEGER NOT NULL,
    before INTEGER,
    after INTEGER
) STRICT;
CREATE INDEX turns_of_session ON items (session, position) WHERE type = 'turn';
CREATE INDEX items_of_file ON items (file, id) WHERE file != x'';
CREATE INDEX items_by_id ON items (id);
CREATE INDEX items_to_embed ON items (type, row) WHERE pending = 1;
CREATE TABLE vectors (
    item INTEGER PRIMARY KEY, code BLOB NOT NULL, scale REAL NOT NULL, data BLOB NOT NULL
) STRICT;
CREATE TABLE files (
    path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
    digest TEXT NOT NULL
) STRICT;
CREATE TABLE marks (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE VIEW texts AS SELECT items.row AS row, items.text AS body, previous.text AS previous,
    next.text AS next, items.extra AS extra, items.type AS type, items.session AS session,
    items.position AS position
    FROM items LEFT JOIN items AS previous ON previous.row = items.before
    LEFT JOIN items AS next ON next.row = items.after;
CREATE VIRTUAL TABLE words USING fts5 (
    body, previous, next, extra, content = 'texts', content_rowid = 'row',
    tokenize = 'porter unicode61 remove_diacritics 2'
);
"""


class IndexFile:
    """The open file. `generation` counts how often it was begun anew; `fresh` is whether it ever was."""

    def __init__(self, path: Path) -> None:
        """Open or create `path`; what is wrong with it shows at the first use."""
        self.path = path
        self.generation = 0
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        with suppress(StoreUnavailable), self.reading():
            pass

    @property
    def fresh(self) -> bool:
        """Whether the file was missing, of another schema, or damaged since it was opened."""
        return self.generation > 0

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for queries. Raises StoreUnavailable; if for damage, the next use begins anew."""
        with self._lock:
            try:
                if self._connection is None:
                    if self._closed:
                        raise StoreUnavailable("the index is closed")
                    self._connection = self._open()
                yield self._connection
            except sqlite3.Error as error:
                if is_damage(error):
                    log.error(f"the index {self.path} is damaged and is made again: {error}")
                    self._delete()
                raise StoreUnavailable(f"the index {self.path} cannot be used: {error}") from error

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The connection inside one transaction, which is there whole or not at all."""
        with self.reading() as connection, transaction(connection):
            yield connection

    def restart(self) -> None:
        """Delete the file and begin anew."""
        with self._lock:
            self._delete()
        with self.reading():
            pass

    def close(self) -> None:
        """Close the file for good."""
        with self._lock:
            self._closed = True
            self._disconnect()

    def _open(self) -> sqlite3.Connection:
        connection = self._connect()
        if connection is None:
            self._delete()
            connection = self._connect()
        if connection is None:
            raise sqlite3.OperationalError("what was just made is damaged")
        return connection

    def _connect(self) -> sqlite3.Connection | None:
        """A connection to the file with its tables; None if the file has to go."""
        connection: sqlite3.Connection | None = None
        try:
            connection = connect(self.path)
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, SCHEMA):
                connection.close()
                return None
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            # What is deleted is overwritten, so that VACUUM has nothing old to copy.
            connection.execute("PRAGMA secure_delete = ON")
            if version == 0:
                connection.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {SCHEMA}; COMMIT;")
                self.generation += 1
            # The header may be all that is whole.
            for table in ("items", "vectors", "files", "marks", "words_data"):
                connection.execute(f"SELECT * FROM {table} LIMIT 1").fetchone()
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            # SQLITE_ERROR: its tables are not what the version says.
            if is_damage(error) or code_of(error) == sqlite3.SQLITE_ERROR:
                log.warning(f"the index {self.path} is made again: {error}")
                return None
            raise
        return connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error as error:
                log.warning(f"closing the index: {error}")

    def _delete(self) -> None:
        self._disconnect()
        for suffix in ("", "-wal", "-shm", "-journal"):
            try:
                Path(f"{self.path}{suffix}").unlink(missing_ok=True)
            except OSError as error:
                raise StoreUnavailable(f"cannot delete the index {self.path}: {error}") from error
