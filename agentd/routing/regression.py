"""Multinomial logistic regression over a dense and a sparse block of features, with numpy alone.

Trained on the build host; equal input gives equal weights there. Not for the machine: head.py scores without
numpy. Not for: where features come from (train.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any  # numpy's own types say less than they cost

# L-BFGS keeps this many steps; a line search gives up after so many halvings.
MEMORY = 10
HALVINGS = 20
# Rows of the sparse block that are gathered at once: some 40 MB.
ROWS = 1024


class Sparse:
    """A matrix of rows of (column, value) pairs, held by its rows and by its columns."""

    def __init__(self, rows: Sequence[Sequence[tuple[int, float]]], columns: int) -> None:
        self.shape = (len(rows), columns)
        lengths = np.array([len(row) for row in rows])
        width = max(1, int(lengths.max(initial=1)))
        # Short rows are filled up with a column of value 0.
        self._columns = np.zeros((len(rows), width), np.int32)
        self._values = np.zeros((len(rows), width), np.float32)
        for at, row in enumerate(rows):
            for place, (column, value) in enumerate(row):
                self._columns[at, place], self._values[at, place] = column, value
        self._by_length = np.argsort(lengths, kind="stable")
        self._lengths = lengths
        flat = self._values.ravel() != 0
        column = self._columns.ravel()[flat]
        order = np.argsort(column, kind="stable")
        self._rows_of = np.repeat(np.arange(len(rows)), width)[flat][order]
        self._values_of = self._values.ravel()[flat][order]
        self._starts = np.searchsorted(column[order], np.arange(columns + 1))

    def times(self, weights: Array) -> Array:
        """This matrix times a dense one of (columns, n): (rows, n)."""
        result = np.empty((self.shape[0], weights.shape[1]), np.float32)
        for start in range(0, self.shape[0], ROWS):
            some = self._by_length[start : start + ROWS]
            width = max(1, int(self._lengths[some[-1]]))
            gathered = weights[self._columns[some, :width]]
            result[some] = np.matmul(self._values[some, None, :width], gathered)[:, 0]
        return result

    def transposed_times(self, dense: Array) -> Array:
        """The transpose of this matrix times a dense one of (rows, n): (columns, n)."""
        result = np.zeros((self.shape[1], dense.shape[1]), np.float32)
        for column in range(self.shape[1]):
            start, end = self._starts[column], self._starts[column + 1]
            if start < end:
                result[column] = self._values_of[start:end] @ dense[self._rows_of[start:end]]
        return result


@dataclass(frozen=True)
class Weights:
    """What a head adds up: (dimension, classes), (buckets, classes) and (classes,)."""

    dense: Array
    sparse: Array
    bias: Array

    def scores(self, dense: Array, sparse: Sparse) -> Array:
        """The scores of each row for each class."""
        return dense @ self.dense + sparse.times(self.sparse) + self.bias


def softmax(scores: Array) -> Array:
    """The probabilities of each row."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def loss(scores: Array, labels: Array) -> float:
    """The mean negative log probability of the right classes."""
    top = scores.max(axis=1)
    logs = np.log(np.exp(scores - top[:, None]).sum(axis=1)) + top
    return float((logs - scores[np.arange(len(labels)), labels]).mean())


def fit(dense: Array, sparse: Sparse, labels: Array, *, classes: int, decay: float, steps: int) -> Weights:
    """The weights that fit best after `steps` of L-BFGS.

    `decay` weighs the squares of the weights (not of the bias) against the mean loss.
    """
    rows, dimension, columns = len(labels), dense.shape[1], sparse.shape[1]
    at = np.arange(rows)

    def parts(flat: Array) -> Weights:
        table = flat.reshape(-1, classes)
        return Weights(table[:dimension], table[dimension:-1], table[-1])

    def objective(flat: Array) -> tuple[float, Array]:
        scores = parts(flat).scores(dense, sparse)
        chances = softmax(scores)
        logs = np.log(np.maximum(chances[at, labels], 1e-30))
        slope = chances
        slope[at, labels] -= 1
        slope /= rows
        kept = flat.copy()
        kept[-classes:] = 0
        down = [dense.T @ slope, sparse.transposed_times(slope), slope.sum(axis=0)[None]]
        gradient = np.concatenate(down).ravel() + decay * kept
        return float(-logs.mean() + decay / 2 * (kept @ kept)), gradient

    return parts(minimum(objective, np.zeros((dimension + columns + 1) * classes, np.float32), steps))


def minimum(objective: Callable[[Array], tuple[float, Array]], start: Array, steps: int) -> Array:
    """Where a smooth function is smallest, by L-BFGS (Nocedal and Wright, algorithm 7.5)."""
    place = start
    value, gradient = objective(place)
    pairs: list[tuple[Array, Array]] = []
    for _ in range(steps):
        direction = -_scaled(gradient, pairs)
        slope = float(direction @ gradient)
        length = 1.0 if pairs else 1.0 / max(1e-12, float(np.abs(gradient).sum()))
        for _ in range(HALVINGS):
            reached, there = objective(place + np.float32(length) * direction)
            if reached <= value + 1e-4 * length * slope:
                break
            length /= 2
        else:
            break
        step, turn = np.float32(length) * direction, there - gradient
        place, value, gradient = place + step, reached, there
        if float(step @ turn) > 1e-12:
            pairs = [*pairs, (step, turn)][-MEMORY:]
    return place


def _scaled(gradient: Array, pairs: Sequence[tuple[Array, Array]]) -> Array:
    """The gradient times the inverse of the curvature that the last steps have shown."""
    result, kept = gradient.copy(), []
    for step, turn in reversed(pairs):
        part = (step @ result) / (step @ turn)
        result -= part * turn
        kept.append(part)
    if pairs:
        step, turn = pairs[-1]
        result *= (step @ turn) / (turn @ turn)
    for (step, turn), part in zip(pairs, reversed(kept), strict=True):
        result += (part - (turn @ result) / (step @ turn)) * step
    return result
