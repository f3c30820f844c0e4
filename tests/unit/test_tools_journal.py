"""The journal as records: what is asked of journalctl, and what is made of what it says."""

import json
import re
from pathlib import Path

import pytest
from fake_journalctl import FakeJournalctl, record

from agentd.tools import journal
from agentd.tools.journal import Query
from agentd.tools.tool import Lacking, Unfit
from agentd.tools.units import unit_name


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeJournalctl:
    folder = tmp_path / "journal/id"
    folder.mkdir(parents=True)
    (folder / "system.journal").touch()
    monkeypatch.setattr(journal, "FOLDERS", (tmp_path / "journal",))
    return FakeJournalctl(tmp_path / "bin", monkeypatch)


def test_records_of_systemd_257_come_oldest_first_with_who_wrote_them(program: FakeJournalctl) -> None:
    program.says_what_was_recorded()
    found = journal.read(Query(lines=500)).entries
    assert len(found) == 44
    times = [entry.microseconds for entry in found]
    assert times == sorted(times)
    by_message = {entry.message: entry for entry in found}
    failed = by_message["Failed to start console-getty.service - Console Getty."]
    assert (failed.unit, failed.priority, failed.pid) == ("console-getty.service", 3, 1)
    assert failed.seconds == pytest.approx(1795597233.6, abs=0.1)
    configured = "Configured TTY '/dev/console' is not actually a character device, ignoring."
    assert by_message[configured].unit == "systemd"


def test_what_a_program_wrote_is_one_visible_line(program: FakeJournalctl) -> None:
    program.says_what_was_recorded()
    messages = [entry.message for entry in journal.read(Query(lines=500)).entries]
    assert "Evil \\x1b[31mred\\x1b[0m" in messages
    assert "caf�" in messages  # not UTF-8
    assert "(a message that is too long to show)" in messages
    assert all(message.isprintable() for message in messages)


@pytest.mark.parametrize(
    ("fields", "unit"),
    [
        ({"_TRANSPORT": "kernel", "SYSLOG_IDENTIFIER": "x"}, "kernel"),
        ({"_PID": "1", "UNIT": "b.service", "_SYSTEMD_UNIT": "init.scope"}, "b.service"),
        ({"_PID": "7", "UNIT": "forged.service", "_SYSTEMD_UNIT": "liar.service"}, "liar.service"),
        ({"SYSLOG_IDENTIFIER": ["first", "second"]}, "first"),
        ({"_COMM": "sh\u202e"}, "sh\\u202e"),
        ({}, "?"),
    ],
)
def test_who_wrote_is_what_the_journal_vouches_for(
    program: FakeJournalctl, fields: dict[str, object], unit: str
) -> None:
    program.says([json.dumps({"__REALTIME_TIMESTAMP": "1", "MESSAGE": "x", **fields})])
    assert journal.read(Query()).entries[0].unit == unit


def test_lines_that_are_no_records_are_passed_over(program: FakeJournalctl) -> None:
    bad = ["", "{", "null", "[1]", '{"MESSAGE": "no time"}', '{"__REALTIME_TIMESTAMP": []}', "[" * 100000]
    odd = {"__REALTIME_TIMESTAMP": "5", "PRIORITY": "nine", "_PID": "x", "MESSAGE": {"a": 1}}
    program.says([*bad, json.dumps(odd)])
    (entry,) = journal.read(Query()).entries
    assert (entry.priority, entry.pid, entry.message) == (6, None, "")


def test_every_argument_is_one_word_of_a_fixed_list(program: FakeJournalctl) -> None:
    words = journal.words_of('--all "quoted" $(reboot); a|b (?{code}) \n-f\0.*')
    journal.read(
        Query(unit="a@b.service", priority=3, words=words, since=5.5, until=6, this_boot=True, lines=7)
    )
    (call,) = program.calls
    assert all(argument.startswith("--") for argument in call)
    names = [argument.partition("=")[0] for argument in call]
    assert names == [
        *("--output", "--output-fields", "--no-pager", "--quiet", "--lines", "--reverse", "--boot"),
        *("--unit", "--priority", "--since", "--until", "--grep", "--case-sensitive"),
    ]
    assert {"--lines=7", "--unit=a@b.service", "--since=@5.500000", "--until=@6.000000"} <= set(call)
    (pattern,) = (argument.removeprefix("--grep=") for argument in call if argument.startswith("--grep="))
    assert re.search(pattern, 'x .* -f\n--ALL "quoted" $(reboot); a|b (?{code})'.replace("ALL", "all"))
    assert not re.search(pattern, 'x .* -f --all "quoted" $(reboot); a (?{code})')


def test_words_are_bounded_in_number_and_length() -> None:
    words = journal.words_of(" ".join(f"{number}{'x' * 500}" for number in range(100)))
    assert len(words) == journal.MOST_WORDS
    assert max(map(len, words)) == journal.MOST_WORD
    assert journal.words_of(" \n\t\x00 ") == ()


@pytest.mark.parametrize(
    "name",
    [
        *(
            "a;b.service",
            "a.service\n",
            "\na.service",
            "../../a.service",
            "a b.service",
            "*.service",
            "",
            "a",
        ),
        *(".service", "a.exe", f"{'a' * 300}.service", "a.service --all", "é.service"),
    ],
)
def test_what_cannot_be_a_units_name_never_reaches_journalctl(program: FakeJournalctl, name: str) -> None:
    if not name:  # no unit is every unit
        return
    with pytest.raises(Unfit):
        journal.read(Query(unit=name))
    with pytest.raises(FileNotFoundError):
        program.calls  # noqa: B018 - nothing was called


def test_a_service_may_be_named_without_its_ending() -> None:
    assert unit_name(" nginx ") == "nginx.service"
    assert unit_name("getty@tty1.service") == "getty@tty1.service"
    assert unit_name("php8.2-fpm") == "php8.2-fpm.service"
    assert unit_name(r"dev-disk-by\x2duuid.swap") == r"dev-disk-by\x2duuid.swap"
    for bad in (None, 5, "", " ", "a;b", "a\nb", "../x", "a/b", "x" * 300, ["a"]):
        with pytest.raises(Unfit):
            unit_name(bad)


@pytest.mark.parametrize(("asked", "lines"), [(0, 1), (-5, 1), (10**6, journal.MOST_LINES), (50, 50)])
def test_the_number_of_lines_is_bounded(program: FakeJournalctl, asked: int, lines: int) -> None:
    journal.read(Query(lines=asked))
    assert f"--lines={lines}" in program.calls[0]


def test_the_first_records_end_the_reading(program: FakeJournalctl) -> None:
    program.says([record(str(number), at=number) for number in range(10000)], waits=True)
    found = journal.read(Query(first=True, lines=3))
    assert [entry.message for entry in found.entries] == ["0", "1", "2"]
    assert not found.complete
    assert not any(argument.startswith("--lines") for argument in program.calls[0])


def test_a_journal_that_says_too_much_is_cut_off(
    program: FakeJournalctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MOST_BYTES", 100_000)
    program.says([record("x" * 1000, at=number) for number in range(500)], waits=True)
    found = journal.read(Query(lines=5000))
    assert 50 < len(found.entries) < 400
    assert not found.complete


def test_a_journalctl_that_hangs_is_ended(program: FakeJournalctl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MOST_SECONDS", 0.3)
    program.says([record("before it hung")], waits=True)
    found = journal.read(Query())
    assert [entry.message for entry in found.entries] == ["before it hung"]
    assert not found.complete
    program.says(waits=True)
    with pytest.raises(Lacking, match=r"nothing came within 0\.3 seconds"):
        journal.read(Query())


def test_a_search_without_a_match_is_no_error(program: FakeJournalctl) -> None:
    program.says(status=1)
    assert journal.read(Query(words=("x",))).entries == ()


@pytest.mark.parametrize(
    ("complaint", "message"),
    [
        ("No journal files were opened due to insufficient permissions.", "agentd may not read the journal"),
        ("No journal files were found.", "there is no journal here: none is kept"),
        ("Failed to \x1b[1m\nsecond", "the journal cannot be read: Failed to \\x1b[1m"),
        ("", "the journal cannot be read: journalctl ended with 2"),
    ],
)
def test_a_journal_that_cannot_be_read_is_one_line(
    program: FakeJournalctl, complaint: str, message: str
) -> None:
    program.says(complaint=complaint, status=2 if not complaint else 1)
    with pytest.raises(Lacking) as caught:
        journal.read(Query())
    assert caught.value.message == message


def test_no_journal_and_no_journalctl_are_one_line(
    program: FakeJournalctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "FOLDERS", (tmp_path / "nothing",))
    with pytest.raises(Lacking, match="there is no journal here"):
        journal.read(Query())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Lacking, match="journalctl is not installed"):
        journal.read(Query())


def test_a_moment_is_seconds_or_iso_8601() -> None:
    assert journal.since(None) is None
    assert journal.since("") is None
    assert journal.since(12) == 12.0
    assert journal.since("2026-11-25T08:55:13+00:00") == 1795596913.0
    assert journal.since("2026-11-25T08:55:13Z") == 1795596913.0
    for bad in (True, -1, float("nan"), float("inf"), 1e300, "yesterday", "@5", "9" * 400, [1], "1\n2"):
        with pytest.raises(Unfit):
            journal.since(bad)
