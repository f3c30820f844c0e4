"""Embeddings, small and without numpy: 8-bit vectors, 384-bit sign codes, and arithmetic on large integers.

The nearest are found in two stages: the Hamming distance of sign codes, held in memory, leaves a few hundred
of 100,000 vectors; exact products with their 8-bit form put those in order. A sign code keeps the angle:
vectors at an angle a differ in a share a/pi of their signs, for random directions (Charikar, "Similarity
estimation techniques from rounding algorithms", 2002).
Not for: making embeddings (the model worker), or keeping them on the disk (index.py).
"""

import math
import re
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

DIMENSIONS = 384
CODE_BYTES = DIMENSIONS // 8
# dots() gives every vector 32 bits of one number. A query of 11 bits and a sign stays within 30:
# 384 * 2047 * 255 < 2**30.
_QUERY_STEPS = 2047
_BIAS = 1 << 30
_SIGNS = bytes(0x30 + (byte >= 128) for byte in range(256))
# Codes that are turned together.
_AT_ONCE = 4_096


class Packed(NamedTuple):
    """A vector of length 1: `data` holds round(x / scale) + 128 for each x, `code` a bit for each sign."""

    data: bytes
    scale: float
    code: int


@dataclass(frozen=True, slots=True)
class Probe:
    """A question's vector of length 1, as whole numbers of `scale`, and its sign code."""

    values: tuple[int, ...]
    scale: float
    code: int


def pack(vector: Sequence[float]) -> Packed:
    """Normalise and round to 8 bits. Raises ValueError unless it is DIMENSIONS finite numbers, not all 0."""
    values, scale = _scaled(vector, 127)
    data = bytes([value + 128 for value in values])
    return Packed(data, scale, _code(data))


def probe(vector: Sequence[float]) -> Probe:
    """Normalise and round to 12 bits. Raises ValueError as pack() does."""
    values, scale = _scaled(vector, _QUERY_STEPS)
    return Probe(tuple(values), scale, _code(bytes([128 if value >= 0 else 0 for value in values])))


def _scaled(vector: Sequence[float], steps: int) -> tuple[list[int], float]:
    largest = max(map(abs, vector), default=0.0)
    if len(vector) != DIMENSIONS or not 0 < largest < math.inf or any(map(math.isnan, vector)):
        raise ValueError(f"an embedding is {DIMENSIONS} finite numbers that are not all 0")
    values = [round(value / largest * steps) for value in vector]
    # The length after rounding: what comes back has length 1.
    return values, 1 / math.sqrt(sum(value * value for value in values))


def _code(data: bytes) -> int:
    return int(data.translate(_SIGNS), 2)


def estimate(code: int, other: int) -> float:
    """The cosine of two vectors, from their sign codes alone; its standard error is about 0.07."""
    return math.cos(math.pi * (code ^ other).bit_count() / DIMENSIONS)


def dots(question: Probe, vectors: Sequence[Packed]) -> list[float]:
    """The cosine of `question` with each of `vectors`.

    Each coordinate of all vectors is one large integer with 32 bits for a vector, so that 384 products of a
    large with a small integer are all there is to do: 7 times faster than one sum for each vector.
    """
    count = len(vectors)
    if not count:
        return []
    together = b"".join([vector.data for vector in vectors])
    lanes = bytearray(4 * count)
    total = int.from_bytes(_BIAS.to_bytes(4, "little") * count, "little")
    for number, value in enumerate(question.values):
        lanes[::4] = together[number::DIMENSIONS]
        total += value * int.from_bytes(lanes, "little")
    offset = _BIAS + 128 * sum(question.values)
    sums = memoryview(total.to_bytes(4 * count, "little")).cast("I")
    return [
        (found - offset) * question.scale * each.scale for found, each in zip(sums, vectors, strict=True)
    ]


class Shelf:
    """Sign codes, turned: a large integer for each of their bits, with one bit for each item.

    That is 48 bytes for an item, and all distances are counted together, by 2,000 operations on large
    integers: for 100,000 items 4 times faster than code by code.
    """

    def __init__(self) -> None:
        self._rows: array[int] = array("q")
        self._planes = [0] * DIMENSIONS
        # Items that are gone keep their place until the process ends, and are looked for when it matters.
        self._alive = 0
        self._gone: set[int] = set()

    def add(self, rows: Sequence[int], codes: Sequence[int]) -> None:
        """Add items that are not there."""
        bits = "".join([format(code, f"0{DIMENSIONS}b") for code in codes])
        last, place = len(bits) - DIMENSIONS, len(self._rows)
        for number in range(DIMENSIONS if codes else 0):
            self._planes[number] |= int(bits[last + number :: -DIMENSIONS], 2) << place
        self._alive |= ((1 << len(codes)) - 1) << place
        self._rows.extend(rows)

    def drop(self, rows: Iterable[int]) -> None:
        """Remove items, if they are here; their rows are never added again."""
        self._gone.update(rows)

    def nearest(self, code: int, count: int) -> list[int]:
        """The rows of the `count` nearest, in no order, and all that are as near as the last of them."""
        if self._gone:
            for place, row in enumerate(self._rows):
                if row in self._gone:
                    self._alive &= ~(1 << place)
            self._gone.clear()
        everyone = (1 << len(self._rows)) - 1
        wanted = format(code, f"0{DIMENSIONS}b")
        differing = (
            plane ^ everyone if bit == "1" else plane
            for plane, bit in zip(self._planes, wanted, strict=True)
        )
        chosen, tied, found = 0, self._alive, 0
        # Bit by bit from the highest: those without it are nearer than those with it.
        for has_bit in reversed(_count(differing)):
            nearer = tied ^ (tied & has_bit)
            if found + nearer.bit_count() >= count:
                tied = nearer
            else:
                chosen, found, tied = chosen | nearer, found + nearer.bit_count(), tied & has_bit
        bits = f"{chosen | tied:b}"[::-1]
        return [self._rows[match.start()] for match in re.finditer("1", bits)]


def _count(planes: Iterable[int]) -> list[int]:
    """How many of up to DIMENSIONS `planes` have each bit: the binary digits of it, lowest first, as planes.

    Adders in the order that keeps few planes in use at a time (Harley and Seal's population count).
    """
    digits = [0] * DIMENSIONS.bit_length()
    waiting = [0] * len(digits)
    for plane in planes:
        level = 0
        while other := waiting[level]:
            total, either = digits[level], plane ^ other
            digits[level], waiting[level] = total ^ either, 0
            plane = (plane & other) | (total & either)
            level += 1
        waiting[level] = plane
    for first, plane in enumerate(waiting):
        level = first
        while plane:
            digits[level], plane = digits[level] ^ plane, digits[level] & plane
            level += 1
    return digits


class Shelves:
    """The sign codes of all items: one shelf for what is a person's own, one for what that person shares."""

    def __init__(self, codes: Iterable[tuple[int, str, int, bytes]]) -> None:
        """Take (row, person, shared, code), as put() does."""
        self._shelves: dict[tuple[str, bool], Shelf] = {}
        codes = iter(codes)
        while some := list(islice(codes, _AT_ONCE)):
            self.put(some)

    def put(self, codes: Iterable[tuple[int, str, int, bytes]]) -> None:
        """Add (row, person, shared, code) of items that are not there; a code's lowest byte comes first."""
        sorted_out: dict[tuple[str, bool], dict[int, int]] = {}
        for row, person, shared, code in codes:
            sorted_out.setdefault((person, bool(shared)), {})[row] = int.from_bytes(code, "little")
        for key, given in sorted_out.items():
            self._shelves.setdefault(key, Shelf()).add(list(given), list(given.values()))

    def drop(self, rows: Iterable[int]) -> None:
        """Remove the codes of these items, wherever they are."""
        gone = list(rows)
        for shelf in self._shelves.values():
            shelf.drop(gone)

    def nearest(self, code: int, person: str, count: int) -> list[int]:
        """The rows of the `count` nearest on each shelf that `person` may see, in no order."""
        shelves = [shelf for (owner, shared), shelf in self._shelves.items() if shared or owner == person]
        return [row for shelf in shelves for row in shelf.nearest(code, count)]
