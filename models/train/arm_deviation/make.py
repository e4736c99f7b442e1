"""arm-deviation: does the arm deviate from its plan, and how, from the last 32 readings at 1 kHz."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from agent.data import Array
from drivers.sensor._arm import CHANNELS, LABELS, Run
from models.train.arm_deviation import card, stops
from models.train.arm_deviation.windows import (
    ANY,
    HEALTHY_S,
    HEALTHY_TEST,
    HEAVIER,
    KNOWN,
    LENGTH,
    MILD,
    RUN_S,
    SCALE,
    SEARCH,
    TEST,
    TRAIN,
    VALIDATE,
    WIDER,
    Bounds,
    choose_rows,
    draw_run,
    windows,
)
from models.train.engine import KerasModel, make_reproducible, to_float, to_int8
from models.train.network import Network
from models.train.pack import GOLDEN, pack
from models.train.prune import prune

SEED = 7
KEEP = 0.7  # of the channels, for the pruned network in the comparison of the card

FACTS = {
    "version": "1.0.0",
    "decoder": "sequence",
    "labels": list(LABELS),
    "budget_ms": 2.0,
    "data": "simulated: the project's own twin of a three-joint arm (drivers/sensor/sim_arm.py), Apache-2.0",
    "window": {
        "channels": list(CHANNELS),
        "length": LENGTH,
        "hop": 1,
        "mean": [0.0] * len(CHANNELS),
        "std": SCALE.tolist(),
    },
}


def make(place: Path) -> None:
    make_reproducible(SEED)
    known, validation = examples(TRAIN, KNOWN), examples(VALIDATE, KNOWN)
    first = train(*known, validation, epochs=8)
    inputs, labels = (np.concatenate(pair) for pair in zip(known, _false_alarms(first, SEARCH)))
    model = train(inputs, labels, validation, epochs=25)
    pruned = train(inputs, labels, validation, epochs=10, model=prune(model, KEEP))
    files = to_float(model), to_int8(model, inputs), to_float(pruned), to_int8(pruned, inputs)
    networks = [Network(file) for file in files]
    test = examples(TEST, WIDER)
    golden = networks[1].quantised(samples_of_each_label(*test))
    pack(place, files[1], FACTS, golden, networks[1].run_all(golden))
    card.write(place, files, networks, test, _tally_stops(networks[1]))


def examples(seeds: range, bounds: Bounds) -> tuple[Array, Array]:
    """Windows and labels of one run per seed: one in six has no fault, one in six mostly harmless faults."""
    inputs, labels = [], []
    for seed in tqdm(seeds, desc="simulate", mininterval=2):
        run = draw_run(seed, RUN_S, bounds, None if seed % 6 == 0 else MILD if seed % 3 == 0 else ANY)
        ends = choose_rows(run.labels, np.random.default_rng(seed))
        inputs.append(windows(run.readings, ends))
        labels.append(run.labels[ends])
    return np.concatenate(inputs), np.concatenate(labels)


def _false_alarms(model: KerasModel, seeds: range) -> tuple[Array, Array]:
    """Windows of healthy work and harmless disturbances that the model labels as faults, as further training data."""
    parts = []
    for seed in tqdm(seeds, desc="search for false alarms", mininterval=2):
        kind = seed % 3
        run = draw_run(seed, RUN_S, KNOWN, MILD if kind == 0 else None)
        ends = np.flatnonzero(run.labels == 0)[LENGTH:]
        inputs = windows(run.readings * (HEAVIER if kind == 1 else 1.0), ends)
        parts.append(inputs[model.predict(inputs, 4096, verbose=0)[:, 0] < 0.9])
    inputs = np.concatenate(parts)
    return inputs, np.zeros(len(inputs), np.int8)


def _network() -> KerasModel:
    """Two convolutions over time, then dense layers over the whole window: about 30,000 multiplications."""
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            layers.Input((LENGTH, len(CHANNELS))),
            layers.Conv1D(24, 5, strides=2, activation="relu"),
            layers.Conv1D(32, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(48, activation="relu"),
            layers.Dense(len(LABELS), activation="softmax"),
        ]
    )


def train(
    inputs: Array, labels: Array, validation: tuple[Array, Array], epochs: int, model: KerasModel | None = None
) -> KerasModel:
    """model: the one to train further; None for a new one."""
    model = model or _network()
    rate = tf.keras.optimizers.schedules.CosineDecay(3e-3, epochs * -(-len(inputs) // 512))
    # Smoothing keeps the last layer's values small, so that INT8 has enough steps between high and low scores.
    loss = tf.keras.losses.CategoricalCrossentropy(label_smoothing=0.02)
    model.compile(tf.keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    weights = np.where(labels == 0, 3.0, 1.0)  # a false stop costs more than a fault with the wrong label
    targets = tf.keras.utils.to_categorical(labels, len(LABELS))
    checks = validation[0], tf.keras.utils.to_categorical(validation[1], len(LABELS))
    model.fit(inputs, targets, 512, epochs, verbose=2, sample_weight=weights, validation_data=checks)
    return model


def samples_of_each_label(inputs: Array, labels: Array) -> Array:
    """GOLDEN windows, the same number of each label."""
    each = GOLDEN // len(LABELS)
    rows = [np.flatnonzero(labels == label) for label in range(len(LABELS))]
    return np.concatenate([inputs[row[:: max(1, len(row) // each)][:each]] for row in rows])


def _tally_stops(network: Network) -> dict[str, stops.Tally]:
    """The stop rule over runs of unseen arms, some heavier, with more friction and noise than in training."""
    trials = {"healthy": (HEALTHY_TEST, HEALTHY_S, None), "mild": (TEST[::2], RUN_S, MILD), "any": (TEST, RUN_S, ANY)}
    return {name: stops.tally(_runs(f"stop rule, {name}", *trial), network) for name, trial in trials.items()}


def _runs(title: str, seeds: range, seconds: float, amounts: tuple[float, float] | None) -> Iterator[Run]:
    for seed in tqdm(seeds, desc=title, mininterval=2):
        yield draw_run(seed, seconds, WIDER, amounts)
