"""pose-fall: what a person does, and whether they fall, from 2.4 s of MoveNet keypoints; trained on simulation only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from agent.benches.falls import LABELS
from agent.data import Array
from agent.vision.poses import CHANNELS
from models.train.engine import KerasModel, make_reproducible, to_float, to_int8
from models.train.network import Network
from models.train.pack import GOLDEN, pack
from models.train.pose_fall import card
from models.train.pose_fall.camera import MIN_SCORE
from models.train.pose_fall.windows import EVERY_S, LENGTH, TRAIN, VALIDATE, examples, mirrored, targets
from models.train.prune import prune

SEED = 11
EPOCHS, BATCH = 8, 256
KEEP = 0.6  # of the channels

FACTS = {
    "version": "1.0.0",
    "decoder": "sequence",
    "labels": list(LABELS),
    "poses": {
        "length": LENGTH,
        "every_ms": 1000 * EVERY_S,
        "min_score": MIN_SCORE,
        "lasting": ["lying"],
        "memory_s": 60.0,
    },
    "budget_ms": 2.0,
    "data": "simulated: the project's own jointed figure before a camera (models/train/pose_fall), "
    "Apache-2.0; no recordings",
}


def make(place: Path) -> None:
    make_reproducible(SEED)
    known, validation = examples(TRAIN), examples(VALIDATE)
    full = train(network(), known, validation, EPOCHS)
    pruned = train(prune(full, KEEP), known, validation, EPOCHS // 2)
    files = to_float(full), to_float(pruned), to_int8(pruned, known[0])
    shipped = Network(files[2])
    golden = shipped.quantised(_samples_of_each_label(*validation))
    pack(place, files[2], FACTS, golden, shipped.run_all(golden))
    card.write(place, files)


def network() -> KerasModel:
    """Three convolutions over time, then dense layers over the whole window."""
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            layers.Input((LENGTH, CHANNELS)),
            layers.Conv1D(64, 3, padding="same", activation="relu"),
            layers.Conv1D(64, 3, strides=2, activation="relu"),
            layers.Conv1D(96, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(64, activation="relu"),
            layers.Dropout(0.3),
            layers.Dense(len(LABELS), activation="softmax"),
        ]
    )


def train(model: KerasModel, known: tuple[Array, Array], checks: tuple[Array, Array], epochs: int) -> KerasModel:
    """Train on each window as it is and mirrored."""
    inputs = np.concatenate([known[0], mirrored(known[0])])
    wanted = np.concatenate([targets(known[1])] * 2)
    rate = tf.keras.optimizers.schedules.CosineDecay(2e-3, epochs * -(-len(inputs) // BATCH))
    model.compile(tf.keras.optimizers.Adam(rate), "categorical_crossentropy", metrics=["accuracy"])
    model.fit(inputs, wanted, BATCH, epochs, verbose=2, validation_data=(checks[0], targets(checks[1])))
    return model


def _samples_of_each_label(inputs: Array, labels: Array) -> Array:
    """GOLDEN windows, the labels in turn."""
    rows = [np.flatnonzero(labels == number % len(LABELS))[number // len(LABELS)] for number in range(GOLDEN)]
    return np.asarray(inputs[rows])
