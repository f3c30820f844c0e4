"""The routing head: from a sentence and its meaning to the probability of each tool, and of talk.

A linear layer over the sentence encoder's vector and hashed n-grams (features.py), and a second one over the
n-grams alone for when no encoder is ready. One file, made when the image is built (train.py):

    a line of JSON   FORMAT, digest, classes, encoder's name and dimension, buckets, scales, biases,
                     temperatures, the words of the spelling
    int8             for each class the weights of the vector        (classes x dimension)
    int8             for each bucket the weights of the classes      (buckets x classes)
    int8             the same of the head over n-grams alone         (buckets x classes)

A weight is its byte times its class's scale. Pure Python, a few milliseconds and as many megabytes. Not for:
what is done with the probabilities (router.py).
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import mul
from pathlib import Path
from typing import Any

from agentd.routing.features import features
from agentd.routing.spelling import Spelling

# Another number for every change of the file or of the features that would make an old file wrong.
FORMAT = 1
TALK = "talk"
BLOCKS = ("meaning", "grams", "grams_alone")
# A head for a hundred tools has 4 MB.
FILE_BYTES = 64 << 20
HEADER_BYTES = 1 << 20


class HeadError(Exception):
    """The file cannot be used; one line that says why."""


@dataclass(frozen=True, slots=True)
class Layer:
    """What is added to a class's score: `scales` for each block, a bias; then divided by `temperature`."""

    bias: Sequence[float]
    temperature: float


class Head:
    """A loaded head: `classes` with TALK among them, `encoder` the name of whose vectors it takes.

    It was trained on texts without their negated parts (negation.py) and put right by its `spelling`.
    """

    def __init__(self, header: Mapping[str, Any], payload: bytes) -> None:
        """Raises KeyError, TypeError or ValueError for a header that makes no sense; load() tells it."""
        self.classes: tuple[str, ...] = tuple(str(name) for name in header["classes"])
        self.encoder, self.dimension = str(header["encoder"]), int(header["dimension"])
        self.buckets = int(header["buckets"])
        self.spelling = Spelling(**header["spelling"])
        count = len(self.classes)
        self._scales = {name: _numbers(header["scales"][name], count) for name in BLOCKS}
        self._with_meaning, self._alone = (
            Layer(_numbers(one["bias"], count), float(one["temperature"]))
            for one in (header["with_meaning"], header["alone"])
        )
        sizes = (count * self.dimension, self.buckets * count, self.buckets * count)
        if TALK not in self.classes or len(set(self.classes)) != count or sum(sizes) != len(payload):
            raise ValueError("its parts do not fit together")
        if min(self.buckets, self.dimension, self._with_meaning.temperature, self._alone.temperature) <= 0:
            raise ValueError("a number is not above zero")
        ends = [sum(sizes[: at + 1]) for at in range(len(sizes))]
        weights = memoryview(payload).cast("b")
        self._weights = {
            name: weights[end - size : end] for name, size, end in zip(BLOCKS, sizes, ends, strict=True)
        }

    def probabilities(self, text: str, meaning: Sequence[float] | None) -> dict[str, float]:
        """The probability of each class; together 1.

        `meaning` is the encoder's vector of the text. Without one, or with one of another length, the
        n-grams decide alone.
        """
        found = features(text, self.buckets)
        if meaning is None or len(meaning) != self.dimension:
            layer, scores = self._alone, self._of_grams("grams_alone", found)
        else:
            layer, scores = self._with_meaning, self._of_grams("grams", found)
            size, weights = self.dimension, self._weights["meaning"]
            for at, scale in enumerate(self._scales["meaning"]):
                scores[at] += scale * sum(map(mul, weights[at * size : (at + 1) * size], meaning))
        scores = [(score + bias) / layer.temperature for score, bias in zip(scores, layer.bias, strict=True)]
        top = max(scores)
        powers = [math.exp(score - top) for score in scores]
        whole = sum(powers)
        return {name: power / whole for name, power in zip(self.classes, powers, strict=True)}

    def _of_grams(self, block: str, found: Sequence[tuple[int, float]]) -> list[float]:
        """What the n-grams add to each class's score."""
        count, weights = len(self.classes), self._weights[block]
        totals = [0.0] * count
        for bucket, value in found:
            row = weights[bucket * count : (bucket + 1) * count]
            totals = [total + value * weight for total, weight in zip(totals, row, strict=True)]
        return [total * scale for total, scale in zip(totals, self._scales[block], strict=True)]


def _numbers(given: Sequence[Any], count: int) -> tuple[float, ...]:
    numbers = tuple(float(one) for one in given)
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise ValueError("a list of numbers is not as long as the classes")
    return numbers


def digest(header: Mapping[str, Any], payload: bytes) -> str:
    """The sha256 over a file's header, but for its digest, and what follows it."""
    said = json.dumps({key: header[key] for key in header if key != "digest"}, sort_keys=True)
    return hashlib.sha256(said.encode() + b"\n" + payload).hexdigest()


def packed(header: Mapping[str, Any], payload: bytes) -> bytes:
    """The whole file; the format and the digest are added to the header."""
    said = {**header, "format": FORMAT}
    return json.dumps({**said, "digest": digest(said, payload)}, sort_keys=True).encode() + b"\n" + payload


def load(path: Path) -> Head:
    """The head in a file. Raises HeadError for one that is missing, damaged, foreign or newer."""
    try:
        with path.open("rb") as file:
            line = file.readline(HEADER_BYTES)
            payload = file.read(FILE_BYTES)
    except OSError as error:
        raise HeadError(f"cannot read {path}: {error.strerror}") from error
    try:
        header = json.loads(line)
        version = header["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise HeadError(f"{path} is not a routing file") from error
    if version != FORMAT:
        raise HeadError(f"{path} has the format {version!r}, and this agentd reads {FORMAT}")
    if header.get("digest") != digest(header, payload):
        raise HeadError(f"{path} is damaged: its digest is another")
    try:
        return Head(header, payload)
    except (ValueError, KeyError, TypeError) as error:
        raise HeadError(f"{path} makes no sense: {error}") from error
