"""Recall: words and meaning weighed together, for whom, and when nothing was found."""

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import pytest

from agentd.memory.index import Index
from agentd.memory.items import FileItem, Scope, TurnItem
from agentd.memory.recall import (
    THRESHOLD,
    THRESHOLD_OF_WORDS,
    WEIGHTS,
    Recalled,
    Weights,
    confidence,
    recall,
    understand,
)
from agentd.memory.vectors import DIMENSIONS
from bench import recall as bench

SCOPE = Scope("owner", "2026-11-25T00:00:00Z")
# A toy encoder: what a text is about is the first of these that it holds.
TOPICS = {"sea": 0, "boat": 0, "sail": 0, "food": 1, "soup": 1, "bread": 1, "money": 2, "rent": 2}


@dataclass(frozen=True)
class State:
    """A file as a scan sees it."""

    path: str
    size: int = 1
    mtime_ns: int = 2
    inode: int = 3


@pytest.fixture
def index(tmp_path: Path) -> Iterable[Index]:
    opened = Index(tmp_path / "index.db")
    yield opened
    opened.close()


def embed(text: str) -> list[float]:
    """A direction for each topic, and one for what is about none."""
    topic = next((TOPICS[word] for word in text.lower().split() if word in TOPICS), 3)
    return [10.0 if place % 4 == topic else 1.0 if place % 2 else -1.0 for place in range(DIMENSIONS)]


def turn(row: int, text: str, session: str = "s", speaker: str = "Anna") -> TurnItem:
    return TurnItem(f"t{row}", row, session, "owner", speaker, "2025-01-02T10:00:00Z", text)


def fill(index: Index, *turns: TurnItem, items: Sequence[FileItem] = ()) -> None:
    index.add_turns(turns)
    index.replace_file(State("a.md"), "", items)
    index.put_vectors([(row, embed(text)) for row, text in index.pending_vectors(1000)])


def ask(
    index: Index,
    question: str,
    scope: Scope = SCOPE,
    *,
    meaning: bool = True,
    k: int = 10,
    weights: Weights = WEIGHTS,
) -> Recalled:
    query = understand(index, question, date(2026, 11, 25))
    return recall(index, query, embed(query.text) if meaning else None, scope, k, weights)


def ids(recalled: Recalled) -> list[str]:
    return [hit.item.id for hit in recalled.hits]


@pytest.mark.parametrize("silenced", ["semantic", "window"])
def test_what_shares_no_word_is_found_by_its_meaning(index: Index, silenced: str) -> None:
    fill(index, turn(1, "we sail at dawn", "a"), turn(2, "soup again", "b"), turn(3, "tax papers", "c"))
    weights = replace(WEIGHTS, session=0.0, **{silenced: 0.0})  # type: ignore[arg-type]
    assert ids(ask(index, "who took the boat", weights=weights))[0] == "t1"
    assert ids(ask(index, "who took the boat", meaning=False)) == []


def test_without_an_encoder_words_are_enough(index: Index) -> None:
    index.add_turns([turn(1, "the dentist is Dr. Lee", "a"), turn(2, "the plumber came", "b")])
    recalled = ask(index, "Which dentist?", meaning=False)
    assert ids(recalled) == ["t1"]
    assert recalled.hits[0].semantic == recalled.hits[0].window == 0
    assert recalled.hits[0].lexical == pytest.approx(1, abs=0.3)


def test_with_an_encoder_a_turn_that_has_no_vector_yet_is_still_found(index: Index) -> None:
    fill(index, turn(1, "the plumber came", "a"))
    index.add_turns([turn(2, "the dentist came", "b"), turn(3, "nobody came", "c")])
    assert ids(ask(index, "dentist"))[0] == "t2"


def test_a_turn_counts_with_what_is_said_around_it(index: Index) -> None:
    fill(
        index,
        turn(1, "yes", "a"),
        turn(2, "the boat", "b"),
        turn(3, "yes", "b"),
        turn(4, "the sea", "b"),
        turn(5, "yes", "c"),
    )
    hits = {hit.item.id: hit for hit in ask(index, "sail").hits}
    assert hits["t3"].semantic == pytest.approx(hits["t1"].semantic)
    assert hits["t3"].window > hits["t1"].window + 0.2
    assert hits["t1"].window == pytest.approx(hits["t1"].semantic)


def test_the_cosine_among_neighbours_is_that_with_their_weighted_sum(index: Index) -> None:
    source = random.Random(5)
    topic, *noise = [[source.gauss(0, 1) for _ in range(DIMENSIONS)] for _ in range(5)]
    before, middle, after, question = [[x + y / 2 for x, y in zip(topic, one, strict=True)] for one in noise]
    index.add_turns([turn(1, "before"), turn(2, "middle"), turn(3, "after")])
    index.put_vectors([(1, before), (2, middle), (3, after)])
    asked = replace(understand(index, "middle"), text="")
    hits = {hit.item.id: hit for hit in recall(index, asked, question, SCOPE, 3).hits}
    one, two, three, four = (unit(vector) for vector in (before, middle, after, question))
    window = unit([x / 2 + y + z / 2 for x, y, z in zip(one, two, three, strict=True)])
    assert hits["t2"].semantic == pytest.approx(cosine(two, four), abs=0.002)
    assert hits["t2"].window == pytest.approx(cosine(window, four), abs=0.03)
    first = unit([x + y / 2 for x, y in zip(one, two, strict=True)])
    assert hits["t1"].window == pytest.approx(cosine(first, four), abs=0.03)


def unit(vector: list[float]) -> list[float]:
    length = math.hypot(*vector)
    return [x / length for x in vector]


def cosine(one: list[float], other: list[float]) -> float:
    return sum(x * y for x, y in zip(one, other, strict=True))


def test_who_is_named_counts_as_the_speaker(index: Index) -> None:
    fill(
        index,
        turn(1, "I like soup", "a", speaker="Anna"),
        turn(2, "I like soup", "b", speaker="Ben"),
        turn(3, "tax", "c", speaker="Eve"),
    )
    assert ids(ask(index, "Which soup does Ben like?"))[0] == "t2"
    assert ids(ask(index, "Which soup does Anna like?"))[0] == "t1"
    assert [hit.speaker for hit in ask(index, "Do Anna and Ben like soup?").hits] == [0, 0, 0]


def test_a_good_match_lifts_its_session(index: Index) -> None:
    index.add_turns(turn(row, f"filler{row}", f"s{row}") for row in range(100, 150))
    index.add_turns([turn(1, "the ferry", "far"), turn(2, "the ferry", "near"), turn(3, "yes", "near")])
    index.add_turns([turn(4, "no", "near"), turn(5, "the island ferry to Skye", "near")])
    hits = {hit.item.id: hit for hit in ask(index, "island ferry Skye", meaning=False).hits}
    assert hits["t2"].lexical < hits["t1"].lexical
    assert hits["t2"].score > hits["t1"].score
    alone = ids(ask(index, "island ferry Skye", meaning=False, weights=replace(WEIGHTS, session=0.0)))
    assert alone.index("t1") < alone.index("t2")


def test_a_memory_comes_before_the_turn_that_it_was_made_from(index: Index) -> None:
    fill(index, items=[FileItem("m1", "memory", "my rent is 500")])
    index.add_turns([turn(1, "my rent is 500")])
    assert ids(ask(index, "rent", meaning=False)) == ["m1", "t1"]
    plain = ask(index, "rent", meaning=False, weights=replace(WEIGHTS, memory=0.0)).hits[0]
    assert ask(index, "rent", meaning=False).hits[0].score > plain.score


def test_what_belongs_to_no_session_is_not_lifted_by_the_rest(index: Index) -> None:
    fill(index, items=[FileItem("p1", "passage", "boat"), FileItem("p2", "passage", "soup")])
    best, last = ask(index, "the boat").hits
    assert (best.item.id, last.item.id) == ("p1", "p2")
    assert last.session < best.session


def test_what_was_superseded_is_found_only_in_the_archive(index: Index) -> None:
    old = FileItem("m1", "memory", "the dentist is Dr. Smith", active=False)
    fill(index, items=[old, replace(old, id="m2", text="the dentist is Dr. Lee", active=True)])
    for meaning in (True, False):
        assert ids(ask(index, "dentist", meaning=meaning)) == ["m2"]
        found = ids(ask(index, "dentist", replace(SCOPE, archived=True), meaning=meaning))
        assert sorted(found) == ["m1", "m2"]


def test_nobody_recalls_what_another_said(index: Index) -> None:
    index.add_turns([replace(turn(1, "my secret soup"), person="ben"), turn(2, "another soup", "t")])
    index.put_vectors([(row, embed(text)) for row, text in index.pending_vectors(9)])
    assert ids(ask(index, "secret soup")) == ["t2"]
    assert ids(ask(index, "secret soup", replace(SCOPE, person="ben"))) == ["t1"]
    assert ids(ask(index, "secret soup", replace(SCOPE, person="eve"))) == []


def test_what_the_model_reads_anyway_is_not_recalled(index: Index) -> None:
    fill(index, turn(1, "soup one"), turn(2, "soup two"), turn(3, "soup three", "other"))
    assert sorted(ids(ask(index, "soup", replace(SCOPE, without=("s", 2))))) == ["t1", "t3"]


def test_of_equals_the_newest_comes_first_and_no_more_than_asked(index: Index) -> None:
    fill(index, *(turn(row, "soup", f"s{row}") for row in range(1, 9)))
    assert ids(ask(index, "soup", k=3)) == ["t8", "t7", "t6"]


def test_a_memory_that_was_copied_is_found_once(index: Index) -> None:
    copied = FileItem("m1", "memory", "soup")
    fill(index, items=[copied])
    index.replace_file(State("b.md"), "", [copied])
    assert ids(ask(index, "soup")) == ["m1"]


def test_confidence_is_high_for_what_was_said_and_low_for_what_was_not(index: Index) -> None:
    fillers = [turn(row, f"filler{row} talk", f"s{row}") for row in range(1, 60)]
    fill(index, *fillers, turn(90, "the boat is called Dorothea", "boat"))
    assert ask(index, "What is the boat called?").confidence > 0.8
    assert ask(index, "What is the boat called?", meaning=False).confidence > 0.6
    assert ask(index, "money for Zanzibar").confidence < THRESHOLD
    assert ask(index, "money for Zanzibar", meaning=False).confidence == 0 < THRESHOLD_OF_WORDS


def test_confidence_grows_with_words_and_with_meaning_and_stays_between_0_and_1() -> None:
    assert confidence(0.0, None) == confidence(0.0, -0.2) == 0
    assert confidence(1.0, None) == confidence(1.0, 1.01) == 1
    assert confidence(0.2, 0.5) < confidence(0.3, 0.5) < confidence(0.3, 0.6)


def test_an_empty_index_and_an_empty_question_find_nothing(index: Index) -> None:
    assert ask(index, "anything") == Recalled((), 0.0)
    fill(index, turn(1, "soup"))
    assert ask(index, "", meaning=False) == Recalled((), 0.0)


def test_what_is_no_embedding_is_refused(index: Index) -> None:
    with pytest.raises(ValueError, match="384"):
        recall(index, understand(index, "soup"), [1.0], SCOPE, 5)


# The dialogues that it is measured by


def test_every_dialogue_is_whole_and_its_evidence_is_there() -> None:
    dialogues = bench.load()
    assert {dialogue.part for dialogue in dialogues} == {"dev", "test"}
    for dialogue in dialogues:
        said = [turn.id for turn in dialogue.turns]
        assert len(said) == len(set(said)) >= 150
        assert [turn.time for turn in dialogue.turns] == sorted(turn.time for turn in dialogue.turns)
        for question in dialogue.questions:
            assert question.kind in (*bench.KINDS, bench.UNANSWERABLE)
            assert question.evidence <= set(said)
            assert bool(question.evidence) == (question.kind != bench.UNANSWERABLE)


def test_the_figures_are_shares_of_evidence_and_of_silence() -> None:
    one = bench.Question("1", "single", "?", frozenset({"a", "b"}))
    none = bench.Question("2", "unanswerable", "?", frozenset())
    answers = [
        bench.Answer(one, ["x", "a", "b"], 0.9),
        bench.Answer(replace(one, kind="open"), ["x"], 0.2),
        bench.Answer(none, ["x"], 0.1),
    ]
    assert bench.mean_recall(answers, 2, "single") == 0.5
    assert bench.mean_recall(answers, 3) == 0.5
    assert bench.silent(answers, 0.3) == (1.0, 0.5)


def test_without_an_encoder_sessions_and_speakers_do_not_hurt_on_the_test_part() -> None:
    dialogues = bench.load(part="test")
    with bench.indexed(dialogues, None) as indexes:
        ours, words = (
            bench.ask(dialogues, indexes, None),
            bench.ask(dialogues, indexes, None, bench.WORDS_ALONE),
        )
    assert bench.mean_recall(ours, 10) >= bench.mean_recall(words, 10)
    assert bench.mean_recall(words, 10) > 0.5
