"""Packs Google's YAMNet as it is; its golden sounds are synthesised."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from agent.data import Array
from drivers.audio import _sounds
from models.train.public import pack, public_file

RATE_HZ, LENGTH = 16_000, 15_600


def make(place: Path) -> None:
    facts = {
        "version": "1.0.0",
        "licence": "Apache-2.0",
        "budget_ms": 10,
        "data": "AudioSet, by Google; tensorflow/tflite-support",
    }
    pack(place, public_file("yamnet_audio_classifier_with_metadata.tflite"), "classify", facts, sounds())
    print(f"wrote {place}")


def sounds() -> Array:
    """float32 [sounds, 15600], -1..1: of each kind in drivers/audio/_sounds.py, a tone, noise."""
    random = np.random.default_rng(0)
    made = [_sounds.make(kind, RATE_HZ, LENGTH / RATE_HZ, seed=1) for kind in sorted(_sounds.KINDS)]
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(LENGTH) / RATE_HZ)
    return np.stack([*made, tone, random.normal(0, 0.1, LENGTH)]).astype(np.float32)
