"""One stage of training: new views of the samples until the budget is spent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from agent.data import Array
from models.train import distil
from models.train.folder.examples import SEED, Examples
from models.train.folder.files import File

SMALL, LARGE = 8, 32  # samples at a time: few where there are few, so that there are steps enough
RATE = 2e-3
MOST_EPOCHS = 100
PICTURES, READINGS = 8_000, 150_000  # samples a stage shows the network: half a minute on one core


class Task(NamedTuple):
    """What differs between pictures and readings.

    real: inputs as the network takes them. vary: another view of one input, real. golden: inputs of the held-out samples to
    real inputs for the golden outputs. budget: samples that a stage shows the network.
    """

    examples: Examples
    labels: list[str]
    files: list[File]
    facts: dict[str, Any]
    capped: list[str]
    real: Callable[[Array], Array]
    vary: Callable[[Array, np.random.Generator], Array] | None
    network: Callable[[], tf.keras.Model]
    golden: Callable[[Array], Array]
    budget: int


class Views(tf.keras.utils.PyDataset):
    """All samples once an epoch, in another order, as another view."""

    def __init__(self, task: Task, known: Examples, targets: Array) -> None:
        super().__init__()
        self.task, self.inputs, self.targets = task, known.inputs, targets
        self.weights = _weights(known.labels, len(task.labels))
        self.batch = int(np.clip(len(self.inputs) // 8, SMALL, LARGE))
        self.random = np.random.default_rng(SEED)
        self.on_epoch_end()

    def __len__(self) -> int:
        return -(-len(self.inputs) // self.batch)

    def on_epoch_end(self) -> None:
        self.order = self.random.permutation(len(self.inputs))

    def __getitem__(self, number: int) -> tuple[Array, Array, Array]:
        rows = self.order[number * self.batch : (number + 1) * self.batch]
        vary = self.task.vary
        inputs = self.inputs[rows]
        seen = np.stack([vary(one, self.random) for one in inputs]) if vary else self.task.real(inputs)
        return seen, self.targets[rows], self.weights[rows]


class Bar(tf.keras.callbacks.Callback):
    """Progress on standard error."""

    def __init__(self, title: str, steps: int) -> None:
        super().__init__()
        self.bar = tqdm(total=steps, desc=title, mininterval=1)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.bar.update()

    def on_train_end(self, logs: Any = None) -> None:
        self.bar.close()


def fit(
    model: tf.keras.Model, task: Task, known: Examples, targets: Array, epochs: int, share: float, title: str
) -> tf.keras.Model:
    """Trains `model` further. epochs: 0 for as many as fit the task's budget; share: of either, for this stage."""
    views = Views(task, known, targets)
    epochs = max(1, round(share * (epochs or min(MOST_EPOCHS, max(4, task.budget // len(known.inputs))))))
    rate = tf.keras.optimizers.schedules.CosineDecay(RATE, epochs * len(views))
    model.compile(tf.keras.optimizers.Adam(rate), distil.loss())
    model.fit(views, epochs=epochs, verbose=0, shuffle=False, callbacks=[Bar(title, epochs * len(views))])
    return model


def _weights(labels: Array, count: int) -> Array:
    """Each label weighs the same, however many samples it has; a sample without label as much as the average one."""
    numbers = np.bincount(labels[labels >= 0], minlength=count)
    each = (labels >= 0).sum() / (count * np.maximum(numbers, 1))
    return np.where(labels >= 0, each[labels], 1.0).astype(np.float32)


def some(count: int, most: int) -> Array:
    """Rows drawn without order, so that no label is left out."""
    return np.random.default_rng(SEED).permutation(count)[:most]
