"""Zones of a picture: polygons in shares of its width and height, drawn in the configuration and asked by rules."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from agent.data import Box

Share = Annotated[float, Field(ge=0, le=1)]
Point = tuple[Share, Share]

LEAST, MOST = 3, 32  # corners
INSIDE = 1.0 - 1e-9  # a box that touches the picture's lower edge stands in a zone that goes down to it


def _simple(corners: tuple[Point, ...]) -> tuple[Point, ...]:
    """The same corners. Raises ValueError where the outline meets itself, so that inside and outside are not certain."""
    sides = [(corners[n - 1], corners[n]) for n in range(len(corners))]
    for n, (start, end) in enumerate(sides):
        if start == end:
            raise ValueError(f"corner {_shown(end)} stands there twice in a row")
        if _turn(start, end, sides[(n + 1) % len(sides)][1]) == 0 and _folds(
            start, end, sides[(n + 1) % len(sides)][1]
        ):
            raise ValueError(f"the outline turns back on itself at {_shown(end)}")
    for (n, one), (m, other) in combinations(enumerate(sides), 2):
        if m - n not in (1, len(sides) - 1) and _meet(*one, *other):
            raise ValueError(
                f"the side {_shown(one[0])} to {_shown(one[1])} meets the side {_shown(other[0])} to {_shown(other[1])}:"
                " name the corners in the order in which they follow each other around the zone"
            )
    return corners


def _corners_listed(given: Any) -> Any:
    """What is no list of corners at all is said in one sentence, not corner by corner."""
    pairs = isinstance(given, (list, tuple)) and all(isinstance(one, (list, tuple)) and len(one) == 2 for one in given)
    if not pairs or not LEAST <= len(given) <= MOST:
        raise ValueError(f"expected {LEAST} to {MOST} corners [[x, y], [x, y], ...] in shares of the frame")
    return given


Polygon = Annotated[
    tuple[Point, ...],
    AfterValidator(_simple),
    BeforeValidator(_corners_listed),
    Field(json_schema_extra={"minItems": LEAST, "maxItems": MOST}),
]


def _kind_of(zone: Any) -> str:
    return "name" if isinstance(zone, str) else "corners"


# The name of a zone of the lane, or its corners.
Place = Annotated[Annotated[str, Tag("name")] | Annotated[Polygon, Tag("corners")], Discriminator(_kind_of)]


def _shown(point: Point) -> str:
    return f"[{point[0]:g}, {point[1]:g}]"


def _turn(a: Point, b: Point, c: Point) -> int:
    """1 when c lies to one side of the line from a to b, -1 to the other, 0 on it; exactly, rounding included."""
    ax, ay, bx, by, cx, cy = map(Fraction, (*a, *b, *c))
    across = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    return (across > 0) - (across < 0)


def _folds(a: Point, b: Point, c: Point) -> bool:
    """Of three points on a line: going on from b to c leads back towards a."""
    (ax, ay), (bx, by), (cx, cy) = a, b, c
    return (bx - ax) * (cx - bx) < 0 or (by - ay) * (cy - by) < 0


def _within(a: Point, b: Point, c: Point) -> bool:
    """c, on the line through a and b, lies between them."""
    return min(a[0], b[0]) <= c[0] <= max(a[0], b[0]) and min(a[1], b[1]) <= c[1] <= max(a[1], b[1])


def _meet(a: Point, b: Point, c: Point, d: Point) -> bool:
    """The segments a to b and c to d have a point in common (Cormen et al., Introduction to Algorithms, 33.1)."""
    sides = _turn(a, b, c), _turn(a, b, d), _turn(c, d, a), _turn(c, d, b)
    if sides[0] * sides[1] < 0 and sides[2] * sides[3] < 0:
        return True
    ends = ((a, b, c), (a, b, d), (c, d, a), (c, d, b))
    return any(side == 0 and _within(*end) for side, end in zip(sides, ends))


class Zone:
    """A polygon, made ready to be asked many times a second.

    Zones that share a border share no point: each point of it belongs to the zone below or right of it. Points outside the
    picture count as the nearest ones in it.
    """

    def __init__(self, corners: Sequence[Point], middle: bool = False) -> None:
        """middle: ask for a box's middle, as befits a view from above, not for its foot, the middle of its lower edge."""
        self.middle = middle
        pairs = [(corners[n - 1], corners[n]) for n in range(len(corners))]
        # A level side is never crossed by a level ray. Each other: upper and lower end, x at the upper, x gained a y.
        rising = [(min(pair, key=lambda one: one[1]), max(pair, key=lambda one: one[1])) for pair in pairs]
        self.sides = [
            (top[1], low[1], top[0], (low[0] - top[0]) / (low[1] - top[1])) for top, low in rising if top[1] < low[1]
        ]

    def contains(self, box: Box) -> bool:
        """Its foot, or its middle, lies inside."""
        y = (box.top + box.bottom) / 2 if self.middle else box.bottom
        return self.inside((box.left + box.right) / 2, y)

    def inside(self, x: float, y: float) -> bool:
        """By the crossings of a ray to the left (Shimrat 1962, Algorithm 112)."""
        x, y = min(max(x, 0.0), INSIDE), min(max(y, 0.0), INSIDE)
        found = False
        for top, low, at, gain in self.sides:  # NaN is nowhere
            if top <= y < low and at + gain * (y - top) <= x:
                found = not found
        return found
