"""Defects drawn into a good board: six kinds, and each is labelled by what it does to the copper, not by how it was drawn."""

from __future__ import annotations

import cv2
import numpy as np

from agent.data import Array
from models.train.pcb_inspect.boards import KINDS, MARGIN, Defect

# Copper and gap change places in a negative: taking copper away is putting it there.
NEGATIVE = tuple(KINDS.index(kind) for kind in ("short", "open", "spur", "mousebite", "pin-hole", "copper"))
OPEN, MOUSEBITE, PIN_HOLE = (KINDS.index(kind) for kind in ("open", "mousebite", "pin-hole"))
TRIES = 6
LEAST_AREA, LEAST_DEPTH = 24, 3.0  # pixels; less is a rough edge
REACH = 44  # pixels from the middle of a defect within which it ends
RING = np.ones((3, 3), np.uint8)


def add(copper: Array, taken: Array, kind: int, random: np.random.Generator) -> Defect | None:
    """Draw one into copper (uint8 0 or 1, in place), clear of `taken` (the same, in place); None where no place was found."""
    if kind not in (OPEN, MOUSEBITE, PIN_HOLE):
        negative = 1 - copper
        drawn = add(negative, taken, NEGATIVE[kind], random)
        copper[...] = 1 - negative
        return drawn and drawn._replace(kind=kind)
    inside = cv2.distanceTransform(copper, cv2.DIST_L2, 3)
    spots = np.flatnonzero(_candidates(inside, kind))
    for _ in range(TRIES if len(spots) else 0):
        y, x = divmod(int(spots[random.integers(len(spots))]), copper.shape[1])
        part = slice(max(0, y - REACH), y + REACH), slice(max(0, x - REACH), x + REACH)
        middle = x - part[1].start, y - part[0].start
        gone = _stroke(copper[part].shape, middle, float(inside[y, x]), kind, random) & copper[part]
        if _name(gone, copper[part], inside[part]) == kind and not (around(gone) & taken[part]).any():
            copper[part] -= gone
            taken[part] |= around(gone)
            left, top, width, height = cv2.boundingRect(gone)
            left, top = left + part[1].start - MARGIN, top + part[0].start - MARGIN
            return Defect(kind, left, top, left + width + 2 * MARGIN, top + height + 2 * MARGIN)
    return None


def around(gone: Array) -> Array:
    """What no other defect may touch, lest the labels of both are wrong."""
    return np.asarray(cv2.dilate(gone, np.ones((2 * MARGIN + 1, 2 * MARGIN + 1), np.uint8)))


def _candidates(inside: Array, kind: int) -> Array:
    """Where such a defect may have its middle: for an open the middle of a trace, for a mousebite an edge."""
    if kind == MOUSEBITE:
        return np.asarray((inside > 0) & (inside < 2.0))
    if kind == PIN_HOLE:
        return np.asarray(inside > 5.0)
    return np.asarray((inside > 1.5) & (inside < 26.0) & (inside >= cv2.dilate(inside, RING) - 0.5))


def _stroke(
    shape: tuple[int, ...], middle: tuple[int, int], room: float, kind: int, random: np.random.Generator
) -> Array:
    """A ragged blob, longer than wide, uint8 0 or 1. room: pixels from the middle to the nearest edge."""
    long, wide = np.exp(random.uniform(np.log([4.0, 2.0]), np.log([14.0, 7.0])))
    if kind == OPEN:
        long = room * random.uniform(1.1, 1.8) + 3.0
    elif kind == PIN_HOLE:
        long, wide = min(long, room - 1.5), min(wide, room - 1.5)
    turn, around = random.uniform(0, np.pi), np.linspace(0, 2 * np.pi, 12, endpoint=False)
    ragged = random.uniform(0.65, 1.15, 12) if random.random() < 0.8 else np.ones(12)
    points = np.stack([np.cos(around) * long, np.sin(around) * wide], axis=1) * ragged[:, None]
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    drawn = np.zeros(shape, np.uint8)
    cv2.fillPoly(drawn, [np.rint(points @ rotation.T + middle).astype(np.int32)], 1)
    return drawn


def _name(gone: Array, copper: Array, inside: Array) -> int | None:
    """What taking `gone` away from the copper makes of it; None for nothing that has a name.

    Along its rim, a pin-hole meets only copper, a mousebite one stretch of copper and one of gap, an open two of each.
    """
    if gone.sum() < LEAST_AREA or inside[gone > 0].max() < LEAST_DEPTH:
        return None
    rim = cv2.dilate(gone, RING) - gone
    metal, gap = _stretches(rim & copper), _stretches(rim & (1 - copper))
    if gap == 0 and metal == 1:
        return PIN_HOLE
    if gap == 1 and metal == 1:
        return MOUSEBITE
    return OPEN if gap >= 2 and metal >= 2 else None


def _stretches(rim: Array) -> int:
    """Connected pieces of a rim; a single pixel is none."""
    count, _, pieces, _ = cv2.connectedComponentsWithStats(rim, connectivity=8)
    return int((pieces[1:count, cv2.CC_STAT_AREA] >= 2).sum())
