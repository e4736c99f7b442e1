"""Figures of a person-coarse package on any folder of clips, inferred as in a lane; needs no TensorFlow."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import msgpack
import numpy as np

from agent.data import Array
from agent.decoders.base import Finding
from agent.packages.package import Package, open_package
from agent.prepare.pixels import Pixels
from models.train.card import wilson
from models.train.data import SHARED
from models.train.person_coarse.clips import CLIPS, STAGED, frames, paths, useful
from models.train.person_coarse.score import BOXED, ON_PERSON, Score, add, judge
from models.train.person_coarse.teachers import PUBLIC, TeacherOutputs, Teachers
from models.train.person_coarse.truth import Truth, consensus, suppress_parts

MAX_FRAMES = 120  # of a clip, evenly: the teachers take 0.1 s for each
SSD_SCORE = 0.5  # least score of the SSD's detections where it serves as the only teacher, for comparison

Infer = Callable[[Array], tuple[Sequence[Finding], float]]


class ClipResult(NamedTuple):
    """Of one clip. consensus: scored against the teachers' consensus; ssd: against the SSD alone. largest: bytes."""

    consensus: Score
    ssd: Score
    frames: int
    ms: list[float]
    largest: int


def evaluate(folder: Path, data: Path) -> dict[str, Any]:
    """Separately for clips that it was trained on, "seen", and for others, "unseen". Raises DataError, PackageError."""
    opened, clips = open_package(folder), paths(data)
    models = data / PUBLIC if (data / PUBLIC).is_dir() else SHARED / PUBLIC
    teachers = Teachers(models)
    infer = _timed_inference(opened)
    results = {path: _clip_result(path, infer, teachers) for path in clips}
    parts: dict[str, list[Path]] = {"seen": [], "unseen": []}
    for path in clips:
        parts["seen" if path.stem in CLIPS else "unseen"].append(path)
    ms = [frame_ms for result in results.values() for frame_ms in result.ms]
    return {
        "package": opened.name,
        "bytes": (folder / opened.manifest.file).stat().st_size,
        "found": f"a box lies by {ON_PERSON:.0%} or more in the teachers'",
        "boxed": f"intersection over union of {BOXED:g} or more",
        "invoke_ms": {"median": round(float(np.median(ms)), 3), "p99": round(float(np.percentile(ms, 99)), 3)},
        "largest_frame_bytes": max(result.largest for result in results.values()),
        **{name: _figures([results[path] for path in part]) for name, part in parts.items() if part},
        "clips": {path.name: _figures([result]) for path, result in results.items()},
    }


def _timed_inference(opened: Package) -> Infer:
    """A function: frame to what a lane would find in it, and the ms of the inference alone."""
    engine, picture = opened.engine, opened.manifest.picture
    assert picture is not None, "person-coarse takes pictures"
    pixels = Pixels(picture, engine.inputs[0], "rgb")

    def infer(frame: Array) -> tuple[Sequence[Finding], float]:
        pixels(frame, engine.input(0))
        start = time.perf_counter()
        engine.invoke()
        ms = (time.perf_counter() - start) * 1e3
        return opened.findings(), ms

    return infer


def _clip_result(path: Path, infer: Infer, teachers: Teachers) -> ClipResult:
    staged = STAGED.match(path.stem) is not None
    against_consensus, against_ssd, number, ms, largest = Score(), Score(), 0, [], 0
    every = max(1, round(cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT) / MAX_FRAMES))
    for number, frame in enumerate(frames(path)):
        if number % every:
            continue
        findings, frame_ms = infer(frame)
        ms.append(frame_ms)
        largest = max(largest, len(packed(findings)))
        boxes, outputs = [finding.box for finding in findings if finding.box], teachers(frame)
        against_ssd = add(against_ssd, judge(boxes, _ssd_truth(outputs)))
        # Where a person is known to be, one teacher is enough for training, but not for judging.
        truth = consensus(outputs)
        if useful(truth, staged):
            against_consensus = add(against_consensus, judge(boxes, truth))
    return ClipResult(against_consensus, against_ssd, number + 1, ms, largest)


def _ssd_truth(outputs: TeacherOutputs) -> Truth:
    return Truth([box for score, box in suppress_parts(outputs.ssd) if score >= SSD_SCORE], [])


def packed(findings: Sequence[Finding]) -> bytes:
    """A frame's boxes as they would leave the device: MessagePack, numbers of 32 bits."""
    rows = [(finding.label, finding.score, *(finding.box or ())) for finding in findings]
    return bytes(msgpack.packb(rows, use_single_float=True))


def _figures(results: Sequence[ClipResult]) -> dict[str, Any]:
    """Fit for JSON."""
    against_consensus, against_ssd = Score(), Score()
    for result in results:
        against_consensus, against_ssd = add(against_consensus, result.consensus), add(against_ssd, result.ssd)
    count = sum(result.frames for result in results)
    return {"frames": count, **_shares(against_consensus), "against_the_ssd_alone": _shares(against_ssd)}


def _shares(score: Score) -> dict[str, Any]:
    persons = max(score.persons, 1)
    return {
        "judged": score.frames,
        "persons": score.persons,
        "found": round(score.found / persons, 4),
        "found_95": [round(end, 4) for end in wilson(score.found, score.persons)],
        "boxed": round(score.boxed / persons, 4),
        "boxed_95": [round(end, 4) for end in wilson(score.boxed, score.persons)],
        "either": round(score.either / persons, 4),
        "either_95": [round(end, 4) for end in wilson(score.either, score.persons)],
        "false_a_frame": round(score.false / max(score.frames, 1), 4),
        "overlap": round(score.overlap / persons, 4),
    }
