"""How well defects are found: as boxes, as tiles of the board, by kind and whatever the kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np

from agent.data import Array
from agent.decoders.base import Finding
from models.train.pcb_inspect.boards import KINDS, MARGIN, SIDE, Defect, Pair

OVERLAP = 0.33  # intersection over union from which a box is right, as in DeepPCB's own figures
TILE = 64  # pixels of a tile's side

Said = tuple[Defect, float]  # what the network says, and how sure it is


class Tally(NamedTuple):
    right: int
    false: int
    missed: int

    def __add__(self, other: Tally) -> Tally:  # type: ignore[override]
        return Tally(*(a + b for a, b in zip(self, other)))

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
    """box: kind and place right; place: some box there; the same of tiles. matrix: int [7, 7], truth to said, last is none."""

    pairs: int
    box: Tally
    place: Tally
    tile: Tally
    tile_place: Tally
    matrix: Array


def judge(pairs: Iterable[Pair], inspect: Callable[[Pair], Sequence[Finding]]) -> list[Score]:
    """One for each pair. inspect: findings on it, boxes as shares of the picture."""
    return [one(pair.defects, [_placed(finding) for finding in inspect(pair)]) for pair in pairs]


def total(scores: Iterable[Score]) -> Score:
    none = Score(0, *[Tally(0, 0, 0)] * 4, np.zeros((len(KINDS) + 1,) * 2, int))
    return reduce(lambda a, b: Score(*(x + y for x, y in zip(a, b))), scores, none)


def interval(scores: Sequence[Score], which: str) -> tuple[float, float]:
    """95 % confidence interval of an F: pairs drawn anew, with repetition (bootstrap)."""
    counts = np.array([getattr(score, which) for score in scores])
    drawn = np.random.default_rng(0).integers(0, len(counts), (2000, len(counts)))
    right, false, missed = counts[drawn].sum(axis=1).T
    low, high = np.percentile(2 * right / np.maximum(1, 2 * right + false + missed), [2.5, 97.5])
    return float(low), float(high)


def of_kind(score: Score, kind: int) -> Tally:
    """Boxes of one kind, of those in the matrix."""
    right, there, said = score.matrix[kind, kind], score.matrix[kind].sum(), score.matrix[:, kind].sum()
    return Tally(int(right), int(said - right), int(there - right))


def one(truth: Sequence[Defect], said: Sequence[Said]) -> Score:
    """The score of one pair."""
    return Score(
        1,
        _boxes(truth, said, True),
        _boxes(truth, said, False),
        tiles(truth, said, True),
        tiles(truth, said, False),
        _confusion(truth, said),
    )


def _placed(finding: Finding) -> Said:
    box = finding.box
    assert box is not None, "the grid decoder gives every finding a box"
    edges = (edge * SIDE for edge in (box.left, box.top, box.right, box.bottom))
    return Defect(KINDS.index(finding.label), *edges), finding.score


def _overlap(a: Defect, b: Defect) -> float:
    """Intersection over union."""
    wide, high = min(a.right, b.right) - max(a.left, b.left), min(a.bottom, b.bottom) - max(a.top, b.top)
    if wide <= 0 or high <= 0:
        return 0.0
    areas = sum((one.right - one.left) * (one.bottom - one.top) for one in (a, b))
    return wide * high / (areas - wide * high)


def _matches(truth: Sequence[Defect], said: Sequence[Said], kinds: bool) -> list[tuple[Defect, Defect]]:
    """(true, said) that belong together, each once: the surest box first takes the nearest of what is left."""
    left, found = list(truth), []
    for box, _ in sorted(said, key=lambda one: -one[1]):
        near = [(_overlap(one, box), one) for one in left if one.kind == box.kind or not kinds]
        best = max(near, default=(0.0, box))
        if best[0] >= OVERLAP:
            left.remove(best[1])
            found.append((best[1], box))
    return found


def _boxes(truth: Sequence[Defect], said: Sequence[Said], kinds: bool) -> Tally:
    right = len(_matches(truth, said, kinds))
    return Tally(right, len(said) - right, len(truth) - right)


def _confusion(truth: Sequence[Defect], said: Sequence[Said]) -> Array:
    """int [7, 7]: rows what it was, columns what was said in that place, the last of each nothing."""
    matrix, none = np.zeros((len(KINDS) + 1,) * 2, int), len(KINDS)
    pairs = _matches(truth, said, False)
    for true, box in pairs:
        matrix[true.kind, box.kind] += 1
    for kind in range(none):
        matrix[kind, none] = sum(one.kind == kind for one in truth) - matrix[kind, :none].sum()
        matrix[none, kind] = sum(box.kind == kind for box, _ in said) - matrix[:none, kind].sum()
    return matrix


def tiles(truth: Sequence[Defect], said: Sequence[Said], kinds: bool) -> Tally:
    """Tiles of TILE pixels, for each kind or of any. A tile into which only a box's margin reaches counts neither way."""
    true, edge = _touched(truth, MARGIN), _touched(truth, 0)
    told = _touched([box for box, _ in said], MARGIN)
    if not kinds:
        true, edge, told = (one.any(axis=0) for one in (true, edge, told))
    return Tally(int((true & told).sum()), int((told & ~edge).sum()), int((true & ~told).sum()))


def _touched(found: Sequence[Defect], margin: int) -> Array:
    """bool [kinds, rows, columns]: tiles that a box less its margin reaches into."""
    grid = np.zeros((len(KINDS), SIDE // TILE, SIDE // TILE), bool)
    for one in found:
        middle = (one.left + one.right) / 2, (one.top + one.bottom) / 2
        left, top = (int(min(edge + margin, at)) for edge, at in zip((one.left, one.top), middle))
        right, bottom = (int(np.ceil(max(edge - margin, at + 1))) for edge, at in zip((one.right, one.bottom), middle))
        rows = slice(max(0, top) // TILE, -(-min(bottom, SIDE) // TILE))
        grid[one.kind, rows, max(0, left) // TILE : -(-min(right, SIDE) // TILE)] = True
    return grid
