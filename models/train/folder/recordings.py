"""One csv file of readings: its channels, its rate, its gaps, and the label of each row."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from agent.data import Array
from agent.prepare.decimate import DELAY, MAX_RATE_ERROR, MAX_RATIO, decimated, rate_mistake
from drivers.base import DeviceError
from drivers.sensor.replay import TIME, Options, load_csv
from models.train.data import DataError
from models.train.folder import events
from models.train.folder.files import File
from models.train.folder.options import Marks

MAX_MB = 64
GAP = 3.0  # steps of time: a longer one is a gap, and no window spans it


class Recording(NamedTuple):
    """rows: float32 [n, channels]. rate_hz: 0 for unknown. parts: stretches without a gap. labels: int [n].

    marked: it has a column of labels.
    """

    path: Path
    channels: tuple[str, ...]
    rows: Array
    rate_hz: float
    parts: list[slice]
    labels: Array
    marked: bool = False

    def ordered(self, channels: Sequence[str]) -> Recording:
        """With these channels in this order."""
        columns = [self.channels.index(channel) for channel in channels]
        return self._replace(channels=tuple(channels), rows=self.rows[:, columns])


class Part(NamedTuple):
    """At the model's rate. rows: float32 [n, channels]. newest: int [n], the recording's newest row behind each.

    seen: int [n], the row whose moment it shows: the filter is late. labels: int [n], of that row. place: in the
    recording.
    """

    rows: Array
    newest: Array
    seen: Array
    labels: Array
    place: slice


def read(file: File, marks: Marks, numbers: Mapping[str, int], assumed_hz: float = 0.0) -> Recording:
    """A column t_s is time and no channel; nor is the column of labels. numbers: of labels.

    assumed_hz: without t_s, 0 for unknown. Raises DataError.
    """
    path = file.path
    header, first = _first_lines(path)
    column = marks.label_column if marks.label_column in header else ""
    channels = tuple(name for name in header if name not in (TIME, column))
    rate_hz = None if TIME in header else assumed_hz or 1.0
    options = {"path": str(path), "rate_hz": rate_hz, "max_mb": MAX_MB, "channels": channels}
    try:
        names, times, rows = load_csv(Options.model_validate(options))
    except DeviceError as error:
        raise DataError(str(error)) from error
    except csv.Error as error:  # raised for a NUL up to Python 3.10
        raise DataError(f"{path}: not a CSV file, {error}") from error
    if not np.isfinite(rows).all():
        raise DataError(f"{path}: not a number in column {names[int(np.argwhere(~np.isfinite(rows))[0][1])]}")
    rate_hz, parts = _rate(path, times, marks.recorded_hz) if TIME in header else (assumed_hz, [slice(0, len(rows))])
    seconds = times / 1e9 + (float(first[header.index(TIME)]) if TIME in header else 0.0)
    labels = _labels(file, column, numbers, seconds, rate_hz)
    return Recording(path, names, rows, rate_hz, parts, labels, bool(column))


def _first_lines(path: Path) -> tuple[list[str], list[str]]:
    """Empty where there is none."""
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            lines = csv.reader(file)
            return [name.strip() for name in next(lines, [])], next(lines, [])
    except (OSError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _rate(path: Path, times: Array, recorded_hz: float) -> tuple[float, list[slice]]:
    """Readings a second by t_s, and the stretches between its gaps."""
    steps = np.diff(times)
    step = float(np.median(steps)) if len(steps) else 0.0
    if not step:
        raise DataError(f"{path}: no rate in column {TIME}: half of its rows or more repeat the time before")
    rate_hz = 1e9 / step
    if recorded_hz and abs(rate_hz - recorded_hz) > MAX_RATE_ERROR * recorded_hz:
        raise DataError(
            f"{path}: {rate_hz:g} readings a second by its column {TIME}, but --recorded-hz {recorded_hz:g}"
        )
    edges = [0, *(np.flatnonzero(steps > GAP * step) + 1).tolist(), len(times)]
    return rate_hz, [slice(first, end) for first, end in zip(edges, edges[1:])]


def _labels(file: File, column: str, numbers: Mapping[str, int], seconds: Array, rate_hz: float) -> Array:
    beside = events.sidecar(file.path)
    if not beside.exists():
        return _column(file, column, numbers) if column else np.full(len(seconds), file.label)
    if column:
        raise DataError(f"{beside}: the column '{column}' of {file.path.name} has labels, too: keep one of them")
    if not rate_hz:
        raise DataError(
            f"{beside}: has seconds, and {file.path.name} no column {TIME}: give --recorded-hz or --rate-hz"
        )
    end_s = float(seconds[-1]) + 1 / rate_hz
    return events.row_labels(events.read_sidecar(beside, numbers, end_s), seconds, file.label)


def _column(file: File, column: str, numbers: Mapping[str, int]) -> Array:
    """An empty cell is no event."""
    labels = []
    with file.path.open(newline="", encoding="utf-8-sig") as text:
        lines = csv.reader(text)
        at = [name.strip() for name in next(lines)].index(column)
        for number, line in enumerate(filter(None, lines), 2):
            label = line[at].strip()
            place = f"{file.path}:{number}"
            labels.append(events.label_number(place, label, numbers) if label else file.label)
    found: Array = np.array(labels)
    if len(events.runs(found, file.label)) >= events.MAX_EVENTS:
        raise DataError(f"{file.path}: {events.MAX_EVENTS:,} events or more: cut the recording")
    return found


def common_channels(recordings: Sequence[Recording]) -> tuple[str, ...]:
    """The channels, the same in all files; their order may differ. Raises DataError."""
    first = recordings[0]
    for recording in recordings:
        odd = sorted(set(recording.channels) ^ set(first.channels))
        if odd:
            raise DataError(f"{recording.path}: other channels than {first.path}: '{odd[0]}' is in only one of them")
    return first.channels


def common_rate(recordings: Sequence[Recording], rate_hz: float) -> float:
    """The model's rate: that which was asked for, else the files' own; 0 where they have none. Raises DataError."""
    first = recordings[0]
    for recording in recordings:
        if rate_hz and recording.rate_hz and rate_mistake(rate_hz, recording.rate_hz, ""):
            limit = "as many or more" if recording.rate_hz < rate_hz else f"at most {MAX_RATIO:,} times as many"
            raise DataError(
                f"{recording.path}: {recording.rate_hz:.4g} readings a second; --rate-hz {rate_hz:g} needs {limit}"
            )
        if bool(recording.rate_hz) != bool(first.rate_hz):
            without, beside = (first, recording) if recording.rate_hz else (recording, first)
            raise DataError(f"{without.path}: no column {TIME}, and {beside.path} has one: give --recorded-hz")
        if not rate_hz and abs(recording.rate_hz - first.rate_hz) > MAX_RATE_ERROR * first.rate_hz:
            raise DataError(
                f"{recording.path}: {recording.rate_hz:.4g} readings a second, and {first.path} has"
                f" {first.rate_hz:.4g}: give --rate-hz, to which all are resampled"
            )
    return rate_hz or float(f"{first.rate_hz:.4g}")


def parts(recording: Recording, rate_hz: float) -> list[Part]:
    """Its stretches without a gap as a lane has them: at this rate, by the same filter."""
    late = DELAY * recording.rate_hz / rate_hz if rate_hz else 0.0
    found = []
    for part in recording.parts:
        rows, newest = decimated(recording.rows[part], rate_hz, recording.rate_hz)
        newest = part.start + newest
        seen = newest if len(rows) == part.stop - part.start else np.maximum(newest - round(late), part.start)
        found.append(Part(rows, newest, seen, recording.labels[seen], part))
    return found
