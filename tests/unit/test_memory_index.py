"""The index: what is put in is found, what is taken out is gone from the disk, and damage is no loss."""

import os
import sqlite3
import string
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.errors import StoreUnavailable
from agentd.memory import index as index_module
from agentd.memory.index import Index
from agentd.memory.items import Counts, FileItem, Scope, TurnItem
from agentd.memory.memory import Memory, Passage
from agentd.memory.query import parse
from agentd.memory.vectors import DIMENSIONS, Shelves, probe

SCOPE = Scope("owner", "2026-11-25T00:00:00Z")


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


def turn(row: int, text: str, session: str = "s", **fields: str) -> TurnItem:
    made = TurnItem(f"t{row}", row, session, "owner", "Anna", "2023-05-08T10:00:00Z", text)
    return replace(made, **fields)  # type: ignore[arg-type]


def found(index: Index, question: str, scope: Scope = SCOPE) -> list[str]:
    """Ids of what the words of `question` find, best first."""
    scores = index.words(parse(question), scope, 100).scores
    items = index.items(scores, scope)
    return [items[row].id for row in sorted(scores, key=lambda row: -scores[row])]


def vector(number: int) -> list[float]:
    return [1.0 + (place == number) * 30 for place in range(DIMENSIONS)]


def embed_all(index: Index) -> dict[str, int]:
    """Give every item that lacks one a vector; by text the number of it."""
    pending = index.pending_vectors(1000)
    index.put_vectors((row, vector(row % DIMENSIONS)) for row, _ in pending)
    return {text: row % DIMENSIONS for row, text in pending}


def nearest(index: Index, number: int, person: str = "owner") -> list[str]:
    rows = index.nearest(probe(vector(number)).code, person, 100)
    return sorted(item.id for item in index.items(rows, SCOPE).values())


def on_disk(folder: Path, word: str) -> list[str]:
    """The files whose bytes hold `word`, or as much of it as FTS5 may store without its beginning."""
    return [path.name for path in folder.iterdir() if word[3:].encode() in path.read_bytes().lower()]


# Turns


def test_a_turn_is_found_by_its_words_its_neighbours_its_date_and_its_speaker(index: Index) -> None:
    index.add_turns([turn(1, "we adopted a kitten"), turn(2, "how lovely"), turn(3, "she is grey")])
    index.add_turns([turn(4, "the rent is due", "other", time="2024-01-02T00:00:00Z", speaker="Ben")])
    assert found(index, "kittens") == ["t1", "t2"]
    assert found(index, "grey") == ["t3", "t2"]
    assert found(index, "on 2 January 2024") == ["t4"]
    assert found(index, "Ben") == ["t4"]


def test_a_new_turn_becomes_a_neighbour_of_the_one_before_it(index: Index) -> None:
    index.add_turns([turn(1, "what is it called?")])
    index.add_turns([turn(2, "elsewhere", "other")])
    index.add_turns([turn(5, "Pangur")])
    assert found(index, "Pangur") == ["t5", "t1"]
    index.add_turns([turn(3, "the cat")])
    assert found(index, "Pangur") == ["t5", "t3"]


def test_a_removed_turn_is_found_no_more_not_even_through_its_neighbours(index: Index) -> None:
    index.add_turns([turn(row, text) for row, text in enumerate(["ask", "the secret", "well", "bye"], 1)])
    assert index.remove_turns([2, 77]) == 1
    assert found(index, "secret") == []
    assert found(index, "well") == ["t3", "t4", "t1"]
    assert index.check() == []


def test_a_turn_that_is_given_again_is_there_once_as_it_was_given_last(index: Index) -> None:
    index.add_turns([turn(1, "half a tomato"), turn(2, "next")])
    embed_all(index)
    index.add_turns([turn(1, "half an answer is whole now"), turn(2, "next")])
    assert index.counts() == Counts(turns=2, memories=0, passages=0, files=0, vectors=1, pending=1)
    assert found(index, "whole") == ["t1", "t2"]
    assert found(index, "tomato") == []


def test_the_mark_of_the_turns_comes_with_them_or_not_at_all(index: Index) -> None:
    assert index.mark("turns") == ""
    index.add_turns([turn(1, "one")], up_to=1)
    assert index.mark("turns") == "1"
    with pytest.raises(UnicodeEncodeError):
        index.add_turns([turn(2, "two"), turn(3, "\udcff")], up_to=3)
    assert index.mark("turns") == "1"
    assert index.counts().turns == 1


WORDS = st.sampled_from(["apple", "pear", "plum", "fig", "date", "lime"])
TURNS = st.builds(
    lambda row, session, words: turn(row, " ".join(words), session),
    st.integers(1, 12),
    st.sampled_from("ab"),
    st.lists(WORDS, max_size=3),
)
STEPS = st.lists(st.one_of(st.lists(TURNS, max_size=6), st.sets(st.integers(1, 12), max_size=4)), max_size=8)


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_whatever_comes_and_goes_the_index_is_as_if_made_anew(
    tmp_path_factory: pytest.TempPathFactory, steps: list[list[TurnItem] | set[int]]
) -> None:
    folder = tmp_path_factory.mktemp("index")
    changed, anew = Index(folder / "changed.db"), Index(folder / "anew.db")
    held: dict[int, TurnItem] = {}
    for step in steps:
        if isinstance(step, set):
            changed.remove_turns(step)
            held = {row: item for row, item in held.items() if row not in step}
        else:
            changed.add_turns(step)
            held |= {item.row: item for item in step}
        embed_all(changed)
    anew.add_turns(held[row] for row in sorted(held))
    assert changed.check(held.values()) == []
    assert changed.counts() == replace(anew.counts(), vectors=changed.counts().vectors, pending=0)
    for word in ("apple", "pear", "plum", "fig", "date", "lime"):
        scores = []
        for index in (changed, anew):
            worded = index.words(parse(word), SCOPE, 100)
            items = index.items(worded.scores, SCOPE)
            scores.append({items[row].id: pytest.approx(score) for row, score in worded.scores.items()})
        assert scores[0].keys() == scores[1].keys()
        assert all(scores[0][id].expected == value for id, value in scores[1].items())
    changed.close()
    anew.close()


# Files


def test_a_file_holds_what_was_given_last(index: Index) -> None:
    memory = FileItem.of_memory(Memory("m1", "My dentist is Dr. Lee", slot="dentist", created="2024-03-01"))
    passage = FileItem.of_passage(Passage("p1", "Sow beans in May", "The garden", 4), time="2024-02-01")
    index.replace_file(State("notes/a.md"), "digest", [memory, passage])
    assert found(index, "beans") == found(index, "garden") == ["p1"]
    assert found(index, "1 March 2024")[0] == "m1"
    assert found(index, "1 February 2024")[0] == "p1"
    assert index.files()["notes/a.md"].digest == "digest"
    index.replace_file(State("notes/a.md", size=9), "other", [passage])
    assert found(index, "dentist") == []
    assert index.files()["notes/a.md"].size == 9
    index.remove_file("notes/a.md")
    assert index.counts() == Counts(0, 0, 0, 0, 0, 0)
    assert index.files() == {}


def test_an_item_keeps_its_vector_until_its_text_changes(index: Index) -> None:
    one, two = FileItem("m1", "memory", "first text"), FileItem("m2", "memory", "second text")
    index.replace_file(State("a.md"), "", [one, two])
    numbers = embed_all(index)
    assert nearest(index, numbers["first text"]) == ["m1", "m2"]
    index.replace_file(State("a.md"), "", [replace(one, heading="moved"), replace(two, text="another")])
    assert [text for _, text in index.pending_vectors(10)] == ["another"]
    assert nearest(index, numbers["first text"]) == ["m1"]
    assert found(index, "moved") == ["m1"]


def test_what_is_shared_later_is_found_by_others_then(index: Index) -> None:
    item = FileItem("m1", "memory", "the wifi password", person="ann")
    index.replace_file(State("people/ann/a.md"), "", [item])
    number = embed_all(index)["the wifi password"]
    assert nearest(index, number) == found(index, "wifi") == []
    index.replace_file(State("people/ann/a.md"), "", [replace(item, shared=True)])
    assert nearest(index, number) == found(index, "wifi") == ["m1"]


def test_two_passages_of_one_id_are_one(index: Index) -> None:
    index.replace_file(
        State("a.md"), "", [FileItem("p1", "passage", "same"), FileItem("p1", "passage", "same")]
    )
    assert index.counts().passages == 1


def test_names_and_texts_that_were_not_utf_8_are_kept(index: Index) -> None:
    path = os.fsdecode(b"notes/\xff\n.md")
    index.replace_file(State(path), "", [FileItem("p1", "passage", "caf\udce9 crème", heading="\ud800")])
    assert list(index.files()) == [path]
    assert found(index, "crème") == found(index, "creme") == ["p1"]
    assert os.fsdecode(index.items([1], SCOPE)[1].file) == path
    index.remove_file(path)
    assert index.counts().passages == 0


# Scope


def test_only_what_counts_now_is_found_unless_the_archive_is_asked_for(index: Index) -> None:
    items = [
        FileItem("m1", "memory", "tea with milk", active=False),
        FileItem("m2", "memory", "tea with lemon", expires="2026-11-24T23:59:59Z"),
        FileItem("m3", "memory", "tea alone", expires="2026-11-25T00:00:01Z"),
        FileItem("m4", "memory", "tea of another", person="ben"),
        FileItem("p1", "passage", "tea in a note"),
    ]
    index.replace_file(State("a.md"), "", items)
    assert sorted(found(index, "tea")) == ["m3", "p1"]
    assert sorted(found(index, "tea", replace(SCOPE, archived=True))) == ["m1", "m2", "m3", "p1"]
    assert found(index, "tea", replace(SCOPE, types=["passage"])) == ["p1"]
    assert not FileItem.of_memory(Memory("m1", "tea", superseded_by="m2")).active


def test_what_is_in_the_context_already_is_left_out(index: Index) -> None:
    index.add_turns([turn(row, "tea", "now" if row % 2 else "then") for row in range(1, 9)])
    assert sorted(found(index, "tea", replace(SCOPE, without=("now", 4)))) == [
        "t1",
        "t2",
        "t3",
        "t4",
        "t6",
        "t8",
    ]


# Words


@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from("\"'*^():{}-+ANDOR \0"))))
@settings(max_examples=200, deadline=None)
def test_any_question_is_only_words(tmp_path_factory: pytest.TempPathFactory, question: str) -> None:
    index = Index(tmp_path_factory.getbasetemp() / "any.db")
    index.add_turns([turn(1, "some words")])
    index.words(parse(question), SCOPE, 5)
    index.close()


def test_a_row_with_every_word_scores_about_the_sum_of_idf(index: Index) -> None:
    texts = [f"{first}one {second}two" for first in "abcdefghij" for second in "klmnopqrst"]
    index.add_turns([turn(row, text, f"s{row}", time="", speaker="") for row, text in enumerate(texts, 1)])
    worded = index.words(parse("aone ktwo"), SCOPE, 100)
    assert max(worded.scores.values()) == pytest.approx(worded.idf, rel=0.01)
    assert index.words(parse("aone unheard"), SCOPE, 100).idf > worded.idf


def test_frequent_words_are_dropped_where_rarer_ones_are_enough(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add_turns([turn(row, "common" if row % 10 else "common rare", f"s{row}") for row in range(1, 101)])
    monkeypatch.setattr(index_module, "_RANKED_ROWS", 20)
    monkeypatch.setattr(index_module, "_RANKED_ROWS_OF_FEW", 20)
    assert len(found(index, "common rare")) == 10
    newest = [f"t{row}" for row in range(81, 101)]
    assert sorted(found(index, "common")) == sorted(newest)


# Vectors


def test_memories_are_embedded_first_and_blanks_never(index: Index) -> None:
    index.add_turns([turn(1, "a turn"), turn(2, "  ")])
    index.replace_file(State("a.md"), "", [FileItem("p1", "passage", "b"), FileItem("m1", "memory", "c")])
    assert [text for _, text in index.pending_vectors(10)] == ["c", "b", "a turn"]
    assert [text for _, text in index.pending_vectors(1)] == ["c"]
    assert index.put_vectors([(index.pending_vectors(1)[0][0], None)]) == 0
    assert [text for _, text in index.pending_vectors(10)] == ["b", "a turn"]


def test_a_vector_that_comes_too_late_is_not_kept(index: Index) -> None:
    index.add_turns([turn(1, "old")])
    [(row, _)] = index.pending_vectors(1)
    index.add_turns([turn(1, "new")])
    assert index.put_vectors([(row, vector(1))]) == 0
    assert index.counts().vectors == 0
    assert index.check() == []


def test_a_vector_is_taken_once(index: Index) -> None:
    index.add_turns([turn(1, "text")])
    [(row, _)] = index.pending_vectors(1)
    assert index.put_vectors([(row, vector(1))]) == 1
    assert index.put_vectors([(row, vector(2))]) == 0


def test_sign_codes_of_a_transaction_that_failed_are_not_kept(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add_turns([turn(1, "one")])
    assert index.nearest(0, "owner", 10) == []
    kept = Shelves.put

    def put(shelves: Shelves, codes: Iterable[tuple[int, str, int, bytes]]) -> None:
        kept(shelves, codes)
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Shelves, "put", put)
        with pytest.raises(OSError, match="full"):
            embed_all(index)
    assert index.nearest(0, "owner", 10) == []
    assert index.counts().pending == 1


def test_sign_codes_in_memory_follow_the_file(index: Index, tmp_path: Path) -> None:
    index.add_turns([turn(1, "one"), turn(2, "two")])
    assert nearest(index, 1) == []
    embed_all(index)
    assert nearest(index, 1) == ["t1", "t2"]
    index.remove_turns([1])
    index.add_turns([turn(3, "three")])
    embed_all(index)
    again = Index(tmp_path / "index.db")
    assert nearest(index, 1) == nearest(again, 1) == ["t2", "t3"]
    assert sorted(index.nearest(0, "owner", 10)) == sorted(again.nearest(0, "owner", 10))
    again.close()


def test_another_encoder_drops_the_vectors_of_the_last(index: Index) -> None:
    assert index.use_encoder("one")
    index.add_turns([turn(1, "text"), turn(2, " ")])
    embed_all(index)
    assert nearest(index, 1) == ["t1"]
    assert not index.use_encoder("one")
    assert index.use_encoder("two")
    assert nearest(index, 1) == []
    assert index.counts() == Counts(2, 0, 0, 0, 0, 1)


# The file


def test_what_was_removed_is_in_no_file_after_a_vacuum(index: Index, tmp_path: Path) -> None:
    words = [
        f"{first}{second}filler" for first in string.ascii_lowercase for second in string.ascii_lowercase
    ]
    index.add_turns([turn(row, word) for row, word in enumerate(words, 1)])
    index.add_turns([turn(1000, "the word is xyzzyplughfrotz"), turn(1001, "bye")])
    index.replace_file(State("a.md"), "", [FileItem("m1", "memory", "also qwertzuiopfoo")])
    assert on_disk(tmp_path, "xyzzyplughfrotz")
    assert on_disk(tmp_path, "qwertzuiopfoo")
    index.vacuum()
    index.remove_turns([1000, *range(1, 600)])
    index.remove_file("a.md")
    size = (tmp_path / "index.db").stat().st_size
    index.vacuum()
    assert (tmp_path / "index.db").stat().st_size < size
    assert on_disk(tmp_path, "xyzzyplughfrotz") == []
    assert on_disk(tmp_path, "qwertzuiopfoo") == []
    assert index.check() == []
    assert "t1001" in found(index, "bye")


@pytest.mark.parametrize(
    "damage", [b"this is no database at all" * 200, b"SQLite format 3\0" + b"\xff" * 8192]
)
def test_a_file_that_is_no_index_is_made_again(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "index.db"
    path.write_bytes(damage)
    index = Index(path)
    assert index.fresh
    index.add_turns([turn(1, "kept again")])
    assert found(index, "kept") == ["t1"]
    index.close()
    index = Index(path)
    assert not index.fresh
    assert index.counts().turns == 1
    index.close()


def test_an_index_with_another_schema_is_made_again(tmp_path: Path) -> None:
    for statement in ("PRAGMA user_version = 99", "DROP TABLE marks"):
        index = Index(tmp_path / "index.db")
        index.add_turns([turn(1, "text")], up_to=1)
        index.close()
        with sqlite3.connect(tmp_path / "index.db") as database:
            database.execute(statement)
        database.close()
        index = Index(tmp_path / "index.db")
        assert index.fresh
        assert index.mark("turns") == ""
        index.close()


def test_damage_that_is_met_later_costs_one_error_and_the_index_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    index = Index(path)
    index.add_turns([turn(row, f"number {row} " + "filler " * 40) for row in range(1, 400)], up_to=399)
    embed_all(index)
    index.vacuum()
    index.close()
    with sqlite3.connect(path) as database:
        database.execute(f"UPDATE words_data SET block = x'{'a5' * 200}' WHERE id > 100")
    database.close()
    index = Index(path)
    assert not index.fresh
    assert len(nearest(index, 1)) >= 100
    with pytest.raises(StoreUnavailable, match="malformed"):
        index.words(parse("filler number"), SCOPE, 100)
    assert index.mark("turns") == ""
    assert index.fresh
    assert nearest(index, 1) == []
    index.close()


def test_a_file_that_cannot_be_opened_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "index.db").mkdir()
    index = Index(tmp_path / "index.db")
    with pytest.raises(StoreUnavailable):
        index.counts()
    (tmp_path / "index.db").rmdir()
    assert index.counts().turns == 0
    index.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        index.counts()


def test_clearing_leaves_an_empty_index_that_works(index: Index) -> None:
    index.add_turns([turn(1, "text", speaker="Anna")], up_to=1)
    embed_all(index)
    assert nearest(index, 1) == ["t1"]
    assert index.speakers() == {"Anna"}
    index.clear()
    assert nearest(index, 1) == []
    assert index.speakers() == set()
    assert index.mark("turns") == ""
    index.add_turns([turn(1, "text", speaker="Ben")])
    assert index.speakers() == {"Ben"}


@pytest.mark.parametrize(
    ("harm", "complaint"),
    [
        ("UPDATE items SET text = 'other' WHERE position = 2", "words are not those"),
        ("UPDATE items SET before = NULL WHERE position = 2", "words are not those"),
        (
            "INSERT INTO vectors SELECT 99, code, scale, data FROM vectors LIMIT 1",
            "1 vectors belong to nothing",
        ),
        ("UPDATE vectors SET data = x'00' WHERE item = 1", "1 vectors are damaged"),
        ("DELETE FROM files", "1 items are of files that are not listed"),
    ],
)
def test_the_check_finds_what_does_not_fit(tmp_path: Path, harm: str, complaint: str) -> None:
    index = Index(tmp_path / "index.db")
    index.add_turns([turn(1, "one"), turn(2, "two"), turn(3, "three")])
    index.replace_file(State("a.md"), "", [FileItem("m1", "memory", "text")])
    embed_all(index)
    assert index.check() == []
    with sqlite3.connect(tmp_path / "index.db") as database:
        database.execute(harm)
    database.close()
    assert any(complaint in problem for problem in index.check())
    index.close()


def test_the_check_compares_with_the_turns_that_there_are(index: Index) -> None:
    index.add_turns([turn(1, "same"), turn(2, "was"), turn(3, "no more")])
    truth = [turn(1, "same"), turn(2, "is"), turn(4, "missing")]
    assert index.check(truth) == ["1 turns are missing", "1 turns differ", "1 turns are no more"]
