"""The chain of what the agent did: whoever touches it is found out."""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.audit import Audit
from agentd.database import Database
from agentd.machine_key import MachineKey


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "agent.db")
    yield database
    database.close()


@pytest.fixture
def audit(database: Database, tmp_path: Path) -> Audit:
    audit = Audit(database, MachineKey(tmp_path))
    for number in range(1, 6):
        audit.add("done", {"tool": "services.restart", "arguments": {"unit": f"u{number}.service"}})
    return audit


def tamper(database: Database, statement: str) -> None:
    with sqlite3.connect(database.path) as connection:
        connection.execute(statement)
    connection.close()


def test_a_chain_that_nobody_touched_is_whole(audit: Audit) -> None:
    assert audit.verify() == (5, [])
    newest = audit.entries(2)
    assert [entry.number for entry in newest] == [5, 4]
    assert newest[0].about["arguments"] == {"unit": "u5.service"}
    assert [entry.number for entry in audit.entries(10, before=3)] == [2, 1]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE audit SET about = replace(about, 'u3', 'u9') WHERE number = 3", ["entry 3 was changed"]),
        ("UPDATE audit SET time = '2020-01-01T00:00:00Z' WHERE number = 1", ["entry 1 was changed"]),
        ("UPDATE audit SET what = 'failed' WHERE number = 5", ["entry 5 was changed"]),
        ("DELETE FROM audit WHERE number = 3", ["entry 3 is missing"]),
        ("DELETE FROM audit WHERE number < 3", ["entry 1 to 2 is missing"]),
        ("UPDATE audit SET number = 9 WHERE number = 5", ["entry 5 to 8 is missing", "9 is not signed"]),
        ("UPDATE audit SET signature = 'x' WHERE number = 2", ["entry 2 is not signed"]),
        ("UPDATE audit SET about = 'no json' WHERE number = 2", ["entry 2 was changed"]),
    ],
)
def test_what_was_done_to_it_is_named(
    audit: Audit, database: Database, statement: str, expected: list[str]
) -> None:
    tamper(database, statement)
    _, wrong = audit.verify()
    assert len(wrong) == len(expected)
    assert all(one in line for one, line in zip(expected, wrong, strict=True)), wrong
    audit.entries(10)


def test_two_entries_that_changed_places_are_named(audit: Audit, database: Database) -> None:
    tamper(database, "UPDATE audit SET number = 100 WHERE number = 2")
    tamper(database, "UPDATE audit SET number = 2 WHERE number = 3")
    tamper(database, "UPDATE audit SET number = 3 WHERE number = 100")
    _, wrong = audit.verify()
    assert {f"entry {number} was changed, or put in another place" for number in (2, 3)} <= set(wrong)


def test_a_whole_chain_written_anew_by_another_key_is_told(
    audit: Audit, database: Database, tmp_path: Path
) -> None:
    tamper(database, "DELETE FROM audit")
    (tmp_path / "other").mkdir()
    forger = Audit(database, MachineKey(tmp_path / "other"))
    forger.add("done", {"tool": "nothing"})
    _, wrong = audit.verify()
    assert wrong == ["entry 1 is not signed by this machine's key"]


def test_an_end_that_was_cut_off_is_told_by_the_journal(
    audit: Audit, database: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    heads = {entry.number: entry.hash for entry in audit.entries(10)}
    last = audit.add("done", {"tool": "power.off"})
    assert f"audit 6 done {last.hash} " in capfd.readouterr().err
    heads[6] = last.hash
    assert audit.verify(heads) == (6, [])
    tamper(database, "DELETE FROM audit WHERE number >= 5")
    assert audit.verify()[1] == []
    assert audit.verify(heads)[1] == [f"entry {n} is missing: the journal has it" for n in (5, 6)]
    audit.add("done", {"tool": "another"})
    assert "entry 5 is another one than the journal has" in audit.verify(heads)[1]


def test_entries_of_several_threads_are_one_chain(audit: Audit) -> None:
    threads = [
        threading.Thread(target=lambda: [audit.add("asked", {"tool": "x"}) for _ in range(20)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert audit.verify() == (85, [])
