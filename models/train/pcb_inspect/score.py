"""How well defects are found: as boxes and as tiles of the board, with the right kind and whatever the kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from agent.data import Array
from agent.decoders.base import Finding
from models.train.pcb_inspect.boards import KINDS, MARGIN, SIDE, Defect, Pair

OVERLAP = 0.33  # intersection over union from which a box is right, as in DeepPCB's own figures
TILE = 64  # pixels of a tile's side

Detection = tuple[Defect, float]  # a defect that the network reports, and its score


class Tally(NamedTuple):
    """Counts of right, false and missed boxes or tiles, and the usual ratios of them."""

    right: int
    false: int
    missed: int

    def plus(self, other: Tally) -> Tally:
        return Tally(self.right + other.right, self.false + other.false, self.missed + other.missed)

    @property
    def f(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.right / max(1, 2 * self.right + self.false + self.missed)

    @property
    def precision(self) -> float:
        return self.right / max(1, self.right + self.false)

    @property
    def recall(self) -> float:
        return self.right / max(1, self.right + self.missed)


class Score(NamedTuple):
    """box: kind and place right. place: whatever the kind. tile, tile_place: the same of tiles.

    matrix: int [7, 7], rows the true kind, columns the detected one, last is none.
    """

    pairs: int
    box: Tally
    place: Tally
    tile: Tally
    tile_place: Tally
    matrix: Array


def judge(pairs: Iterable[Pair], inspect: Callable[[Pair], Sequence[Finding]]) -> list[Score]:
    """A score for each pair. inspect: findings on it, boxes as shares of the picture."""
    return [score_pair(pair.defects, [_detection(finding) for finding in inspect(pair)]) for pair in pairs]


def score_pair(truth: Sequence[Defect], detections: Sequence[Detection]) -> Score:
    return Score(
        pairs=1,
        box=_box_tally(truth, detections, True),
        place=_box_tally(truth, detections, False),
        tile=tile_tally(truth, detections, True),
        tile_place=tile_tally(truth, detections, False),
        matrix=_confusion(truth, detections),
    )


def total(scores: Iterable[Score]) -> Score:
    none = Tally(0, 0, 0)
    summed = Score(0, box=none, place=none, tile=none, tile_place=none, matrix=_empty_matrix())
    for score in scores:
        summed = Score(
            pairs=summed.pairs + score.pairs,
            box=summed.box.plus(score.box),
            place=summed.place.plus(score.place),
            tile=summed.tile.plus(score.tile),
            tile_place=summed.tile_place.plus(score.tile_place),
            matrix=summed.matrix + score.matrix,
        )
    return summed


def interval(scores: Sequence[Score], field: str) -> tuple[float, float]:
    """95 % confidence interval of the F of a field of Score: pairs drawn with repetition (bootstrap)."""
    counts = np.array([getattr(score, field) for score in scores])
    drawn = np.random.default_rng(0).integers(0, len(counts), (2000, len(counts)))
    right, false, missed = counts[drawn].sum(axis=1).T
    low, high = np.percentile(2 * right / np.maximum(1, 2 * right + false + missed), [2.5, 97.5])
    return float(low), float(high)


def kind_tally(score: Score, kind: int) -> Tally:
    """Boxes of one kind, from the matrix."""
    right, true, detected = score.matrix[kind, kind], score.matrix[kind].sum(), score.matrix[:, kind].sum()
    return Tally(int(right), int(detected - right), int(true - right))


def _empty_matrix() -> Array:
    return np.zeros((len(KINDS) + 1,) * 2, int)


def _detection(finding: Finding) -> Detection:
    box = finding.box
    assert box is not None, "the grid decoder gives every finding a box"
    edges = (edge * SIDE for edge in (box.left, box.top, box.right, box.bottom))
    return Defect(KINDS.index(finding.label), *edges), finding.score


def _overlap(a: Defect, b: Defect) -> float:
    """Intersection over union."""
    width, height = min(a.right, b.right) - max(a.left, b.left), min(a.bottom, b.bottom) - max(a.top, b.top)
    if width <= 0 or height <= 0:
        return 0.0
    areas = sum((box.right - box.left) * (box.bottom - box.top) for box in (a, b))
    return width * height / (areas - width * height)


def _matches(truth: Sequence[Defect], detections: Sequence[Detection], kinds: bool) -> list[tuple[Defect, Defect]]:
    """(true, detected) that match, each once: the box of the highest score first takes the nearest of the rest."""
    rest, matches = list(truth), []
    for box, _ in sorted(detections, key=lambda detection: -detection[1]):
        candidates = [(_overlap(defect, box), defect) for defect in rest if defect.kind == box.kind or not kinds]
        overlap, nearest = max(candidates, default=(0.0, box))
        if overlap >= OVERLAP:
            rest.remove(nearest)
            matches.append((nearest, box))
    return matches


def _box_tally(truth: Sequence[Defect], detections: Sequence[Detection], kinds: bool) -> Tally:
    right = len(_matches(truth, detections, kinds))
    return Tally(right, len(detections) - right, len(truth) - right)


def _confusion(truth: Sequence[Defect], detections: Sequence[Detection]) -> Array:
    """Matrix int [7, 7]: rows the true kind, columns the detected one in that place, the last of each none."""
    matrix, none = _empty_matrix(), len(KINDS)
    for true, detected in _matches(truth, detections, False):
        matrix[true.kind, detected.kind] += 1
    for kind in range(none):
        matrix[kind, none] = sum(defect.kind == kind for defect in truth) - matrix[kind, :none].sum()
        matrix[none, kind] = sum(box.kind == kind for box, _ in detections) - matrix[:none, kind].sum()
    return matrix


def tile_tally(truth: Sequence[Defect], detections: Sequence[Detection], kinds: bool) -> Tally:
    """Tiles of TILE pixels, by kind or of any. A tile into which only a box's margin reaches counts neither way."""
    true, with_margin = _touched(truth, MARGIN), _touched(truth, 0)
    detected = _touched([box for box, _ in detections], MARGIN)
    if not kinds:
        true, with_margin, detected = (np.asarray(tiles.any(axis=0)) for tiles in (true, with_margin, detected))
    right, false, missed = true & detected, detected & ~with_margin, true & ~detected
    return Tally(int(right.sum()), int(false.sum()), int(missed.sum()))


def _touched(defects: Sequence[Defect], margin: int) -> Array:
    """Tiles, bool [kinds, rows, columns], that a box without its margin reaches into."""
    grid = np.zeros((len(KINDS), SIDE // TILE, SIDE // TILE), bool)
    for box in defects:
        middle = (box.left + box.right) / 2, (box.top + box.bottom) / 2
        left, top = (int(min(edge + margin, at)) for edge, at in zip((box.left, box.top), middle))
        right, bottom = (int(np.ceil(max(edge - margin, at + 1))) for edge, at in zip((box.right, box.bottom), middle))
        rows = slice(max(0, top) // TILE, -(-min(bottom, SIDE) // TILE))
        grid[box.kind, rows, max(0, left) // TILE : -(-min(right, SIDE) // TILE)] = True
    return grid
