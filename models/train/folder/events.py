"""Events marked inside a recording: by a column of labels, or by a file beside it with start_s, end_s, label."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from agent.data import Array
from models.train.data import DataError
from models.train.folder.files import SIDECAR

HEADER = ["start_s", "end_s", "label"]
MAX_EVENTS = 1000  # in a recording
UNCLEAR = -2  # of a window that touches an event without holding half of it


class Event(NamedTuple):
    """From start_s up to, not with, end_s."""

    start_s: float
    end_s: float
    label: int


def sidecar(path: Path) -> Path:
    """Beside walk/3.csv it is walk/3.events.csv."""
    return path.with_name(path.stem + SIDECAR)


def read_sidecar(path: Path, numbers: Mapping[str, int], end_s: float) -> list[Event]:
    """In the order of time. numbers: of labels. end_s: of the recording. Raises DataError."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if not lines or [name.strip() for name in lines[0]] != HEADER:
        raise DataError(f"{path}:1: expected the line {','.join(HEADER)}")
    if len(lines) > MAX_EVENTS:
        raise DataError(f"{path}: {len(lines) - 1:,} events; at most {MAX_EVENTS - 1} are read: cut the recording")
    events = [(_event(f"{path}:{number}", line, numbers), number) for number, line in enumerate(lines[1:], 2) if line]
    for event, number in events:
        if event.start_s >= end_s:
            raise DataError(f"{path}:{number}: starts at {event.start_s:g} s, and the recording ends at {end_s:g} s")
    events.sort()
    for (before, first), (after, second) in pairwise(events):
        if after.start_s < before.end_s:
            raise DataError(f"{path}:{second}: overlaps the event of line {first}: a reading has one label")
    return [event for event, _ in events]


def _event(place: str, line: Sequence[str], numbers: Mapping[str, int]) -> Event:
    try:
        start, end, label = (cell.strip() for cell in line)
        event = Event(float(start), float(end), label_number(place, label, numbers))
    except ValueError as error:
        raise DataError(f"{place}: expected two numbers and a label, found '{','.join(line)[:60]}'") from error
    if not (math.isfinite(event.start_s) and math.isfinite(event.end_s) and event.start_s < event.end_s):
        raise DataError(f"{place}: start_s {start} is not before end_s {end}")
    return event


def label_number(place: str, label: str, numbers: Mapping[str, int]) -> int:
    """Raises DataError."""
    if label not in numbers:
        raise DataError(
            f"{place}: unknown label '{label[:40]}'; known are {', '.join(numbers)}: make a sub-folder for it, or name"
            " it with --events"
        )
    return numbers[label]


def row_labels(events: Sequence[Event], seconds: Array, base: int) -> Array:
    """Label of each row, int [n]. seconds: of the rows. base: outside events."""
    labels = np.full(len(seconds), base)
    for event in events:
        first, end = np.searchsorted(seconds, [event.start_s, event.end_s])
        labels[first:end] = event.label
    return labels


def window_labels(rows: Array, base: int, length: int) -> tuple[Array, Array]:
    """Label of each window of `length` rows, and its event, counted from 1; both int [n - length + 1].

    A window has the label of an event if it holds half of the event, or the event half of it; of two the later one.
    Where it touches one without that it is UNCLEAR; else it has `base`, and event 0.
    """
    start = np.arange(len(rows) - length + 1)
    labels, events = np.full(len(start), base), np.zeros(len(start), int)
    for number, (first, end) in enumerate(runs(rows, base), 1):
        overlap = np.minimum(end, start + length) - np.maximum(first, start)
        enough = 2 * overlap >= min(length, end - first)
        labels[(overlap > 0) & (events == 0)] = UNCLEAR
        labels[enough], events[enough] = rows[first], number
    return labels, events


def runs(rows: Array, base: int) -> list[tuple[int, int]]:
    """First row and end of each stretch of one label other than `base`."""
    edges = [0, *(np.flatnonzero(np.diff(rows)) + 1).tolist(), len(rows)]
    return [(first, end) for first, end in pairwise(edges) if end > first and rows[first] != base]
