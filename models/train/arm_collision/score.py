"""Accuracy and macro-F1 over repeated folds, with intervals, and the delay until a lane detects a contact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from agent.data import Array
from models.train import card
from models.train.arm_collision.windows import LABELS, LENGTH, Windows, inputs, join, readings_before

TIMES = 2000  # draws of the bootstrap


class Stream(NamedTuple):
    """Predictions on joined windows. delays: for each event, readings until `normal` falls below 0.5 (0: never).

    normal_windows: windows of normal readings, in reverse and then in order; false_alarms: how many of them were not
    labelled normal.
    """

    delays: Array
    normal_windows: int
    false_alarms: int


def accuracy(matrices: Array) -> Array:
    """Accuracy of confusion matrices [..., kinds, kinds]."""
    return np.asarray(np.trace(matrices, axis1=-2, axis2=-1) / np.maximum(matrices.sum(axis=(-2, -1)), 1))


def macro_f1(matrices: Array) -> Array:
    """Mean F1 of the kinds that occur, each with the same weight. matrices: [..., kinds, kinds]."""
    correct = np.diagonal(matrices, axis1=-2, axis2=-1)
    occur = matrices.sum(axis=-1) > 0
    each = 2 * correct / np.maximum(matrices.sum(axis=-1) + matrices.sum(axis=-2), 1)
    return np.asarray((each * occur).sum(axis=-1) / np.maximum(occur.sum(axis=-1), 1))


def confusions(truth: Array, predictions: Array) -> Array:
    """Matrices int [repeats, kinds, kinds]. predictions: int [repeats, n]."""
    return np.stack([card.confusion(truth, predicted, len(LABELS)) for predicted in predictions])


def bootstrap(truth: Array, predictions: Array, group: Array, measure: Callable[[Array], Array]) -> Array:
    """The measure, mean of the repeats, of TIMES bootstrap draws of whole groups; the same draws each time."""
    random = np.random.default_rng(0)
    parts = [np.flatnonzero(group == name) for name in np.unique(group)]
    single = np.stack(
        [confusions(truth[part], predictions[:, part]) for part in parts]
    )  # [groups, repeats, kinds, kinds]
    counts = random.multinomial(len(parts), np.full(len(parts), 1 / len(parts)), TIMES)
    return np.asarray(measure(np.tensordot(counts, single, axes=1)).mean(axis=1))


def interval(values: Array) -> tuple[float, float]:
    """95 % interval."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def figures(truth: Array, predicted: Array) -> dict[str, Any]:
    """The figures of `evaluate` for one group of windows."""
    matrix = card.confusion(truth, predicted, len(LABELS))
    hits = int(np.trace(matrix))
    return {
        "windows": len(truth),
        "accuracy": round(hits / max(len(truth), 1), 4),
        "accuracy_interval_95": [round(end, 4) for end in card.wilson(hits, len(truth))],
        "macro_f1": round(float(macro_f1(matrix)), 4),
        "confusion": {label: dict(zip(LABELS, row.tolist())) for label, row in zip(LABELS, matrix)},
    }


def stream(windows: Windows, network: Callable[[Array], Array]) -> Stream:
    """As in a lane: a normal window, then an event of the same file, one reading after the other."""
    delays, normal_windows, false_alarms = [], 0, 0
    random = np.random.default_rng(0)
    for readings, label, file in zip(*windows):
        before = readings_before(windows, readings, label, file, random)
        cuts = np.stack([join(before, readings, count) for count in range(1, LENGTH + 1)])
        alarm = network(inputs(cuts))[:, 0] < 0.5
        if label:
            delays.append(int(alarm.argmax()) + 1 if alarm.any() else 0)
        else:
            normal_windows, false_alarms = normal_windows + LENGTH, false_alarms + int(alarm.sum())
    return Stream(np.array(delays, int), normal_windows, false_alarms)
