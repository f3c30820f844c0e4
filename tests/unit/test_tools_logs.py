"""Errors, searches and explanations out of the journal."""

import json
from pathlib import Path

import pytest
from fake_journalctl import FakeJournalctl, record

from agentd.tools import journal, logs, render
from agentd.tools.bus import Bus
from agentd.tools.tool import Answer, Context, Lacking, Unfit

CONTEXT = Context(Bus(), "ada")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeJournalctl:
    folder = tmp_path / "journal/id"
    folder.mkdir(parents=True)
    (folder / "system.journal").touch()
    monkeypatch.setattr(journal, "FOLDERS", (tmp_path / "journal",))
    return FakeJournalctl(tmp_path / "bin", monkeypatch)


def fit_for_json(answer: Answer) -> Answer:
    json.dumps(answer.facts)
    assert answer.sources
    return answer


def test_the_same_error_of_a_unit_is_told_once_with_its_count(program: FakeJournalctl) -> None:
    lines = [
        record(f"read error, sector {1000 + number}", at=number, unit="k.service") for number in range(5)
    ]
    lines += [record("read error, sector 5", at=6, unit="other.service"), record("exit 1", at=7)]
    lines += [record("exit 2", at=8)]
    program.says(reversed(lines))  # type: ignore[arg-type]
    answer = fit_for_json(logs.errors(CONTEXT, {}))
    assert answer.text.startswith("8 errors since the boot, of 4 kinds, the newest first:")
    kinds = [(kind["unit"], kind["message"], kind["times"]) for kind in answer.facts["kinds"]]
    assert kinds == [
        ("a.service", "exit 2", 1),
        ("a.service", "exit 1", 1),
        ("other.service", "read error, sector 5", 1),
        ("k.service", "read error, sector 1004", 5),
    ]
    assert {"--boot=0", "--priority=3"} <= set(program.calls[0])


def test_errors_of_a_time_span_ask_for_that_span(program: FakeJournalctl) -> None:
    answer = fit_for_json(logs.errors(CONTEXT, {"since": 0}))
    assert answer.text.startswith("No errors since 19")
    assert "--since=@0.000000" in program.calls[0]
    assert "--boot=0" not in program.calls[0]


def test_many_kinds_of_errors_are_cut_and_said_to_be(program: FakeJournalctl) -> None:
    program.says([record(f"kind {number}", at=number) for number in range(30)])
    answer = logs.errors(CONTEXT, {})
    assert answer.text.endswith("and 10 more kinds")
    assert len(answer.facts["kinds"]) == 30


def test_a_search_shows_lines_without_what_steers_a_terminal(program: FakeJournalctl) -> None:
    program.says([record("disk \x1b]0;evil\x07 full\nsecond", unit="a.service")])
    answer = fit_for_json(logs.search(CONTEXT, {"words": 'disk "full"\n;reboot'}))
    assert answer.text.startswith('1 entry with the words: disk "full" ;reboot\n')
    assert "disk \\x1b]0;evil\\x07 full\\nsecond" in answer.text
    assert all(line.isprintable() for line in answer.text.splitlines())


def test_a_search_that_finds_nothing_says_so(program: FakeJournalctl) -> None:
    program.says(status=1)
    answer = fit_for_json(logs.search(CONTEXT, {"words": "x", "since": 0}))
    assert answer.text.startswith("Nothing in the journal since")


@pytest.mark.parametrize("words", [None, "", " \n", 5])
def test_no_words_are_unfit(program: FakeJournalctl, words: object) -> None:
    for run in (logs.search, logs.explain):
        with pytest.raises(Unfit):
            run(CONTEXT, {"words": words})


def test_an_entry_is_shown_with_what_stands_around_it(program: FakeJournalctl) -> None:
    program.says(
        [
            record("Failed later, not as bad", at=30, unit="c.service", priority=6),
            record("c.service: Failed \x1b[5m", at=20, unit="c.service", priority=3, _PID="7"),
            record("starting", at=10, unit="b.service", priority=6),
        ]
    )
    words = "Nov 25 09:00:33 host systemd[1]: Failed"
    answer = fit_for_json(logs.explain(CONTEXT, {"words": words}))
    when = render.moment(20)
    assert answer.text.splitlines()[:3] == [
        f"c.service at {when} (priority error, process 7):",
        "  c.service: Failed \\x1b[5m",
        "Around it:",
    ]
    assert [one["message"] for one in answer.facts["around"]] == ["starting", "Failed later, not as bad"]
    # What wrote a line to a log file, and when, is no word of the message.
    assert "--grep=(?s)^(?=.*Failed)" in program.calls[0]
    assert {"--since=@0.000000", "--until=@20.000000"} <= set(program.calls[1])


def test_the_entry_that_has_most_of_the_words_is_explained() -> None:
    entries = [
        journal.Entry(1, "nginx.service", 3, "bind() to 0.0.0.0:80 failed", 1, "1"),
        journal.Entry(2, "cups.service", 3, "cannot bind to port 631", 1, "2"),
        journal.Entry(3, "nginx.service", 6, "started", 1, "3"),
    ]
    best = logs.best(["nginx", "bind"], entries)
    assert best is not None
    assert best.cursor == "1"
    assert logs.best(["zebra", "giraffe"], entries) is None
    assert logs.best(["bind", "zebra", "giraffe", "lion"], entries) is None
    assert logs.best([], entries) is None


def test_nothing_that_fits_is_one_line(program: FakeJournalctl) -> None:
    program.says(status=1)
    with pytest.raises(Lacking, match="nothing in the journal fits: zebra") as caught:
        logs.explain(CONTEXT, {"words": "zebra\n"})
    assert caught.value.hint
