"""arm-deviation: is the arm off its plan, and why, from the last 32 readings at 1 kHz."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from agent.data import Array
from drivers.sensor._arm import CHANNELS, LABELS

from models.train.engine import Network, steady, to_float, to_int8
from models.train.windows import KNOWN, LENGTH, SCALE, WIDER, choose, run_of, windows

SEED = 7
RUN_S = 12.0
TRAIN, VALIDATE, TEST = range(0, 300), range(10_000, 10_050), range(20_000, 20_100)
BOTH, ALL = (0.1, 0.6), (0.1, 2.0)  # sizes of faults: mostly harmless ones, any


def examples(seeds: range, bounds) -> tuple[Array, Array]:
    """Windows and labels of one run per seed; every third run has mostly harmless faults, every sixth none."""
    inputs, labels = [], []
    for seed in tqdm(seeds, desc="simulate"):
        amounts = None if seed % 6 == 0 else BOTH if seed % 3 == 0 else ALL
        run = run_of(seed, RUN_S, bounds, amounts)
        ends = choose(run.labels, np.random.default_rng(seed))
        inputs.append(windows(run.readings, ends))
        labels.append(run.labels[ends])
    return np.concatenate(inputs), np.concatenate(labels)


def hard(model: tf.keras.Model, seeds: range) -> tuple[Array, Array]:
    """Windows of healthy work and harmless disturbance that the model takes for trouble: what it must still learn."""
    found = []
    for seed in tqdm(seeds, desc="search for false alarms"):
        run = run_of(seed, RUN_S, KNOWN, BOTH if seed % 3 == 0 else None)
        ends = np.flatnonzero(run.labels == 0)[LENGTH:]
        inputs = windows(run.readings, ends)
        found.append(inputs[model.predict(inputs, 4096, verbose=0)[:, 0] < 0.95])
    inputs = np.concatenate(found)
    return inputs, np.zeros(len(inputs), np.int8)


def network() -> tf.keras.Model:
    """About 16,000 multiplications: two convolutions over time, then all of the window at once."""
    layers = tf.keras.layers
    return tf.keras.Sequential([
        layers.Input((LENGTH, len(CHANNELS))),
        layers.Conv1D(24, 5, strides=2, activation="relu"),
        layers.Conv1D(32, 3, strides=2, activation="relu"),
        layers.Flatten(),
        layers.Dense(48, activation="relu"),
        layers.Dense(len(LABELS), activation="softmax"),
    ])


def train(inputs: Array, labels: Array, validation: tuple[Array, Array], epochs: int = 25) -> tf.keras.Model:
    model = network()
    steps = epochs * -(-len(inputs) // 512)
    rate = tf.keras.optimizers.schedules.CosineDecay(3e-3, steps)
    model.compile(tf.keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    counts = np.bincount(labels, minlength=len(LABELS))
    # Half of the weight on healthy work: a false stop costs more than a wrong name for a fault.
    weights = {0: 3.0, **{n: float(max(labels.size / counts[n] / 20, 0.5)) for n in range(1, len(LABELS))}}
    model.fit(inputs, labels, 512, epochs, verbose=2, validation_data=validation, class_weight=weights)
    return model
