"""Pictures made different, so that a network learns persons and not the four rooms that the clips show."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from agent.data import Array, Box
from models.train.person_coarse.clips import INPUT, SIDE

CELLS = 12  # the grid's rows and columns
PERSON, EDGE = 255, 128  # in a map; at the edge of a box nobody knows


def mapped(boxes: Sequence[Box]) -> Array:
    """uint8 [SIDE, SIDE]: EDGE in a person's box, PERSON in its middle 3/4."""
    drawn = np.zeros((SIDE, SIDE), np.uint8)
    for share, value in ((1.0, EDGE), (0.75, PERSON)):
        for box in boxes:
            x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
            wide, high = (box.right - box.left) / 2 * share, (box.bottom - box.top) / 2 * share
            corners = np.rint(np.array([x - wide, y - high, x + wide, y + high]) * SIDE).astype(int)
            drawn[max(0, corners[1]) : corners[3], max(0, corners[0]) : corners[2]] = value
    return drawn


def grid(drawn: Array) -> Array:
    """float32 [CELLS, CELLS, 1]: 1 a person, 0 none, -1 not known; read at the middle of each cell."""
    step = drawn.shape[0] // CELLS
    values = drawn[step // 2 :: step, step // 2 :: step]
    return np.select([values == PERSON, values == EDGE], [1.0, -1.0], 0.0).astype(np.float32)[..., None]


def vary(picture: Array, drawn: Array, random: np.random.Generator) -> tuple[Array, Array]:
    """Another view of a picture and its map: moved, zoomed, mirrored, recoloured. uint8 [INPUT, INPUT, 3] and the grid."""
    zoom = np.exp(random.uniform(np.log(0.6), np.log(1.7)))
    stretch = np.exp(random.uniform(-0.2, 0.2))
    mirror = random.choice((-1.0, 1.0))
    way = np.array([[mirror * zoom * stretch, 0.0, 0.0], [random.uniform(-0.1, 0.1), zoom / stretch, 0.0]])
    way[:, 2] = SIDE / 2 + random.uniform(-0.25, 0.25, 2) * SIDE - way[:, :2] @ [SIDE / 2, SIDE / 2]
    size, border = (SIDE, SIDE), cv2.BORDER_REFLECT_101
    moved = cv2.warpAffine(picture, way, size, flags=cv2.INTER_LINEAR, borderMode=border)
    target = cv2.warpAffine(drawn, way, size, flags=cv2.INTER_NEAREST, borderMode=border)
    dress(moved, target, random)
    furnish(moved, target, random)
    small = cv2.resize(moved, (INPUT, INPUT), interpolation=cv2.INTER_LINEAR)
    return recolour(small, random), grid(target)


def dress(picture: Array, drawn: Array, random: np.random.Generator) -> None:
    """A part of the person takes another colour and keeps its folds, in place: four people wear too few clothes to learn from."""
    rows = np.flatnonzero((drawn == PERSON).any(axis=1))
    if not len(rows) or random.random() < 0.4:
        return
    top, bottom = np.sort(random.integers(rows[0], rows[-1] + 1, 2))
    part = picture[top:bottom]
    worn = drawn[top:bottom] == PERSON
    light = part[worn].mean(axis=1, keepdims=True) * random.uniform(0.7, 2.0)
    colour = random.uniform(0.2, 1.6, 3)
    part[worn] = np.clip(light * colour, 0, 255)


def furnish(picture: Array, drawn: Array, random: np.random.Generator) -> None:
    """Bars and boxes of one colour stand behind the person, in place: without them every pillar is one."""
    for _ in range(random.integers(0, 4)):
        x, y = random.integers(0, SIDE, 2)
        width, height = np.exp(random.uniform(np.log(6), np.log([60, 150])))
        part = slice(y, y + int(height)), slice(x, x + int(width))
        free = drawn[part] == 0
        picture[part][free] = random.integers(0, 256, 3)


def recolour(picture: Array, random: np.random.Generator) -> Array:
    """Other light, other walls and clothes, another sensor."""
    values = picture.astype(np.float32) / 255.0
    if random.random() < 0.3:
        values = values[..., random.permutation(3)]
    if random.random() < 0.2:
        values = values.mean(axis=2, keepdims=True).repeat(3, axis=2)
    values = values ** random.uniform(0.6, 1.6) * random.uniform(0.75, 1.25, 3) + random.uniform(-0.1, 0.1)
    values = values + random.normal(0.0, random.uniform(0.0, 0.03), values.shape)
    return np.asarray((np.clip(values, 0, 1) * 255).astype(np.uint8))
