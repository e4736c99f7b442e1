"""Defects drawn into a good board: six kinds, each labelled by what it does to the copper, not by how it was drawn."""

from __future__ import annotations

import cv2
import numpy as np

from agent.data import Array
from models.train.pcb_inspect.boards import KINDS, MARGIN, Defect

# Copper and gap change places in a negative: removing copper there adds copper here.
NEGATIVE = tuple(KINDS.index(kind) for kind in ("short", "open", "spur", "mousebite", "pin-hole", "copper"))
OPEN, MOUSEBITE, PIN_HOLE = (KINDS.index(kind) for kind in ("open", "mousebite", "pin-hole"))
MAX_TRIES = 6
MIN_AREA, MIN_DEPTH = 24, 3.0  # pixels; less is a rough edge
REACH = 44  # pixels from the middle of a defect within which it ends
NEIGHBOURS = np.ones((3, 3), np.uint8)


def add(copper: Array, occupied: Array, kind: int, random: np.random.Generator) -> Defect | None:
    """Draw a defect into copper (uint8 0 or 1, in place), clear of `occupied` (the same); None where none fits."""
    if kind in (OPEN, MOUSEBITE, PIN_HOLE):
        return _remove_copper(copper, occupied, kind, random)
    negative = 1 - copper
    drawn = _remove_copper(negative, occupied, NEGATIVE[kind], random)
    copper[...] = 1 - negative
    return drawn and drawn._replace(kind=kind)


def _remove_copper(copper: Array, occupied: Array, kind: int, random: np.random.Generator) -> Defect | None:
    depth = cv2.distanceTransform(copper, cv2.DIST_L2, 3)
    middles = np.flatnonzero(_candidates(depth, kind))
    for _ in range(MAX_TRIES if len(middles) else 0):
        y, x = divmod(int(middles[random.integers(len(middles))]), copper.shape[1])
        part = slice(max(0, y - REACH), y + REACH), slice(max(0, x - REACH), x + REACH)
        middle = x - part[1].start, y - part[0].start
        removed: Array = _blob(copper[part].shape, middle, float(depth[y, x]), kind, random) & copper[part]
        clearance = _clearance(removed)
        if _kind_of(removed, copper[part], depth[part]) == kind and not (clearance & occupied[part]).any():
            copper[part] -= removed
            occupied[part] |= clearance
            left, top, width, height = cv2.boundingRect(removed)
            left, top = left + part[1].start - MARGIN, top + part[0].start - MARGIN
            return Defect(kind, left, top, left + width + 2 * MARGIN, top + height + 2 * MARGIN)
    return None


def _clearance(removed: Array) -> Array:
    """The pixels that no other defect may touch: it would make the labels of both wrong."""
    return np.asarray(cv2.dilate(removed, np.ones((2 * MARGIN + 1, 2 * MARGIN + 1), np.uint8)))


def _candidates(depth: Array, kind: int) -> Array:
    """Where such a defect may have its middle: for an open the middle of a trace, for a mousebite an edge.

    depth: pixels to the nearest gap.
    """
    if kind == MOUSEBITE:
        return np.asarray((depth > 0) & (depth < 2.0))
    if kind == PIN_HOLE:
        return np.asarray(depth > 5.0)
    return np.asarray((depth > 1.5) & (depth < 26.0) & (depth >= cv2.dilate(depth, NEIGHBOURS) - 0.5))


def _blob(
    shape: tuple[int, ...], middle: tuple[int, int], depth: float, kind: int, random: np.random.Generator
) -> Array:
    """A ragged ellipse, uint8 0 or 1. depth: pixels from the middle to the nearest edge."""
    length, width = np.exp(random.uniform(np.log([4.0, 2.0]), np.log([14.0, 7.0])))
    if kind == OPEN:
        length = depth * random.uniform(1.1, 1.8) + 3.0
    elif kind == PIN_HOLE:
        length, width = min(length, depth - 1.5), min(width, depth - 1.5)
    turn, angles = random.uniform(0, np.pi), np.linspace(0, 2 * np.pi, 12, endpoint=False)
    ragged = random.uniform(0.65, 1.15, 12) if random.random() < 0.8 else np.ones(12)
    points = np.stack([np.cos(angles) * length, np.sin(angles) * width], axis=1) * ragged[:, None]
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    drawn = np.zeros(shape, np.uint8)
    cv2.fillPoly(drawn, [np.rint(points @ rotation.T + middle).astype(np.int32)], 1)
    return drawn


def _kind_of(removed: Array, copper: Array, depth: Array) -> int | None:
    """The kind of defect that results from removing these pixels from the copper; None where it has no name.

    Along its rim, a pin-hole has only copper, a mousebite one stretch of copper and one of gap, an open two of each.
    """
    if removed.sum() < MIN_AREA or depth[removed > 0].max() < MIN_DEPTH:
        return None
    rim = cv2.dilate(removed, NEIGHBOURS) - removed
    metal, gap = _stretches(rim & copper), _stretches(rim & (1 - copper))
    if gap == 0 and metal == 1:
        return PIN_HOLE
    if gap == 1 and metal == 1:
        return MOUSEBITE
    return OPEN if gap >= 2 and metal >= 2 else None


def _stretches(rim: Array) -> int:
    """Connected pieces of a rim; single pixels are not counted."""
    count, _, pieces, _ = cv2.connectedComponentsWithStats(rim, connectivity=8)
    return int((pieces[1:count, cv2.CC_STAT_AREA] >= 2).sum())
