"""Crops of boards made different: turned, zoomed, out of register, rough, grey, and with defects that were never there."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from agent.data import Array
from models.train.pcb_inspect import defects
from models.train.pcb_inspect.boards import KINDS, MARGIN, SIDE, Defect, Pair

CROP = 192  # pixels of a crop's side
STRIDE = 8  # pixels of a cell's side
UNKNOWN = -1  # of a cell: a defect that the crop cuts off
SHIFT = 8  # pixels by which two pictures may be out of register
FEWEST, MOST = 1, 10  # defects drawn into a crop, where there is room


def grid(found: Sequence[Defect], side: int = CROP) -> Array:
    """int8 [side / STRIDE, side / STRIDE]: 0 nothing, else 1 + kind of the box in which the middle of the cell lies."""
    cells = np.zeros((side // STRIDE, side // STRIDE), np.int8)
    for one in found:
        left, top, right, bottom = (round(edge / STRIDE) for edge in one[1:])
        middle = (one.left + one.right) / 2, (one.top + one.bottom) / 2
        cut = not all(MARGIN / 2 < at < side - MARGIN / 2 for at in middle)
        cells[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = UNKNOWN if cut else 1 + one.kind
    return cells


def view(pair: Pair, random: np.random.Generator) -> tuple[Array, Array]:
    """Another look at a place of a board: uint8 [CROP, CROP, 2] (test, template) and its grid."""
    way = placed(random)
    template = moved(pair.template, way)
    real = random.random() < 0.7
    found = carried(pair.defects, way) if real else []
    test = moved(pair.test if real else pair.template, _shaken(way, random))
    if real and random.random() < 0.1:  # a reference with odd shapes in it: what it shows is no defect
        template, found = test.copy(), []
    if not real or random.random() < 0.3:
        test = _rough(test, random)
    copper = (test < 128).astype(np.uint8)
    found += _drawn(copper, found, random)
    pictures, cells = np.stack([255 * (1 - copper), template], axis=2), grid(found)
    return (_developed(pictures, random) if random.random() < 0.3 else pictures), cells


def varied(pictures: Array, cells: Array, random: np.random.Generator) -> tuple[Array, Array]:
    """One of the sixteen looks of a view: mirrored, turned, as a negative."""
    for axis in (0, 1):
        if random.random() < 0.5:
            pictures, cells = np.flip(pictures, axis), np.flip(cells, axis)
    if random.random() < 0.5:
        pictures, cells = pictures.swapaxes(0, 1), cells.T
    return negative(pictures, cells) if random.random() < 0.25 else (pictures, cells)


def placed(random: np.random.Generator) -> Array:
    """float [2, 3]: from a board's pixels to a crop's: a zoom and a place."""
    zoom = np.exp(random.uniform(-0.25, 0.25))
    way = np.zeros((2, 3))
    way[:, :2] = np.eye(2) * zoom
    reach = max(0.0, SIDE / 2 - CROP / 2 / zoom)
    way[:, 2] = CROP / 2 - zoom * (SIDE / 2 + random.uniform(-reach, reach, 2))
    return way


def _shaken(way: Array, random: np.random.Generator) -> Array:
    """The same way, out of register: mostly by a pixel, at times by up to SHIFT, as the set's are."""
    turn = random.normal(0.0, 0.1) / 57.3
    shake = np.array([[np.cos(turn), -np.sin(turn), 0.0], [np.sin(turn), np.cos(turn), 0.0]])
    shift = np.clip(random.normal(0.0, random.choice([1.0, 4.0], p=[0.7, 0.3]), 2), -SHIFT, SHIFT)
    shake[:, 2] = shift + CROP / 2 - shake[:, :2] @ [CROP / 2, CROP / 2]
    return np.asarray(shake @ np.vstack([way, [0, 0, 1]]))


def moved(picture: Array, way: Array) -> Array:
    """Black and white as before."""
    crop = cv2.warpAffine(picture, way, (CROP, CROP), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.where(crop < 128, 0, 255).astype(np.uint8)


def carried(found: Sequence[Defect], way: Array) -> list[Defect]:
    """Boxes on the crop; the margin around a defect is in pixels and no part of it."""
    gone = []
    for one in found:
        corners = np.array([[one.left + MARGIN, one.right - MARGIN], [one.top + MARGIN, one.bottom - MARGIN]])
        ends = way[:, :2] @ corners + way[:, 2:]
        (left, top), (right, bottom) = ends.min(axis=1) - MARGIN, ends.max(axis=1) + MARGIN
        if right > 0 and bottom > 0 and left < CROP and top < CROP:
            gone.append(Defect(one.kind, left, top, right, bottom))
    return gone


def _rough(picture: Array, random: np.random.Generator) -> Array:
    """Etched a little more or less, with ragged edges."""
    soft = cv2.GaussianBlur(picture, (0, 0), random.uniform(0.7, 2.2)).astype(np.float32)
    grain = cv2.GaussianBlur(random.standard_normal(picture.shape, np.float32), (0, 0), random.uniform(0.8, 2.0))
    level = 128.0 + random.uniform(-50, 50) + grain / grain.std() * random.uniform(0, 40)
    return np.where(soft < level, 0, 255).astype(np.uint8)


def _drawn(copper: Array, found: Sequence[Defect], random: np.random.Generator) -> list[Defect]:
    """Defects added to the copper, in place, clear of those there are."""
    taken = np.zeros_like(copper)
    for one in found:
        left, top, right, bottom = (max(0, round(edge)) for edge in one[1:])
        taken[top:bottom, left:right] = 1
    kinds = random.integers(0, len(KINDS), random.integers(FEWEST, MOST))
    added = (defects.add(copper, taken, int(kind), random) for kind in kinds)
    return [one for one in added if one]


def negative(pictures: Array, cells: Array) -> tuple[Array, Array]:
    """Copper for gap and gap for copper: an open is a short now."""
    swap = np.array([0, *(1 + kind for kind in defects.NEGATIVE), UNKNOWN], np.int8)
    return 255 - pictures, swap[cells]


def _developed(pictures: Array, random: np.random.Generator) -> Array:
    """As a camera sees it: soft, unevenly black and white, noisy."""
    seen = []
    for number in range(pictures.shape[2]):
        picture = cv2.GaussianBlur(pictures[:, :, number], (0, 0), random.uniform(0.3, 1.2)).astype(np.float32)
        black, white = random.uniform(0, 70), random.uniform(170, 255)
        noise = random.standard_normal(picture.shape, np.float32) * np.float32(random.uniform(0, 12))
        seen.append(np.clip(black + picture * ((white - black) / 255) + noise, 0, 255).astype(np.uint8))
    return np.stack(seen, axis=2)
