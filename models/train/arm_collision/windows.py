"""The data set's windows of wrist force and torque: load, label, deduplicate, group and augment."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from agent.data import Array
from models.train.data import DataError, find_set

SET, PATTERN = "robot-execution-failures", "lp*.data*"
CHANNELS = ("fx", "fy", "fz", "tx", "ty", "tz")
LENGTH = 15  # readings, 21 ms apart
LABELS = ("normal", "collision", "obstruction")

# A collision is a blow, an obstruction something that the arm presses against. lp2 and lp5 name the direction of the
# blow, a different question. lp3 names the part's place afterwards; its windows are those of lp2, all collisions except
# "ok".
KINDS = {
    **dict.fromkeys(("normal", "ok"), 0),
    **dict.fromkeys(("collision", "fr_collision", "bottom_collision", "collision_in_part", "collision_in_tool"), 1),
    **dict.fromkeys(("front_col", "back_col", "left_col", "right_col"), 1),
    **dict.fromkeys(("slightly_moved", "moved", "lost"), 1),
    **dict.fromkeys(("obstruction", "bottom_obstruction"), 2),
}

# Forces range from 1 to 3,600, INT8 has 256 steps: the network gets each channel twice, fine and clipped, and coarse.
FINE = np.array([30, 30, 60, 60, 60, 15], np.float32)
COARSE = np.array([200, 200, 1000, 300, 300, 60], np.float32)
MIDDLE = np.array([0, 0, 40, 0, 0, 0], np.float32)  # of the fine ones: the weight of the hand
NOISE = np.array([1, 1, 3, 2, 2, 0.5], np.float32)  # about that of a normal window
MIN_EVENT = 4  # rows of an event in a window that is labelled with the event


class Windows(NamedTuple):
    """Windows. readings: float32 [n, LENGTH, CHANNELS]; labels: int [n] into LABELS; files: int [n] of lp<n>."""

    readings: Array
    labels: Array
    files: Array

    def at(self, rows: Array) -> Windows:
        return Windows(self.readings[rows], self.labels[rows], self.files[rows])


def load(data: Path) -> Windows:
    """Every window of every file, with repetitions. Raises DataError."""
    folder = find_set(data, SET, PATTERN)
    blocks = [(rows, kind, _number(path)) for path in sorted(folder.glob(PATTERN)) for rows, kind in _blocks(path)]
    if not blocks:
        raise DataError(f"{folder}: the files {PATTERN} contain no window")
    readings, labels, files = zip(*blocks)
    return Windows(np.array(readings, np.float32), np.array(labels), np.array(files))


def _number(path: Path) -> int:
    digits = path.name.split(".")[0].removeprefix("lp")
    if not digits.isdigit():
        raise DataError(f"{path}: expected a name like lp1.data.txt")
    return int(digits)


def _blocks(path: Path) -> Iterator[tuple[list[list[float]], int]]:
    """Blocks of a class name and LENGTH lines of six numbers; empty lines between. Raises DataError with the line."""
    name, rows = "", list[list[float]]()
    for number, line in enumerate(_lines(path), 1):
        fields = line.split()
        if len(fields) == 1 and not rows and not name:
            name = fields[0]
            if name not in KINDS:
                raise DataError(f"{path}:{number}: class '{name}'; expected one of {', '.join(KINDS)}")
        elif fields:
            if not name:
                raise DataError(f"{path}:{number}: expected a class name")
            rows.append(_reading(fields, path, number))
        if len(rows) == LENGTH:
            yield rows, KINDS[name]
            name, rows = "", []
    if name:
        raise DataError(f"{path}: ends inside a window of '{name}', after {len(rows)} of {LENGTH} rows")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _reading(fields: list[str], path: Path, number: int) -> list[float]:
    try:
        values = [float(field) for field in fields]
    except ValueError:
        values = []
    if len(values) != len(CHANNELS) or not np.isfinite(values).all():
        raise DataError(f"{path}:{number}: '{' '.join(fields)[:40]}' is not {len(CHANNELS)} numbers")
    return values


def checksums(windows: Windows) -> Array:
    """uint32 [n]: CRC-32 of each window's values, to recognise it."""
    return np.array([zlib.crc32(window.tobytes()) for window in windows.readings], np.uint32)


def distinct(windows: Windows) -> Windows:
    """Each window once: 251 of 463. lp3 is lp2 with other class names, and nearly all of lp5 is in lp2 and lp4."""
    _, first = np.unique(windows.readings.reshape(len(windows.readings), -1), axis=0, return_index=True)
    return windows.at(np.sort(first))


def groups(windows: Windows) -> Array:
    """Group numbers int [n], the same for windows that share part of a recording, so that no fold separates them.

    Some windows were cut from one recording a few readings apart: the end of one is the beginning of another.
    """
    count, readings = len(windows.readings), windows.readings
    group = np.arange(count)
    for shift in range(1, LENGTH - MIN_EVENT + 1):
        ends = {
            readings[row, shift:].tobytes(): row for row in range(count) if np.ptp(readings[row, shift:], axis=0).any()
        }
        for row in range(count):
            other = ends.get(readings[row, :-shift].tobytes(), row)
            group[group == group[other]] = group[row]
    return group


def inputs(readings: Array) -> Array:
    """Input of the network, float32 [n, LENGTH, 12] in -1..1: all channels fine, then all coarse."""
    both = np.concatenate([(readings - MIDDLE) / FINE, readings / COARSE], axis=2)
    return np.asarray(np.clip(both, -1.0, 1.0).astype(np.float32))


def augmented(windows: Windows, copies: int, onsets: float, random: np.random.Generator) -> Windows:
    """Variants of each window: slightly stronger or weaker, earlier or later, noisier; some events only begin."""
    rows = np.repeat(np.arange(len(windows.labels)), copies)
    readings, labels, files = windows.at(rows)
    count = len(readings)
    steps = np.clip(np.arange(LENGTH) + random.integers(-1, 2, (count, 1)), 0, LENGTH - 1)
    readings = readings[np.arange(count)[:, None], steps] * np.exp(random.normal(0, 0.15, (count, 1, 1)))
    readings = readings + random.normal(0, 0.5, readings.shape) * NOISE
    for row in np.flatnonzero(random.random(count) < onsets):
        before = readings_before(windows, readings[row], labels[row], files[row], random)
        readings[row] = join(before, readings[row], int(random.integers(MIN_EVENT, LENGTH)))
    return Windows(readings.astype(np.float32), labels, files)


def readings_before(windows: Windows, after: Array, label: int, file: int, random: np.random.Generator) -> Array:
    """Readings before a window: a normal window of its file; before a normal window, its own readings reversed."""
    normal = np.flatnonzero((windows.labels == 0) & (windows.files == file))
    return windows.readings[random.choice(normal)] if label and len(normal) else after[::-1]


def join(before: Array, event: Array, count: int) -> Array:
    """A window that ends `count` readings after the event began, as in a lane; the recorded ones begin with it."""
    return np.concatenate([before[count:], event[:count]])
