"""What the network learns from and is tested on, whatever its files were."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from agent.data import Array

SEED = 7


class Examples(NamedTuple):
    """inputs: [n, ...]. said: the teacher's opinions [n, labels], zeros where it is silent. labels: int [n], -1 for none.

    files: int [n], the file each is from. test: bool [n], held out.
    """

    inputs: Array
    said: Array
    labels: Array
    files: Array
    test: Array

    def part(self, rows: Array) -> Examples:
        return Examples(*(column[rows] for column in self))


class Report(NamedTuple):
    """What a network named rightly among the held-out: samples, and files by the mean of their samples' scores."""

    bytes: int
    ms: float
    right: int
    of: int
    files_right: int
    files_of: int


def spread(count: int, most: int) -> Array:
    """At most so many of range(count), evenly."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(int))


def judged(scores: Array, known: Examples) -> tuple[int, int, int, int]:
    """scores [n, labels] of labelled samples: right, of, files right, files of."""
    right = scores.argmax(axis=1) == known.labels
    files = [bool(mean.argmax() == label) for mean, label in _by_file(scores, known)]
    return int(right.sum()), len(right), sum(files), len(files)


def _by_file(scores: Array, known: Examples) -> Iterator[tuple[Array, int]]:
    for number in np.unique(known.files):
        rows = known.files == number
        yield scores[rows].mean(axis=0), int(known.labels[rows][0])
