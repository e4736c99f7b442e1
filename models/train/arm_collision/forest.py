"""What the network is compared with, and taught by: scikit-learn's random forest on readings and their statistics."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from agent.data import Array
from models.train.arm_collision.windows import LABELS, Windows


def features(readings: Array) -> Array:
    """float32 [n, 90 + 42]: readings, then of each channel mean, deviation, least, most, change, mean and largest step."""
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


def grown(windows: Windows, seed: int) -> RandomForestClassifier:
    """Of readings, statistics and both, both did best; a third of the features at each split instead of the root, worse."""
    forest = RandomForestClassifier(400, max_features="sqrt", oob_score=True, random_state=seed, n_jobs=1)
    return forest.fit(features(windows.readings), windows.labels)


def opinion(forest: RandomForestClassifier) -> Array:
    """float [n, LABELS], of each window it grew on by the trees that did not see it."""
    shares = np.zeros((len(forest.oob_decision_function_), len(LABELS)))
    shares[:, forest.classes_] = forest.oob_decision_function_
    return shares
