"""Recordings of sensors: csv files cut into windows; and the small network for them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agent.data import Array
from drivers.base import DeviceError
from drivers.sensor.replay import TIME, Options, load_csv
from models.train.data import DataError
from models.train.folder.examples import Examples, spread
from models.train.folder.files import File

SUFFIXES = (".csv",)
MAX_MB = 64
LENGTH, SHORTEST = 32, 8  # readings in a window, unless a recording is shorter; fewer tell nothing
MAX_WINDOWS = 400  # of one recording, evenly over it: neighbours add little
MAX_IN_ALL = 100_000
BOUND = 4.0  # standard deviations beyond which a reading says no more; what INT8 has steps for


def load(
    files: Sequence[File], labels: Sequence[str], teach: Callable[[tuple[str, ...]], Callable[[Array], Array]] | None
) -> tuple[Examples, tuple[str, ...], list[str]]:
    """Windows, the channels' names, what was left out. inputs: float32 [n, length, channels], readings as they are.

    teach: given the channels, what asks the teacher about a recording. Raises DataError.
    """
    from tqdm import tqdm

    recordings = [read(file.path) for file in tqdm(files, "read", mininterval=1)]
    channels = agreed(files, [names for names, _ in recordings])
    length = window_length(files, [len(rows) for _, rows in recordings])
    ask, capped = teach(channels) if teach else None, set()
    most = max(1, min(MAX_WINDOWS, MAX_IN_ALL // len(files)))
    columns: list[tuple[Array, ...]] = []
    for number, (file, (names, rows)) in enumerate(zip(files, tqdm(recordings, "cut", mininterval=1))):
        rows = rows[:, [names.index(channel) for channel in channels]]
        ends = length - 1 + spread(len(rows) - length + 1, most)
        if len(rows) - length + 1 > most:
            capped.add(f"recordings: at most {most} windows of each, evenly over it")
        said = ask(rows)[ends] if ask else np.zeros((len(ends), len(labels)), np.float32)
        about = (np.full(len(ends), fact) for fact in (file.label, number, file.test))
        columns.append((rows[ends[:, None] + np.arange(1 - length, 1)], said, *about))
    return Examples(*map(np.concatenate, zip(*columns))), channels, sorted(capped)


def read(path: Path) -> tuple[tuple[str, ...], Array]:
    """Channels and rows, float32 [n, channels]. A column t_s is time and no channel. Raises DataError."""
    try:
        names, _, rows = load_csv(Options(path=str(path), rate_hz=None if _timed(path) else 1.0, max_mb=MAX_MB))
    except DeviceError as error:
        raise DataError(str(error)) from error
    except csv.Error as error:  # of a NUL, until Python 3.10
        raise DataError(f"{path}: not a CSV file, {error}") from error
    if not np.isfinite(rows).all():
        raise DataError(f"{path}: not a number in column {names[int(np.argwhere(~np.isfinite(rows))[0][1])]}")
    return names, rows


def _timed(path: Path) -> bool:
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        return TIME in [name.strip() for name in next(csv.reader(file), [])]


def agreed(files: Sequence[File], names: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The channels, the same in all files; their order may differ. Raises DataError."""
    for file, other in zip(files, names):
        if set(other) != set(names[0]):
            odd = sorted(set(other) ^ set(names[0]))
            raise DataError(f"{file.path}: other channels than {files[0].path}: '{odd[0]}' is in one of them only")
    return names[0]


def window_length(files: Sequence[File], lengths: Sequence[int]) -> int:
    """LENGTH, or what the shortest recording has. Raises DataError."""
    shortest = min(lengths)
    if shortest < SHORTEST:
        raise DataError(
            f"{files[lengths.index(shortest)].path}: {shortest} readings; a recording needs {SHORTEST} or more"
        )
    return min(LENGTH, shortest)


def scale(windows: Array) -> tuple[Array, Array]:
    """mean and standard deviation of each channel, float64, as a manifest shows them; 1 where a channel never changes."""
    rows = windows.reshape(-1, windows.shape[-1]).astype(np.float64)
    spreads = rows.std(axis=0)
    return _digits(rows.mean(axis=0)), _digits(np.where(spreads > 0, spreads, 1.0))


def _digits(values: Array) -> Array:
    return np.array([float(f"{value:.6g}") for value in values])


def real(windows: Array, mean: Array, std: Array) -> Array:
    """As the network takes them."""
    return np.asarray(np.clip((windows - mean) / std, -BOUND, BOUND).astype(np.float32))


def network(shape: tuple[int, int], labels: int) -> Any:
    """Two convolutions over time, then all of the window at once. shape: (length, channels)."""
    import tensorflow as tf

    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            layers.Input(shape),
            layers.Conv1D(24, 5, strides=2, padding="same", activation="relu"),
            layers.Conv1D(32, 3, strides=2, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(48, activation="relu"),
            layers.Dense(labels, activation="softmax"),
        ]
    )
