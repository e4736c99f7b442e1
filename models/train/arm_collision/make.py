"""arm-collision: is the hand free, has it hit something or does it press against it, from 15 wrist readings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
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
    augmented,
    checksums,
    distinct,
    groups,
    inputs,
    load,
)
from models.train.data import SHARED
from models.train.engine import KerasModel, make_reproducible, to_float, to_int8
from models.train.network import Network, NetworkFiles
from models.train.pack import GOLDEN, pack
from models.train.prune import prune

SEED = 7
REPEATS, FOLDS = 3, 5
SPLITS = 20  # random state of the first repeat; 0, 1 and 10 to 12 steered the recipe
COPIES, ONSETS = 4, 0.25  # variants of each window; share of them in which the event has just begun
EPOCHS, PRUNED_EPOCHS, BATCH, RATE = 50, 40, 64, 3e-3
KEEP = 0.75  # of the channels, when pruned
REGULARIZER = tf.keras.regularizers.L2(1e-4)
HEADS = 5  # small output heads, each with its own loss; the output is their mean
TEACHER_SHARE = 0.4  # weight of the forest's shares in the targets

FACTS = {
    "version": "1.0.0",
    "decoder": "sequence",
    "labels": list(LABELS),
    "budget_ms": 2.0,
    "data": "Robot Execution Failures (CC BY 4.0; L. Seabra Lopes, L. M. Camarinha-Matos 1999, UCI data set 138)",
    "window": {
        "channels": [*CHANNELS, *CHANNELS],  # each channel fine, then each channel coarse
        "length": LENGTH,
        "hop": 1,
        "mean": [*MIDDLE.tolist(), *[0.0] * len(CHANNELS)],
        "std": [*FINE.tolist(), *COARSE.tolist()],
    },
}


class FoldResult(NamedTuple):
    """Rows held out; predictions int [card.METHODS, rows] for them; the INT8 network's results on streams of them."""

    held: Array
    predictions: Array
    stream: score.Stream


def make(place: Path) -> None:
    make_reproducible(SEED)
    windows = distinct(load(SHARED))
    group = groups(windows)
    parts = tqdm(list(folds(windows, group)), "folds", mininterval=5)
    results = [predict_fold(windows, known, held, seed) for known, held, seed in parts]
    repeats = [results[first : first + FOLDS] for first in range(0, len(results), FOLDS)]
    predictions = np.stack([_join_folds(repeat, len(group)) for repeat in repeats], axis=1)
    streams = [fold.stream for fold in repeats[0]]
    phases = {number: _predict_phase(windows, number) for number in (1, 2, 4)}
    files = train_all(windows, SEED)
    ship(place, windows, files)
    card.write(place, files, card.Result(windows, group, predictions, streams, phases))


def ship(place: Path, windows: Windows, files: NetworkFiles) -> None:
    """Write the package. windows: the training windows; `evaluate` recognises them by their checksums."""
    network = Network(files.int8)
    golden = network.quantised(inputs(_samples_of_each_label(windows)))
    pack(place, files.int8, FACTS, golden, network.run_all(golden))
    np.savez_compressed(place / "known.npz", crc32=checksums(windows))


def folds(windows: Windows, group: Array) -> Iterator[tuple[Array, Array, int]]:
    """Rows to train on, rows held out, and a seed, for each fold; each repeat is another stratified split by groups."""
    for repeat in range(REPEATS):
        splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=SPLITS + repeat)
        for number, (known, held) in enumerate(splitter.split(windows.readings, windows.labels, group)):
            yield known, held, repeat * FOLDS + number


def predict_fold(windows: Windows, known: Array, held: Array, seed: int) -> FoldResult:
    """Train forest and network on the known rows only, and predict the rows held out."""
    unseen, trees = windows.at(held), forest.grow(windows.at(known), seed)
    *models, samples = _fitted(windows.at(known), trees, seed)
    network, cut = Network(to_int8(models[1], samples)), inputs(unseen.readings)
    scores = [*(model(cut).numpy() for model in models), network(cut)]
    predictions = [*(rows.argmax(axis=1) for rows in scores), trees.predict(forest.features(unseen.readings))]
    return FoldResult(held, np.stack(predictions), score.stream(unseen, network))


def _join_folds(results: list[FoldResult], count: int) -> Array:
    """Predictions int [methods, windows] of the folds of one repeat."""
    predictions = np.zeros((len(card.METHODS), count), int)
    for fold in results:
        predictions[:, fold.held] = fold.predictions
    return predictions


def _predict_phase(windows: Windows, number: int) -> tuple[Array, Array]:
    """Truth, and predictions of each method for one file, a phase of the work, after training on the other files."""
    held = windows.files == number if number != 2 else np.isin(windows.files, (2, 3))
    result = predict_fold(windows, np.flatnonzero(~held), np.flatnonzero(held), FOLDS * REPEATS + number)
    return windows.labels[held], result.predictions


def _network() -> KerasModel:
    """A temporal convolutional network: the second layer covers 7 readings; then maximum and mean over time."""
    layers = tf.keras.layers
    window = layers.Input((LENGTH, 2 * len(CHANNELS)))
    near = layers.Conv1D(24, 3, activation="relu", kernel_regularizer=REGULARIZER)(window)
    far = layers.Conv1D(24, 3, dilation_rate=2, activation="relu", kernel_regularizer=REGULARIZER)(near)
    pools = layers.GlobalMaxPooling1D, layers.GlobalAveragePooling1D
    pooled = layers.Concatenate()([pool()(x) for x in (window, near, far) for pool in pools])
    return tf.keras.Model(window, [_head(pooled) for _ in range(HEADS)])


def _head(x: Any) -> Any:
    layers = tf.keras.layers
    x = layers.Dense(32, activation="relu", kernel_regularizer=REGULARIZER)(layers.Dropout(0.3)(x))
    return layers.Dense(len(LABELS), activation="softmax")(layers.Dropout(0.3)(x))


def _train(model: KerasModel, windows: Windows, targets: Array, epochs: int, rate: float = RATE) -> KerasModel:
    """windows: augmented. targets: float [n, labels]."""
    steps = -(-len(targets) // BATCH)
    schedule = tf.keras.optimizers.schedules.CosineDecay(rate, epochs * steps)
    model.compile(tf.keras.optimizers.Adam(schedule), ["categorical_crossentropy"] * HEADS, steps_per_execution=steps)
    model.fit(inputs(windows.readings), [targets] * HEADS, BATCH, epochs, verbose=0)
    return model


def _fitted(windows: Windows, trees: forest.Forest, seed: int) -> tuple[KerasModel, KerasModel, Array]:
    """The network, the pruned network, and the training inputs. trees: a forest grown on the same windows.

    The forest is the teacher: it shows which windows are doubtful, which labels cannot. For each window only the trees
    are used that were not trained on it.
    """
    tf.keras.utils.set_random_seed(seed)
    samples = augmented(windows, COPIES, ONSETS, np.random.default_rng(seed))
    shares = np.repeat(forest.out_of_bag_shares(trees), COPIES, axis=0)
    targets = (1 - TEACHER_SHARE) * np.eye(len(LABELS))[samples.labels] + TEACHER_SHARE * shares
    model = _train(_network(), samples, targets, EPOCHS)
    smaller = _train(prune(model, KEEP), samples, targets, PRUNED_EPOCHS, RATE / 2)
    return _mean_of_heads(model), _mean_of_heads(smaller), inputs(samples.readings)


def train_all(windows: Windows, seed: int) -> NetworkFiles:
    full, pruned, samples = _fitted(windows, forest.grow(windows, seed), seed)
    return NetworkFiles(full=to_float(full), pruned=to_float(pruned), int8=to_int8(pruned, samples))


def _mean_of_heads(model: KerasModel) -> KerasModel:
    return tf.keras.Model(model.input, tf.keras.layers.Average()(model.outputs))


def _samples_of_each_label(windows: Windows) -> Array:
    """Readings of GOLDEN windows, with every label."""
    order = np.argsort(windows.labels, kind="stable")
    return np.asarray(windows.readings[order[np.linspace(0, len(order) - 1, GOLDEN).astype(int)]])
