"""Figures of a pcb-inspect package on boards laid out like DeepPCB, by the road that a lane takes; needs no TensorFlow."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agent.decoders.base import Finding
from agent.package import Package, open_package
from agent.prepare.pixels import Pixels
from models.train.pcb_inspect.boards import KINDS, TRAINED, Pair, load
from models.train.pcb_inspect.score import Score, Tally, interval, judge, of_kind, total

PUBLISHED = 0.982  # the authors' F: box and kind right; a GPU, 1,000 pairs to train on


def evaluate(folder: Path, data: Path) -> dict[str, Any]:
    """Apart for boards (groups) that it was trained on, "seen", and for others, "unseen". Raises DataError, PackageError."""
    opened, pairs = open_package(folder), load(data)
    look, taken = _inspector(opened)
    parts = {"seen": [p for p in pairs if p.group in TRAINED], "unseen": [p for p in pairs if p.group not in TRAINED]}
    told = {name: _figures(judge(part, look)) for name, part in parts.items() if part}
    boards = {name: sorted({pair.group for pair in part}) for name, part in parts.items()}
    return {
        "package": opened.name,
        "published_f": PUBLISHED,
        "boards": boards,
        "invoke_ms": round(float(np.median(taken)), 2),
        **told,
    }


def _inspector(opened: Package) -> tuple[Callable[[Pair], Sequence[Finding]], list[float]]:
    """What a lane would find on a pair, and a list that gets the ms of each invoke."""
    engine, picture = opened.engine, opened.manifest.picture
    assert picture is not None and picture.reference, "pcb-inspect compares pictures"
    taken: list[float] = []

    def look(pair: Pair) -> Sequence[Finding]:
        Pixels(picture, engine.inputs[0], "grey", pair.template)(pair.test, engine.input(0))
        start = time.perf_counter()
        engine.invoke()
        taken.append((time.perf_counter() - start) * 1e3)
        return opened.findings()

    return look, taken


def _figures(scores: Sequence[Score]) -> dict[str, Any]:
    """JSON-able."""
    score = total(scores)
    by_kind = {kind: _tally(of_kind(score, number)) for number, kind in enumerate(KINDS)}
    return {
        "pairs": score.pairs,
        "defects": int(score.box.right + score.box.missed),
        "box_and_kind": {**_tally(score.box), "f_95": [round(end, 4) for end in interval(scores, "box")]},
        "box_any_kind": _tally(score.place),
        "tile_and_kind": _tally(score.tile),
        "tile_any_kind": _tally(score.tile_place),
        "kinds": by_kind,
    }


def _tally(one: Tally) -> dict[str, Any]:
    return {
        "f": round(one.f, 4),
        "precision": round(one.precision, 4),
        "recall": round(one.recall, 4),
        "right": int(one.right),
        "false": int(one.false),
        "missed": int(one.missed),
    }
