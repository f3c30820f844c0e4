"""What is worth remembering of what a person said."""

import pytest

from agentd.memory import distil


@pytest.mark.parametrize(
    ("said", "remembered"),
    [
        ("remember that my dentist is Dr. Lee", "My dentist is Dr. Lee"),
        ("Please remember: the key is under the pot.", "The key is under the pot."),
        ("ok, remember the bins go out on Friday", "The bins go out on Friday"),
        ("Don't forget that Ana is vegan", "Ana is vegan"),
        ("note: ferry at 9", "Ferry at 9"),
        ("Recuerda que el tren sale a las 8", "El tren sale a las 8"),
        ("Merk dir, dass der Schluessel im Schrank liegt", "Der Schluessel im Schrank liegt"),
    ],
)
def test_an_explicit_wish_is_taken_at_its_word(said: str, remembered: str) -> None:
    assert distil.explicit(said) == remembered


@pytest.mark.parametrize(
    "said",
    [
        "Do you remember my dentist?",
        "remember when we went to Porto?",
        "remember to buy milk",
        "I remember that day",
        "What is my name?",
        "remember who called?",
        "remember",
    ],
)
def test_what_only_sounds_like_it_is_no_wish_to_remember(said: str) -> None:
    assert distil.explicit(said) is None


@pytest.mark.parametrize(
    ("said", "kind", "slot"),
    [
        ("My dentist is Dr. Lee.", "fact", "dentist"),
        ("my dentist is now Dr. Moreau", "fact", "dentist"),
        ("My new dentist is called Moreau.", "fact", "dentist"),
        ("I live in Porto.", "fact", "home"),
        ("I moved to Lisbon last week", "fact", "home"),
        ("I now work at the harbour office.", "fact", "work"),
        ("My sister's name is Anna.", "fact", ""),
        ("Anna's birthday is 3 May.", "fact", "anna birthday"),
        ("I'm allergic to peanuts", "fact", ""),
        ("I'm vegetarian", "preference", "diet"),
        ("I really like dark chocolate", "preference", "taste dark chocolate"),
        ("I don't like dark chocolate", "preference", "taste dark chocolate"),
        ("I prefer short answers.", "preference", "taste short answers"),
        ("Call me Sam", "person", "name"),
        ("I have two cats", "fact", ""),
        ("My project deadline is 3 December.", "fact", "project deadline"),
        ("We bought a house in May.", "event", ""),
        ("From now on, answer in French.", "preference", ""),
    ],
)
def test_a_statement_about_a_life_is_found(said: str, kind: str, slot: str) -> None:
    [found] = distil.findings(said)
    assert found.text == said
    assert found.kind == kind
    if slot:
        assert found.slot == slot


@pytest.mark.parametrize(
    "said",
    [
        "What is the capital of France?",
        "If my dentist is Dr. Lee I will call.",
        "Maybe I live in Porto one day.",
        "The build is red again.",
        "my computer is slow",
        "I wish I had a dog",
        "Thanks, that was great!",
        "I used to live in Porto.",
        "My car is in the garage",
        "My sister is coming on Friday.",
        "",
        "My dentist is " + "very " * 80 + "nice.",
    ],
)
def test_a_question_a_guess_or_small_talk_is_left_alone(said: str) -> None:
    assert distil.findings(said) == []


def test_sentences_are_judged_one_by_one() -> None:
    said = "Hi! My vet is Dr. Okafor. How are you? I live in Ghent.\nThe weather is fine."
    assert [found.text for found in distil.findings(said)] == ["My vet is Dr. Okafor.", "I live in Ghent."]
