"""Summaries of long conversations: they point to their turns, fit, and grow at their end."""

import re
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.compaction import summarise
from agentd.session import Exchange


def count(texts: Sequence[str]) -> list[int]:
    """Tokens as a model may have them: words in pieces of four characters, and every other character."""
    return [sum(1 for _ in re.finditer(r"\w{1,4}|[^\w ]", text)) for text in texts]


def exchange(question: int, asked: str, answered: str) -> Exchange:
    return Exchange(question, asked, answered)


def chat(number: int, first: int = 1) -> list[Exchange]:
    return [
        exchange(
            at, f"What about topic {at} of the list?", f"Sure. Topic {at} costs {at * 7} euros in Oslo."
        )
        for at in range(first, first + 2 * number, 2)
    ]


def ids(summary: str) -> list[tuple[int, int]]:
    """The first and the last turn of each line."""
    found = [re.match(r"\[t(\d+)(?:-t(\d+))?\]", line) for line in summary.splitlines()]
    return [(int(match[1]), int(match[2] or match[1])) for match in found if match]


def test_each_exchange_is_a_line_with_its_turn_and_what_the_answer_says() -> None:
    found = [
        exchange(
            3, "Where is\n my  bike?", "Good question! Your bike is in Mr. Olsen's shed. I hope it helps."
        ),
        exchange(5, "Thanks", ""),
    ]
    assert summarise(found, "", 1000, count) == (
        "[t3] Where is my bike? -> Your bike is in Mr. Olsen's shed.\n[t5] Thanks"
    )


def test_the_sentence_with_names_and_numbers_is_the_telling_one() -> None:
    answer = (
        "That is a good question, and I am glad that you ask it. The ferry to Bergen leaves at 18:30 from"
        " Pier 4. Please let me know if there is anything else that I can do for you today."
    )
    assert summarise([exchange(1, "When?", answer)], "", 1000, count) == (
        "[t1] When? -> The ferry to Bergen leaves at 18:30 from Pier 4."
    )


def test_names_and_numbers_weigh_more_than_other_words() -> None:
    answer = "We walk along the old harbour wall together. Meet Olsen at 18:30 near Pier 4."
    assert summarise([exchange(1, "When?", answer)], "", 1000, count) == (
        "[t1] When? -> Meet Olsen at 18:30 near Pier 4."
    )


def test_of_a_question_with_an_attachment_the_question_is_kept() -> None:
    asked = "a line of a log\n" * 500 + "\n\nWhat failed?"
    assert summarise([exchange(1, asked, "The disk.")], "", 1000, count) == "[t1] What failed? -> The disk."


def test_a_summary_grows_at_its_end() -> None:
    first = summarise(chat(5), "", 1000, count)
    second = summarise(chat(5, 11), first, 1000, count)
    assert second.startswith(first + "\n")
    assert ids(second) == [(at, at) for at in range(1, 21, 2)]


def test_when_it_is_full_the_old_give_way_and_new_lines_are_whole() -> None:
    whole = summarise(chat(20), "", 10_000, count)
    budget = count([whole])[0] * 3 // 4
    summary = summarise(chat(20), "", budget, count)
    assert count([summary])[0] <= budget
    assert ids(summary)[0][0] == 1, "the first turn is still pointed to"
    assert summary.splitlines()[-10:] == whole.splitlines()[-10:]


def test_when_it_is_very_full_the_oldest_lines_are_one() -> None:
    summary = summarise(chat(60), "", 400, count)
    lines = ids(summary)
    assert count([summary])[0] <= 400
    assert lines[0][0] == 1 and lines[0][1] > 40
    assert lines[-1] == (119, 119)
    assert summary.splitlines()[-1].endswith("Topic 119 costs 833 euros in Oslo.")


def test_after_room_was_made_it_grows_at_its_end_again() -> None:
    summary, unchanged = "", 0
    for number in range(200):
        longer = summarise(chat(1, 1 + 2 * number), summary, 400, count)
        unchanged += longer.startswith(summary)
        summary = longer
        assert count([summary])[0] <= 400
        assert (ids(summary)[0][0], ids(summary)[-1][1]) == (1, 1 + 2 * number)
    assert unchanged >= 150, "each change of the beginning costs a full reading"


@pytest.mark.parametrize("budget", [0, -5, 1, 3])
def test_without_room_there_is_no_summary(budget: int) -> None:
    assert summarise(chat(5), "", budget, count) == ""


def test_nothing_is_made_of_nothing() -> None:
    assert summarise([], "", 100, count) == ""
    assert summarise([], "[t1] hello", 100, count) == "[t1] hello"


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.text(max_size=300), st.text(max_size=400)), max_size=12),
    st.integers(0, 300),
    st.integers(1, 4),
)
def test_whatever_was_said_it_fits_and_points_to_all_of_it(
    said: list[tuple[str, str]], budget: int, steps: int
) -> None:
    exchanges = [exchange(2 * at + 1, asked, answered) for at, (asked, answered) in enumerate(said)]
    summary = ""
    step = len(exchanges) // steps + 1
    for start in range(0, len(exchanges), step):
        before = summary
        summary = summarise(exchanges[start : start + step], summary, budget, count)
        assert count([summary])[0] <= budget or not summary
        if summary and (before or not start):
            found = ids(summary)
            assert len(found) == len(summary.splitlines())
            assert found[-1][1] == exchanges[start : start + step][-1].question
            assert found == sorted(found)
