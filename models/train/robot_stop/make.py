"""robot-stop: is a protective stop or the loss of the part imminent, from the last 10 s of a UR3? Shipped if useful."""

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
from models.train.engine import KerasModel, make_reproducible, to_float, to_int8
from models.train.network import Network, NetworkFiles
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
SHARE, FOLDS = 0.7, 6  # share of the recording for training; periods of that for cross-validation
EPOCHS, PRUNED_EPOCHS, BATCH, RATE = 30, 15, 128, 3e-3
KEEP = 0.5  # of the channels, when pruned
LABELS = ("normal", "stop-ahead")
# Without temperatures: they rise all day, so they show the time, which is on one side of the split only.
INPUT = (*CURRENTS, *SPEEDS, "Tool_current")
RANGE = 4.0  # standard deviations that INT8 has to cover; 1 in the input of the network

Scorer = Callable[[Array], Array]  # rows of the recording to scores


class Scaling(NamedTuple):
    """Mean and RANGE standard deviations of each input channel, float [channels]."""

    mean: Array
    std: Array


class Trained(NamedTuple):
    """A network in its three forms, and the scaling of its input."""

    files: NetworkFiles
    scaling: Scaling


def make(place: Path) -> None:
    make_reproducible(SEED)
    recording = read(SHARED)
    known, last = split(np.flatnonzero(usable(recording)), SHARE, len(recording.seconds))
    truth = ahead(recording.trouble(TARGETS[0]))
    methods = tqdm(METHODS.items(), "cross-validate")
    validated = {name: _out_of_fold(fit, recording, known, truth) for name, fit in methods}
    threshold = score.recall_at(truth[known], validated[card.NETWORK])[1]
    trained = {
        target: train_all(recording, known, ahead(recording.trouble(target))) for target in tqdm(TARGETS, "train")
    }
    tested = {target: predict(recording, known, last, target, trained[target]) for target in TARGETS}
    scores = tested[TARGETS[0]]
    alarms = score.alarms(scores[card.NETWORK], last, truth[last], recording.trouble(TARGETS[0]), threshold)
    gain = score.gain(last, truth[last], scores[card.NETWORK], scores[card.CLOCK])
    place.mkdir(exist_ok=True)
    shipped = trained[TARGETS[0]]
    ship(place, shipped, prepared(recording, known, shipped.scaling), score.useful(alarms, gain))
    result = card.Result(
        recording=recording,
        known=known,
        last=last,
        validated=validated,
        tested=tested,
        alarms=alarms,
        gain=gain,
        threshold=threshold,
    )
    card.write(place, result, shipped.files)


def ship(place: Path, trained: Trained, samples: Array, useful: bool) -> None:
    """Write the package, or remove it if it is not useful. samples: input of the network [n, ...]."""
    if not useful:
        for name in ("manifest.yaml", f"{place.name}.tflite", "golden.npz"):
            (place / name).unlink(missing_ok=True)
        return
    network = Network(trained.files.int8)
    golden = network.quantised(samples[:: len(samples) // GOLDEN][:GOLDEN])
    window = {
        "channels": list(INPUT),
        "length": LENGTH,
        "hop": 1,
        "mean": [round(float(value), 6) for value in trained.scaling.mean],
        "std": [round(float(value), 6) for value in trained.scaling.std],
    }
    facts = {
        "version": "1.0.0",
        "decoder": "sequence",
        "labels": list(LABELS),
        "budget_ms": 2.0,
        "data": "UR3 CobotOps (CC BY 4.0; Tyrovolas, Aliev, Antonelli, Stylios 2024, doi 10.24432/C5J891)",
        "window": window,
    }
    pack(place, trained.files.int8, facts, golden, network.run_all(golden))


# The methods, each: recording, training rows, truth of all rows -> scorer.


def _boosted(recording: Recording, rows: Array, truth: Array, channels: tuple[str, ...] = CHANNELS) -> Scorer:
    """scikit-learn's gradient boosting on the readings of the window and their mean, deviation, minimum, maximum,
    change.
    """
    columns = [CHANNELS.index(name) for name in channels]

    def features(rows: Array) -> Array:
        cut = windows(recording.readings[:, columns], rows)
        parts = cut.reshape(len(cut), -1), cut.mean(1), cut.std(1), cut.min(1), cut.max(1), cut[:, -1] - cut[:, 0]
        return np.concatenate(parts, axis=1)

    model = HistGradientBoostingClassifier(
        max_iter=100, learning_rate=0.05, max_leaf_nodes=8, min_samples_leaf=20, random_state=SEED
    )
    with threadpool_limits(1):  # on a busy machine its threads mostly wait for each other
        model.fit(features(rows), truth[rows])
    return lambda rows: np.asarray(model.predict_proba(features(rows))[:, 1])


def _boosted_without_temperatures(recording: Recording, rows: Array, truth: Array) -> Scorer:
    return _boosted(recording, rows, truth, INPUT)


def _clock(recording: Recording, rows: Array, truth: Array) -> Scorer:
    """Share of incidents that followed at this second of the cycle: what is known without any sensor."""
    second = np.minimum(phase(recording.cycle), 60)
    counts, hits = (np.bincount(second[chosen], minlength=61) for chosen in (rows, rows[truth[rows]]))
    shares = (hits + truth[rows].mean()) / (counts + 1)
    return lambda rows: np.asarray(shares[second[rows]])


def _convolved(recording: Recording, rows: Array, truth: Array) -> Scorer:
    return _scorer(recording, train_all(recording, rows, truth), "int8")


METHODS = {
    card.CLOCK: _clock,
    card.BOOSTING: _boosted,
    card.NO_TEMPERATURES: _boosted_without_temperatures,
    card.NETWORK: _convolved,
}


def _out_of_fold(
    fit: Callable[[Recording, Array, Array], Scorer], recording: Recording, rows: Array, truth: Array
) -> Array:
    """Scores of rows, each by a model trained on other periods of time."""
    return np.concatenate([fit(recording, known, truth)(held) for known, held in folds(rows, FOLDS)])


def predict(recording: Recording, known: Array, last: Array, target: str, trained: Trained) -> dict[str, Array]:
    """Scores of each method on the last part; the network in each form."""
    truth = ahead(recording.trouble(target))
    scores = {name: fit(recording, known, truth)(last) for name, fit in METHODS.items() if name != card.NETWORK}
    return {**scores, **{name: _scorer(recording, trained, form)(last) for form, name in card.FORMS.items()}}


def _network() -> KerasModel:
    """Convolutions over time; then the outputs at each time, and the maximum over time."""
    layers = tf.keras.layers
    window = layers.Input((LENGTH, len(INPUT)))
    x = layers.Conv1D(32, 3, activation="relu")(window)
    x = layers.Conv1D(32, 3, activation="relu")(x)
    x = layers.Concatenate()([layers.Flatten()(x), layers.GlobalMaxPooling1D()(x)])
    x = layers.Dense(48, activation="relu")(layers.Dropout(0.3)(x))
    return tf.keras.Model(window, layers.Dense(len(LABELS), activation="softmax")(layers.Dropout(0.3)(x)))


def _train(model: KerasModel, inputs: Array, truth: Array, epochs: int, rate: float = RATE) -> KerasModel:
    steps = -(-len(inputs) // BATCH)
    schedule = tf.keras.optimizers.schedules.CosineDecay(rate, epochs * steps)
    loss = tf.keras.losses.CategoricalCrossentropy(label_smoothing=0.05)
    model.compile(tf.keras.optimizers.AdamW(schedule, weight_decay=0.01), loss, steps_per_execution=steps)
    model.fit(inputs, tf.keras.utils.to_categorical(truth, len(LABELS)), BATCH, epochs, verbose=0)
    return model


def train_all(recording: Recording, rows: Array, truth: Array) -> Trained:
    """Train on these rows; mean and deviation are from these rows only, too."""
    tf.keras.utils.set_random_seed(SEED)
    readings = recording.readings[rows][:, [CHANNELS.index(name) for name in INPUT]]
    scaling = Scaling(readings.mean(axis=0), RANGE * readings.std(axis=0) + 1e-3)
    inputs = prepared(recording, rows, scaling)
    model = _train(_network(), inputs, truth[rows], EPOCHS)
    smaller = _train(prune(model, KEEP), inputs, truth[rows], PRUNED_EPOCHS, RATE / 2)
    files = NetworkFiles(full=to_float(model), pruned=to_float(smaller), int8=to_int8(smaller, inputs))
    return Trained(files, scaling)


def prepared(recording: Recording, rows: Array, scaling: Scaling) -> Array:
    """Input of the network, float32 [n, LENGTH, INPUT]."""
    readings = recording.readings[:, [CHANNELS.index(name) for name in INPUT]]
    return windows(np.clip((readings - scaling.mean) / scaling.std, -1.0, 1.0).astype(np.float32), rows)


def _scorer(recording: Recording, trained: Trained, form: str) -> Scorer:
    """form: a field of NetworkFiles."""
    network = Network(getattr(trained.files, form))
    return lambda rows: network(prepared(recording, rows, trained.scaling))[:, 1]
