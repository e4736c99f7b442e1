"""Drawn circuit boards: one good layout, and the six defects of a bare board at known places.

Copper is black, 48 pixels a mm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from agent.data import Array

SIDE = 640
TRACES = [50 + 62 * number for number in range(7)]  # x of vertical traces
TRACE_WIDTH = 20  # of a trace
PADS = [(x, y) for x in TRACES[::2] for y in (110, 520)]
PLANE = (490, 60, 600, 580)  # left, top, right, bottom of a copper area
SHIFT = 2  # pixels by which a board is displaced from the good one, at most
MIN_DISTANCE = 60  # pixels between two defects


class Defect(NamedTuple):
    """One of KINDS, and its centre in pixels."""

    kind: str
    x: int
    y: int


def good() -> Array:
    """uint8 [SIDE, SIDE], 1 is copper: traces with a jog, pads with holes, an area."""
    copper = np.zeros((SIDE, SIDE), np.uint8)
    for x in TRACES:
        points = np.array([[x, 0], [x, 300], [x + 20, 330], [x + 20, SIDE]], np.int32)
        cv2.polylines(copper, [points], False, 1, TRACE_WIDTH)
    for x, y in PADS:
        centre = (x + (20 if y > 330 else 0), y)
        cv2.circle(copper, centre, 24, 1, -1)
        cv2.circle(copper, centre, 8, 0, -1)
    left, top, right, bottom = PLANE
    cv2.rectangle(copper, (left, top), (right, bottom), 1, -1)
    return copper


def _trace_point(random: np.random.Generator) -> tuple[int, int]:
    """A point on the centre line of a trace, away from pads and the jog."""
    y = int(random.choice([random.integers(160, 280), random.integers(350, 470)]))
    return int(random.choice(TRACES)) + (20 if y > 330 else 0), y


def _gap(copper: Array, random: np.random.Generator) -> tuple[int, int]:
    x, y = _trace_point(random)
    gap = int(random.integers(5, 9))
    cv2.rectangle(copper, (x - TRACE_WIDTH, y - gap), (x + TRACE_WIDTH, y + gap), 0, -1)
    return x, y


def _short(copper: Array, random: np.random.Generator) -> tuple[int, int]:
    x, y = _trace_point(random)
    x = min(x, TRACES[-2])
    cv2.line(copper, (x, y), (x + 62, y + int(random.integers(-8, 9))), 1, int(random.integers(5, 10)))
    return x + 31, y


def _mousebite(copper: Array, random: np.random.Generator) -> tuple[int, int]:
    x, y = _trace_point(random)
    x += int(random.choice([-1, 1])) * (TRACE_WIDTH // 2 + 1)
    cv2.ellipse(copper, (x, y), (int(random.integers(6, 9)), int(random.integers(6, 11))), 0, 0, 360, 0, -1)
    return x, y


def _spur(copper: Array, random: np.random.Generator) -> tuple[int, int]:
    x, y = _trace_point(random)
    x += int(random.choice([-1, 1])) * (TRACE_WIDTH // 2 + 1)
    cv2.ellipse(copper, (x, y), (int(random.integers(8, 13)), int(random.integers(5, 9))), 0, 0, 360, 1, -1)
    return x, y


def _spare_copper(copper: Array, random: np.random.Generator) -> tuple[int, int]:
    x, y = _trace_point(random)
    x += 31  # between two traces
    turn = float(random.uniform(0, 180))
    cv2.ellipse(copper, (x, y), (int(random.integers(6, 10)), int(random.integers(5, 8))), turn, 0, 360, 1, -1)
    return x, y


def _pin_hole(copper: Array, random: np.random.Generator) -> tuple[int, int]:
    left, top, right, bottom = PLANE
    x, y = int(random.integers(left + 25, right - 25)), int(random.integers(top + 25, bottom - 25))
    cv2.ellipse(copper, (x, y), (int(random.integers(4, 8)), int(random.integers(4, 8))), 0, 0, 360, 0, -1)
    return x, y


KINDS: dict[str, Callable[[Array, np.random.Generator], tuple[int, int]]] = {
    "open": _gap,
    "short": _short,
    "mousebite": _mousebite,
    "spur": _spur,
    "copper": _spare_copper,
    "pin-hole": _pin_hole,
}


def board(number: int, seed: int, defective: float) -> tuple[Array, list[Defect]]:
    """Picture uint8 [SIDE, SIDE] of board `number` and its defects, none to three; the same for the same seed."""
    random = np.random.default_rng((seed, number))
    copper = good()
    defects: list[Defect] = []
    if random.random() < defective:
        for kind in random.choice(list(KINDS), int(random.integers(1, 4)), replace=False):
            trial = copper.copy()
            x, y = KINDS[kind](trial, random)
            if all(abs(x - defect.x) + abs(y - defect.y) > MIN_DISTANCE for defect in defects):
                copper, defects = trial, [*defects, Defect(str(kind), x, y)]
    return picture(copper, random), defects


def picture(copper: Array, random: np.random.Generator) -> Array:
    """The board as captured and thresholded: slightly shifted, with rough edges."""
    x, y = random.integers(-SHIFT, SHIFT + 1, 2)
    moved = cv2.warpAffine(
        copper, np.array([[1, 0, x], [0, 1, y]], np.float32), (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE
    )
    noise: Array = np.asarray(random.normal(0.0, 1.0, moved.shape), np.float32)
    grain = cv2.GaussianBlur(noise, (0, 0), 1.0)
    soft: Array = np.asarray(cv2.GaussianBlur(moved.astype(np.float32), (0, 0), 1.2))
    etched = soft + 0.15 * np.asarray(grain) > 0.5
    return np.where(etched, 0, 255).astype(np.uint8)
