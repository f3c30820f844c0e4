"""Small vectors without numpy: what is kept of an embedding, and the nearest of many."""

import math
import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.memory.vectors import (
    CODE_BYTES,
    DIMENSIONS,
    Packed,
    Probe,
    Shelf,
    Shelves,
    dots,
    estimate,
    pack,
    probe,
)

EVERY_BIT = (1 << DIMENSIONS) - 1
CODES = st.lists(st.integers(0, EVERY_BIT), max_size=40)


def direction(source: random.Random, near: list[float] | None = None, apart: float = 1.0) -> list[float]:
    """A random vector of length 1; with `near`, at about the angle atan(apart) from it."""
    noise = [source.gauss(0, apart / math.sqrt(DIMENSIONS)) for _ in range(DIMENSIONS)]
    vector = [x + y for x, y in zip(near, noise, strict=True)] if near else noise
    length = math.hypot(*vector)
    return [x / length for x in vector]


def cosine(one: list[float], other: list[float]) -> float:
    return math.sumprod(one, other) if hasattr(math, "sumprod") else sum(map(float.__mul__, one, other))


def encoded(codes: list[int], person: str = "owner", shared: int = 0) -> list[tuple[int, str, int, bytes]]:
    return [(row, person, shared, code.to_bytes(CODE_BYTES, "little")) for row, code in enumerate(codes, 1)]


def test_a_cosine_with_a_packed_vector_is_that_with_the_vector_to_a_thousandth() -> None:
    source = random.Random(1)
    question = direction(source)
    vectors = [direction(source, question, apart) for apart in (0.1, 0.5, 1, 2, 5) for _ in range(5)]
    found = dots(probe([3 * x for x in question]), [pack([7 * x for x in vector]) for vector in vectors])
    assert found == pytest.approx([cosine(question, vector) for vector in vectors], abs=2e-3)
    assert dots(probe(question), []) == []


@given(
    st.lists(st.integers(-2047, 2047), min_size=DIMENSIONS, max_size=DIMENSIONS),
    st.lists(st.binary(min_size=DIMENSIONS, max_size=DIMENSIONS), min_size=1, max_size=4),
)
@settings(max_examples=40, deadline=None)
def test_products_of_many_vectors_at_once_are_those_of_each(values: list[int], rows: list[bytes]) -> None:
    found = dots(Probe(tuple(values), 1.0, 0), [Packed(data, 1.0, 0) for data in rows])
    assert found == [sum(x * (y - 128) for x, y in zip(values, data, strict=True)) for data in rows]


def test_the_largest_products_do_not_run_into_each_other() -> None:
    highest, lowest = Packed(b"\xff" * DIMENSIONS, 1.0, 0), Packed(b"\x01" * DIMENSIONS, 1.0, 0)
    question = Probe((2047,) * DIMENSIONS, 1.0, 0)
    most = 127.0 * 2047 * DIMENSIONS
    assert dots(question, [highest, lowest, highest, highest]) == [most, -most, most, most]


@pytest.mark.parametrize(
    "vector",
    [[], [1.0] * 383, [0.0] * 384, [math.nan] * 384, [1.0] * 383 + [math.inf], [1.0] * 383 + [math.nan]],
)
def test_what_is_no_embedding_is_refused(vector: list[float]) -> None:
    for make in (pack, probe):
        with pytest.raises(ValueError, match="384 finite numbers"):
            make(vector)


def test_sign_codes_give_the_angle_of_vectors() -> None:
    source = random.Random(2)
    one = direction(source)
    for apart in (0.0, 0.5, 1.0, 3.0):
        other = direction(source, one, apart)
        assert estimate(pack(one).code, probe(other).code) == pytest.approx(cosine(one, other), abs=0.2)


@given(CODES, st.integers(0, EVERY_BIT), st.integers(1, 50))
@settings(max_examples=150, deadline=None)
def test_the_nearest_codes_are_found_and_all_that_are_as_near(
    codes: list[int], wanted: int, count: int
) -> None:
    shelf = Shelf()
    shelf.add(range(len(codes)), codes)
    distances = sorted((code ^ wanted).bit_count() for code in codes)
    last = distances[min(count, len(codes)) - 1] if codes else 0
    near = [row for row, code in enumerate(codes) if (code ^ wanted).bit_count() <= last]
    assert sorted(shelf.nearest(wanted, count)) == near


@given(CODES, CODES, st.sets(st.integers(0, 39)), st.integers(0, EVERY_BIT))
@settings(max_examples=60, deadline=None)
def test_codes_may_come_and_go(first: list[int], then: list[int], gone: set[int], wanted: int) -> None:
    shelf = Shelf()
    shelf.add(range(len(first)), first)
    shelf.drop(gone)
    shelf.add(range(100, 100 + len(then)), then)
    left = (set(range(len(first))) - gone) | set(range(100, 100 + len(then)))
    assert set(shelf.nearest(wanted, 100)) == left


def test_a_person_finds_their_own_and_what_others_share() -> None:
    shelves = Shelves([(1, "ann", 0, b"\0" * 48), (2, "ben", 0, b"\0" * 48), (3, "ben", 1, b"\0" * 48)])
    assert sorted(shelves.nearest(0, "ann", 10)) == [1, 3]
    assert sorted(shelves.nearest(0, "ben", 10)) == [2, 3]
    assert shelves.nearest(0, "eve", 10) == [3]
    shelves.drop([3])
    assert shelves.nearest(0, "eve", 10) == []


def test_the_nearest_by_sign_codes_hold_nearly_all_of_the_nearest_by_cosine() -> None:
    source = random.Random(3)
    topics = [direction(source) for _ in range(20)]
    vectors = [direction(source, topics[number % 20], 1.2) for number in range(2000)]
    packed = [pack(vector) for vector in vectors]
    shelves = Shelves(encoded([each.code for each in packed]))
    found = wanted = 0
    for number in range(10):
        question = direction(source, topics[number], 1.2)
        cosines = dots(probe(question), packed)
        best = sorted(range(2000), key=lambda at: -cosines[at])[:10]
        near = set(shelves.nearest(probe(question).code, "owner", 200))
        found += sum(at + 1 in near for at in best)
        wanted += len(best)
    assert found >= 0.95 * wanted


def test_a_hundred_thousand_codes_need_less_than_20_megabytes() -> None:
    source = random.Random(4)
    codes = ((row, "owner", 0, source.randbytes(CODE_BYTES)) for row in range(100_000))
    tracemalloc.start()
    try:
        shelves = Shelves(codes)
        held, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(shelves.nearest(0, "owner", 200)) >= 200
    assert held < 8e6
    assert most < 20e6
