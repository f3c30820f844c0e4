"""Facts as a person reads them."""

import time

import pytest

from agentd.tools import render


def test_numbers_stand_to_the_right_and_words_to_the_left() -> None:
    assert render.table(("What", "Size"), [("a", "5 kB"), ("long", "12.5 MB"), ("none", "-")]) == (
        "What     Size\na        5 kB\nlong  12.5 MB\nnone        -"
    )


def test_a_text_that_begins_with_a_digit_is_no_number() -> None:
    rows = [("1", "3 attempts were made"), ("2", "2 were not")]
    assert render.table(("N", "Text"), rows).splitlines()[2] == "2  2 were not"


def test_a_table_without_rows_is_its_head() -> None:
    assert render.table(("A", "B"), []) == "A  B"


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1.5e9, "1.5 GB"), (99.6e6, "100 MB"), (2e18, "2000 PB")],
)
def test_sizes_have_units(count: float, words: str) -> None:
    assert render.size(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.25, "0.2 seconds"), (60, "1 minute"), (3725, "1 hour 2 minutes"), (86400 * 2 + 59, "2 days")],
)
def test_spans_have_two_units_at_most(seconds: float, words: str) -> None:
    assert render.span(seconds) == words


def test_a_share_of_nothing_is_told_as_none() -> None:
    assert render.percent(1, 4) == "25 %"
    assert render.percent(1, 0) == "-"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("one\ntwo\r", "one\\ntwo"),
        ("a\tb\u00a0c", "a b c"),
        ("\u202etxt.exe", "\\u202etxt.exe"),
        ("\x9b2J\x00\x7f", "\\x9b2J\\x00\\x7f"),
        ("half \ud800", "half \\ud800"),
        ("line\u2028para\u2029", "line\\u2028para"),
        ("Grüße, 世界 €", "Grüße, 世界 €"),
    ],
)
def test_what_steers_a_terminal_is_shown_by_its_code(text: str, shown: str) -> None:
    assert render.visible(text) == shown
    assert render.visible(text).isprintable()


def test_a_long_text_is_cut_where_it_is_told() -> None:
    assert render.visible("abcdef", 4) == "abc…"
    assert render.visible("abcd", 4) == "abcd"


def test_a_pair_without_a_value_is_left_out() -> None:
    assert (
        render.pairs([("Size", 5), ("Name", ""), ("Restarts", 0), ("X", None)]) == "Size      5\nRestarts  0"
    )


def test_one_thing_is_not_told_as_several() -> None:
    assert [render.count(1, "entry", "entries"), render.count(2, "entry", "entries")] == [
        *("1 entry", "2 entries")
    ]
    assert render.count(0, "error") == "0 errors"


def test_moments_are_local_for_people_and_utc_for_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC-2")
    time.tzset()
    try:
        assert render.moment(0) == "1970-01-01 02:00:00"
        assert render.utc(0) == "1970-01-01T00:00:00Z"
    finally:
        monkeypatch.undo()
        time.tzset()
