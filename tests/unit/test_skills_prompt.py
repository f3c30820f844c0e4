"""Instructions of a skill in the prompt: before the question, and what is cut when it does not fit."""

from collections.abc import Sequence

from agentd.prompt import compose


def count(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def test_instructions_come_between_the_text_and_the_question() -> None:
    found = compose("How?", "a log", 0, [], 1000, count, instructions="Be polite.\n", recalled=["a note"])
    assert found.asked == (
        "a log\n\nBe polite.\n\nNotes:\n- a note\n\nUsing the notes, answer in one sentence: How?"
    )


def test_the_end_of_long_instructions_is_left_out_and_told() -> None:
    text = "begin " + "word " * 5000
    found = compose("How is it?", "a log " * 3000, 0, [], 500, count, instructions=text)
    assert found.asked.endswith("How is it?")
    assert "begin word" in found.asked
    assert "a log" in found.asked
    assert count([found.asked])[0] < 500
    assert "of the instructions were left out to fit the context" in found.notes[0]
    assert "characters were left out" in found.notes[1]
