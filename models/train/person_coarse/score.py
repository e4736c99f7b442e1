"""How well a network's boxes match the teachers': persons found by two definitions, and false boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from agent.data import Array, Box
from agent.decoders.grid import boxes
from models.train.person_coarse.truth import Truth, area, intersection, intersection_over_union

BOXED = 0.3  # intersection over union from which a box is as good as the teachers'
ON_PERSON = 0.5  # this share of a group of cells must lie in the teachers' box


class Score(NamedTuple):
    """Counts over frames. persons: of the truth. found: with a group of cells on them. boxed: with a matching box.

    either: found or boxed. false: boxes that are neither on a person nor match one. overlap: sum over the persons of
    the best intersection over union.
    """

    frames: int = 0
    persons: int = 0
    found: int = 0
    boxed: int = 0
    false: int = 0
    overlap: float = 0.0
    either: int = 0


def score(outputs: Array, truths: Sequence[Truth], threshold: float, min_cells: int) -> Score:
    """outputs: float32 [n, rows, columns, 1]."""
    total = Score()
    for cells, truth in zip(outputs, truths):
        total = add(total, judge([box for _, box in boxes(cells[..., 0], threshold, min_cells)], truth))
    return total


def judge(predictions: list[Box], truth: Truth) -> Score:
    """One frame. A box that lies where the teachers are uncertain is neither right nor false."""
    best = [
        max((intersection_over_union(person, prediction) for prediction in predictions), default=0.0)
        for person in truth.people
    ]
    hits = [any(_inside(prediction, person) for prediction in predictions) for person in truth.people]
    boxed = [overlap >= BOXED for overlap in best]
    return Score(
        frames=1,
        persons=len(truth.people),
        found=sum(hits),
        boxed=sum(boxed),
        false=sum(_is_false(prediction, truth) for prediction in predictions),
        overlap=sum(best),
        either=sum(map(max, hits, boxed)),
    )


def add(first: Score, second: Score) -> Score:
    return Score(
        frames=first.frames + second.frames,
        persons=first.persons + second.persons,
        found=first.found + second.found,
        boxed=first.boxed + second.boxed,
        false=first.false + second.false,
        overlap=first.overlap + second.overlap,
        either=first.either + second.either,
    )


def _is_false(prediction: Box, truth: Truth) -> bool:
    known = [*truth.people, *truth.uncertain]
    return not any(_inside(prediction, box) or intersection_over_union(prediction, box) >= BOXED for box in known)


def _inside(prediction: Box, person: Box) -> bool:
    return intersection(prediction, person) >= ON_PERSON * area(prediction)
