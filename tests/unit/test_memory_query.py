"""What is looked up for a question: its words, the days it means, whom it names, and what is embedded."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.memory.query import DAYS, MAX_TERMS, MONTHS, dated, parse

TODAY = date(2026, 11, 25)  # a Wednesday


def dates(question: str) -> tuple[str, ...]:
    return parse(question, today=TODAY).dates


def test_stop_words_are_left_out_and_each_word_is_asked_for_once() -> None:
    assert parse("What did the dentist say about the dentist's bill?").terms == ("dentist", "bill")
    assert parse("who are you and what can you do?").terms == ()
    assert parse("").terms == ()


def test_apostrophes_keep_a_word_whole_in_either_form() -> None:
    right = "\N{RIGHT SINGLE QUOTATION MARK}"
    assert parse("O'Brien don't").terms == parse(f"O{right}Brien don{right}t").terms == ("o'brien",)


def test_a_pasted_page_becomes_no_endless_query() -> None:
    assert len(parse(" ".join(f"word{number}" for number in range(500))).terms) == MAX_TERMS


def test_the_names_of_speakers_are_found_and_taken_out_of_what_is_embedded() -> None:
    query = parse("What did Caroline's sister tell ben?", ["Caroline Smith", "Ben", "Dora"], TODAY)
    assert query.people == ("Caroline Smith", "Ben")
    assert query.text == "What did sister tell ?"
    assert query.terms == ("caroline", "sister", "ben")
    assert parse("What did Caroline Smith say?", ["Caroline Smith"], TODAY).text == "What did say?"


def test_a_name_that_is_a_word_counts_only_as_it_is_written() -> None:
    assert parse("will it rain?", ["Will"]).people == ()
    assert parse("what did Will say?", ["Will"]).people == ("Will",)


def test_part_of_a_word_is_no_name() -> None:
    assert parse("Where is Annapolis?", ["Anna"]).people == ()


def test_roles_are_no_names() -> None:
    query = parse("What did you tell the user?", ["user", "assistant", "you", "agent"])
    assert query.people == ()
    assert query.text == "What did you tell the user?"


def test_a_question_of_a_name_alone_is_still_embedded() -> None:
    assert parse("Anna?", ["Anna"]).text == "Anna?"


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("today", ("20261125",)),
        ("what did I do last night", ("20261124",)),
        ("yesterday", ("20261124",)),
        ("the day before yesterday", ("20261123",)),
        ("three days ago", ("20261122",)),
        ("2 months ago", ("202609",)),
        ("a year ago", ("2025",)),
        ("last month", ("202610",)),
        ("this year", ("2026",)),
        ("this week", tuple(f"202611{day}" for day in range(23, 30))),
        ("last week", tuple(f"202611{day}" for day in range(16, 23))),
        ("on Tuesday", ("20261124",)),
        ("last wednesday", ("20261118",)),
        ("on 8 May 2023", ("20230508",)),
        ("on the 8th of May, 2023", ("20230508",)),
        ("May 8th, 2023", ("20230508",)),
        ("2023-05-08 and 2023-06", ("20230508", "202306")),
        ("in May 2023", ("202305",)),
        ("24 Dec", ("20251224",)),
        ("1 November", ("20261101",)),
        ("in May", ("may",)),
        ("last march", ("march",)),
    ],
)
def test_expressions_of_time_become_days_months_and_years(question: str, words: tuple[str, ...]) -> None:
    assert dates(question) == words


@pytest.mark.parametrize(
    "question",
    ["may I march on?", "31 February", "99 June 2020", "5000 years ago", "4 Mayors", "room 2023-1"],
)
def test_what_is_no_date_is_none(question: str) -> None:
    assert dates(question) == ()


def test_a_time_is_written_in_words() -> None:
    assert dated("2023-05-08T13:56:00Z") == "Monday 8 May 2023 20230508 202305"
    assert dated("") == dated("yesterday") == dated("2023-02-31") == ""


@given(st.dates(date(1000, 1, 1)))
def test_every_day_is_found_by_the_ways_to_write_it(day: date) -> None:
    held = dated(day.isoformat()).split()
    month, name = MONTHS[day.month - 1], DAYS[day.weekday()]
    assert held[0] == name
    for words in (f"{day.day} {month} {day.year}", f"{month} {day.day}, {day.year}", day.isoformat()):
        assert parse(f"what was on {words}?", today=TODAY).dates[0] in held
    assert parse(f"in {month} {day.year}", today=TODAY).dates[0] in held


@given(st.integers(0, 900))
def test_so_many_days_ago_is_that_day(back: int) -> None:
    assert dates(f"{back} days ago")[0] in dated((TODAY - timedelta(days=back)).isoformat())


@given(st.text(), st.lists(st.text(max_size=8), max_size=4), st.dates())
def test_no_text_is_an_error(question: str, speakers: list[str], today: date) -> None:
    query = parse(question, speakers, today)
    assert all(term and '"' not in term for term in (*query.terms, *query.dates))
