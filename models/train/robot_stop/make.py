"""robot-stop: is a protective stop or the loss of the part ahead, from the last 10 s of a UR3? Shipped only if useful."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from agent.data import Array
from models.train.data import SHARED
from models.train.engine import make_reproducible, to_float, to_int8
from models.train.network import Network
from models.train.pack import GOLDEN, pack
from models.train.prune import prune
from models.train.robot_stop import card, score
from models.train.robot_stop.recording import (
    CHANNELS,
    CURRENTS,
    LENGTH,
    SPEEDS,
    TARGETS,
    Recording,
    ahead,
    folds,
    phase,
    read,
    split,
    usable,
    windows,
)

SEED = 7
SHARE, FOLDS = 0.7, 6  # of the recording to learn from; stretches of that for cross-validation
EPOCHS, AGAIN, BATCH, RATE = 30, 15, 128, 3e-3  # AGAIN: after pruning
KEEP = 0.5  # of the channels, when pruned
LABELS = ("normal", "stop-ahead")
# Without temperatures: they rise all day, so they tell the time, which is on one side of the split only.
INPUT = (*CURRENTS, *SPEEDS, "Tool_current")
RANGE = 4.0  # standard deviations that INT8 has to cover, and are 1 to the network

Scorer = Callable[[Array], Array]  # rows of the recording to scores


class Trained(NamedTuple):
    """One network in its three forms, .tflite, and its input's mean and RANGE deviations."""

    full: bytes
    pruned: bytes
    int8: bytes
    mean: Array
    std: Array


def make(place: Path) -> None:
    make_reproducible(SEED)
    recording = read(SHARED)
    known, last = split(np.flatnonzero(usable(recording)), SHARE, len(recording.seconds))
    truth = ahead(recording.trouble(TARGETS[0]))
    crossed = {
        name: _out_of_fold(fit, recording, known, truth) for name, fit in tqdm(METHODS.items(), "cross-validate")
    }
    threshold = score.recall_at(truth[known], crossed[card.NETWORK])[1]
    trained = {
        target: train_all(recording, known, ahead(recording.trouble(target))) for target in tqdm(TARGETS, "train")
    }
    judged = {target: judge(recording, known, last, target, trained[target]) for target in TARGETS}
    scores = judged[TARGETS[0]]
    called = score.alarms(scores[card.NETWORK], last, truth[last], recording.trouble(TARGETS[0]), threshold)
    gained = score.gain(last, truth[last], scores[card.NETWORK], scores[card.CLOCK])
    place.mkdir(exist_ok=True)
    ship(place, trained[TARGETS[0]], prepared(recording, known, trained[TARGETS[0]]), score.useful(called, gained))
    card.write(
        place, card.Result(recording, known, last, crossed, judged, called, gained, threshold), trained[TARGETS[0]]
    )


def ship(place: Path, trained: Trained, samples: Array, useful: bool) -> None:
    """The package, or nothing of it: what is not useful is not left lying about. samples: the network's input [n, ...]."""
    if not useful:
        for name in ("manifest.yaml", f"{place.name}.tflite", "golden.npz"):
            (place / name).unlink(missing_ok=True)
        return
    network = Network(trained.int8)
    golden = network.quantised(samples[:: len(samples) // GOLDEN][:GOLDEN])
    window = {
        "channels": list(INPUT),
        "length": LENGTH,
        "hop": 1,
        "mean": [round(float(value), 6) for value in trained.mean],
        "std": [round(float(value), 6) for value in trained.std],
    }
    facts = {
        "version": "1.0.0",
        "decoder": "sequence",
        "labels": list(LABELS),
        "budget_ms": 2.0,
        "data": "UR3 CobotOps (CC BY 4.0; Tyrovolas, Aliev, Antonelli, Stylios 2024, doi 10.24432/C5J891)",
        "window": window,
    }
    pack(place, trained.int8, facts, golden, network.run_all(golden))


# -- the methods, each: recording, rows to learn from, truth of all rows -> scorer --


def _boosted(recording: Recording, rows: Array, truth: Array, channels: tuple[str, ...] = CHANNELS) -> Scorer:
    """scikit-learn's gradient boosting on the window's readings and their mean, deviation, least, most and change."""
    columns = [CHANNELS.index(name) for name in channels]

    def features(at: Array) -> Array:
        cut = windows(recording.readings[:, columns], at)
        parts = cut.reshape(len(cut), -1), cut.mean(1), cut.std(1), cut.min(1), cut.max(1), cut[:, -1] - cut[:, 0]
        return np.concatenate(parts, axis=1)

    model = HistGradientBoostingClassifier(
        max_iter=100, learning_rate=0.05, max_leaf_nodes=8, min_samples_leaf=20, random_state=SEED
    )
    with threadpool_limits(1):  # on a busy machine its threads wait for each other longer than they work
        model.fit(features(rows), truth[rows])
    return lambda at: np.asarray(model.predict_proba(features(at))[:, 1])


def _boosted_cold(recording: Recording, rows: Array, truth: Array) -> Scorer:
    return _boosted(recording, rows, truth, INPUT)


def _clock(recording: Recording, rows: Array, truth: Array) -> Scorer:
    """How often an incident followed at this second of the cycle: what one knows without any sensor."""
    second = np.minimum(phase(recording.cycle), 60)
    seen, hits = (np.bincount(second[which], minlength=61) for which in (rows, rows[truth[rows]]))
    shares = (hits + truth[rows].mean()) / (seen + 1)
    return lambda at: np.asarray(shares[second[at]])


def _convolved(recording: Recording, rows: Array, truth: Array) -> Scorer:
    return _scorer(recording, train_all(recording, rows, truth), "int8")


METHODS = {card.CLOCK: _clock, card.BOOSTING: _boosted, card.COLD: _boosted_cold, card.NETWORK: _convolved}


def _out_of_fold(
    fit: Callable[[Recording, Array, Array], Scorer], recording: Recording, rows: Array, truth: Array
) -> Array:
    """Scores of rows, each by a model that learned from other stretches of time."""
    return np.concatenate([fit(recording, known, truth)(held) for known, held in folds(rows, FOLDS)])


def judge(recording: Recording, known: Array, last: Array, target: str, trained: Trained) -> dict[str, Array]:
    """Scores of each method on the last part; of the network in each form."""
    truth = ahead(recording.trouble(target))
    scores = {name: fit(recording, known, truth)(last) for name, fit in METHODS.items() if name != card.NETWORK}
    return {**scores, **{name: _scorer(recording, trained, form)(last) for form, name in card.FORMS.items()}}


# -- the network --


def network() -> tf.keras.Model:
    """Convolutions over time, then what each saw when, and its strongest."""
    layers = tf.keras.layers
    window = layers.Input((LENGTH, len(INPUT)))
    x = layers.Conv1D(32, 3, activation="relu")(window)
    x = layers.Conv1D(32, 3, activation="relu")(x)
    x = layers.Concatenate()([layers.Flatten()(x), layers.GlobalMaxPooling1D()(x)])
    x = layers.Dense(48, activation="relu")(layers.Dropout(0.3)(x))
    return tf.keras.Model(window, layers.Dense(len(LABELS), activation="softmax")(layers.Dropout(0.3)(x)))


def _train(model: tf.keras.Model, inputs: Array, truth: Array, epochs: int, rate: float = RATE) -> tf.keras.Model:
    steps = -(-len(inputs) // BATCH)
    falling = tf.keras.optimizers.schedules.CosineDecay(rate, epochs * steps)
    loss = tf.keras.losses.CategoricalCrossentropy(label_smoothing=0.05)
    model.compile(tf.keras.optimizers.AdamW(falling, weight_decay=0.01), loss, steps_per_execution=steps)
    model.fit(inputs, tf.keras.utils.to_categorical(truth, len(LABELS)), BATCH, epochs, verbose=0)
    return model


def train_all(recording: Recording, rows: Array, truth: Array) -> Trained:
    """Mean and deviation from these rows only, too."""
    tf.keras.utils.set_random_seed(SEED)
    readings = recording.readings[rows][:, [CHANNELS.index(name) for name in INPUT]]
    shell = Trained(b"", b"", b"", readings.mean(axis=0), RANGE * readings.std(axis=0) + 1e-3)
    inputs = prepared(recording, rows, shell)
    model = _train(network(), inputs, truth[rows], EPOCHS)
    smaller = _train(prune(model, KEEP), inputs, truth[rows], AGAIN, RATE / 2)
    return shell._replace(full=to_float(model), pruned=to_float(smaller), int8=to_int8(smaller, inputs))


def prepared(recording: Recording, rows: Array, trained: Trained) -> Array:
    readings = recording.readings[:, [CHANNELS.index(name) for name in INPUT]]
    return windows(np.clip((readings - trained.mean) / trained.std, -1.0, 1.0).astype(np.float32), rows)


def _scorer(recording: Recording, trained: Trained, form: str) -> Scorer:
    """form: a field of Trained, of a network."""
    run = Network(getattr(trained, form))
    return lambda at: run(prepared(recording, at, trained))[:, 1]
