"""Measures a package on a folder of the user's files, through the preparation and decoder of a lane."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agent.data import Array
from agent.decoders.base import Finding
from agent.packages import package
from agent.packages.package import Package
from agent.prepare.decimate import rate_mistake
from agent.prepare.pixels import Pixels
from agent.prepare.readings import Readings
from drivers.base import DeviceFault
from models.train import card, distil
from models.train.data import DataError
from models.train.folder import files, groups, pictures, readings, recordings
from models.train.folder.events import MAX_EVENTS, UNCLEAR, window_labels
from models.train.folder.examples import Counts, Examples, count_by_group, count_right
from models.train.folder.files import File
from models.train.folder.options import Marks

FRAMES = 200  # of one clip, evenly over it


class Results(NamedTuple):
    """Of each inference: scores [n, labels]; label, file and unit as in Examples. alarms: see _alarms."""

    scores: Array
    labels: Array
    files: Array
    units: Array
    alarms: int = 0
    seconds: float = 0.0


def evaluate(folder: Path, data: Path, marks: Marks) -> dict[str, Any]:
    """Figures of the package in `folder` on all files of `data`. Raises DataError, PackageError."""
    opened = package.open_package(package.find(folder))
    known = package.labels(package.find(folder))
    opened.decoder = distil.sensitive_decoder(opened)
    of_pictures = opened.manifest.picture is not None and not opened.manifest.picture.reference
    if not of_pictures and not opened.manifest.window:
        raise DataError(f"{folder}: reads neither pictures alone nor readings: use evaluate NAME for a bundled package")
    if of_pictures and marks != Marks(marks.group):
        raise DataError(f"{folder}: reads pictures: events and rates are of readings")
    listed = _listed(data, pictures.STILLS + pictures.CLIPS if of_pictures else readings.SUFFIXES, known)
    if marks.group:
        listed = groups.name_groups(listed, data, marks.group)
    parts = _of_pictures(opened, listed, known) if of_pictures else _of_readings(opened, listed, known, marks)
    return {"package": str(folder), "data": str(data), **_figures(_merged(list(parts)), listed, known)}


def _merged(results: Sequence[Results]) -> Results:
    return Results(
        scores=np.concatenate([each.scores for each in results]),
        labels=np.concatenate([each.labels for each in results]),
        files=np.concatenate([each.files for each in results]),
        units=np.concatenate([each.units for each in results]),
        alarms=sum(each.alarms for each in results),
        seconds=sum(each.seconds for each in results),
    )


def _listed(data: Path, suffixes: Sequence[str], known: Sequence[str]) -> list[File]:
    """The files of the package's labels; every sub-folder has the name of one. Raises DataError."""
    if not data.is_dir():
        raise DataError(f"{data}: no such folder")
    names = sorted(part.name for part in data.iterdir() if part.is_dir() and not part.name.startswith("."))
    labels = [name for name in names if name != files.UNLABELLED]
    odd = [label for label in labels if label not in known]
    if odd or not labels:
        reason = f"sub-folder '{odd[0]}' is no label of the package" if odd else "no sub-folder that names a label"
        raise DataError(f"{data}: {reason}; its labels are {', '.join(known)}")
    listed = [
        File(path, list(known).index(label), True)
        for label in labels
        for path in files.usable(data / label, tuple(suffixes))
    ]
    if not listed:
        raise DataError(f"{data}: no files ({', '.join(suffixes)}) in its sub-folders")
    return listed


def _of_pictures(opened: Package, listed: Sequence[File], known: Sequence[str]) -> Iterator[Results]:
    assert opened.manifest.picture
    pixels = Pixels(opened.manifest.picture, opened.engine.inputs[0], "bgr")
    for number, file in enumerate(listed):
        scores = []
        for frame in pictures.frames(file.path, FRAMES, set()):
            pixels(frame, opened.engine.input(0))
            scores.append(_scores(opened.infer(), known))
        count = len(scores)
        yield Results(np.stack(scores), np.full(count, file.label), np.full(count, number), np.full(count, number))


def _of_readings(opened: Package, listed: Sequence[File], known: Sequence[str], marks: Marks) -> Iterator[Results]:
    window = opened.manifest.window
    assert window
    for number, recording in enumerate(readings.read_all(listed, known, marks, window.rate_hz)):
        mistake = rate_mistake(window.rate_hz, recording.rate_hz, opened.name)
        if mistake:
            raise DataError(f"{recording.path}: {mistake.split(': set')[0]}")
        try:
            prepared = Readings(window, opened.engine.inputs[0], recording.channels, recording.rate_hz)
        except DeviceFault as error:
            raise DataError(f"{recording.path}: {error}") from error
        yield _of_recording(opened, prepared, recording, listed[number].label, number, known)


def _of_recording(
    opened: Package, prepared: Readings, recording: recordings.Recording, base: int, number: int, known: Sequence[str]
) -> Results:
    """Each inference that a lane would make, except of windows whose label is unclear."""
    window = prepared.window
    scores, labels, units, alarms, seconds, first_event = [], [], [], 0, 0.0, 0
    for part in recordings.parts(recording, window.rate_hz):
        prepared.reset()
        if len(part.rows) < window.length:
            continue
        named, event = window_labels(part.labels, base, window.length)
        due = _infer(opened, prepared, recording.rows[part.place], known)
        ends = np.searchsorted(part.newest, part.place.start + np.array([at for at, _ in due], int)) - window.length + 1
        part_scores = np.array([each for _, each in due], np.float32).reshape(-1, len(known))
        clear = named[ends] != UNCLEAR
        alarms += _alarms(part_scores.argmax(axis=1), named[ends], base)
        seconds += int((named[ends] == base).sum()) * window.hop / recording.rate_hz if recording.rate_hz else 0.0
        scores.append(part_scores[clear])
        labels.append(named[ends][clear])
        units.append(number * MAX_EVENTS + np.where(event > 0, event + first_event, 0)[ends][clear])
        first_event += int(event.max(initial=0))
    if not sum(map(len, labels)):
        raise DataError(f"{recording.path}: shorter than the window of {opened.name}, {window.length} readings")
    count = sum(map(len, labels))
    columns = np.concatenate(scores), np.concatenate(labels), np.full(count, number), np.concatenate(units)
    return Results(*columns, alarms, seconds)


def _infer(opened: Package, prepared: Readings, rows: Array, known: Sequence[str]) -> list[tuple[int, Array]]:
    """Row at which an inference was due, and its scores."""
    return [
        (at, _scores(opened.infer(), known))
        for at in range(len(rows))
        if prepared(rows[at : at + 1], opened.engine.input(0))
    ]


def _scores(findings: Sequence[Finding], known: Sequence[str]) -> Array:
    """The highest of each label, float32 [labels]."""
    scores = np.zeros(len(known), np.float32)
    for finding in findings:
        place = known.index(finding.label)
        scores[place] = max(scores[place], finding.score)
    return scores


def _alarms(predicted: Array, labels: Array, base: int) -> int:
    """How often another label than that of the file begins where no event is: false alarms."""
    false = (labels == base) & (predicted != base)
    return int((false[1:] & ~false[:-1]).sum() + false[:1].sum())


def _figures(results: Results, listed: Sequence[File], known: Sequence[str]) -> dict[str, Any]:
    labels = results.labels  # in place of what is not counted, too
    labelled = Examples(labels, labels, labels, results.files, labels, results.units)
    by_group = count_by_group(results.scores, labelled, [file.group for file in listed])
    matrix = card.confusion(results.labels, results.scores.argmax(axis=1), len(known))
    counts = count_right(results.scores, labelled)
    figures = {"files": len(listed), **_counts(counts), "labels": _by_label(matrix, known)}
    if results.seconds:
        hours = results.seconds / 3600
        figures["false_alarms"] = {
            "number": results.alarms,
            "hours": round(hours, 4),
            "per_hour_below_95": round(card.rate_bound(results.alarms, hours), 3),
        }
    return figures | ({"groups": {name: _counts(each) for name, each in by_group.items()}} if by_group else {})


def _counts(counts: Counts) -> dict[str, Any]:
    return {
        "samples_share": card.percent(counts.right, counts.of),
        "files_share": card.percent(counts.files_right, counts.files_of),
        **counts._asdict(),
    }


def _by_label(matrix: Array, known: Sequence[str]) -> dict[str, dict[str, int]]:
    """What the package says of samples of each label, how often."""
    return {
        label: {known[column]: int(count) for column, count in enumerate(row) if count}
        for label, row in zip(known, matrix)
        if row.any()
    }
