"""What a sentence looks like to the routing head, and mistyped words put right."""

import math
import time

import pytest

from agentd.routing import features, spelling
from agentd.routing.features import tokens
from agentd.routing.spelling import Spelling

BUCKETS = 1 << 14


def test_a_vector_has_the_length_one_and_its_buckets_are_sorted_and_within() -> None:
    found = features.features("Restart nginx, please!", BUCKETS)
    assert math.hypot(*(weight for _, weight in found)) == pytest.approx(1)
    buckets = [bucket for bucket, _ in found]
    assert buckets == sorted(set(buckets))
    assert set(buckets) <= set(range(BUCKETS))


def test_the_same_sentence_has_the_same_buckets_in_every_process() -> None:
    """Python's own hash differs from one process to the next. Other buckets than these: another FORMAT."""
    expected = [1594, 3088, 4446, 7650, 8128, 10129, 11888]
    assert [bucket for bucket, _ in features.features("up", BUCKETS)] == expected


def test_case_accents_and_the_apostrophe_of_not_make_no_difference() -> None:
    assert tokens("Éteins l'Ordi") == ["eteins", "l", "ordi"]
    assert tokens("DON'T") == tokens("don\u2019t") == tokens("dont") == ["dont"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("restart foo.service", "restart <unit>"),
        ("is sshd up", "is <unit> up"),
        ("show /etc/fstab and ~/a.md", "show <path> and <path>"),
        ("delete notes.txt", "delete <path>"),
        ("bring wlan0 up", "bring <link> up"),
        ("ping 10.0.0.1 or git.intern.lan", "ping <host> or <host>"),
        ("remind me at 8:30 or 9 pm", "remind me at <time> or <time>"),
        ("brightness 30 %", "brightness <num>"),
        ("use Europe/Berlin", "use <zone>"),
        ("switch to de_DE.UTF-8", "switch to <locale>"),
    ],
)
def test_names_that_no_example_can_list_become_marks(text: str, expected: str) -> None:
    assert tokens(text) == expected.split()


def test_things_of_the_machine_are_found_in_a_text() -> None:
    assert features.names_in("move a.txt to /tmp and restart nginx at 8:30") == ["a.txt", "/tmp", "nginx"]


def test_no_text_is_too_long_or_too_strange() -> None:
    for text in ("", " \n", "\0", "😀", "\ud800", "x" * 100_000, "a b " * 50_000, "<unit>"):
        for _, weight in features.features(text, BUCKETS):
            assert math.isfinite(weight)
    assert features.features("", BUCKETS) == features.features(" ", BUCKETS)


def test_a_sentence_takes_less_than_a_millisecond() -> None:
    text = "Could you please tell me how long this machine has been up and what /var/log takes?"
    best = math.inf
    for _ in range(20):
        began = time.perf_counter()
        features.features(text, BUCKETS)
        best = min(best, time.perf_counter() - began)
    assert best < 0.001


SPELLING = Spelling({"restart": 9, "the": 50, "stop": 5, "logs": 4, "memory": 3}, ["memories", "step"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("restrat nginx", "restart nginx"),  # two letters swapped
        ("retart teh daemon", "restart the daemon"),  # one missing
        ("Resttart it", "restart it"),  # one too many
        ("stpo", "stop"),
        ("step", "step"),  # a word of its own
        ("memorx", "memory"),  # another letter, in a long word
        ("stip", "stip"),  # short words are near too many
        ("memories", "memories"),
        ("stops", "stops"),  # an ending, no slip
        ("teh.txt /teh teh_x teh@host", "teh.txt /teh teh_x teh@host"),  # names
        ("relance le srop stp", "relance le srop stp"),  # another language
    ],
)
def test_only_a_slip_away_from_a_common_word_is_put_right(text: str, expected: str) -> None:
    assert SPELLING.corrected(text) == expected


def test_spelling_is_learnt_from_words_that_are_used_more_than_once_and_are_words() -> None:
    texts = ["restart nginx", "restart it", "delte it", "delte that", "stop nginx", "steak or step"]
    learnt = spelling.learnt(texts, ["the", "restart", "step", "stop", "restarts"])
    assert learnt.words["common"] == {"restart": 2}  # a mistake made twice is no word
    assert learnt.words["others"] == ["restarts"]
    assert Spelling(**learnt.words).corrected("retsart") == "restart"
