"""Recordings of sensors cut into windows; and the small network for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from agent.data import Array
from models.train.data import DataError
from models.train.folder import groups, recordings
from models.train.folder.events import MAX_EVENTS, UNCLEAR, window_labels
from models.train.folder.examples import SEED, Examples, evenly_spaced
from models.train.folder.files import File
from models.train.folder.options import Marks, WindowOptions
from models.train.folder.recordings import Part, Recording

SUFFIXES = (".csv",)
LENGTH, SHORTEST, LONGEST = 32, 8, 4096  # readings in a window unless a recording is shorter; fewest and most
MAX_WINDOWS = 400  # of one recording, evenly over it: neighbours add little
MAX_IN_ALL = 100_000
MAX_VALUES = 100_000_000  # in all windows together: 400 MB
BOUND = 4.0  # standard deviations at which readings are clipped: INT8 has steps for that range

Labeller = Callable[[Array], Array]
MakeLabeller = Callable[[tuple[str, ...], float], Labeller]


class Loaded(NamedTuple):
    """examples.inputs: float32 [n, length, channels], not normalised. files: those used, split. rate_hz: 0: unknown."""

    examples: Examples
    files: list[File]
    channels: tuple[str, ...]
    rate_hz: float
    capped: list[str]


def load(
    files: Sequence[File],
    labels: Sequence[str],
    make_labeller: MakeLabeller | None,
    marks: Marks,
    options: WindowOptions,
) -> Loaded:
    """Windows, and notes on what was left out.

    make_labeller: channels and their rate to a function that gives a recording's soft labels. Raises DataError.
    """
    from tqdm import tqdm

    with tqdm(files, "read", mininterval=1) as bar:  # closed before a mistake is printed
        read = read_all(bar, labels, marks, options.rate_hz)
    channels = read[0].channels
    rate_hz = recordings.common_rate(read, options.rate_hz)
    split = list(files)
    if marks.group or marks.events or any((each.labels != file.label).any() for each, file in zip(read, files)):
        own = [set(np.unique(each.labels).tolist()) for each in read]
        split = groups.hold_out(files, own, labels, SEED)
        kept = {file.path for file in split}
        read = [each for each in read if each.path in kept]
    parts = [recordings.parts(each, rate_hz) for each in tqdm(read, "cut", mininterval=1)]
    length = window_length(read, [max(len(part.rows) for part in each) for each in parts], rate_hz, options)
    most = min(MAX_WINDOWS, MAX_IN_ALL // len(read), MAX_VALUES // (len(read) * length * len(channels)))
    cut = _Cut(length, max(1, most), len(labels))
    for number, (file, each) in enumerate(zip(split, read)):
        cut.add(
            number, file, parts[number], make_labeller(channels, each.rate_hz)(each.rows) if make_labeller else None
        )
    return Loaded(cut.examples(), split, channels, rate_hz, sorted(cut.capped))


def read_all(files: Iterable[File], labels: Sequence[str], marks: Marks, rate_hz: float) -> list[Recording]:
    """Their channels in the same order. rate_hz: of the model, 0 where that is open. Raises DataError."""
    numbers = {label: number for number, label in enumerate(labels)}
    read = [recordings.read(file, marks, numbers, marks.recorded_hz or rate_hz) for file in files]
    if marks.label_column and not any(each.marked for each in read):
        raise DataError(f"--label-column {marks.label_column}: no file has this column")
    channels = recordings.common_channels(read)
    return [each.ordered(channels) for each in read]


class _Cut:
    """Windows of the recordings, one after the other."""

    def __init__(self, length: int, most: int, labels: int) -> None:
        """most: of one recording."""
        self.length, self.most, self.labels = length, most, labels
        self.capped: set[str] = set()
        self.columns: list[tuple[Array, ...]] = []

    def add(self, number: int, file: File, parts: Sequence[Part], soft: Array | None) -> None:
        """number: of the file. soft: the teacher's labels of each of the recording's rows."""
        parts = [part for part in parts if len(part.rows) >= self.length]
        windows_in_all, first_event = sum(len(part.rows) - self.length + 1 for part in parts), 0
        for part in parts:
            labels, event = window_labels(part.labels, file.label, self.length)
            at = self._choose(labels, windows_in_all)
            windows = np.lib.stride_tricks.sliding_window_view(part.rows, self.length, axis=0)[at].transpose(0, 2, 1)
            seen = part.seen[at + self.length - 1]
            taught = np.zeros((len(at), self.labels), np.float32) if soft is None else soft[seen]
            unit = number * MAX_EVENTS + np.where(event > 0, event + first_event, 0)[at]
            first_event += int(event.max(initial=0))
            about_file = np.full(len(at), number), np.full(len(at), file.test)
            self.columns.append((windows, taught, labels[at], *about_file, unit))

    def _choose(self, labels: Array, of: int) -> Array:
        """Windows of each label evenly over the part, its share of `most`; none that is unclear. of: in all parts."""
        names = [label for label in np.unique(labels) if label != UNCLEAR]
        share = max(1, self.most * len(labels) // of // max(1, len(names)))
        chosen = []
        for name in names:
            at = np.flatnonzero(labels == name)
            if len(at) > share:
                self.capped.add(f"recordings: at most {self.most} windows of each, evenly over it")
            chosen.append(at[evenly_spaced(len(at), share)])
        return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, int)

    def examples(self) -> Examples:
        inputs, soft, labels, files, test, units = map(np.concatenate, zip(*self.columns))
        return Examples(inputs, soft, labels, files, test, units)


def window_length(read: Sequence[Recording], lengths: Sequence[int], rate_hz: float, options: WindowOptions) -> int:
    """As asked for, else LENGTH or what the shortest has. lengths: of their longest parts. Raises DataError."""
    if options.window_ms and not rate_hz:
        raise DataError("--window-ms needs the rate of the readings: a column t_s in the files, or --rate-hz")
    asked = options.length or round(options.window_ms * rate_hz / 1000)
    if asked and not SHORTEST <= asked <= LONGEST:
        raise DataError(
            f"a window of {asked:,} readings: {SHORTEST} to {LONGEST:,} are possible; --rate-hz changes that"
        )
    shortest = min(lengths)
    if shortest < (asked or SHORTEST):
        at = f" at {rate_hz:g} Hz" if rate_hz else ""
        raise DataError(
            f"{read[lengths.index(shortest)].path}: {shortest} readings in a row{at}; a recording needs"
            f" {asked or SHORTEST} or more"
        )
    return asked or min(LENGTH, shortest)


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
