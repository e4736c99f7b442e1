"""Accuracy and macro-F1 over repeated folds, with intervals, and how soon a contact shows in a lane's windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from agent.data import Array
from models.train import card
from models.train.arm_collision.windows import LABELS, LENGTH, Windows, calm, inputs, joined

TIMES = 2000  # draws of the bootstrap


class Stream(NamedTuple):
    """late: of each event, readings into it until `normal` falls below 0.5 (0: never).

    joints: windows of normal readings, backwards and then forwards; false: how many of them were not called normal.
    """

    late: Array
    joints: int
    false: int


def accuracy(matrices: Array) -> Array:
    """Of confusion matrices [..., kinds, kinds]."""
    return np.asarray(np.trace(matrices, axis1=-2, axis2=-1) / np.maximum(matrices.sum(axis=(-2, -1)), 1))


def macro_f1(matrices: Array) -> Array:
    """Mean of the F1 of the kinds that occur, rarest and commonest alike. matrices: [..., kinds, kinds]."""
    right = np.diagonal(matrices, axis1=-2, axis2=-1)
    occur = matrices.sum(axis=-1) > 0
    each = 2 * right / np.maximum(matrices.sum(axis=-1) + matrices.sum(axis=-2), 1)
    return np.asarray((each * occur).sum(axis=-1) / np.maximum(occur.sum(axis=-1), 1))


def pooled(truth: Array, guesses: Array) -> Array:
    """int [repeats, kinds, kinds]. guesses: int [repeats, n]."""
    return np.stack([card.confusion(truth, guess, len(LABELS)) for guess in guesses])


def drawn(truth: Array, guesses: Array, group: Array, measure: Callable[[Array], Array]) -> Array:
    """The measure, mean of the repeats, of TIMES bootstrap draws of whole groups; the same draws whatever the guesses."""
    random = np.random.default_rng(0)
    parts = [np.flatnonzero(group == name) for name in np.unique(group)]
    single = np.stack([pooled(truth[part], guesses[:, part]) for part in parts])  # [groups, repeats, kinds, kinds]
    counts = random.multinomial(len(parts), np.full(len(parts), 1 / len(parts)), TIMES)
    return np.asarray(measure(np.tensordot(counts, single, axes=1)).mean(axis=1))


def interval(values: Array) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def told(truth: Array, guess: Array) -> dict[str, Any]:
    """What `evaluate` says of one group of windows."""
    matrix = card.confusion(truth, guess, len(LABELS))
    hits = int(np.trace(matrix))
    return {
        "windows": len(truth),
        "accuracy": round(hits / max(len(truth), 1), 4),
        "accuracy_interval_95": [round(end, 4) for end in card.wilson(hits, len(truth))],
        "macro_f1": round(float(macro_f1(matrix)), 4),
        "confusion": {label: dict(zip(LABELS, row.tolist())) for label, row in zip(LABELS, matrix)},
    }


def stream(windows: Windows, network: Callable[[Array], Array]) -> Stream:
    """As a lane sees it: a normal window, then an event of the same file, one reading after the other."""
    late, joints, false = [], 0, 0
    random = np.random.default_rng(0)
    for readings, label, file in zip(*windows):
        before = calm(windows, readings, label, file, random)
        cuts = np.stack([joined(before, readings, seen) for seen in range(1, LENGTH + 1)])
        alarm = network(inputs(cuts))[:, 0] < 0.5
        if label:
            late.append(int(alarm.argmax()) + 1 if alarm.any() else 0)
        else:
            joints, false = joints + LENGTH, false + int(alarm.sum())
    return Stream(np.array(late, int), joints, false)
