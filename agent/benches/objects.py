"""`reflexd bench objects`: what a detector finds on labelled frames, and how long it takes.

A label counts as found where a detection of the same label overlaps it by half (intersection over union), the best
score first. A detection without a label is false, unless half of it lies in one that is marked `ignore`.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from agent.box.machine import machine
from agent.data import Array, Box
from agent.decoders.base import Finding
from agent.errors import DataError
from agent.packages import package
from agent.packages.package import Package
from agent.prepare.pixels import Pixels
from agent.vision.tracks import overlap

MIN_OVERLAP, MIN_INSIDE = 0.5, 0.5
PERSON = "person"
WARM_UP = 5


class Label(NamedTuple):
    """A box drawn by eye. ignore: nobody would demand it, and nobody would call it wrong."""

    label: str
    box: Box
    ignore: bool


class Patch(NamedTuple):
    """A part of another frame of the clip, whose camera stands still; left, top, right, bottom in pixels."""

    number: int
    box: tuple[int, int, int, int]


class Frame(NamedTuple):
    """Labels of one frame of a clip, counted from its first. patches: laid over it, so that it shows more objects."""

    clip: str
    number: int
    labels: list[Label]
    patches: list[Patch]


class Score(NamedTuple):
    """Of one frame, by label."""

    labels: Counter[str]
    matched: Counter[str]
    false: Counter[str]


def measure(clips: Path, labels: Path, model: str, short: bool = False) -> dict[str, Any]:
    """Recall and false boxes a frame for persons, the same for every label, and p50 of inference and decoding in ms.

    clips: the folder that the clips' names start from. Raises DataError, PackageError.
    """
    frames = read_labels(labels)[:: 4 if short else 1]
    opened = package.open_package(package.find(model))
    judged = {label.label for frame in frames for label in frame.labels} | {PERSON}
    scores, times = [], []
    for frame, picture in _pictures(clips, frames):
        findings, ms = _infer(opened, picture)
        scores.append(score(frame.labels, findings))
        times.append(ms)
    by_label = {label: _figures(scores, label) for label in sorted(judged)}
    return {
        "machine": machine(),
        "model": opened.name,
        "engine": opened.backend,
        "frames": len(scores),
        "recall": by_label[PERSON]["recall"],
        "false_per_frame": by_label[PERSON]["false_per_frame"],
        "p50_ms": round(float(np.median(times[WARM_UP:])), 2),
        "labels": by_label,
    }


def read_labels(path: Path) -> list[Frame]:
    """As tests/data/objects/README.md describes them. Raises DataError."""
    try:
        entries = json.loads(path.read_bytes())
        if not entries or not isinstance(entries, list):
            raise ValueError("it has no entries")
        return [_frame(entry) for entry in entries]
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except (ValueError, LookupError, TypeError, ZeroDivisionError) as error:
        raise DataError(f"{path}: no list of labelled frames: {error}") from error


def _frame(entry: dict[str, Any]) -> Frame:
    width, height = entry["width"], entry["height"]
    sides = width, height, width, height
    labels = [
        Label(each["label"], Box(*(edge / side for edge, side in zip(each["box"], sides, strict=True))), each["ignore"])
        for each in entry["boxes"]
    ]
    patches = [Patch(each["frame"], tuple(each["box"])) for each in entry.get("patches", ())]
    return Frame(entry["clip"], entry["frame"], labels, patches)


def _pictures(clips: Path, frames: Sequence[Frame]) -> Iterator[tuple[Frame, Array]]:
    """Each frame with its picture, uint8 bgr. Raises DataError."""
    for clip, of_clip in groupby(sorted(frames, key=lambda frame: frame[:2]), key=lambda frame: frame.clip):
        frames_of_clip = list(of_clip)
        patches = {patch.number for frame in frames_of_clip for patch in frame.patches}
        decoded = _decoded(clips / clip, patches | {frame.number for frame in frames_of_clip})
        for frame in frames_of_clip:
            picture = decoded[frame.number].copy()
            for number, (left, top, right, bottom) in frame.patches:
                picture[top:bottom, left:right] = decoded[number][top:bottom, left:right]
            yield frame, picture


def _decoded(path: Path, numbers: set[int]) -> dict[int, Array]:
    """Raises DataError."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    pictures: dict[int, Array] = {}
    for number in range(max(numbers) + 1):
        good, picture = capture.read()
        if not good:
            raise DataError(f"{path}: has no frame {number}")
        if number in numbers:
            pictures[number] = picture
    capture.release()
    return pictures


def _infer(opened: Package, picture: Array) -> tuple[list[Finding], float]:
    """What it finds, boxes in shares of the picture; milliseconds of inference and decoding."""
    assert opened.manifest.picture is not None, "a detector reads pictures"
    pixels = Pixels(opened.manifest.picture, opened.engine.inputs[0], "bgr")
    pixels(picture, opened.engine.input(0))
    start = time.perf_counter()
    findings = opened.infer()
    ms = (time.perf_counter() - start) * 1e3
    return [finding._replace(box=pixels.unmap(finding.box)) for finding in findings if finding.box], ms


def score(labels: Sequence[Label], findings: Sequence[Finding]) -> Score:
    """Matches of one frame: each label and each finding at most once."""
    left = [label for label in labels if not label.ignore]
    result = Score(Counter(label.label for label in left), Counter(), Counter())
    for kind, _, box, *_ in sorted(findings, key=lambda finding: -finding.score):
        assert box is not None
        shares = [(overlap(label.box, box), label) for label in left if label.label == kind]
        share, best = max(shares, key=lambda pair: pair[0], default=(0.0, None))
        if best is not None and share >= MIN_OVERLAP:
            left.remove(best)
            result.matched[kind] += 1
        elif not any(label.ignore and _inside(box, label.box) >= MIN_INSIDE for label in labels):
            result.false[kind] += 1
    return result


def _inside(inner: Box, outer: Box) -> float:
    """Share of the first box that lies in the second."""
    width = min(inner.right, outer.right) - max(inner.left, outer.left)
    height = min(inner.bottom, outer.bottom) - max(inner.top, outer.top)
    area = (inner.right - inner.left) * (inner.bottom - inner.top)
    return max(width, 0.0) * max(height, 0.0) / area if area > 0 else 0.0


def _figures(scores: Sequence[Score], label: str) -> dict[str, Any]:
    labels, matched, false = (sum(counter[label] for counter in column) for column in zip(*scores))
    return {
        "labels": labels,
        "found": matched,
        "recall": round(matched / labels, 3) if labels else None,
        "false_per_frame": round(false / len(scores), 3),
    }


def text(result: dict[str, Any]) -> str:
    lines = [f"{result['model']} ({result['engine']}), {result['frames']} frames"]
    for label, row in result["labels"].items():
        lines.append(
            f"{label}: {row['found']} of {row['labels']} found, {row['false_per_frame']:.2f} false boxes a frame"
        )
    return "\n".join([*lines, f"inference and decoding p50 {result['p50_ms']:.1f} ms on {result['machine']}"])
