"""Writes the package pose-climb: no network to train, so what there is to say about the window, and examples.

The card is written by hand.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from agent.data import Array
from agent.vision.poses import CHANNELS, features, interpolate
from models.train.pack import yaml
from models.train.pose_climb.acts import Scene, climb, reach_up, stairs
from models.train.pose_climb.view import watch

LENGTH, EVERY_MS, SEEN = 30, 100.0, 0.2  # three seconds: at 0.25 m/s a third of a person


def make(place: Path) -> None:
    place.mkdir(exist_ok=True)
    content = yaml({"input": [1, LENGTH, CHANNELS]}).encode()
    (place / "window.yaml").write_bytes(content)
    examples = _windows()
    np.savez_compressed(place / "golden.npz", input_0=examples, output_0=examples)
    (place / "manifest.yaml").write_text(
        yaml(
            {
                "version": "1.0.0",
                "licence": "Apache-2.0",
                "file": "window.yaml",
                "sha256": hashlib.sha256(content).hexdigest(),
                "backend": "signal",
                "decoder": "climb",
                "options": {"keypoint_score": SEEN},
                "budget_ms": 2.0,
                "data": "none: limits chosen on simulated figures (models/train/pose_climb)",
                "poses": {"length": LENGTH, "every_ms": EVERY_MS, "min_score": SEEN},
                "golden": "golden.npz",
            }
        )
    )
    print(f"wrote {place}")


def _windows() -> Array:
    """float32 [n, LENGTH, CHANNELS]: the newest window of a climb's middle, of a reach and of stairs."""
    return np.stack([_middle(act(1)) for act in (climb, reach_up, stairs)])


def _middle(scene: Scene) -> Array:
    seen = watch(scene, 1)
    row = 2 * len(seen.times) // 3
    asked = seen.times[row] + np.arange(1 - LENGTH, 1) * EVERY_MS / 1000
    return features(interpolate(seen.times[: row + 1], seen.points[: row + 1], asked), seen.aspect, SEEN)
