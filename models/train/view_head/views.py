"""Pictures of a camera that is in order, out of focus, in the dark, or covered: made from frames of ordinary clips."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from agent.data import Array
from models.train.person_coarse.clips import INPUT

LABELS = ("clear", "blurred", "dark", "covered")
BLUR = 1.2, 5.0  # standard deviation, pixels of INPUT: from what a face is lost at to where only places are left
LIGHT = 0.01, 0.08  # of the light that the frame was taken in
COVERED = 0.6, 1.0  # share of the picture
LEAST_GREY = 40  # of what covers it: a black cover is dark

Change = Callable[[Array, np.random.Generator], Array]


def view(frame: Array, label: int, random: np.random.Generator) -> Array:
    """frame: uint8 rgb [height, width, 3]. label: its number. The view: uint8 [INPUT, INPUT, 3]."""
    picture = _as_the_sensor_sees(_part(frame, random), random)
    return _noisy(CHANGES[label](picture, random), random)


def _part(frame: Array, random: np.random.Generator) -> Array:
    """A part of it, mirrored or not, at the network's size, float32."""
    height, width = frame.shape[:2]
    share = random.uniform(0.6, 1.0)
    top, left = (int(random.uniform(0, 1 - share) * side) for side in (height, width))
    part = frame[top : top + int(share * height), left : left + int(share * width)]
    part = cv2.resize(part, (INPUT, INPUT), interpolation=cv2.INTER_LINEAR)
    return np.asarray((part[:, ::-1] if random.random() < 0.5 else part).astype(np.float32))


def _as_the_sensor_sees(picture: Array, random: np.random.Generator) -> Array:
    """Other light, colours and contrast; grey as at night under infrared; all of it is in order."""
    picture = 255 * (picture / 255) ** random.uniform(0.7, 1.4) * random.uniform(0.6, 1.2)
    if random.random() < 0.2:
        picture = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2)
    return np.asarray(picture * random.uniform(0.9, 1.1, 3), np.float32)


def _noisy(picture: Array, random: np.random.Generator) -> Array:
    grain = random.normal(0.0, random.uniform(0.5, 5.0), picture.shape)
    return np.asarray((picture + grain).clip(0, 255).astype(np.uint8))


def _clear(picture: Array, random: np.random.Generator) -> Array:
    return picture


def _blurred(picture: Array, random: np.random.Generator) -> Array:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), float(np.exp(random.uniform(*np.log(BLUR))))))


def _dark(picture: Array, random: np.random.Generator) -> Array:
    return np.asarray(picture * np.float32(random.uniform(*LIGHT)))


def _covered(picture: Array, random: np.random.Generator) -> Array:
    """Something near the lens, so without detail and with a soft edge: a hand, a cloth, tape, a web."""
    coarse = random.uniform(LEAST_GREY, 220) + random.normal(0.0, 12.0, (4, 4, 3)) + random.normal(0.0, 10.0, 3)
    cover = cv2.resize(coarse.clip(LEAST_GREY, 255).astype(np.float32), (INPUT, INPUT), interpolation=cv2.INTER_CUBIC)
    angle, share = random.uniform(0, 2 * np.pi), random.uniform(*COVERED)
    y, x = np.mgrid[0:INPUT, 0:INPUT]
    along = np.cos(angle) * x + np.sin(angle) * y
    mask = (along <= np.quantile(along, share)).astype(np.float32)
    mask = cv2.GaussianBlur(mask, (0, 0), random.uniform(2.0, 8.0))[..., None]
    return np.asarray(mask * cover + (1 - mask) * picture)


CHANGES: tuple[Change, ...] = (_clear, _blurred, _dark, _covered)
