"""arm-collision: is the hand free, has it hit something or does it press against it, from 15 readings at the wrist."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedGroupKFold
from tqdm import tqdm

from agent.data import Array
from models.train.arm_collision import card, forest, score
from models.train.arm_collision.windows import (
    CHANNELS,
    COARSE,
    FINE,
    LABELS,
    LENGTH,
    MIDDLE,
    Windows,
    distinct,
    groups,
    inputs,
    load,
    marks,
    varied,
)
from models.train.data import SHARED
from models.train.engine import steady, to_float, to_int8
from models.train.network import Network
from models.train.pack import GOLDEN, pack
from models.train.prune import slim

SEED = 7
REPEATS, FOLDS = 3, 5
SPLITS = 20  # random state of the first repeat; 0, 1 and 10 to 12 steered the recipe
COPIES, ONSETS = 4, 0.25  # variants of each window; share of them in which the event has only just begun
EPOCHS, AGAIN, BATCH, RATE = 50, 40, 64, 3e-3  # AGAIN: after pruning
KEEP = 0.75  # of the channels, when pruned
SMALL = tf.keras.regularizers.L2(1e-4)
HEADS = 5  # small ones, each with a loss of its own; their mean is the answer
TEACHER = 0.4  # share of the forest's opinion in what is taught

FACTS = {
    "version": "1.0.0",
    "decoder": "sequence",
    "labels": list(LABELS),
    "budget_ms": 2.0,
    "data": "Robot Execution Failures (CC BY 4.0; L. Seabra Lopes, L. M. Camarinha-Matos 1999, UCI data set 138)",
    "window": {
        "channels": [*CHANNELS, *CHANNELS],  # each one fine, then each one coarse
        "length": LENGTH,
        "hop": 1,
        "mean": [*MIDDLE.tolist(), *[0.0] * len(CHANNELS)],
        "std": [*FINE.tolist(), *COARSE.tolist()],
    },
}


class Trained(NamedTuple):
    """One network in its three forms, .tflite: as trained, pruned and trained again, and that in INT8."""

    full: bytes
    pruned: bytes
    int8: bytes


class Folded(NamedTuple):
    """Rows held out; int [card.METHODS, rows]: what each says of them; the INT8 network's record on streams of them."""

    held: Array
    said: Array
    stream: score.Stream


def make(place: Path) -> None:
    steady(SEED)
    windows = distinct(load(SHARED))
    group = groups(windows)
    parts = tqdm(list(folds(windows, group)), "folds", mininterval=5)
    folded = [guesses(windows, known, held, seed) for known, held, seed in parts]
    guessed = np.stack([_whole(folded[at : at + FOLDS], len(group)) for at in range(0, len(folded), FOLDS)], axis=1)
    streams = [fold.stream for fold in folded[:FOLDS]]
    phases = {number: _other_phase(windows, number) for number in (1, 2, 4)}
    trained = train_all(windows, SEED)
    ship(place, windows, trained)
    card.write(place, trained, card.Result(windows, group, guessed, streams, phases))


def ship(place: Path, windows: Windows, trained: Trained) -> None:
    """windows: those it was trained on; `evaluate` knows them by their marks."""
    network = Network(trained.int8)
    golden = network.quantised(inputs(_some_of_each(windows)))
    pack(place, trained.int8, FACTS, golden, network.raws(golden))
    np.savez_compressed(place / "known.npz", crc32=marks(windows))


def folds(windows: Windows, group: Array) -> Iterator[tuple[Array, Array, int]]:
    """Known and held out rows, and a seed; FOLDS after FOLDS, each repeat another stratified split that parts no group."""
    for repeat in range(REPEATS):
        splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=SPLITS + repeat)
        for number, (known, held) in enumerate(splitter.split(windows.readings, windows.labels, group)):
            yield known, held, repeat * FOLDS + number


def guesses(windows: Windows, known: Array, held: Array, seed: int) -> Folded:
    """Trained on the known rows only, forest and network."""
    unseen, trees = windows.at(held), forest.grown(windows.at(known), seed)
    *models, samples = _fitted(windows.at(known), trees, seed)
    network, cut = Network(to_int8(models[1], samples)), inputs(unseen.readings)
    scores = [*(model(cut).numpy() for model in models), network(cut)]
    said = [*(each.argmax(axis=1) for each in scores), trees.predict(forest.features(unseen.readings))]
    return Folded(held, np.stack(said), score.stream(unseen, network))


def _whole(folded: list[Folded], count: int) -> Array:
    """int [methods, windows]: one repeat's folds put together."""
    said = np.zeros((len(card.METHODS), count), int)
    for fold in folded:
        said[:, fold.held] = fold.said
    return said


def _other_phase(windows: Windows, number: int) -> tuple[Array, Array]:
    """Truth and what each method says of one file's windows, learned from the others: another phase of the robot's work."""
    held = windows.files == number if number != 2 else np.isin(windows.files, (2, 3))
    folded = guesses(windows, np.flatnonzero(~held), np.flatnonzero(held), FOLDS * REPEATS + number)
    return windows.labels[held], folded.said


def network() -> tf.keras.Model:
    """A temporal convolutional network: the second layer sees 7 readings; then the strongest and the mean over time."""
    layers = tf.keras.layers
    window = layers.Input((LENGTH, 2 * len(CHANNELS)))
    near = layers.Conv1D(24, 3, activation="relu", kernel_regularizer=SMALL)(window)
    far = layers.Conv1D(24, 3, dilation_rate=2, activation="relu", kernel_regularizer=SMALL)(near)
    pools = layers.GlobalMaxPooling1D, layers.GlobalAveragePooling1D
    pooled = layers.Concatenate()([pool()(x) for x in (window, near, far) for pool in pools])
    return tf.keras.Model(window, [_head(pooled) for _ in range(HEADS)])


def _head(x: tf.Tensor) -> tf.Tensor:
    layers = tf.keras.layers
    x = layers.Dense(32, activation="relu", kernel_regularizer=SMALL)(layers.Dropout(0.3)(x))
    return layers.Dense(len(LABELS), activation="softmax")(layers.Dropout(0.3)(x))


def _train(model: tf.keras.Model, windows: Windows, answers: Array, epochs: int, rate: float = RATE) -> tf.keras.Model:
    """windows: varied ones. answers: float [n, labels]."""
    steps = -(-len(answers) // BATCH)
    falling = tf.keras.optimizers.schedules.CosineDecay(rate, epochs * steps)
    model.compile(tf.keras.optimizers.Adam(falling), ["categorical_crossentropy"] * HEADS, steps_per_execution=steps)
    model.fit(inputs(windows.readings), [answers] * HEADS, BATCH, epochs, verbose=0)
    return model


def _fitted(windows: Windows, trees: RandomForestClassifier, seed: int) -> tuple[tf.keras.Model, tf.keras.Model, Array]:
    """The network, the pruned one, and inputs of training. trees: a forest grown on the same windows.

    It teaches: which windows are doubtful is news that labels do not tell. Of each window only those trees are asked that
    never saw it.
    """
    tf.keras.utils.set_random_seed(seed)
    seen = varied(windows, COPIES, ONSETS, np.random.default_rng(seed))
    opinion = np.repeat(forest.opinion(trees), COPIES, axis=0)
    answers = (1 - TEACHER) * np.eye(len(LABELS))[seen.labels] + TEACHER * opinion
    model = _train(network(), seen, answers, EPOCHS)
    smaller = _train(slim(model, KEEP), seen, answers, AGAIN, RATE / 2)
    return _mean_of_heads(model), _mean_of_heads(smaller), inputs(seen.readings)


def train_all(windows: Windows, seed: int) -> Trained:
    full, pruned, samples = _fitted(windows, forest.grown(windows, seed), seed)
    return Trained(to_float(full), to_float(pruned), to_int8(pruned, samples))


def _mean_of_heads(model: tf.keras.Model) -> tf.keras.Model:
    return tf.keras.Model(model.input, tf.keras.layers.Average()(model.outputs))


def _some_of_each(windows: Windows) -> Array:
    """Readings of GOLDEN windows, of every label."""
    order = np.argsort(windows.labels, kind="stable")
    return windows.readings[order[np.linspace(0, len(order) - 1, GOLDEN).astype(int)]]
