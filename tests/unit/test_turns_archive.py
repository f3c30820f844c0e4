"""Sessions and turns as records: taken back exactly, and each once, also where their rows are taken."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd import turns_archive
from agentd.database import Database
from agentd.errors import BadImport
from agentd.session import Conversations
from agentd.turns_archive import Restored

ALL = 1 << 30


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "here.db")
    yield database
    database.close()


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "there.db")
    yield database
    database.close()


def say(database: Database, *texts: str, session: str | None = None) -> str:
    conversations = Conversations(database)
    for text in texts:
        begun = conversations.begin(text, session)
        conversations.finish(begun, f"You said {text}", "complete", text)
        session = begun.session
    assert session is not None
    return session


def lines(database: Database, upto: int = ALL) -> list[bytes]:
    return list(turns_archive.dump(database, "owner", upto))


def restore(database: Database, given: list[bytes]) -> Restored:
    with database.writing() as connection:
        return turns_archive.restore(connection, "owner", given)


def said(database: Database) -> list[str]:
    with database.reading() as connection:
        rows = connection.execute("SELECT text FROM turns WHERE role = 'person' ORDER BY id").fetchall()
    return [text for (text,) in rows]


def test_what_is_dumped_is_restored_exactly_and_once(here: Database, there: Database) -> None:
    say(here, "one", "two")
    say(here, "three")
    done = restore(there, lines(here))
    assert (done.sessions, done.turns, done.known, done.moved) == (2, 6, 0, {})
    assert lines(there) == lines(here)
    again = restore(there, lines(here))
    assert (again.sessions, again.turns, again.known, again.moved) == (0, 0, 6, {})


def test_the_same_words_in_the_same_second_are_as_many_turns_as_they_were(
    here: Database, there: Database
) -> None:
    say(here, "yes", "yes", "yes", "yes")
    restore(there, lines(here))
    assert lines(there) == lines(here)
    say(here, "yes")
    assert restore(there, lines(here)).turns == 2


def test_turns_whose_rows_are_taken_get_others_and_none_is_lost_or_doubled(
    here: Database, there: Database
) -> None:
    say(there, "I was here before")
    say(here, "yes", "yes", "no", "yes")
    done = restore(there, lines(here))
    assert (done.turns, done.known) == (8, 0)
    assert done.moved == {row: row + 2 for row in range(1, 9)}
    assert said(there) == ["I was here before", "yes", "yes", "no", "yes"]
    again = restore(there, lines(here))
    assert (again.turns, again.known, again.moved) == (0, 8, done.moved)
    assert said(there) == ["I was here before", "yes", "yes", "no", "yes"]


def test_what_was_forgotten_here_is_not_brought_back(here: Database, there: Database) -> None:
    say(there, "I was here before")
    say(here, "My vet is Dr. Moss.", "My cat is called Tiger.")
    moved = restore(there, lines(here)).moved
    Conversations(there).erase_turns([moved[3]])
    assert restore(there, lines(here)).turns == 0
    assert said(there) == ["I was here before", "My vet is Dr. Moss.", ""]


def test_a_fork_still_knows_what_it_was_forked_from(here: Database, there: Database) -> None:
    # Ids are random: one of so many forks comes before its session in their order.
    session = say(here, "one")
    for _ in range(8):
        Conversations(here).fork(session)
    restore(there, lines(here))
    assert lines(there) == lines(here)


def test_what_was_said_after_a_row_is_left_out_with_its_session(here: Database) -> None:
    first = say(here, "one")
    whole = lines(here)
    say(here, "two")
    assert lines(here, 2) == whole
    say(here, "three", session=first)
    assert len(lines(here, 2)) == 3


def test_a_line_that_is_no_record_is_named_and_nothing_is_kept(here: Database, there: Database) -> None:
    say(here, "one")
    with pytest.raises(BadImport, match="line 4"):
        restore(there, [*lines(here), b"rubbish\n"])
    assert lines(there) == []
