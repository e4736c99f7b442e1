"""Writes the package pose-climb: there is no network, so its files hold the window and examples.

The card is written by hand.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from agent.data import Array
from agent.vision.poses import CHANNELS, features, interpolate
from models.train.pack import yaml
from models.train.pose_climb.activities import Scenario, climb, reach_up, stairs
from models.train.pose_climb.camera import render

LENGTH, EVERY_MS, MIN_SCORE = 30, 100.0, 0.2  # three seconds: at 0.25 m/s a third of a person


def make(place: Path) -> None:
    place.mkdir(exist_ok=True)
    content = yaml({"input": [1, LENGTH, CHANNELS]}).encode()
    (place / "window.yaml").write_bytes(content)
    examples = _windows()
    np.savez_compressed(place / "golden.npz", input_0=examples, output_0=examples)
    manifest = {
        "version": "1.0.0",
        "licence": "Apache-2.0",
        "file": "window.yaml",
        "sha256": hashlib.sha256(content).hexdigest(),
        "backend": "signal",
        "decoder": "climb",
        "options": {"keypoint_score": MIN_SCORE},
        "budget_ms": 2.0,
        "data": "none: limits chosen on simulated figures (models/train/pose_climb)",
        "poses": {"length": LENGTH, "every_ms": EVERY_MS, "min_score": MIN_SCORE},
        "golden": "golden.npz",
    }
    (place / "manifest.yaml").write_text(yaml(manifest))
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
