"""The baseline and teacher of the network: scikit-learn's random forest on readings and their statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from agent.data import Array
from models.train.arm_collision.windows import LABELS, Windows

Forest = Any  # scikit-learn ships no types


def features(readings: Array) -> Array:
    """float32 [n, 90 + 42]: readings, then per channel mean, deviation, minimum, maximum, change, mean and largest
    step.
    """
    steps = np.abs(np.diff(readings, axis=1))
    statistics = [
        readings.mean(axis=1),
        readings.std(axis=1),
        readings.min(axis=1),
        readings.max(axis=1),
        readings[:, -1] - readings[:, 0],
        steps.mean(axis=1),
        steps.max(axis=1),
    ]
    return np.concatenate([readings.reshape(len(readings), -1), *statistics], axis=1)


def grow(windows: Windows, seed: int) -> Forest:
    """Readings with statistics did better than either alone; a third of the features at each split, not the root,
    worse.
    """
    forest = RandomForestClassifier(400, max_features="sqrt", oob_score=True, random_state=seed, n_jobs=1)
    return forest.fit(features(windows.readings), windows.labels)


def out_of_bag_shares(forest: Forest) -> Array:
    """Array float [n, LABELS]: for each training window, the label shares of the trees that were not trained on it."""
    shares = np.zeros((len(forest.oob_decision_function_), len(LABELS)))
    shares[:, forest.classes_] = forest.oob_decision_function_
    return shares
