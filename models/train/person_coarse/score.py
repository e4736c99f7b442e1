"""How well a network's boxes fit the teachers': persons found and false boxes, by two meanings of "found"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from agent.data import Array, Box
from agent.decoders.grid import boxes
from models.train.person_coarse.truth import Truth, area, common, shared

BOXED = 0.3  # intersection over union from which a box is as good as the teachers'
ON_PERSON = 0.5  # so much of a group of cells must lie in the teachers' box


class Score(NamedTuple):
    """Over frames: persons there; found, a group of cells lies on them; boxed, a box overlaps theirs; false: boxes on nobody.

    overlap: sum of the best intersection over union of each person there. either: found or boxed, as a box is false by neither.
    """

    frames: int = 0
    there: int = 0
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


def judge(guesses: list[Box], truth: Truth) -> Score:
    """One frame. A box that lies where the teachers doubt is neither right nor false."""
    best = [max((shared(person, guess) for guess in guesses), default=0.0) for person in truth.people]
    found = [any(_inside(guess, person) for guess in guesses) for person in truth.people]
    boxed = [one >= BOXED for one in best]
    either = sum(map(max, found, boxed))
    known = [*truth.people, *truth.doubts]
    false = sum(not any(_inside(guess, box) or shared(guess, box) >= BOXED for box in known) for guess in guesses)
    return Score(1, len(truth.people), sum(found), sum(boxed), false, sum(best), either)


def add(one: Score, other: Score) -> Score:
    return Score(*map(sum, zip(one, other)))


def _inside(guess: Box, person: Box) -> bool:
    return common(guess, person) >= ON_PERSON * area(guess)
