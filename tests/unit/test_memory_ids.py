"""Ids of memories and passages: they sort as they were given out, whatever the clock does."""

from agentd.memory.ids import is_id, is_passage_id, new_id, passage_id

NOW = 1_795_000_000.0


def test_ids_given_out_one_after_the_other_sort_in_that_order() -> None:
    ids = [new_id(now=NOW)]
    for _ in range(2000):
        ids.append(new_id(ids[-1], NOW))
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert all(map(is_id, ids))


def test_an_id_tells_the_time_it_was_made_at() -> None:
    assert new_id(now=NOW)[:10] == new_id(now=NOW)[:10]
    assert new_id(now=NOW) < new_id(now=NOW + 0.001) < new_id(now=NOW + 1e9)


def test_a_clock_that_jumps_back_to_1970_gives_no_earlier_id() -> None:
    last = new_id(now=NOW)
    for now in (0.0, -5.0, NOW - 3600):
        following = new_id(last, now)
        assert following > last
        last = following
    # The clock right again: ids follow it, they did not run away from it.
    assert new_id(last, NOW + 0.002)[:10] == new_id(now=NOW + 0.002)[:10]


def test_an_id_that_somebody_made_up_at_the_end_of_time_does_not_stop_us() -> None:
    assert new_id("mzzzzzzzzzzzzz", NOW)[:10] == new_id(now=NOW)[:10]
    assert is_id(new_id(now=1e15))


def test_other_texts_are_no_ids() -> None:
    good = new_id(now=NOW)
    assert is_id(good)
    for text in ("", "m", good[:-1], good + "0", good.upper(), "t12", good[:-1] + "l", good + "\n"):
        assert not is_id(text), text


def test_the_id_of_a_passage_follows_from_its_note_and_its_text() -> None:
    name = passage_id("notes/a.md", "milk")
    assert is_passage_id(name)
    assert name == passage_id("notes/a.md", "milk")
    assert len({name, passage_id("notes/b.md", "milk"), passage_id("notes/a.md", "milk", 1)}) == 3
    assert not is_passage_id(new_id())
