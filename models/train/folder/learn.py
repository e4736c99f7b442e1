"""One stage of training: new variants of the samples until the budget is spent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from agent.data import Array
from models.train import distil
from models.train.engine import KerasModel
from models.train.folder.examples import SEED, Examples
from models.train.folder.files import File

MIN_BATCH, MAX_BATCH = 8, 32  # small where samples are few, so that there are enough steps
RATE = 2e-3
MAX_EPOCHS = 100
PICTURES, READINGS = 8_000, 150_000  # samples a stage shows the network: half a minute on one core


class Task(NamedTuple):
    """What differs between pictures and readings.

    normalise: inputs as the network takes them. vary: another variant of one input, normalised. golden_inputs: the
    held-out samples' inputs to normalised inputs for the golden outputs. budget: samples a stage shows the network.
    """

    examples: Examples
    labels: list[str]
    files: list[File]
    facts: dict[str, Any]
    capped: list[str]
    normalise: Callable[[Array], Array]
    vary: Callable[[Array, np.random.Generator], Array] | None
    make_network: Callable[[], KerasModel]
    golden_inputs: Callable[[Array], Array]
    budget: int


class Batches(tf.keras.utils.PyDataset):  # type: ignore[misc]  # TensorFlow has no types
    """All samples once an epoch, in another order, as other variants."""

    def __init__(self, task: Task, known: Examples, targets: Array) -> None:
        super().__init__()
        self.task, self.inputs, self.targets = task, known.inputs, targets
        self.weights = _weights(known.labels, len(task.labels))
        self.batch = int(np.clip(len(self.inputs) // 8, MIN_BATCH, MAX_BATCH))
        self.random = np.random.default_rng(SEED)
        self.on_epoch_end()

    def __len__(self) -> int:
        return -(-len(self.inputs) // self.batch)

    def on_epoch_end(self) -> None:
        self.order = self.random.permutation(len(self.inputs))

    def __getitem__(self, number: int) -> tuple[Array, Array, Array]:
        rows = self.order[number * self.batch : (number + 1) * self.batch]
        vary, inputs = self.task.vary, self.inputs[rows]
        if vary:
            batch = np.stack([vary(sample, self.random) for sample in inputs])
        else:
            batch = self.task.normalise(inputs)
        return batch, self.targets[rows], self.weights[rows]


class ProgressBar(tf.keras.callbacks.Callback):  # type: ignore[misc]  # TensorFlow has no types
    """Progress on standard error."""

    def __init__(self, title: str, steps: int) -> None:
        super().__init__()
        self.bar = tqdm(total=steps, desc=title, mininterval=1)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.bar.update()

    def on_train_end(self, logs: Any = None) -> None:
        self.bar.close()


def fit(
    model: KerasModel, task: Task, known: Examples, targets: Array, epochs: int, share: float, title: str
) -> KerasModel:
    """Trains `model` further. epochs: 0 for as many as fit the task's budget; share: of either, for this stage."""
    batches = Batches(task, known, targets)
    epochs = max(1, round(share * (epochs or min(MAX_EPOCHS, max(4, task.budget // len(known.inputs))))))
    rate = tf.keras.optimizers.schedules.CosineDecay(RATE, epochs * len(batches))
    model.compile(tf.keras.optimizers.Adam(rate), distil.loss())
    progress = ProgressBar(title, epochs * len(batches))
    model.fit(batches, epochs=epochs, verbose=0, shuffle=False, callbacks=[progress])
    return model


def _weights(labels: Array, count: int) -> Array:
    """Each label weighs the same, however many samples it has; a sample without label as much as the average one."""
    numbers = np.bincount(labels[labels >= 0], minlength=count)
    by_label = (labels >= 0).sum() / (count * np.maximum(numbers, 1))
    return np.where(labels >= 0, by_label[labels], 1.0).astype(np.float32)


def random_rows(count: int, most: int) -> Array:
    """At most `most` of range(count), in random order, so that no label is left out."""
    return np.random.default_rng(SEED).permutation(count)[:most]
