"""What to expect in a new place: each scene is judged by a network that was trained on the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from agent.data import Array
from models.train.person_coarse.clips import SCENES, Clip
from models.train.person_coarse.score import Score, add, score

FOLDS = (("room 1",), ("room 2",), ("hall",), ("factory", "road"))  # left out together
THRESHOLDS = np.arange(400, 900, 25) / 1000
MIN_CELLS = (2, 3, 4)  # a person a quarter of the picture high covers no more
LEAST_FOUND, MOST_FALSE = 0.9, 0.1  # targets: share of the persons, false boxes a frame


class Choice(NamedTuple):
    """The grid decoder's options: the threshold of a cell's score, and the least cells of a box."""

    threshold: float
    min_cells: int


Outputs = Mapping[str, list[Array]]  # of each scene's clips, float32 [n, rows, columns, 1]


def clips_of(clips: Sequence[Clip], scene: str) -> list[Clip]:
    return [clip for clip in clips if clip.name in SCENES[scene]]


def tally(clips: Sequence[Clip], outputs: Outputs, scene: str, choice: Choice) -> Score:
    total = Score()
    for clip, cells in zip(clips_of(clips, scene), outputs[scene]):
        truths = [truth for truth, judged in zip(clip.truths, clip.judged) if judged]
        total = add(total, score(cells[clip.judged], truths, *choice))
    return total


def choose(clips: Sequence[Clip], outputs: Outputs, scenes: Sequence[str]) -> Choice:
    """Where the scenes together fall least short of the targets; each counts the same."""

    def total_shortfall(choice: Choice) -> float:
        return sum(_shortfall(tally(clips, outputs, scene, choice)) for scene in scenes)

    options = (Choice(float(threshold), cells) for threshold, cells in product(THRESHOLDS, MIN_CELLS))
    return min(options, key=total_shortfall)


def _shortfall(result: Score) -> float:
    """Of persons found, of persons boxed and of the false boxes, in shares of 1."""
    counts = (result.found, result.boxed) if result.persons else ()
    missed = sum(max(0.0, LEAST_FOUND - count / result.persons) for count in counts)
    return missed + max(0.0, result.false / result.frames - MOST_FALSE)


def choices(clips: Sequence[Clip], outputs: Outputs) -> dict[str, Choice]:
    """For each scene the choice of the other folds' scenes: its own figures have no part in it."""
    chosen = {}
    for fold in FOLDS:
        others = [scene for other in FOLDS if other != fold for scene in other]
        chosen.update(dict.fromkeys(fold, choose(clips, outputs, others)))
    return chosen
