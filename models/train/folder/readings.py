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
from models.train.folder.examples import Examples, evenly_spaced
from models.train.folder.files import File

SUFFIXES = (".csv",)
MAX_MB = 64
LENGTH, SHORTEST = 32, 8  # readings in a window, unless a recording is shorter; and the fewest that can be used
MAX_WINDOWS = 400  # of one recording, evenly over it: neighbours add little
MAX_IN_ALL = 100_000
BOUND = 4.0  # standard deviations at which readings are clipped: INT8 has steps for that range

Labeller = Callable[[Array], Array]


def load(
    files: Sequence[File], labels: Sequence[str], make_labeller: Callable[[tuple[str, ...]], Labeller] | None
) -> tuple[Examples, tuple[str, ...], list[str]]:
    """Windows, the channels' names, notes on what was left out. inputs: float32 [n, length, channels], not normalised.

    make_labeller: the channels to a function that gives a recording's soft labels. Raises DataError.
    """
    from tqdm import tqdm

    recordings = [read(file.path) for file in tqdm(files, "read", mininterval=1)]
    channels = common_channels(files, [names for names, _ in recordings])
    length = window_length(files, [len(rows) for _, rows in recordings])
    labeller, capped = make_labeller(channels) if make_labeller else None, set[str]()
    most = max(1, min(MAX_WINDOWS, MAX_IN_ALL // len(files)))
    columns: list[tuple[Array, ...]] = []
    for number, (file, (names, rows)) in enumerate(zip(files, tqdm(recordings, "cut", mininterval=1))):
        rows = rows[:, [names.index(channel) for channel in channels]]
        ends = length - 1 + evenly_spaced(len(rows) - length + 1, most)
        if len(rows) - length + 1 > most:
            capped.add(f"recordings: at most {most} windows of each, evenly over it")
        soft = labeller(rows)[ends] if labeller else np.zeros((len(ends), len(labels)), np.float32)
        about_file = (np.full(len(ends), fact) for fact in (file.label, number, file.test))
        columns.append((rows[ends[:, None] + np.arange(1 - length, 1)], soft, *about_file))
    return Examples(*map(np.concatenate, zip(*columns))), channels, sorted(capped)


def read(path: Path) -> tuple[tuple[str, ...], Array]:
    """Channels and rows, float32 [n, channels]. A column t_s is time and no channel. Raises DataError."""
    try:
        options = {"path": str(path), "rate_hz": None if _has_time(path) else 1.0, "max_mb": MAX_MB}
        names, _, rows = load_csv(Options.model_validate(options))
    except DeviceError as error:
        raise DataError(str(error)) from error
    except csv.Error as error:  # raised for a NUL up to Python 3.10
        raise DataError(f"{path}: not a CSV file, {error}") from error
    if not np.isfinite(rows).all():
        raise DataError(f"{path}: not a number in column {names[int(np.argwhere(~np.isfinite(rows))[0][1])]}")
    return names, rows


def _has_time(path: Path) -> bool:
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        return TIME in [name.strip() for name in next(csv.reader(file), [])]


def common_channels(files: Sequence[File], names: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The channels, the same in all files; their order may differ. Raises DataError."""
    for file, channels in zip(files, names):
        if set(channels) != set(names[0]):
            odd = sorted(set(channels) ^ set(names[0]))
            raise DataError(f"{file.path}: other channels than {files[0].path}: '{odd[0]}' is in only one of them")
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
    """Mean and standard deviation of each channel, float64, rounded as in a manifest; 1 for a constant channel."""
    rows = windows.reshape(-1, windows.shape[-1]).astype(np.float64)
    std = rows.std(axis=0)
    return _rounded(rows.mean(axis=0)), _rounded(np.where(std > 0, std, 1.0))


def _rounded(values: Array) -> Array:
    return np.array([float(f"{value:.6g}") for value in values])


def normalised(windows: Array, mean: Array, std: Array) -> Array:
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
