"""Rooms and clutter drawn at random, and pictures that show next to nothing: no person is in any of them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from agent.data import Array


def draw(side: int, random: np.random.Generator) -> Array:
    """Wall, floor, and what stands and hangs there: uint8 rgb [side, side, 3]."""
    picture = np.empty((side, side, 3), np.uint8)
    horizon = int(side * random.uniform(0.3, 0.95))
    picture[:horizon] = _surface(horizon, side, random)
    picture[horizon:] = _surface(side - horizon, side, random)
    for _ in range(random.integers(0, 4)):  # door, window, curtain, picture
        width, height = (np.exp(random.uniform(np.log(0.08), np.log(0.45), 2)) * side).astype(int)
        x, y = random.integers(0, side - width), random.integers(-height // 3, side - height)
        _insert(picture, x, max(y, 0), _surface(height, width, random))
    for _ in range(random.integers(0, 5)):
        _draw_object(picture, random)
    light = cv2.resize(
        random.uniform(0.6, 1.3, (3, 3, 1)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC
    )
    return np.asarray(np.clip(picture * light[..., None], 0, 255).astype(np.uint8))


def _muted_colours(random: np.random.Generator, count: int) -> Array:
    """Colours as rooms have them, mostly near grey: float [count, 3]."""
    tints = random.normal(0, random.choice((8, 25, 60)), (count, 3))
    return np.asarray((random.uniform(20, 240, (count, 1)) + tints).clip(5, 250))


def _surface(height: int, width: int, random: np.random.Generator) -> Array:
    """Plain, striped, tiled or mottled: uint8 [height, width, 3]."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    colours = _muted_colours(random, 2)
    kind = random.integers(5)
    period, phase = np.exp(random.uniform(np.log(4), np.log(50))), random.uniform(0, 6)
    if kind == 0:
        share = (y + x * random.uniform(-1, 1)) / max(height, width)
    elif kind == 1:
        share = 0.5 + 0.5 * np.sin(x * 6.28 / period + phase)  # curtain
    elif kind == 2:
        share = ((x // period + y // (period * random.uniform(0.3, 2))) % 2) * random.uniform(0.1, 1)  # tiles
    elif kind == 3:
        share = (((y + x * random.uniform(-0.5, 0.5)) % period) < period * 0.15) * random.uniform(0.2, 1)  # boards
    else:
        size = max(2, int(width / period) + 1), max(2, int(height / period) + 1)
        share = cv2.resize(random.random(size[::-1], np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    values = colours[0] + (colours[1] - colours[0]) * np.asarray(share)[..., None].clip(0, 1)
    return np.asarray((values + random.normal(0, 4, values.shape)).clip(0, 255).astype(np.uint8))


def _draw_object(picture: Array, random: np.random.Generator) -> None:
    """A box, a round object, a chair, a polygon or a bar, in place."""
    side = len(picture)
    colour = _muted_colours(random, 1)[0].tolist()
    x, y = random.integers(0, side, 2).tolist()
    width, height = (np.exp(random.uniform(np.log(0.03), np.log(0.35), 2)) * side).astype(int).tolist()
    kind = random.integers(5)
    if kind == 0:
        _insert(picture, x, y, _surface(height, width, random))
    elif kind == 1:
        half = max(width // 2, 1), max(height // 2, 1)
        cv2.ellipse(picture, (x, y), half, random.uniform(0, 180), 0, 360, colour, -1, cv2.LINE_AA)
    elif kind == 2:
        for leg in (x, x + width):
            foot = leg + int(random.integers(-4, 5)), y + height
            cv2.line(picture, (leg, y), foot, colour, int(random.integers(1, 4)), cv2.LINE_AA)
        cv2.rectangle(picture, (x, y), (x + width, y + max(height // 6, 1)), colour, -1)
    elif kind == 3:
        corners = random.integers(-width, width + 1, (int(random.integers(3, 7)), 2)) + [x, y]
        cv2.fillPoly(picture, [corners.astype(np.int32)], colour, cv2.LINE_AA)
    else:
        cv2.line(picture, (x, y), random.integers(0, side, 2).tolist(), colour, int(random.integers(1, 6)), cv2.LINE_AA)


def _insert(picture: Array, x: int, y: int, part: Array) -> None:
    """`part` with its top left corner at x, y, as far as the picture reaches."""
    space = picture[y : y + len(part), x : x + part.shape[1]]
    space[...] = part[: len(space), : space.shape[1]]


def furnish(picture: Array, persons: Sequence[Array], random: np.random.Generator) -> None:
    """Draws objects, in place, but not in front of a person: without them every pillar would be a person.

    persons: boxes, left, top, right, bottom in pixels.
    """
    if random.random() < 0.4:
        return
    free = np.ones(picture.shape[:2], bool)
    for left, top, right, bottom in np.asarray(persons).reshape(-1, 4).clip(0, len(picture)).astype(int):
        free[top : bottom + 1, left : right + 1] = False
    furnished = picture.copy()
    for _ in range(random.integers(1, 4)):
        _draw_object(furnished, random)
    picture[free] = furnished[free]


def blank(side: int, random: np.random.Generator) -> Array:
    """The picture of a covered, blinded or broken camera: one colour, or noise; uint8 rgb [side, side, 3]."""
    if random.random() < 0.8:
        level = random.choice((0.0, 1.0, random.random()), p=(0.6, 0.2, 0.2))
        return _with_noise(np.full((side, side, 3), 255 * level) + random.normal(0, 6, 3), random)
    size = int(np.exp(random.uniform(np.log(2), np.log(side))))
    blots = cv2.resize(random.random((size, size, 3), np.float32), (side, side))
    return _with_noise(blots * random.uniform(20, 255), random)


def _with_noise(values: Array, random: np.random.Generator) -> Array:
    """With a sensor's noise, mostly little, as uint8."""
    return np.asarray(
        (values + random.normal(0, 1, values.shape) * random.exponential(8)).clip(0, 255).astype(np.uint8)
    )
