"""Figures of a pcb-inspect package on boards laid out like DeepPCB, inferred as in a lane; needs no TensorFlow."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agent.decoders.base import Finding
from agent.packages.package import Package, open_package
from agent.prepare.pixels import Pixels
from models.train.pcb_inspect.boards import KINDS, TRAINED, Pair, load
from models.train.pcb_inspect.score import Score, Tally, interval, judge, kind_tally, total

PUBLISHED = 0.982  # the authors' F: box and kind right; a GPU, 1,000 pairs to train on


def evaluate(folder: Path, data: Path) -> dict[str, Any]:
    """Separately for boards it was trained on, "seen", and for others, "unseen". Raises DataError, PackageError."""
    opened, pairs = open_package(folder), load(data)
    inspect, invoke_ms = _timed_inspection(opened)
    parts: dict[str, list[Pair]] = {"seen": [], "unseen": []}
    for pair in pairs:
        parts["seen" if pair.group in TRAINED else "unseen"].append(pair)
    figures = {name: _figures(judge(part, inspect)) for name, part in parts.items() if part}
    return {
        "package": opened.name,
        "published_f": PUBLISHED,
        "boards": {name: sorted({pair.group for pair in part}) for name, part in parts.items()},
        "invoke_ms": round(float(np.median(invoke_ms)), 2),
        **figures,
    }


def _timed_inspection(opened: Package) -> tuple[Callable[[Pair], Sequence[Finding]], list[float]]:
    """A function: pair to what a lane would find on it, and a list that gets the ms of each inference."""
    engine, picture = opened.engine, opened.manifest.picture
    assert picture is not None and picture.reference, "pcb-inspect compares pictures"
    invoke_ms: list[float] = []

    def inspect(pair: Pair) -> Sequence[Finding]:
        Pixels(picture, engine.inputs[0], "grey", pair.template)(pair.test, engine.input(0))
        start = time.perf_counter()
        engine.invoke()
        invoke_ms.append((time.perf_counter() - start) * 1e3)
        return opened.findings()

    return inspect, invoke_ms


def _figures(scores: Sequence[Score]) -> dict[str, Any]:
    """Fit for JSON."""
    score = total(scores)
    return {
        "pairs": score.pairs,
        "defects": int(score.box.right + score.box.missed),
        "box_and_kind": {**_ratios(score.box), "f_95": [round(end, 4) for end in interval(scores, "box")]},
        "box_any_kind": _ratios(score.place),
        "tile_and_kind": _ratios(score.tile),
        "tile_any_kind": _ratios(score.tile_place),
        "kinds": {kind: _ratios(kind_tally(score, number)) for number, kind in enumerate(KINDS)},
    }


def _ratios(tally: Tally) -> dict[str, Any]:
    return {
        "f": round(tally.f, 4),
        "precision": round(tally.precision, 4),
        "recall": round(tally.recall, 4),
        "right": int(tally.right),
        "false": int(tally.false),
        "missed": int(tally.missed),
    }
