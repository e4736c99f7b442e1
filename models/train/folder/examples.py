"""Samples for training and test, of pictures or recordings, and how results on them are counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from agent.data import Array

SEED = 7


class Examples(NamedTuple):
    """inputs: [n, ...]. soft_labels: the teacher's [n, labels], zeros where it has none. labels: int [n], -1 for none.

    files: int [n], the number of each sample's file. test: bool [n], held out. units: int [n], alike for samples of one
    event, and for those of one file outside its events.
    """

    inputs: Array
    soft_labels: Array
    labels: Array
    files: Array
    test: Array
    units: Array

    def part(self, rows: Array) -> Examples:
        return Examples(*(column[rows] for column in self))


class Counts(NamedTuple):
    """Correctly labelled samples of all, and files of all, a file by the mean of its samples' scores.

    Of a file with events, each event counts as one, and what is outside them as another.
    """

    right: int
    of: int
    files_right: int
    files_of: int


class Report(NamedTuple):
    """A network's file size, ms of an inference, and Counts of the held-out samples."""

    bytes: int
    ms: float
    right: int
    of: int
    files_right: int
    files_of: int


def evenly_spaced(count: int, most: int) -> Array:
    """At most `most` of range(count), evenly spaced."""
    indices: Array = np.linspace(0, count - 1, min(count, most)).astype(int)
    return np.unique(indices)


def count_right(scores: Array, labelled: Examples) -> Counts:
    """scores: [n, labels], of samples that all have a label."""
    right = scores.argmax(axis=1) == labelled.labels
    files = [bool(mean.argmax() == label) for mean, label in _by_file(scores, labelled)]
    return Counts(int(right.sum()), len(right), sum(files), len(files))


def _by_file(scores: Array, labelled: Examples) -> Iterator[tuple[Array, int]]:
    for number in np.unique(labelled.units):
        rows = labelled.units == number
        yield scores[rows].mean(axis=0), int(labelled.labels[rows][0])


def count_by_group(scores: Array, labelled: Examples, groups: Sequence[str]) -> dict[str, Counts]:
    """groups: of each file. Empty where files have none."""
    names = np.array(groups)[labelled.files] if any(groups) else np.zeros(0, str)
    rows = {str(name): np.flatnonzero(names == name) for name in np.unique(names)}
    return {name: count_right(scores[numbers], labelled.part(numbers)) for name, numbers in rows.items()}
