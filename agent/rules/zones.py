"""Zones of a picture: polygons in shares of its width and height, configured per lane and used by conditions."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from agent.data import Box

Share = Annotated[float, Field(ge=0, le=1)]
Point = tuple[Share, Share]

MIN_CORNERS, MAX_CORNERS = 3, 32
BELOW_ONE = 1.0 - 1e-9  # a box that touches the picture's lower edge stands in a zone that goes down to it


def _require_simple(corners: tuple[Point, ...]) -> tuple[Point, ...]:
    """The same corners. Raises ValueError where the outline meets itself: inside and outside would be ambiguous."""
    sides = [(corners[n - 1], corners[n]) for n in range(len(corners))]
    for n, (start, end) in enumerate(sides):
        if start == end:
            raise ValueError(f"corner {_format(end)} appears twice in a row")
        following = sides[(n + 1) % len(sides)][1]
        if _orientation(start, end, following) == 0 and _folds_back(start, end, following):
            raise ValueError(f"the outline turns back on itself at {_format(end)}")
    for (n, side), (m, other) in combinations(enumerate(sides), 2):
        if m - n not in (1, len(sides) - 1) and _intersect(*side, *other):
            raise ValueError(
                f"the side {_format_side(side)} meets the side {_format_side(other)}:"
                " name the corners in the order in which they follow each other around the zone"
            )
    return corners


def _require_corner_list(value: Any) -> Any:
    """Anything but a list of corners is reported in one sentence, not corner by corner."""
    pairs = isinstance(value, (list, tuple)) and all(
        isinstance(corner, (list, tuple)) and len(corner) == 2 for corner in value
    )
    if not pairs or not MIN_CORNERS <= len(value) <= MAX_CORNERS:
        raise ValueError(
            f"expected {MIN_CORNERS} to {MAX_CORNERS} corners [[x, y], [x, y], ...] in shares of the frame"
        )
    return value


Polygon = Annotated[
    tuple[Point, ...],
    AfterValidator(_require_simple),
    BeforeValidator(_require_corner_list),
    Field(json_schema_extra={"minItems": MIN_CORNERS, "maxItems": MAX_CORNERS}),
]


def _tag(zone: Any) -> str:
    return "name" if isinstance(zone, str) else "corners"


# The name of a zone of the lane, or its corners.
ZoneRef = Annotated[Annotated[str, Tag("name")] | Annotated[Polygon, Tag("corners")], Discriminator(_tag)]


def _format(point: Point) -> str:
    return f"[{point[0]:g}, {point[1]:g}]"


def _format_side(side: tuple[Point, Point]) -> str:
    return f"{_format(side[0])} to {_format(side[1])}"


def _orientation(a: Point, b: Point, c: Point) -> int:
    """1 when c lies to one side of the line from a to b, -1 to the other, 0 on it; exact, without rounding."""
    ax, ay, bx, by, cx, cy = map(Fraction, (*a, *b, *c))
    across = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    return (across > 0) - (across < 0)


def _folds_back(a: Point, b: Point, c: Point) -> bool:
    """Of three points on a line: the way from b to c leads back towards a."""
    (ax, ay), (bx, by), (cx, cy) = a, b, c
    return (bx - ax) * (cx - bx) < 0 or (by - ay) * (cy - by) < 0


def _on_segment(a: Point, b: Point, c: Point) -> bool:
    """c, on the line through a and b, lies between them."""
    return min(a[0], b[0]) <= c[0] <= max(a[0], b[0]) and min(a[1], b[1]) <= c[1] <= max(a[1], b[1])


def _intersect(a: Point, b: Point, c: Point, d: Point) -> bool:
    """The segments a to b and c to d have a point in common (Cormen et al., Introduction to Algorithms, 33.1)."""
    sides = _orientation(a, b, c), _orientation(a, b, d), _orientation(c, d, a), _orientation(c, d, b)
    if sides[0] * sides[1] < 0 and sides[2] * sides[3] < 0:
        return True
    ends = ((a, b, c), (a, b, d), (c, d, a), (c, d, b))
    return any(side == 0 and _on_segment(*end) for side, end in zip(sides, ends))


class Zone:
    """A polygon prepared for many tests a second.

    Zones that share a border share no point: each point of it belongs to the zone below or right of it. Points outside
    the picture count as the nearest ones in it.
    """

    def __init__(self, corners: Sequence[Point], by_middle: bool = False) -> None:
        """by_middle: test a box's middle, for a view from above, not its foot, the middle of its lower edge."""
        self.by_middle = by_middle
        pairs = [(corners[n - 1], corners[n]) for n in range(len(corners))]
        # A horizontal ray never crosses a horizontal side. The others: y of both ends, x at the upper one, dx / dy.
        ordered = [(min(pair, key=lambda end: end[1]), max(pair, key=lambda end: end[1])) for pair in pairs]
        self.sides = [
            (top[1], low[1], top[0], (low[0] - top[0]) / (low[1] - top[1])) for top, low in ordered if top[1] < low[1]
        ]

    def contains(self, box: Box) -> bool:
        """Its foot, or its middle, lies inside."""
        y = (box.top + box.bottom) / 2 if self.by_middle else box.bottom
        return self.inside((box.left + box.right) / 2, y)

    def inside(self, x: float, y: float) -> bool:
        """By the crossings of a ray to the left (Shimrat 1962, Algorithm 112)."""
        x, y = min(max(x, 0.0), BELOW_ONE), min(max(y, 0.0), BELOW_ONE)
        inside = False
        for top, low, x_top, slope in self.sides:  # NaN is in no zone
            if top <= y < low and x_top + slope * (y - top) <= x:
                inside = not inside
        return inside
