"""What is remembered about a question: found by words and by meaning, both weighed.

A finding's score is a sum of terms, each with its weight: BM25 as a share of a good match; the cosine of the
text and that of the text among its neighbours; whether the only person whom the question names says it;
whether it is a memory; and a share of the best sum in its session, as related things are said together.
Without an embedding the cosines are left out. Not for: embedding (the model worker), the tables (index.py).
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date

from agentd.memory.index import COLUMN_WEIGHTS, Index
from agentd.memory.items import Item, Scope
from agentd.memory.query import Query, parse
from agentd.memory.vectors import Packed, Probe, dots, estimate, probe


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each term counts; `python -m bench.recall --tune` tries others on the dev dialogues."""

    lexical: float = 1.0
    semantic: float = 1.5
    window: float = 0.85
    speaker: float = 0.6
    session: float = 0.4
    # The share of the question's idf from which on the best match by words counts as a whole one.
    full: float = 0.7
    # Of a memory and the turn that it was made from, the memory is what was kept right.
    memory: float = 0.2
    columns: tuple[float, float, float, float] = COLUMN_WEIGHTS


WEIGHTS = Weights()
# Below these confidences, with and without embeddings, nothing that was said is about the question. So it is
# for 9 and 16 of 100 answerable questions of the dev dialogues, and 42 and 40 of 100 about another dialogue.
# What was never said about a thing that was talked of looks like any finding: only who reads it can tell.
THRESHOLD = 0.30
THRESHOLD_OF_WORDS = 0.14
_OF_COVERAGE = 0.25
# How many findings by words, and by meaning, are weighed; how many sign codes are looked at for the latter.
WEIGHED = 100
_LOOKED_AT = 200


@dataclass(frozen=True, slots=True)
class Hit:
    """A finding, its score, and the terms of that sum before they are weighted."""

    score: float
    item: Item
    lexical: float
    semantic: float
    window: float
    speaker: float
    session: float


@dataclass(frozen=True, slots=True)
class Recalled:
    """The hits, best first; and how sure it is, from 0 to 1, that they are about what was asked."""

    hits: tuple[Hit, ...]
    confidence: float


def understand(index: Index, question: str, today: date | None = None) -> Query:
    """The question taken apart, given who has ever said something; its `text` is what to embed."""
    return parse(question, index.speakers(), today)


def recall(
    index: Index,
    query: Query,
    embedding: Sequence[float] | None,
    scope: Scope,
    k: int,
    weights: Weights = WEIGHTS,
) -> Recalled:
    """The `k` best for `query`; `embedding` is that of its `text`, None while there is no encoder.

    Raises StoreUnavailable, and ValueError for an embedding that is none.
    """
    worded = index.words(query, scope, WEIGHED, weights.columns)
    question = None if embedding is None else probe(embedding)
    rows = set(worded.scores)
    if question is not None:
        rows |= _closest(index, question, scope)
    items = index.items(rows, scope)
    cosines = {} if question is None else _cosines(index, question, items.values())
    # What has no vector yet is taken for an average finding.
    semantics, windows = zip(*cosines.values(), strict=True) if cosines else ((0.0,), (0.0,))
    average = sum(semantics) / len(semantics), sum(windows) / len(windows)
    best = max(worded.scores.values(), default=0.0)
    # The best of poor matches counts as a poor match.
    full = max(best, weights.full * worded.idf) or 1.0
    found = []
    sessions: dict[str, float] = {}
    for row, item in items.items():
        lexical, speaker = worded.scores.get(row, 0.0) / full, float(query.people == (item.speaker,))
        semantic, window = cosines.get(row, average)
        score = weights.lexical * lexical + weights.semantic * semantic + weights.window * window
        score += weights.speaker * speaker + weights.memory * (item.type == "memory")
        found.append((score, item, (lexical, semantic, window, speaker)))
        sessions[item.session] = max(score, sessions.get(item.session, 0.0))
    hits: dict[str | int, Hit] = {}
    for score, item, terms in found:
        # What belongs to no session is a session of its own.
        session = sessions[item.session] if item.session else score
        hit = Hit(score + weights.session * session, item, *terms, session)
        # A memory that somebody has copied to another file is found once.
        hits.setdefault(item.row if item.type == "turn" else item.id, hit)
    chosen = sorted(hits.values(), key=lambda hit: (-hit.score, -hit.item.row))[:k]
    coverage = min(1.0, best / worded.idf) if worded.idf else 0.0
    return Recalled(tuple(chosen), confidence(coverage, None if question is None else max(semantics)))


def confidence(coverage: float, closeness: float | None) -> float:
    """How sure it is, from 0 to 1, that something was said about the question; THRESHOLD divides.

    `coverage` is BM25's best score as a share of the sum of the idf of the question's words, which a turn of
    average length with all of them would get; `closeness` is the best cosine, None without embeddings.
    """
    if closeness is None:
        return coverage
    return _OF_COVERAGE * coverage + (1 - _OF_COVERAGE) * min(1.0, max(0.0, closeness))


def _closest(index: Index, question: Probe, scope: Scope) -> set[int]:
    """The rows whose vectors are closest to the question's."""
    vectors = index.vectors(index.nearest(question.code, scope.person, _LOOKED_AT))
    cosines = zip(dots(question, list(vectors.values())), vectors, strict=True)
    return {row for _, row in sorted(cosines, reverse=True)[:WEIGHED]}


def _cosines(index: Index, question: Probe, items: Collection[Item]) -> dict[int, tuple[float, float]]:
    """For each item with a vector the question's cosine with it, and with it among its neighbours."""
    beside = {row for item in items for row in (item.before, item.after) if row is not None}
    vectors = index.vectors(beside.union(item.row for item in items))
    cosines = dict(zip(vectors, dots(question, list(vectors.values())), strict=True))
    found = {}
    for item in items:
        if item.row in vectors:
            near = [row for row in (item.before, item.after) if row in vectors]
            window = cosines[item.row] + sum(cosines[row] / 2 for row in near)
            length = _window_length(vectors[item.row], [vectors[row] for row in near])
            found[item.row] = cosines[item.row], window / length
    return found


def _window_length(vector: Packed, near: Sequence[Packed]) -> float:
    """The length of a vector plus half of each of its neighbours, whose angles their sign codes give."""
    square = 1.0 + sum(0.25 + estimate(vector.code, other.code) for other in near)
    if len(near) == 2:
        square += estimate(near[0].code, near[1].code) / 2
    # The estimates need not agree with each other.
    return math.sqrt(max(square, 0.25))
