"""The index over turns, memories and passages: how it is changed, and what can be looked up in it.

The truth is in the vault and in the turns' database; what to put in is indexing.py's concern, how an item
becomes rows index_rows.py's, how the file is kept index_file.py's, how findings are weighed recall.py's.
"""

import json
import math
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from agentd.errors import StoreUnavailable
from agentd.memory.index_file import IndexFile
from agentd.memory.index_rows import THESE, Database, change_file, change_turns, known_turns
from agentd.memory.items import Counts, FileItem, FileState, IndexedFile, Item, Scope, TurnItem, Worded
from agentd.memory.query import Query
from agentd.memory.vectors import CODE_BYTES, DIMENSIONS, Packed, Shelves, pack

# BM25's weights for a turn's own words, its two neighbours', and its date, speaker or heading.
COLUMN_WEIGHTS = (1.0, 0.5, 0.3, 0.5)
# To rank a row costs about 1 microsecond, to compare 40 sign codes as well: with few items, rank more rows.
_RANKED_ROWS = 4_000
_RANKED_ROWS_OF_FEW = 9_000
_CODES_FOR_A_ROW = 20
# What SQLite's bm25() takes for a word that is in half of all rows or more.
_LEAST_IDF = 1e-6
# More than an encoder that reads 254 word pieces can use.
EMBEDDED_CHARACTERS = 2_000
# Turns that are compared at once.
_CHUNK = 1_000

_ITEM = (
    "row, id, type, text, person, shared, session, coalesce(position, 0), file, time, speaker, kind, trust,"
    " expires, active, before, after"
)
# Each counts what should not be.
_CHECKS = {
    "turns have other neighbours than they should": (
        "SELECT count(*) FROM (SELECT before, after, lag(row) OVER said AS previous, lead(row) OVER said AS"
        " next FROM items WHERE type = 'turn' WINDOW said AS (PARTITION BY session ORDER BY position))"
        " WHERE before IS NOT previous OR after IS NOT next"
    ),
    "vectors belong to nothing": "SELECT count(*) FROM vectors WHERE item NOT IN (SELECT row FROM items)",
    "vectors are damaged": (
        f"SELECT count(*) FROM vectors WHERE length(code) != {CODE_BYTES} OR length(data) != {DIMENSIONS}"
    ),
    "items are of files that are not listed": (
        "SELECT count(*) FROM items WHERE type != 'turn' AND file NOT IN (SELECT path FROM files)"
    ),
}
_CODES = "SELECT item, person, shared, code FROM vectors JOIN items ON row = item"


class Index:
    """The open index. Every method may raise StoreUnavailable; one lock, as in database.Database."""

    def __init__(self, path: Path) -> None:
        """Open or create `path`."""
        self._file = IndexFile(path)
        # In memory, of one generation of the file: sign codes and speakers, each read at its first use.
        self._generation = 0
        self._shelves: Shelves | None = None
        self._speakers: set[str] | None = None
        # The state of the file when its items were counted, and how many they were.
        self._counted = ((0, 0), 0)

    @property
    def fresh(self) -> bool:
        """Whether it began empty since it was opened, so that everything has to be indexed."""
        return self._file.fresh

    # Turns

    def add_turns(self, turns: Iterable[TurnItem], up_to: int | None = None) -> None:
        """Index turns, in one transaction; those that are there already are replaced if they differ.

        `up_to` is stored with them as the mark "turns". A search waits for the transaction: some thousand
        turns at a time.
        """
        given = {turn.row: turn for turn in turns}
        with self._changing() as database:
            known = known_turns(database, given)
            new = [turn for turn in given.values() if known.get(turn.row) != turn]
            stale = [known[turn.row] for turn in new if turn.row in known]
            gone = change_turns(database, stale, new)
            if up_to is not None:
                _set_mark(database, "turns", str(up_to))
            if self._speakers is not None:
                self._speakers.update(turn.speaker for turn in new)
            self._reshelve(database, gone, [])

    def remove_turns(self, rows: Iterable[int]) -> int:
        """Take turns out, in one transaction; how many were there."""
        with self._changing() as database:
            known = known_turns(database, rows)
            self._reshelve(database, change_turns(database, list(known.values()), []), [])
        return len(known)

    # Files

    def replace_file(self, state: FileState, digest: str, items: Iterable[FileItem]) -> None:
        """Let exactly these items be what the file `state.path` holds, in one transaction.

        An item whose text stays keeps its vector. Of items with one id the first counts.
        """
        wanted: dict[str, FileItem] = {}
        for item in items:
            wanted.setdefault(item.id, item)
        with self._changing() as database:
            gone, come = change_file(database, state.path, wanted)
            database.execute(
                "INSERT OR REPLACE INTO files (path, size, mtime_ns, inode, digest) VALUES (?, ?, ?, ?, ?)",
                (os.fsencode(state.path), state.size, state.mtime_ns, state.inode, digest),
            )
            self._reshelve(database, gone, come)

    def remove_file(self, path: str) -> None:
        """Forget a file and what it held."""
        with self._changing() as database:
            gone, come = change_file(database, path, {})
            database.execute("DELETE FROM files WHERE path = ?", (os.fsencode(path),))
            self._reshelve(database, gone, come)

    def files(self) -> dict[str, IndexedFile]:
        """The files as they were indexed, by path."""
        with self._file.reading() as database:
            rows = database.execute("SELECT path, size, mtime_ns, inode, digest FROM files").fetchall()
        return {os.fsdecode(path): IndexedFile(os.fsdecode(path), *state) for path, *state in rows}

    # Vectors

    def pending_vectors(self, limit: int) -> list[tuple[int, str]]:
        """Rows without a vector and what to embed of their text: memories first, then passages, turns."""
        with self._file.reading() as database:
            return database.execute(
                "SELECT row, substr(text, 1, ?) FROM items WHERE pending = 1 ORDER BY type, row LIMIT ?",
                (EMBEDDED_CHARACTERS, limit),
            ).fetchall()

    def put_vectors(self, vectors: Iterable[tuple[int, Sequence[float] | None]]) -> int:
        """Store embeddings of rows; how many were still wanted. None: this text has none, ask no more.

        Raises ValueError for a vector that is none.
        """
        packed = {row: None if vector is None else pack(vector) for row, vector in vectors}
        stored = []
        with self._changing() as database:
            for row, vector in packed.items():
                wanted = database.execute(
                    "UPDATE items SET pending = 0 WHERE row = ? AND pending = 1", (row,)
                ).rowcount
                if wanted and vector is not None:
                    database.execute(
                        "INSERT INTO vectors (item, code, scale, data) VALUES (?, ?, ?, ?)",
                        (row, vector.code.to_bytes(CODE_BYTES, "little"), vector.scale, vector.data),
                    )
                    stored.append(row)
            self._reshelve(database, [], stored)
        return len(stored)

    def use_encoder(self, name: str) -> bool:
        """Say which encoder the vectors come from; those of another one are dropped, and then it is True."""
        with self._changing() as database:
            if _mark(database, "encoder") == name:
                return False
            database.execute("DELETE FROM vectors")
            database.execute("UPDATE items SET pending = 1 WHERE trim(text) != ''")
            _set_mark(database, "encoder", name)
            self._shelves = None
        return True

    # Looking up

    def words(
        self,
        query: Query,
        scope: Scope,
        limit: int,
        weights: tuple[float, float, float, float] = COLUMN_WEIGHTS,
    ) -> Worded:
        """The `limit` best rows by BM25 over a question's words and dates.

        The rarest words are taken first, as many as can be ranked in time; a question of nothing but
        frequent words looks at the newest rows that hold the rarest of them.
        """
        asked = [f'"{term}"' for term in query.terms] + [f'extra : "{word}"' for word in query.dates]
        with self._file.reading() as database:
            total = self._size(database)
            room = max(_RANKED_ROWS, _RANKED_ROWS_OF_FEW - total // _CODES_FOR_A_ROW)
            counted = sorted((_rows_with(database, one, room + 1), one) for one in asked)
            chosen, idf, ranked = [], 0.0, 0
            for count, one in counted:
                ranked += count
                if ranked > room and total > room:
                    break
                idf += max(_LEAST_IDF, math.log((total - count + 0.5) / (count + 0.5)))
                chosen.append(one)
            oldest = 0
            if counted and not chosen:
                chosen = [counted[0][1]]
                oldest = database.execute(
                    "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rowid DESC LIMIT 1 OFFSET ?",
                    (chosen[0], room),
                ).fetchone()[0]
            if not chosen:
                return Worded({}, 0.0)
            rows = database.execute(
                "SELECT words.rowid, -words.rank FROM words CROSS JOIN items ON items.row = words.rowid"
                " WHERE words MATCH :match AND words.rank MATCH :rank AND words.rowid > :oldest"
                f" AND {scope.condition()} ORDER BY words.rank LIMIT :limit",
                {
                    "match": " OR ".join(chosen),
                    "rank": f"bm25({', '.join(map(str, weights))})",
                    "oldest": oldest,
                    "limit": limit,
                    **scope.values(),
                },
            ).fetchall()
        return Worded(dict(rows), idf)

    def nearest(self, code: int, person: str, limit: int) -> list[int]:
        """The rows that `person` may see whose vectors are nearest to a sign code, in no order."""
        with self._file.reading() as database:
            self._follow()
            if self._shelves is None:
                self._shelves = Shelves(database.execute(_CODES))
            return self._shelves.nearest(code, person, limit)

    def vectors(self, rows: Iterable[int]) -> dict[int, Packed]:
        """The stored vectors of these rows."""
        with self._file.reading() as database:
            found = database.execute(
                f"SELECT item, data, scale, code FROM vectors WHERE item {THESE}", (json.dumps(list(rows)),)
            ).fetchall()
        return {row: Packed(data, scale, int.from_bytes(code, "little")) for row, data, scale, code in found}

    def items(self, rows: Iterable[int], scope: Scope) -> dict[int, Item]:
        """These rows, as far as they are in `scope`."""
        with self._file.reading() as database:
            found = database.execute(
                f"SELECT {_ITEM} FROM items WHERE row IN (SELECT value FROM json_each(:rows))"
                f" AND {scope.condition()}",
                {"rows": json.dumps(list(rows)), **scope.values()},
            ).fetchall()
        return {row[0]: Item(*row) for row in found}

    def item(self, id: str, scope: Scope) -> Item | None:
        """What has this id, as far as it is in `scope`; a memory that counts before its archived copy."""
        with self._file.reading() as database:
            found = database.execute(
                f"SELECT {_ITEM} FROM items WHERE id = :id AND {scope.condition()}"
                " ORDER BY active DESC, row LIMIT 1",
                {"id": id, **scope.values()},
            ).fetchone()
        return None if found is None else Item(*found)

    def all_items(self, scope: Scope) -> list[Item]:
        """Everything in `scope` by id, the newest first."""
        with self._file.reading() as database:
            found = database.execute(
                f"SELECT {_ITEM} FROM items WHERE {scope.condition()} ORDER BY id DESC", scope.values()
            ).fetchall()
        return [Item(*row) for row in found]

    def speakers(self) -> set[str]:
        """Everyone who said something; not to be changed."""
        with self._file.reading() as database:
            self._follow()
            if self._speakers is None:
                rows = database.execute("SELECT DISTINCT speaker FROM items WHERE type = 'turn'")
                self._speakers = {speaker for (speaker,) in rows}
            return self._speakers

    # The whole

    def mark(self, name: str) -> str:
        """The value of a mark, empty if it was never set; "turns" is the last turn that was indexed."""
        with self._file.reading() as database:
            return _mark(database, name)

    def set_mark(self, name: str, value: str) -> None:
        """Set a mark."""
        with self._file.writing() as database:
            _set_mark(database, name, value)

    def counts(self) -> Counts:
        """How many of each there are."""
        with self._file.reading() as database:
            of = dict(database.execute("SELECT type, count(*) FROM items GROUP BY type").fetchall())
            files, vectors, pending = database.execute(
                "SELECT (SELECT count(*) FROM files), (SELECT count(*) FROM vectors),"
                " (SELECT count(*) FROM items WHERE pending = 1)"
            ).fetchone()
        turns, memories, passages = of.get("turn", 0), of.get("memory", 0), of.get("passage", 0)
        return Counts(turns, memories, passages, files, vectors, pending)

    def check(self, turns: Iterable[TurnItem] | None = None) -> list[str]:
        """What is wrong, one line each; with `turns`, all there are, whether they are what is indexed.

        The cure for all of it is clear() and to index again.
        """
        with self._file.reading() as database:
            problems = _check_file(database) or _check_rows(database)
            if turns is not None and not problems:
                problems = _check_turns(database, turns)
        return problems

    def vacuum(self) -> None:
        """Leave nothing in the file of what was removed from the index; takes seconds for 100,000 turns."""
        with self._file.reading() as database:
            # FTS5 keeps the words of deleted rows until its segments are merged.
            database.execute("INSERT INTO words (words) VALUES ('optimize')")
            database.execute("VACUUM")
            if database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                raise StoreUnavailable("the index's log is in use and was not emptied")

    def clear(self) -> None:
        """Begin anew, with an empty file."""
        self._file.restart()

    def close(self) -> None:
        """Close it for good."""
        self._file.close()

    def _follow(self) -> None:
        """Drop what is in memory of a file that is gone."""
        if self._generation != self._file.generation:
            self._generation = self._file.generation
            self._shelves = self._speakers = None

    @contextmanager
    def _changing(self) -> Iterator[Database]:
        """A transaction; what is in memory follows it, and is read again if it fails."""
        try:
            with self._file.writing() as database:
                self._follow()
                yield database
        except BaseException:
            self._shelves = self._speakers = None
            raise

    def _reshelve(self, database: Database, gone: Sequence[int], come: Sequence[int]) -> None:
        """Let the sign codes in memory follow: rows that are gone, rows that came, perhaps with vectors."""
        if self._shelves is not None:
            self._shelves.drop(gone)
            if come:
                self._shelves.put(database.execute(f"{_CODES} WHERE item {THESE}", (json.dumps(come),)))

    def _size(self, database: Database) -> int:
        """How many items there are."""
        state = self._file.generation, database.total_changes
        if self._counted[0] != state or not self._counted[1]:
            self._counted = state, database.execute("SELECT count(*) FROM items").fetchone()[0]
        return self._counted[1]


def _rows_with(database: Database, asked: str, limit: int) -> int:
    """How many rows match, counted up to `limit`: 100 nanoseconds each."""
    counted = "SELECT count(*) FROM (SELECT 1 FROM words WHERE words MATCH ? LIMIT ?)"
    return int(database.execute(counted, (asked, limit)).fetchone()[0])


def _mark(database: Database, name: str) -> str:
    found = database.execute("SELECT value FROM marks WHERE name = ?", (name,)).fetchone()
    return found[0] if found else ""


def _set_mark(database: Database, name: str, value: str) -> None:
    database.execute("INSERT OR REPLACE INTO marks (name, value) VALUES (?, ?)", (name, value))


def _check_file(database: Database) -> list[str]:
    """What SQLite and FTS5 say about the file and the words."""
    problems = [line for (line,) in database.execute("PRAGMA quick_check(10)") if line != "ok"]
    if not problems:
        try:
            # With a rank, the words are compared with what the texts hold now.
            database.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
        except sqlite3.DatabaseError as error:
            problems.append(f"the words are not those of the texts: {error}")
    return problems


def _check_rows(database: Database) -> list[str]:
    """What does not fit together among the tables."""
    counted = ((database.execute(query).fetchone()[0], what) for what, query in _CHECKS.items())
    return [f"{count} {what}" for count, what in counted if count]


def _check_turns(database: Database, turns: Iterable[TurnItem]) -> list[str]:
    """Whether the indexed turns are `turns`."""
    given = there = same = 0
    turns = iter(turns)
    while chunk := list(islice(turns, _CHUNK)):
        known = known_turns(database, [turn.row for turn in chunk])
        given += len(chunk)
        there += len(known)
        same += sum(known.get(turn.row) == turn for turn in chunk)
    held = database.execute("SELECT count(*) FROM items WHERE type = 'turn'").fetchone()[0]
    counted = ((given - there, "are missing"), (there - same, "differ"), (held - there, "are no more"))
    return [f"{count} turns {what}" for count, what in counted if count]
