"""Writes the package pose-climb: there is no network, so its files hold the window and examples.

The card is written by hand.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from agent.data import Array
from agent.vision.poses import CHANNELS, features, interpolate
from models.train.pack import pack_window
from models.train.pose_climb.activities import Scenario, climb, reach_up, stairs
from models.train.pose_climb.camera import render

LENGTH, EVERY_MS, MIN_SCORE = 30, 100.0, 0.2  # three seconds: at 0.25 m/s a third of a person


def make(place: Path) -> None:
    facts = {
        "version": "1.0.0",
        "decoder": "climb",
        "options": {"keypoint_score": MIN_SCORE},
        "budget_ms": 2.0,
        "data": "none: limits chosen on simulated figures (models/train/pose_climb)",
        "poses": {"length": LENGTH, "every_ms": EVERY_MS, "min_score": MIN_SCORE},
    }
    pack_window(place, (1, LENGTH, CHANNELS), facts, _windows())
    print(f"wrote {place}")


def _windows() -> Array:
    """float32 [n, LENGTH, CHANNELS]: a window from a climb, from reaching up and from stairs."""
    return np.stack([_window(activity(1)) for activity in (climb, reach_up, stairs)])


def _window(scenario: Scenario) -> Array:
    recording = render(scenario, 1)
    row = 2 * len(recording.times) // 3
    times = recording.times[row] + np.arange(1 - LENGTH, 1) * EVERY_MS / 1000
    return features(
        interpolate(recording.times[: row + 1], recording.points[: row + 1], times), recording.aspect, MIN_SCORE
    )
