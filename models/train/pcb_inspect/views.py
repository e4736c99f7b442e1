"""Crops of boards, varied: turned, zoomed, out of register, rough, grey, and with more defects drawn into them."""

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


def grid(boxes: Sequence[Defect], side: int = CROP) -> Array:
    """int8 [side / STRIDE, side / STRIDE]: 0 nothing, else 1 + kind of the box in which the middle of the cell lies."""
    cells = np.zeros((side // STRIDE, side // STRIDE), np.int8)
    for box in boxes:
        left, top, right, bottom = (round(edge / STRIDE) for edge in box[1:])
        middle = (box.left + box.right) / 2, (box.top + box.bottom) / 2
        cut = not all(MARGIN / 2 < at < side - MARGIN / 2 for at in middle)
        cells[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = UNKNOWN if cut else 1 + box.kind
    return cells


def view(pair: Pair, random: np.random.Generator) -> tuple[Array, Array]:
    """A random view of a place of a board: uint8 [CROP, CROP, 2] (test, template) and its grid."""
    matrix = placement(random)
    template = warped(pair.template, matrix)
    real = random.random() < 0.7
    boxes = warped_boxes(pair.defects, matrix) if real else []
    test = warped(pair.test if real else pair.template, _out_of_register(matrix, random))
    if real and random.random() < 0.1:  # a reference with odd shapes: what it shows is no defect
        template, boxes = test.copy(), []
    if not real or random.random() < 0.3:
        test = _rough(test, random)
    copper = (test < 128).astype(np.uint8)
    boxes += _draw_defects(copper, boxes, random)
    pictures, cells = np.stack([255 * (1 - copper), template], axis=2), grid(boxes)
    return (_as_camera(pictures, random) if random.random() < 0.3 else pictures), cells


def varied(pictures: Array, cells: Array, random: np.random.Generator) -> tuple[Array, Array]:
    """One of the sixteen variants of a view: mirrored, turned, as a negative."""
    for axis in (0, 1):
        if random.random() < 0.5:
            pictures, cells = np.flip(pictures, axis), np.flip(cells, axis)
    if random.random() < 0.5:
        pictures, cells = pictures.swapaxes(0, 1), cells.T
    return negative(pictures, cells) if random.random() < 0.25 else (pictures, cells)


def placement(random: np.random.Generator) -> Array:
    """From a board's pixels to a crop's, float [2, 3]: a zoom and a place."""
    zoom = np.exp(random.uniform(-0.25, 0.25))
    matrix = np.zeros((2, 3))
    matrix[:, :2] = np.eye(2) * zoom
    reach = max(0.0, SIDE / 2 - CROP / 2 / zoom)
    matrix[:, 2] = CROP / 2 - zoom * (SIDE / 2 + random.uniform(-reach, reach, 2))
    return matrix


def _out_of_register(matrix: Array, random: np.random.Generator) -> Array:
    """The same placement, shifted: mostly by a pixel, sometimes by up to SHIFT, as the set's are."""
    turn = random.normal(0.0, 0.1) / 57.3
    shake = np.array([[np.cos(turn), -np.sin(turn), 0.0], [np.sin(turn), np.cos(turn), 0.0]])
    shift = np.clip(random.normal(0.0, random.choice([1.0, 4.0], p=[0.7, 0.3]), 2), -SHIFT, SHIFT)
    shake[:, 2] = shift + CROP / 2 - shake[:, :2] @ [CROP / 2, CROP / 2]
    return np.asarray(shake @ np.vstack([matrix, [0, 0, 1]]))


def warped(picture: Array, matrix: Array) -> Array:
    """A crop of the picture, black and white as before."""
    crop = cv2.warpAffine(picture, matrix, (CROP, CROP), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.where(crop < 128, 0, 255).astype(np.uint8)


def warped_boxes(boxes: Sequence[Defect], matrix: Array) -> list[Defect]:
    """Those that reach into the crop; the margin around a defect stays as it is, in pixels."""
    inside = []
    for box in boxes:
        corners = np.array([[box.left + MARGIN, box.right - MARGIN], [box.top + MARGIN, box.bottom - MARGIN]])
        ends = matrix[:, :2] @ corners + matrix[:, 2:]
        (left, top), (right, bottom) = ends.min(axis=1) - MARGIN, ends.max(axis=1) + MARGIN
        if right > 0 and bottom > 0 and left < CROP and top < CROP:
            inside.append(Defect(box.kind, left, top, right, bottom))
    return inside


def _rough(picture: Array, random: np.random.Generator) -> Array:
    """Etched a little more or less, with ragged edges."""
    soft = cv2.GaussianBlur(picture, (0, 0), random.uniform(0.7, 2.2)).astype(np.float32)
    grain = cv2.GaussianBlur(random.standard_normal(picture.shape, np.float32), (0, 0), random.uniform(0.8, 2.0))
    level = 128.0 + random.uniform(-50, 50) + grain / grain.std() * random.uniform(0, 40)
    return np.where(soft < level, 0, 255).astype(np.uint8)


def _draw_defects(copper: Array, boxes: Sequence[Defect], random: np.random.Generator) -> list[Defect]:
    """Defects added to the copper, in place, clear of the given ones."""
    occupied = np.zeros_like(copper)
    for box in boxes:
        left, top, right, bottom = (max(0, round(edge)) for edge in box[1:])
        occupied[top:bottom, left:right] = 1
    kinds = random.integers(0, len(KINDS), random.integers(FEWEST, MOST))
    drawn = (defects.add(copper, occupied, int(kind), random) for kind in kinds)
    return [defect for defect in drawn if defect]


def negative(pictures: Array, cells: Array) -> tuple[Array, Array]:
    """Copper for gap and gap for copper: an open becomes a short."""
    swap = np.array([0, *(1 + kind for kind in defects.NEGATIVE), UNKNOWN], np.int8)
    return 255 - pictures, swap[cells]


def _as_camera(pictures: Array, random: np.random.Generator) -> Array:
    """As from a camera: soft, unevenly black and white, noisy."""
    photos = []
    for number in range(pictures.shape[2]):
        picture = cv2.GaussianBlur(pictures[:, :, number], (0, 0), random.uniform(0.3, 1.2)).astype(np.float32)
        black, white = random.uniform(0, 70), random.uniform(170, 255)
        noise = random.standard_normal(picture.shape, np.float32) * np.float32(random.uniform(0, 12))
        photos.append(np.clip(black + picture * ((white - black) / 255) + noise, 0, 255).astype(np.uint8))
    return np.stack(photos, axis=2)
