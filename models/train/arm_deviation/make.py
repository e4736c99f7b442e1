"""arm-deviation: is the arm off its plan, and how, from the last 32 readings at 1 kHz."""

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
    choose,
    run_of,
    windows,
)
from models.train.engine import steady, to_float, to_int8
from models.train.network import Network
from models.train.pack import GOLDEN, pack
from models.train.prune import slim

SEED = 7
KEEP = 0.7  # of the channels, for the pruned network that the card compares

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
    steady(SEED)
    known, validation = examples(TRAIN, KNOWN), examples(VALIDATE, KNOWN)
    first = train(*known, validation, epochs=8)
    inputs, labels = (np.concatenate(both) for both in zip(known, _hard(first, SEARCH)))
    model = train(inputs, labels, validation, epochs=25)
    lean = train(inputs, labels, validation, epochs=10, model=slim(model, KEEP))
    files = to_float(model), to_int8(model, inputs), to_float(lean), to_int8(lean, inputs)
    networks = [Network(file) for file in files]
    test = examples(TEST, WIDER)
    golden = networks[1].quantised(some_of_each(*test))
    pack(place, files[1], FACTS, golden, networks[1].raws(golden))
    card.write(place, files, networks, test, _judge_stops(networks[1]))


def examples(seeds: range, bounds: Bounds) -> tuple[Array, Array]:
    """Windows and labels of one run per seed; every third run has mostly harmless faults, every sixth none."""
    inputs, labels = [], []
    for seed in tqdm(seeds, desc="simulate", mininterval=2):
        run = run_of(seed, RUN_S, bounds, None if seed % 6 == 0 else MILD if seed % 3 == 0 else ANY)
        ends = choose(run.labels, np.random.default_rng(seed))
        inputs.append(windows(run.readings, ends))
        labels.append(run.labels[ends])
    return np.concatenate(inputs), np.concatenate(labels)


def _hard(model: tf.keras.Model, seeds: range) -> tuple[Array, Array]:
    """Windows of healthy work and harmless disturbance that the model takes for trouble: what it must still learn."""
    found = []
    for seed in tqdm(seeds, desc="search for false alarms", mininterval=2):
        kind = seed % 3
        run = run_of(seed, RUN_S, KNOWN, MILD if kind == 0 else None)
        ends = np.flatnonzero(run.labels == 0)[LENGTH:]
        inputs = windows(run.readings * (HEAVIER if kind == 1 else 1.0), ends)
        found.append(inputs[model.predict(inputs, 4096, verbose=0)[:, 0] < 0.9])
    inputs = np.concatenate(found)
    return inputs, np.zeros(len(inputs), np.int8)


def network() -> tf.keras.Model:
    """Two convolutions over time, then all of the window at once: about 30,000 multiplications."""
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
    inputs: Array, labels: Array, validation: tuple[Array, Array], epochs: int, model: tf.keras.Model | None = None
) -> tf.keras.Model:
    """model: one to go on with."""
    model = model or network()
    rate = tf.keras.optimizers.schedules.CosineDecay(3e-3, epochs * -(-len(inputs) // 512))
    # Smoothing keeps the last layer's values small, so that INT8 has steps enough between sure and unsure.
    loss = tf.keras.losses.CategoricalCrossentropy(label_smoothing=0.02)
    model.compile(tf.keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    weights = np.where(labels == 0, 3.0, 1.0)  # a false stop costs more than a fault that is named wrongly
    answers = tf.keras.utils.to_categorical(labels, len(LABELS))
    checks = validation[0], tf.keras.utils.to_categorical(validation[1], len(LABELS))
    model.fit(inputs, answers, 512, epochs, verbose=2, sample_weight=weights, validation_data=checks)
    return model


def some_of_each(inputs: Array, labels: Array) -> Array:
    """GOLDEN windows, as many of each label."""
    each = GOLDEN // len(LABELS)
    rows = [np.flatnonzero(labels == label) for label in range(len(LABELS))]
    return np.concatenate([inputs[of[:: max(1, len(of) // each)][:each]] for of in rows])


def _judge_stops(network: Network) -> dict[str, stops.Tally]:
    """The stop rule over runs of arms never seen, some of them heavier, stiffer and noisier than any in training."""
    trials = {"healthy": (HEALTHY_TEST, HEALTHY_S, None), "mild": (TEST[::2], RUN_S, MILD), "any": (TEST, RUN_S, ANY)}
    return {name: stops.tally(_runs(f"judge stops, {name}", *trial), network) for name, trial in trials.items()}


def _runs(title: str, seeds: range, seconds: float, amounts: tuple[float, float] | None) -> Iterator[Run]:
    for seed in tqdm(seeds, desc=title, mininterval=2):
        yield run_of(seed, seconds, WIDER, amounts)
