"""What to expect in a place that training never saw: each scene judged by a network that was trained on the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from agent.data import Array
from models.train.person_coarse.clips import SCENES, Clip
from models.train.person_coarse.score import Score, add, score

FOLDS = (("room 1",), ("room 2",), ("hall",), ("factory", "road"))  # left out together
THRESHOLDS, CELLS = (
    np.arange(400, 900, 25) / 1000,
    (2, 3, 4),
)  # with more a person a quarter of the picture high is none
FOUND, FALSE = 0.9, 0.1  # asked: share of the persons, false boxes a frame


class Choice(NamedTuple):
    threshold: float
    min_cells: int


Outputs = Mapping[str, list[Array]]  # of each scene's clips, float32 [n, rows, columns, 1]


def of(clips: Sequence[Clip], scene: str) -> list[Clip]:
    return [clip for clip in clips if clip.name in SCENES[scene]]


def tally(clips: Sequence[Clip], outputs: Outputs, scene: str, choice: Choice) -> Score:
    total = Score()
    for clip, cells in zip(of(clips, scene), outputs[scene]):
        truths = [truth for truth, judged in zip(clip.truths, clip.judged) if judged]
        total = add(total, score(cells[clip.judged], truths, *choice))
    return total


def choose(clips: Sequence[Clip], outputs: Outputs, scenes: Sequence[str]) -> Choice:
    """Where the scenes together fall least short of what is asked; each counts the same."""

    def short(choice: Choice) -> float:
        return sum(_shortfall(tally(clips, outputs, scene, choice)) for scene in scenes)

    return min((Choice(float(threshold), cells) for threshold, cells in product(THRESHOLDS, CELLS)), key=short)


def _shortfall(one: Score) -> float:
    """Of both meanings of found and of the false boxes, in shares of 1."""
    missed = sum(max(0.0, FOUND - hits / one.there) for hits in (one.found, one.boxed)) if one.there else 0.0
    return missed + max(0.0, one.false / one.frames - FALSE)


def choices(clips: Sequence[Clip], outputs: Outputs) -> dict[str, Choice]:
    """For each scene the choice that the scenes of the other folds make: its own figures stay unlooked at."""
    chosen = {}
    for fold in FOLDS:
        others = [scene for other in FOLDS if other != fold for scene in other]
        chosen.update(dict.fromkeys(fold, choose(clips, outputs, others)))
    return chosen
