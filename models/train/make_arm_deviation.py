"""arm-deviation: is the arm off its plan, and how, from the last 32 readings at 1 kHz."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from agent.data import Array
from drivers.sensor._arm import CHANNELS, LABELS
from models.train import arm_card, stops
from models.train.engine import Network, steady, to_float, to_int8
from models.train.pack import GOLDEN, pack
from models.train.windows import KNOWN, LENGTH, SCALE, WIDER, Bounds, choose, run_of, windows

SEED = 7
RUN_S = 12.0
# Each seed is an arm and a job of its own; no arm is in two of these.
TRAIN, SEARCH, VALIDATE, TEST = range(300), range(5_000, 5_150), range(10_000, 10_050), range(20_000, 20_120)
HEALTHY_TEST, HEALTHY_S = range(30_000, 30_240), 30.0
MILD, ANY = (0.1, 0.6), (0.1, 2.0)  # sizes of faults in multiples of a typical one: often harmless; all

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
    inputs, labels = (np.concatenate(both) for both in zip(known, hard(first, SEARCH)))
    model = train(inputs, labels, validation, epochs=25)
    files = to_float(model), to_int8(model, inputs)
    networks = Network(files[0]), Network(files[1])
    test = examples(TEST, WIDER)
    golden = networks[1].quantised(some_of_each(*test))
    pack(place, files[1], FACTS, golden, np.stack([networks[1].raw(sample) for sample in golden]))
    arm_card.write(place, files, networks, test, judge_stops(networks[1]))


def examples(seeds: range, bounds: Bounds) -> tuple[Array, Array]:
    """Windows and labels of one run per seed; every third run has mostly harmless faults, every sixth none."""
    inputs, labels = [], []
    for seed in tqdm(seeds, desc="simulate", mininterval=2):
        run = run_of(seed, RUN_S, bounds, None if seed % 6 == 0 else MILD if seed % 3 == 0 else ANY)
        ends = choose(run.labels, np.random.default_rng(seed))
        inputs.append(windows(run.readings, ends))
        labels.append(run.labels[ends])
    return np.concatenate(inputs), np.concatenate(labels)


def hard(model: tf.keras.Model, seeds: range) -> tuple[Array, Array]:
    """Windows of healthy work and harmless disturbance that the model takes for trouble: what it must still learn."""
    found = []
    for seed in tqdm(seeds, desc="search for false alarms", mininterval=2):
        run = run_of(seed, RUN_S, KNOWN, MILD if seed % 3 == 0 else None)
        ends = np.flatnonzero(run.labels == 0)[LENGTH:]
        inputs = windows(run.readings, ends)
        found.append(inputs[model.predict(inputs, 4096, verbose=0)[:, 0] < 0.9])
    inputs = np.concatenate(found)
    return inputs, np.zeros(len(inputs), np.int8)


def network() -> tf.keras.Model:
    """Two convolutions over time, then all of the window at once: about 30,000 multiplications."""
    layers = tf.keras.layers
    return tf.keras.Sequential([
        layers.Input((LENGTH, len(CHANNELS))),
        layers.Conv1D(24, 5, strides=2, activation="relu"),
        layers.Conv1D(32, 3, strides=2, activation="relu"),
        layers.Flatten(),
        layers.Dense(48, activation="relu"),
        layers.Dense(len(LABELS), activation="softmax"),
    ])


def train(inputs: Array, labels: Array, validation: tuple[Array, Array], epochs: int) -> tf.keras.Model:
    model = network()
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
    return np.concatenate([inputs[labels == label][:: max(1, (labels == label).sum() // each)][:each] for label in range(len(LABELS))])


def judge_stops(network: Network) -> dict[str, stops.Tally]:
    """The stop rule over runs of arms never seen, some of them heavier, stiffer and noisier than any in training."""
    healthy = (run_of(seed, HEALTHY_S, WIDER, None) for seed in tqdm(HEALTHY_TEST, desc="healthy", mininterval=2))
    mild = (run_of(seed, RUN_S, WIDER, MILD) for seed in tqdm(TEST[::2], desc="mild faults", mininterval=2))
    faulty = (run_of(seed, RUN_S, WIDER, ANY) for seed in tqdm(TEST, desc="faults", mininterval=2))
    return {name: stops.tally(runs, network) for name, runs in (("healthy", healthy), ("mild", mild), ("any", faulty))}
