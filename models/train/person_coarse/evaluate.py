"""Figures of a person-coarse package on any folder of clips, by the road that a lane takes; needs no TensorFlow."""

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
from agent.package import Package, open_package
from agent.prepare.pixels import Pixels
from models.train.card import wilson
from models.train.data import SHARED
from models.train.person_coarse.clips import CLIPS, STAGED, frames, paths, useful
from models.train.person_coarse.score import BOXED, ON_PERSON, Score, add, judge
from models.train.person_coarse.teachers import PUBLIC, Seen, Teachers
from models.train.person_coarse.truth import Truth, agree, apart

MOST = 120  # frames of a clip, evenly: the teachers take 0.1 s for each
ALONE = 0.5  # score from which the SSD by itself is taken at its word, for comparison

Look = Callable[[Array], tuple[Sequence[Finding], float]]


class Told(NamedTuple):
    """Of one clip. agreed: against what the teachers agree on; alone: against the SSD by itself."""

    agreed: Score
    alone: Score
    frames: int
    ms: list[float]
    largest: int


def evaluate(folder: Path, data: Path) -> dict[str, Any]:
    """Apart for clips that it was trained on, "seen", and for others, "unseen". Raises DataError, PackageError."""
    opened, found = open_package(folder), paths(data)
    models = data / PUBLIC if (data / PUBLIC).is_dir() else SHARED / PUBLIC
    teachers = Teachers(models)
    look = _looker(opened)
    told = {path: _of_clip(path, look, teachers) for path in found}
    parts: dict[str, list[Path]] = {"seen": [], "unseen": []}
    for path in found:
        parts["seen" if path.stem in CLIPS else "unseen"].append(path)
    ms = [one for each in told.values() for one in each.ms]
    return {
        "package": opened.name,
        "bytes": (folder / opened.manifest.file).stat().st_size,
        "found": f"a box lies by {ON_PERSON:.0%} or more in the teachers'",
        "boxed": f"intersection over union of {BOXED:g} or more",
        "invoke_ms": {"median": round(float(np.median(ms)), 3), "p99": round(float(np.percentile(ms, 99)), 3)},
        "largest_frame_bytes": max(each.largest for each in told.values()),
        **{name: _figures([told[path] for path in part]) for name, part in parts.items() if part},
        "clips": {path.name: _figures([each]) for path, each in told.items()},
    }


def _looker(opened: Package) -> Look:
    """What a lane would find in a frame, and the ms of the inference alone."""
    engine, picture = opened.engine, opened.manifest.picture
    assert picture is not None, "person-coarse looks at pictures"
    pixels = Pixels(picture, engine.inputs[0], "rgb")

    def look(frame: Array) -> tuple[Sequence[Finding], float]:
        pixels(frame, engine.input(0))
        start = time.perf_counter()
        engine.invoke()
        taken = (time.perf_counter() - start) * 1e3
        return opened.findings(), taken

    return look


def _of_clip(path: Path, look: Look, teachers: Teachers) -> Told:
    staged = STAGED.match(path.stem) is not None
    agreed, alone, number, ms, largest = Score(), Score(), 0, [], 0
    every = max(1, round(cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT) / MOST))
    for number, frame in enumerate(frames(path)):
        if number % every:
            continue
        findings, taken = look(frame)
        ms.append(taken)
        largest = max(largest, len(packed(findings)))
        boxes, seen = [one.box for one in findings if one.box], teachers(frame)
        alone = add(alone, judge(boxes, _by_itself(seen)))
        # One whom a single teacher sees does for learning where somebody is known to be, not for judging.
        truth = agree(seen)
        if useful(truth, staged):
            agreed = add(agreed, judge(boxes, truth))
    return Told(agreed, alone, number + 1, ms, largest)


def _by_itself(seen: Seen) -> Truth:
    return Truth([box for score, box in apart(seen.ssd) if score >= ALONE], [])


def packed(findings: Sequence[Finding]) -> bytes:
    """A frame's boxes as they would leave the device: MessagePack, numbers of 32 bits."""
    return bytes(msgpack.packb([(*one[:2], *(one.box or ())) for one in findings], use_single_float=True))


def _figures(told: Sequence[Told]) -> dict[str, Any]:
    """JSON-able."""
    agreed, alone = Score(), Score()
    for each in told:
        agreed, alone = add(agreed, each.agreed), add(alone, each.alone)
    return {"frames": sum(each.frames for each in told), **_shares(agreed), "against_the_ssd_alone": _shares(alone)}


def _shares(one: Score) -> dict[str, Any]:
    there = max(one.there, 1)
    return {
        "judged": one.frames,
        "persons": one.there,
        "found": round(one.found / there, 4),
        "found_95": [round(end, 4) for end in wilson(one.found, one.there)],
        "boxed": round(one.boxed / there, 4),
        "boxed_95": [round(end, 4) for end in wilson(one.boxed, one.there)],
        "either": round(one.either / there, 4),
        "either_95": [round(end, 4) for end in wilson(one.either, one.there)],
        "false_a_frame": round(one.false / max(one.frames, 1), 4),
        "overlap": round(one.overlap / there, 4),
    }
