"""A tiny routing file: three classes, each with a few words that speak for it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agentd.routing.features import features
from agentd.routing.head import TALK, packed

BUCKETS = 2048
DIMENSION = 4
CLASSES = ("machine.status", "power.reboot", TALK)
# What speaks for each class, by its number.
SPEAKS: Mapping[str, int] = {
    "how long has it been up": 0,
    "what is the load": 0,
    "show me the uptime": 0,
    "reboot the machine": 1,
    "restart the computer now": 1,
    "tell me a joke": 2,
    "good morning": 2,
}


def header(**changes: Any) -> dict[str, Any]:
    """What the file says of itself."""
    layer = {"bias": [0.0, 0.0, 0.5], "temperature": 1.0}
    scales = {"meaning": [0.1] * 3, "grams": [0.1] * 3, "grams_alone": [0.2] * 3}
    return {
        "classes": list(CLASSES),
        "encoder": "tiny",
        "dimension": DIMENSION,
        "buckets": BUCKETS,
        "spelling": {"common": {"reboot": 9, "load": 5, "computer": 3}, "others": ["robot"]},
        "scales": scales,
        "with_meaning": layer,
        "alone": layer,
        **changes,
    }


def payload() -> bytes:
    """The weights: an n-gram of a sentence above speaks for its class, a vector's number too."""
    meaning = bytearray(len(CLASSES) * DIMENSION)
    for at in range(len(CLASSES)):
        meaning[at * DIMENSION + at] = 127
    grams = [[0] * len(CLASSES) for _ in range(BUCKETS)]
    for text, label in SPEAKS.items():
        for bucket, _ in features(text, BUCKETS):
            grams[bucket][label] = 60
    block = bytes(value for row in grams for value in row)
    return bytes(meaning) + block + block


def write(place: Path, said: Mapping[str, Any] | None = None, weights: bytes | None = None) -> Path:
    """The file, whole unless a header or weights are given."""
    place.write_bytes(packed(said or header(), payload() if weights is None else weights))
    return place


def vector(label: int) -> Sequence[float]:
    """What the encoder would give for something of that class."""
    return [float(at == label) for at in range(DIMENSION)]
