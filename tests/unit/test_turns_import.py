"""Importing conversations: each turn once, all of them or none, in the order in which they were said."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from agentd_process import DEADLINE, environment

from agentd.database import Database
from agentd.errors import StoreUnavailable
from agentd.session import Conversations
from agentd.turns_import import ImportCounts, ImportedSession, ImportedTurn, import_sessions, utc


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "agent.db")
    yield database
    database.close()


@pytest.fixture
def conversations(database: Database) -> Conversations:
    return Conversations(database)


def turn(ref: str, text: str, role: str = "person", time: str = "", speaker: str = "") -> ImportedTurn:
    return ImportedTurn(ref, speaker, role, time, text)


def talk(ref: str, *turns: ImportedTurn, title: str = "") -> ImportedSession:
    return ImportedSession(ref, title, turns)


def take(
    database: Database, *sessions: ImportedSession, skip: bool = False, person: str = "owner"
) -> ImportCounts:
    return import_sessions(database, person, "import:test", sessions, skip_conflicts=skip)


def everything(database: Database) -> list[tuple[object, ...]]:
    with database.reading() as connection:
        return (
            connection.execute("SELECT * FROM turns ORDER BY id").fetchall()
            + connection.execute("SELECT * FROM sessions ORDER BY id").fetchall()
        )


TRIP = talk(
    "s1",
    turn("D1:1", "I go to Oslo.", time="2024-05-08T13:56:00", speaker="Ann"),
    turn("D1:2", "Nice!", "agent", "2024-05-08T13:57:00+02:00", "assistant"),
    turn("D1:3", "In May.", time="1715176800", speaker="Ann"),
)


def test_what_was_said_elsewhere_is_there_with_its_ids_speakers_and_times_in_utc(
    database: Database, conversations: Conversations
) -> None:
    assert take(database, TRIP) == ImportCounts(sessions=1, turns=3)
    [session] = conversations.sessions()
    assert (session.title, session.turns, session.origin) == ("I go to Oslo.", 3, "import:test")
    assert (session.created, session.updated) == ("2024-05-08T11:57:00Z", "2024-05-08T14:00:00Z")
    rows = conversations.turns_after(0, 9)
    assert [(row.id, row.ref, row.role, row.speaker, row.time, row.text, row.status) for row in rows] == [
        ("D1:1", "D1:1", "person", "Ann", "2024-05-08T13:56:00Z", "I go to Oslo.", "complete"),
        ("D1:2", "D1:2", "agent", "assistant", "2024-05-08T11:57:00Z", "Nice!", "complete"),
        ("D1:3", "D1:3", "person", "Ann", "2024-05-08T14:00:00Z", "In May.", "complete"),
    ]


def test_the_same_import_again_changes_nothing(database: Database) -> None:
    take(database, TRIP)
    before = everything(database)
    assert take(database, TRIP) == ImportCounts(known=3)
    assert everything(database) == before


def test_a_longer_import_adds_what_is_new(database: Database, conversations: Conversations) -> None:
    take(database, TRIP)
    longer = talk("s1", *TRIP.turns, turn("D1:4", "By train.", "agent"), title="Another title")
    assert take(database, longer, talk("s2", turn("D1:1", "Hello"))) == ImportCounts(1, 2, known=3)
    assert [session.title for session in conversations.sessions()] == ["I go to Oslo.", "Hello"]
    assert [row.text for row in conversations.turns_after(0, 9)][3:] == ["Hello", "By train."]


def test_another_text_under_the_same_id_is_a_conflict_and_nothing_is_written(database: Database) -> None:
    take(database, TRIP)
    before = everything(database)
    changed = talk("s1", turn("D1:1", "I go to Rome."), turn("D1:4", "new"))
    counts = take(database, changed, talk("s2", turn("x", "new")))
    assert counts == ImportCounts(
        changed=1, conflicts=["turn 'D1:1' of session 's1' is there already, with another text"]
    )
    assert everything(database) == before
    counts = take(database, changed, talk("s2", turn("x", "new")), skip=True)
    assert (counts.sessions, counts.turns, counts.changed, len(counts.conflicts)) == (1, 2, 1, 1)
    assert everything(database)[: len(TRIP.turns)] == before[: len(TRIP.turns)]


def test_an_id_that_is_twice_in_a_session_is_stored_once(database: Database) -> None:
    counts = take(database, talk("s", turn("1", "a"), turn("1", "a"), turn("1", "b")), skip=True)
    assert (counts.turns, counts.known, counts.changed) == (1, 1, 1)


def test_a_time_that_cannot_be_read_is_a_conflict(database: Database, conversations: Conversations) -> None:
    talked = talk("s", turn("1", "a", time="last week"), turn("2", "b"))
    counts = take(database, talked)
    assert counts.conflicts == ["turn '1' of session 's': 'last week' is no time in ISO 8601"]
    assert conversations.counts() == (0, 0)
    assert take(database, talked, skip=True).turns == 1
    assert take(database, talk("none", turn("1", "a", time="nan")), skip=True).sessions == 0


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("", ""),
        ("2024-02-29", "2024-02-29T00:00:00Z"),
        ("20240229", "2024-02-29T00:00:00Z"),
        ("2024-02-29 23:30:00.9-01:30", "2024-03-01T01:00:00Z"),
        ("2024-02-29T12:00:00Z", "2024-02-29T12:00:00Z"),
        ("1700000000.123", "2023-11-14T22:13:20Z"),
        ("0999-01-01T00:00:00", "0999-01-01T00:00:00Z"),
    ],
)
def test_a_time_is_stored_in_utc_to_the_second(given: str, stored: str) -> None:
    assert utc(given) == stored


@pytest.mark.parametrize(
    "given",
    [
        "yesterday",
        "2024-02-30",
        "2024",
        "1700000000000",
        "9" * 400,
        "nan",
        "inf",
        "0001-01-01T00:00:00+05:00",
    ],
)
def test_a_time_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="is no time in ISO 8601"):
        utc(given)


def test_sessions_are_in_order_of_their_first_times_and_turns_as_given(
    database: Database, conversations: Conversations
) -> None:
    take(
        database,
        talk("late", turn("1", "late", time="2024-01-03")),
        talk(
            "early",
            turn("1", "early"),
            turn("2", "then", time="2024-01-01"),
            turn("3", "before", time="2023"),
        ),
        talk("middle", turn("2", "middle", time="2024-01-02"), turn("1", "still", time="2020-01-01")),
        skip=True,
    )
    assert [row.text for row in conversations.turns_after(0, 9)] == [
        "early",
        "then",
        "middle",
        "still",
        "late",
    ]
    assert [session.title for session in conversations.sessions()] == ["late", "middle", "early"]


def test_what_was_imported_is_never_the_newest_session_until_it_goes_on_here(
    database: Database, conversations: Conversations
) -> None:
    here = conversations.begin("here", None)
    conversations.finish(here, "yes", "complete", None)
    take(database, TRIP)
    assert [session.title for session in conversations.sessions()] == ["here", "I go to Oslo."]
    imported = conversations.sessions()[1].id
    begun = conversations.begin("when do I go?", imported)
    conversations.finish(begun, "In May.", "complete", None)
    assert [session.title for session in conversations.sessions()] == ["I go to Oslo.", "here"]
    take(database, talk("s1", *TRIP.turns, turn("D1:4", "By train.")))
    assert [session.title for session in conversations.sessions()] == ["I go to Oslo.", "here"]


def test_an_imported_conversation_that_goes_on_has_its_answers_in_the_context(
    database: Database, conversations: Conversations
) -> None:
    # Also an answer that came with a later import.
    take(database, talk("s", *TRIP.turns, turn("4", "How?")))
    take(database, talk("s", *TRIP.turns, turn("4", "How?"), turn("5", "By train.", "agent")))
    begun = conversations.begin("when?", conversations.sessions()[0].id)
    found = conversations.exchanges(begun)
    assert [(exchange.asked, exchange.answered) for exchange in found] == [
        ("I go to Oslo.", "Nice!"),
        ("How?", "By train."),
    ]


def test_each_person_imports_for_themselves(database: Database, conversations: Conversations) -> None:
    assert take(database, TRIP).turns == take(database, TRIP, person="anna").turns == 3
    assert len(conversations.sessions()) == len(conversations.sessions(person="anna")) == 1


def test_what_was_forgotten_does_not_come_back_with_the_same_import(
    database: Database, conversations: Conversations
) -> None:
    take(database, TRIP)
    conversations.erase_turns([conversations.turns_after(0, 1)[0].row])
    assert take(database, TRIP) == ImportCounts(known=3)
    assert [row.text for row in conversations.turns_after(0, 9)] == ["Nice!", "In May."]
    conversations.delete(conversations.sessions()[0].id)
    assert take(database, TRIP).turns == 3, "nothing is left that would know it"


def test_text_that_no_database_takes_is_made_storable(
    database: Database, conversations: Conversations
) -> None:
    odd = talk("s\ud800", turn("1\ud800", "half \ud800 and nul \0", speaker="\ud800"), title="\ud800")
    assert take(database, odd).turns == 1
    assert take(database, odd).known == 1
    assert conversations.turns_after(0, 1)[0].text == "half ? and nul \ufffd"


def test_ids_given_out_before_and_after_an_import_never_meet(
    database: Database, conversations: Conversations
) -> None:
    before = conversations.begin("before", None)
    take(database, TRIP)
    after = conversations.begin("after", None)
    assert after.question == before.answer + 4


def test_on_a_full_disk_nothing_is_imported_and_what_was_there_is_readable(
    database: Database, conversations: Conversations
) -> None:
    take(database, TRIP)
    before = everything(database)
    with database.reading() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 10}")
    many = talk("s2", *(turn(str(number), "word " * 50) for number in range(2_000)))
    with pytest.raises(StoreUnavailable, match="full"):
        take(database, talk("s1", turn("new", "new")), many)
    assert everything(database) == before
    assert take(database, talk("s1", turn("new", "new"))).turns == 1


class Endless(list[ImportedTurn]):
    """Turns of which the last never comes; says so on the standard output."""

    def __iter__(self) -> Iterator[ImportedTurn]:
        yield from super().__iter__()
        print("nearly", flush=True)
        sys.stdin.read()


def test_an_import_that_is_killed_leaves_nothing_of_itself(tmp_path: Path) -> None:
    database = Database(tmp_path / "agent.db")
    take(database, TRIP)
    before = everything(database)
    database.close()
    process = subprocess.Popen(
        [sys.executable, __file__, str(tmp_path / "agent.db")],
        env={**environment(), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"nearly\n"
        process.kill()
    assert (tmp_path / "agent.db-wal").stat().st_size > 1 << 20, "it had been writing"
    database = Database(tmp_path / "agent.db")
    assert everything(database) == before
    with database.reading() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert take(database, *many_sessions(3)).turns == 3_000
    database.close()


def many_sessions(sessions: int) -> list[ImportedSession]:
    text = "What a conversation is made of, about as long as people write on average. " * 3
    return [
        talk(f"s{number}", *(turn(f"{number}:{n}", f"{n} {text}", time="2024-01-01") for n in range(1_000)))
        for number in range(2, sessions + 2)
    ]


def test_ten_thousand_turns_are_imported_in_less_than_five_seconds(database: Database) -> None:
    sessions = many_sessions(10)
    started = time.monotonic()
    assert take(database, *sessions).turns == 10_000
    # The tenth of what a quiet machine does.
    assert time.monotonic() - started < DEADLINE / 3


if __name__ == "__main__":
    given = Database(Path(sys.argv[1]))
    first, *others = many_sessions(20)
    import_sessions(given, "owner", "import:test", [*others, ImportedSession("z", "", Endless(first.turns))])
