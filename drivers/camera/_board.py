"""Drawn circuit boards: one good layout, and the six defects of a bare board at known places. Copper is black, 48 pixels a mm."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from agent.data import Array

SIDE = 640
TRACES = [50 + 62 * number for number in range(7)]  # x of vertical traces
WIDE = 20  # of a trace
PADS = [(x, y) for x in TRACES[::2] for y in (110, 520)]
PLANE = (490, 60, 600, 580)  # left, top, right, bottom of a copper area
SHIFT = 2  # pixels by which boards lie otherwise than the good one
KEPT_OFF = 60  # pixels between two defects


class Defect(NamedTuple):
    kind: str
    x: int
    y: int


def good() -> Array:
    """uint8 [SIDE, SIDE], 1 copper: traces with a jog, pads with holes, an area."""
    copper = np.zeros((SIDE, SIDE), np.uint8)
    for x in TRACES:
        points = np.array([[x, 0], [x, 300], [x + 20, 330], [x + 20, SIDE]], np.int32)
        cv2.polylines(copper, [points], False, 1, WIDE)
    for x, y in PADS:
        at = (x + (20 if y > 330 else 0), y)
        cv2.circle(copper, at, 24, 1, -1)
        cv2.circle(copper, at, 8, 0, -1)
    left, top, right, bottom = PLANE
    cv2.rectangle(copper, (left, top), (right, bottom), 1, -1)
    return copper


def _a_trace(random: np.random.Generator) -> tuple[int, int]:
    """The middle of a trace, away from pads and the jog."""
    y = int(random.choice([random.integers(160, 280), random.integers(350, 470)]))
    return int(random.choice(TRACES)) + (20 if y > 330 else 0), y


def _open_(copper: Array, random: np.random.Generator) -> tuple[int, int]:
    x, y = _a_trace(random)
    gap = int(random.integers(5, 9))
    cv2.rectangle(copper, (x - WIDE, y - gap), (x + WIDE, y + gap), 0, -1)
    return x, y


def _short(copper: Array, random: np.random.Generator) -> tuple[int, int]:
    x, y = _a_trace(random)
    x = min(x, TRACES[-2])
    cv2.line(copper, (x, y), (x + 62, y + int(random.integers(-8, 9))), 1, int(random.integers(5, 10)))
    return x + 31, y


def _mousebite(copper: Array, random: np.random.Generator) -> tuple[int, int]:
    x, y = _a_trace(random)
    x += int(random.choice([-1, 1])) * (WIDE // 2 + 1)
    cv2.ellipse(copper, (x, y), (int(random.integers(6, 9)), int(random.integers(6, 11))), 0, 0, 360, 0, -1)
    return x, y


def _spur(copper: Array, random: np.random.Generator) -> tuple[int, int]:
    x, y = _a_trace(random)
    x += int(random.choice([-1, 1])) * (WIDE // 2 + 1)
    cv2.ellipse(copper, (x, y), (int(random.integers(8, 13)), int(random.integers(5, 9))), 0, 0, 360, 1, -1)
    return x, y


def _spare_copper(copper: Array, random: np.random.Generator) -> tuple[int, int]:
    x, y = _a_trace(random)
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
    "open": _open_,
    "short": _short,
    "mousebite": _mousebite,
    "spur": _spur,
    "copper": _spare_copper,
    "pin-hole": _pin_hole,
}


def board(number: int, seed: int, defective: float) -> tuple[Array, list[Defect]]:
    """Picture uint8 [SIDE, SIDE] of board `number`, and the truth: none, or one to three defects. The same for the same seed."""
    random = np.random.default_rng((seed, number))
    copper = good()
    found: list[Defect] = []
    if random.random() < defective:
        for kind in random.choice(list(KINDS), int(random.integers(1, 4)), replace=False):
            trial = copper.copy()
            x, y = KINDS[kind](trial, random)
            if all(abs(x - one.x) + abs(y - one.y) > KEPT_OFF for one in found):
                copper, found = trial, [*found, Defect(str(kind), x, y)]
    return picture(copper, random), found


def picture(copper: Array, random: np.random.Generator) -> Array:
    """As a camera and a threshold make it: shifted by a little, with rough edges."""
    x, y = random.integers(-SHIFT, SHIFT + 1, 2)
    moved = cv2.warpAffine(
        copper, np.array([[1, 0, x], [0, 1, y]], np.float32), (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE
    )
    noise: Array = np.asarray(random.normal(0.0, 1.0, moved.shape), np.float32)
    grain = cv2.GaussianBlur(noise, (0, 0), 1.0)
    soft: Array = np.asarray(cv2.GaussianBlur(moved.astype(np.float32), (0, 0), 1.2))
    etched = soft + 0.15 * np.asarray(grain) > 0.5
    return np.where(etched, 0, 255).astype(np.uint8)
