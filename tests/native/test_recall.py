"""What memory finds in long conversations with the machine's own embedder: the dialogues of part "test"."""

import pytest

from bench import recall
from bench.native_worker import prepared

pytestmark = pytest.mark.native


def test_words_and_meaning_together_find_no_less_than_words_alone() -> None:
    dialogues = recall.load(part="test")
    with prepared("qemu-x86_64") as place, place.worker() as worker:
        encoder = recall.Kept(worker)
        print(recall.report("test", encoder))
        with recall.indexed(dialogues, encoder) as indexes:
            fused = recall.ask(dialogues, indexes, encoder)
            words = recall.ask(dialogues, indexes, None, recall.WORDS_ALONE)
    for depth in recall.DEPTHS:
        assert recall.mean_recall(fused, depth) >= recall.mean_recall(words, depth)


def test_the_dialogues_are_what_they_should_be() -> None:
    dialogues = recall.load()
    assert {one.part for one in dialogues} == {"dev", "test"}
    kinds = {question.kind for one in dialogues for question in one.questions}
    assert kinds == {*recall.KINDS, recall.UNANSWERABLE}
    for one in dialogues:
        told = {turn.id for turn in one.turns}
        assert len(told) >= 150
        assert all(question.evidence <= told for question in one.questions)
        assert all(bool(question.evidence) == (question.kind in recall.KINDS) for question in one.questions)
