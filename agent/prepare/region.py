"""The part of a frame that a model is given."""

from __future__ import annotations

from typing import NamedTuple

from agent.data import Box


class Region(NamedTuple):
    """A part of a frame, in pixels."""

    left: int
    top: int
    width: int
    height: int


def region_around(box: Box, wide: int, high: int, frame: tuple[int, ...]) -> Region:
    """The region of `wide` x `high` pixels around the middle of a box (in shares), shifted into the frame.

    wide: even, as the region's left edge is: two pixels of YUYV share their colour. frame: its shape.
    """
    height, width = frame[:2]
    left = round(((box.left + box.right) * width - wide) / 4) * 2
    top = round(((box.top + box.bottom) * height - high) / 2)
    wide, high = min(wide, width), min(high, height)
    return Region(min(max(left, 0), (width - wide) // 2 * 2), min(max(top, 0), height - high), wide, high)
