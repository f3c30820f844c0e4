"""Sessions of several people: what they may do with them, what is forgotten, and what survives faults."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agentd.database import MIGRATIONS, Database
from agentd.errors import Busy, InvalidQuestion, NoSuchSession, StoreUnavailable
from agentd.session import Begun, Conversations, Session
from agentd.session_rows import title_of
from agentd.turns_import import ImportedSession, ImportedTurn, import_sessions

SECRET = "xyzzy-4711-plugh"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "agent.db")
    yield database
    database.close()


@pytest.fixture
def conversations(database: Database) -> Conversations:
    return Conversations(database)


def say(
    conversations: Conversations,
    asked: str,
    answered: str = "Yes.",
    session: str | None = None,
    person: str = "owner",
    sources: str = "",
) -> Begun:
    begun = conversations.begin(asked, session, person)
    conversations.finish(begun, answered, "complete", None, sources)
    return begun


def texts(conversations: Conversations, session: str, person: str = "owner") -> list[str]:
    return [turn.text for turn in conversations.history(session, 1000, person=person)[0]]


def titles(conversations: Conversations, person: str = "owner") -> list[str]:
    return [session.title for session in conversations.sessions(person=person)]


def title(conversations: Conversations, session: str) -> str:
    return conversations.session(session).title


def on_disk(folder: Path, text: str) -> list[str]:
    """The database's files that contain a text."""
    return [path.name for path in folder.glob("agent.db*") if text.encode() in path.read_bytes()]


@contextmanager
def full(database: Database) -> Iterator[None]:
    """While the database has no room to grow."""
    with database.reading() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        before = connection.execute("PRAGMA max_page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
    try:
        yield
    finally:
        with database.reading() as connection:
            connection.execute(f"PRAGMA max_page_count = {before}")


def schema_1(path: Path) -> None:
    """A file as the first agentd left it."""
    with sqlite3.connect(path, isolation_level=None) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for statement in MIGRATIONS[0]:
            connection.execute(statement)
        connection.execute("INSERT INTO sessions VALUES ('abc', 'Hello', '2026-01-01', '2026-01-02', 8, 7)")
        rows = [
            (5, "person", "Hello", "complete", None, "a log\n\nHello"),
            (6, "agent", "Hi!", "complete", 5, None),
            (7, "person", "How are you?", "complete", None, None),
            (8, "agent", "Fi", "answering", 7, None),
        ]
        connection.executemany(
            "INSERT INTO turns (id, session, role, text, status, time, answers, prompt)"
            " VALUES (?, 'abc', ?, ?, ?, '2026-01-01', ?, ?)",
            rows,
        )
        connection.execute("PRAGMA user_version = 1")
    connection.close()


def test_a_database_of_the_first_agentd_is_taken_over_with_all_that_was_said(tmp_path: Path) -> None:
    schema_1(tmp_path / "agent.db")
    database = Database(tmp_path / "agent.db")
    assert database.problem is None
    conversations = Conversations(database)
    assert conversations.sessions() == [Session("abc", "Hello", "2026-01-01", "2026-01-02", 4, "")]
    assert conversations.sessions(person="anna") == []
    begun = say(conversations, "And now?", session="abc")
    assert begun.question == 9, "ids go on where they were"
    turns = conversations.history("abc", 9)[0]
    assert [(turn.id, turn.text, turn.status) for turn in turns[:4]] == [
        (5, "Hello", "complete"),
        (6, "Hi!", "complete"),
        (7, "How are you?", "complete"),
        (8, "Fi", "interrupted"),
    ]
    assert [exchange.question for exchange in conversations.exchanges(begun)] == [7]
    assert [exchange.asked for exchange in conversations.uncovered(begun)] == ["a log\n\nHello"]
    with database.reading() as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)
        assert connection.execute("PRAGMA secure_delete").fetchone() == (1,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


def test_a_failed_migration_leaves_the_old_file_usable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema_1(tmp_path / "agent.db")
    broken = (MIGRATIONS[0], (*MIGRATIONS[1], "CREATE TABLE turns (x)"))
    with monkeypatch.context() as patched:
        patched.setattr("agentd.database.MIGRATIONS", broken)
        failed = Database(tmp_path / "agent.db")
        assert "already exists" in str(failed.problem)
        failed.close()
    database = Database(tmp_path / "agent.db")
    assert texts(Conversations(database), "abc")[:2] == ["Hello", "Hi!"]
    database.close()


def test_people_do_not_see_or_touch_each_others_sessions(conversations: Conversations) -> None:
    mine = say(conversations, "of the owner").session
    hers = say(conversations, "of anna", person="anna").session
    assert titles(conversations) == ["of the owner"]
    assert titles(conversations, "anna") == ["of anna"]
    for attempt in (
        lambda: conversations.history(mine, 9, person="anna"),
        lambda: conversations.session(mine, "anna"),
        lambda: conversations.begin("let me in", mine, "anna"),
        lambda: conversations.rename(mine, "hers", "anna"),
        lambda: conversations.fork(mine, None, "anna"),
        lambda: conversations.delete(mine, "anna"),
        lambda: conversations.history(hers, 9),
    ):
        with pytest.raises(NoSuchSession):
            attempt()
    assert titles(conversations) == ["of the owner"]
    assert texts(conversations, mine) == ["of the owner", "Yes."]


def test_a_session_can_be_renamed_but_not_to_nothing(conversations: Conversations) -> None:
    session = say(conversations, "hello").session
    conversations.rename(session, "  Trip\nto Oslo ")
    assert titles(conversations) == ["Trip to Oslo"]
    with pytest.raises(InvalidQuestion):
        conversations.rename(session, " \n")
    with pytest.raises(NoSuchSession):
        conversations.rename("nosuch", "x")
    assert titles(conversations) == ["Trip to Oslo"]


def test_a_fork_has_the_same_turns_and_goes_on_by_itself(conversations: Conversations) -> None:
    session = say(conversations, "one", "1").session
    second = say(conversations, "two", "2", session)
    say(conversations, "three", "3", session)
    fork = conversations.fork(session)
    assert texts(conversations, fork) == texts(conversations, session)
    begun = say(conversations, "four", "4", fork)
    assert [exchange.asked for exchange in conversations.exchanges(begun)] == ["one", "two", "three"]
    assert texts(conversations, session) == ["one", "1", "two", "2", "three", "3"]
    shorter = conversations.fork(fork, conversations.history(fork, 9)[0][3].id)
    assert texts(conversations, shorter) == ["one", "1", "two", "2"]
    assert titles(conversations) == ["one (fork)", "one (fork)", "one"], "the newest first"
    conversations.delete(session)
    assert texts(conversations, fork)[:2] == ["one", "1"]
    for turn in (second.question, 0, -1, 1 << 70):
        with pytest.raises(InvalidQuestion, match=f"turn {turn} is not in session"):
            conversations.fork(fork, turn)


def test_a_fork_leaves_out_the_answer_that_is_being_written(conversations: Conversations) -> None:
    begun = conversations.begin("one", None)
    conversations.keep(begun, "half")
    fork = conversations.fork(begun.session)
    conversations.finish(begun, "whole", "complete", None)
    assert texts(conversations, fork) == ["one"]
    assert texts(conversations, begun.session) == ["one", "whole"]


def test_the_forks_of_a_session_are_those_that_have_copies_of_its_turns(
    conversations: Conversations,
) -> None:
    session = say(conversations, "one", "1").session
    say(conversations, "of nobody's")
    fork = conversations.fork(session)
    again = conversations.fork(fork)
    assert [found.id for found in conversations.forks(session)] == [again, fork]
    assert [found.id for found in conversations.forks(fork)] == [again]
    conversations.delete(fork)
    assert [found.id for found in conversations.forks(session)] == [again]
    with pytest.raises(NoSuchSession):
        conversations.forks(session, "anna")


def test_lines_are_what_a_person_asked_here_newest_last(
    database: Database, conversations: Conversations
) -> None:
    first = say(conversations, "one").session
    say(conversations, "of anna", person="anna")
    second = say(conversations, "two")
    say(conversations, "three", session=first)
    say(conversations, "a log\nwith lines")
    say(conversations, "x" * 1001)
    conversations.fork(first)
    turns = [ImportedTurn("1", "", "person", "", "imported")]
    import_sessions(database, "owner", "import:x", [ImportedSession("1", "", turns)])
    assert conversations.lines(1000) == ["one", "two", "three"]
    assert conversations.lines(2) == ["two", "three"]
    assert conversations.lines(9, "anna") == ["of anna"]
    conversations.erase_turns([second.question])
    assert conversations.lines(1000) == ["one", "three"]


def test_a_forks_turns_say_what_they_are_copies_of(conversations: Conversations) -> None:
    begun = say(conversations, "one", "1")
    again = conversations.fork(conversations.fork(begun.session))
    copies = [turn for turn in conversations.turns_after(0, 99) if turn.session == again]
    assert [turn.original for turn in copies] == [begun.question, begun.answer]
    first = conversations.turn(begun.question)
    assert first is not None and first.original is None


def test_a_deleted_session_is_gone_with_its_turns_and_out_of_other_answers(
    conversations: Conversations,
) -> None:
    begun = say(conversations, "where is the key?", SECRET)
    sources = [{"id": f"t{begun.answer}", "text": SECRET}, {"id": "m01", "text": "stays"}]
    other = say(conversations, "and now?", "In the shed.", sources=json.dumps(sources))
    assert conversations.delete(begun.session) == [begun.question, begun.answer]
    assert titles(conversations) == ["and now?"]
    with pytest.raises(NoSuchSession):
        conversations.history(begun.session, 9)
    assert json.loads(conversations.sources(other.answer)) == sources[1:]
    assert say(conversations, "new").question > other.answer, "an id is never given out twice"


def test_a_session_in_which_an_answer_is_being_written_is_not_deleted(conversations: Conversations) -> None:
    begun = conversations.begin("one", None)
    with pytest.raises(Busy):
        conversations.delete(begun.session)
    conversations.finish(begun, "1", "complete", None)
    assert len(conversations.delete(begun.session)) == 2


def test_a_long_session_is_deleted_in_no_time(database: Database, conversations: Conversations) -> None:
    turns = [ImportedTurn(str(n), "", ("person", "agent")[n % 2], "", f"text {n}") for n in range(20_000)]
    import_sessions(database, "owner", "import:x", [ImportedSession("1", "", turns)])
    started = time.monotonic()
    assert len(conversations.delete(conversations.sessions()[0].id)) == 20_000
    assert time.monotonic() - started < 5, "without an index for foreign keys it is minutes"


def test_the_index_gets_every_finished_turn_with_text_once(conversations: Conversations) -> None:
    first = say(conversations, "one", "1", person="anna")
    empty = say(conversations, "two", "")
    open_ = conversations.begin("three", None)
    later = conversations.begin("four", None)
    conversations.finish(later, "4", "failed", None)
    rows = conversations.turns_after(0, 99)
    assert [(turn.row, turn.id, turn.person, turn.role, turn.text) for turn in rows] == [
        (first.question, f"t{first.question}", "anna", "person", "one"),
        (first.answer, f"t{first.answer}", "anna", "agent", "1"),
        (empty.question, f"t{empty.question}", "owner", "person", "two"),
        (open_.question, f"t{open_.question}", "owner", "person", "three"),
    ], "what comes after an answer that is being written waits for it"
    conversations.finish(open_, "3", "complete", None)
    rest = conversations.turns_after(rows[-1].row, 2) + conversations.turns_after(later.question, 2)
    assert [(turn.text, turn.status) for turn in rest] == [
        ("3", "complete"),
        ("four", "complete"),
        ("4", "failed"),
    ]
    assert conversations.turns_after(later.answer, 2) == []
    assert conversations.turn(first.question) == rows[0]
    assert [conversations.turn(row) for row in (0, -1, 1 << 70)] == [None] * 3


def test_an_answer_that_could_not_be_stored_does_not_stay_open(
    database: Database, conversations: Conversations
) -> None:
    begun = conversations.begin("one", None)
    with full(database), pytest.raises(StoreUnavailable):
        conversations.finish(begun, "x" * 100_000, "complete", None)
    later = say(conversations, "two")
    answer = conversations.turn(begun.answer)
    assert answer is not None and answer.status == "interrupted"
    assert [turn.row for turn in conversations.turns_after(0, 9)][-1] == later.answer


def test_a_forgotten_turn_is_empty_wherever_it_was_copied_to(
    database: Database, conversations: Conversations, tmp_path: Path
) -> None:
    begun = conversations.begin(f"my code is {SECRET}", None)
    conversations.finish(begun, "Noted.", "complete", f"a log\n\nmy code is {SECRET}")
    later = say(conversations, "what else?", "Nothing.", begun.session)
    fork = conversations.fork(begun.session)
    conversations.compact(begun.session, f"[t{begun.question}] my code is {SECRET}", later.question)
    sources = json.dumps([{"id": f"t{begun.question}", "text": SECRET}])
    other = say(conversations, "my code?", "I know it.", sources=sources)
    assert on_disk(tmp_path, SECRET)
    rows = conversations.erase_turns([begun.question])
    conversations.scrub()
    assert len(rows) == 2 and begun.question in rows, "the copy in the fork as well"
    assert on_disk(tmp_path, SECRET) == []
    for session in (begun.session, fork):
        assert texts(conversations, session) == ["", "Noted.", "what else?", "Nothing."]
        assert conversations.history(session, 9)[0][0].status == "forgotten"
        assert title(conversations, session) == "what else?"
    assert conversations.summary(begun.session).text == ""
    assert conversations.sources(other.answer) == "[]"
    assert texts(conversations, other.session) == ["my code?", "I know it."]
    again = say(conversations, "go on", session=begun.session)
    assert [exchange.asked for exchange in conversations.exchanges(again)] == ["what else?"]
    assert conversations.uncovered(again) == [], "what is forgotten is not summarised either"
    with database.reading() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_copies_are_forgotten_when_the_first_session_is_gone(
    conversations: Conversations, tmp_path: Path
) -> None:
    begun = say(conversations, f"my code is {SECRET}")
    one, two = conversations.fork(begun.session), conversations.fork(begun.session)
    conversations.delete(begun.session)
    copy = conversations.history(one, 9)[0][0].id
    assert len(conversations.erase_turns([copy])) == 2
    conversations.scrub()
    assert texts(conversations, two)[0] == ""
    assert on_disk(tmp_path, SECRET) == []


def test_what_an_answer_repeated_while_it_grew_is_scrubbed_too(
    conversations: Conversations, tmp_path: Path
) -> None:
    for number in range(50):
        say(conversations, f"filler {number} " * 40, "word " * 300)
    begun = conversations.begin("what was it?", None)
    for length in range(1, 40):
        conversations.keep(begun, f"It was {SECRET}. " * length)
    conversations.finish(begun, f"It was {SECRET}.", "complete", None)
    conversations.erase_turns([begun.answer])
    conversations.scrub()
    assert on_disk(tmp_path, SECRET) == []


@pytest.mark.parametrize("text", [f"{SECRET} is my code", f"{SECRET} " + "and so on " * 40])
def test_a_title_made_of_a_forgotten_text_is_replaced(conversations: Conversations, text: str) -> None:
    begun = say(conversations, text)
    assert title(conversations, begun.session) == title_of(text)
    conversations.erase_turns([begun.question, begun.answer])
    assert title(conversations, begun.session) == "(forgotten)"


def test_a_title_of_ones_own_stays_when_a_turn_is_forgotten(conversations: Conversations) -> None:
    begun = say(conversations, "hello there")
    conversations.rename(begun.session, "Greetings")
    conversations.erase_turns([begun.question])
    assert title(conversations, begun.session) == "Greetings"


def test_an_answer_that_is_forgotten_while_it_is_written_stays_forgotten(
    conversations: Conversations,
) -> None:
    begun = conversations.begin("one", None)
    conversations.erase_turns([begun.question, begun.answer])
    conversations.keep(begun, SECRET)
    conversations.finish(begun, SECRET, "complete", SECRET)
    assert texts(conversations, begun.session) == ["", ""]
    assert conversations.turns_after(0, 9) == []


def test_compacting_moves_the_context_and_loses_no_turn(conversations: Conversations) -> None:
    first = say(conversations, "one", "1")
    second = say(conversations, "two", "2", first.session)
    conversations.compact(first.session, "[t1] one -> 1", second.question)
    begun = say(conversations, "three", "3", first.session)
    assert [exchange.asked for exchange in conversations.exchanges(begun)] == ["two"]
    assert conversations.uncovered(begun) == []
    summary = conversations.summary(first.session)
    assert (summary.text, summary.upto) == ("[t1] one -> 1", second.question)
    assert texts(conversations, first.session) == ["one", "1", "two", "2", "three", "3"]
    conversations.erase_turns([first.answer])
    assert [exchange.asked for exchange in conversations.uncovered(begun)] == []
    conversations.erase_turns([second.answer])
    with pytest.raises(NoSuchSession):
        conversations.summary("nosuch")


def test_on_a_full_disk_nothing_is_half_done_and_what_was_said_is_readable(
    database: Database, conversations: Conversations
) -> None:
    session = say(conversations, "one", "x" * 50_000).session
    before = texts(conversations, session)
    with full(database):
        for attempt in (
            lambda: conversations.begin("y" * 100_000, session),
            lambda: conversations.begin("y" * 100_000, None),
            lambda: conversations.fork(session),
            lambda: conversations.compact(session, "y" * 100_000, 1),
        ):
            with pytest.raises(StoreUnavailable, match="full"):
                attempt()
        assert texts(conversations, session) == before
        assert len(conversations.sessions()) == 1
        assert conversations.summary(session).text == ""
        assert conversations.erase_turns([]) == []
    assert say(conversations, "two", session=session).session == session


def test_with_the_clock_at_1970_the_order_is_that_of_what_was_said(
    conversations: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = say(conversations, "before")
    real = time.gmtime
    with monkeypatch.context() as patched:
        patched.setattr("agentd.session.time.gmtime", lambda: real(0))
        say(conversations, "in the past")
        say(conversations, "again", session=first.session)
    assert titles(conversations) == ["before", "in the past"]
    assert texts(conversations, first.session) == ["before", "Yes.", "again", "Yes."]
    assert conversations.session(first.session).updated == "1970-01-01T00:00:00Z"
    say(conversations, "after")
    assert titles(conversations) == ["after", "before", "in the past"]
