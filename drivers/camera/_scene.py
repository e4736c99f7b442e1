"""Draws the simulated camera's room and the figure that walks through it."""

from __future__ import annotations

import math

import cv2
import numpy as np

from agent.data import Array

ROOM_M = 4.0  # the picture's width in the plane of the figure
SPEED_M_S = 1.4  # an adult walking
STRIDE_M = 1.4  # two steps
Point = tuple[int, int]


def walk(width: int, height: int, pictures: int, fps: float, seed: int) -> list[Array]:
    """uint8 bgr [height, width, 3], read-only, 1/fps of walking apart; the walk is centred in the room."""
    rng = np.random.default_rng(seed)
    room = _room(width, height, rng)
    shirt = tuple(int(level) for level in rng.integers(40, 216, 3))
    phase = float(rng.uniform(0, 2 * math.pi))
    scene = []
    for index in range(pictures):
        walked_m = (index - pictures / 2) * SPEED_M_S / fps
        picture = room.copy()
        _figure(picture, 0.5 + walked_m / ROOM_M, phase + 2 * math.pi * walked_m / STRIDE_M, shirt)
        picture.setflags(write=False)
        scene.append(picture)
    return scene


def _room(width: int, height: int, rng: np.random.Generator) -> Array:
    room = np.empty((height, width, 3), np.uint8)
    horizon = int(height * 0.7)
    room[:horizon] = rng.integers(150, 210, 3)
    room[horizon:] = rng.integers(60, 110, 3)
    left = int(width * rng.uniform(0.05, 0.25))
    top, right, bottom = int(height * 0.12), left + width // 5, int(height * 0.45)
    cv2.rectangle(room, (left, top), (right, bottom), (235, 225, 205), -1)
    cv2.rectangle(room, (left, top), (right, bottom), (70, 70, 70), max(1, width // 160))
    # the noise of an image sensor in room light, so that pictures compress and blur like real ones
    return np.clip(room + rng.normal(0, 3, room.shape), 0, 255).astype(np.uint8)


def _figure(picture: Array, position: float, phase: float, shirt: tuple[int, ...]) -> None:
    """A person, 60 % of the picture high, at `position` (share of its width); the limbs swing by `phase`."""
    height, width = picture.shape[:2]
    tall, x, ground = 0.6 * height, position * width, 0.93 * height
    hip, shoulder = (x, ground - 0.5 * tall), (x, ground - 0.82 * tall)
    for side in (0.0, math.pi):
        swing = math.sin(phase + side)
        knee = max(0.0, math.sin(phase + side + 1.0)) * 0.6
        _limb(picture, hip, 0.5 * swing, 0.5 * swing - knee, 0.25 * tall, 0.085 * tall, (70, 45, 40))
        _limb(picture, shoulder, -0.45 * swing, -0.45 * swing + 0.3, 0.17 * tall, 0.055 * tall, (130, 165, 215))
    cv2.ellipse(picture, _pixel(x, ground - 0.66 * tall), (int(0.09 * tall), int(0.19 * tall)), 0, 0, 360, shirt, -1)
    cv2.circle(picture, _pixel(x, ground - 0.93 * tall), int(0.07 * tall), (130, 165, 215), -1)


def _limb(
    picture: Array,
    joint: tuple[float, float],
    upper: float,
    lower: float,
    length: float,
    thick: float,
    colour: tuple[int, int, int],
) -> None:
    """Two bones from `joint`, each at its angle from straight down."""
    x, y = joint
    for angle in (upper, lower):
        end = (x + length * math.sin(angle), y + length * math.cos(angle))
        cv2.line(picture, _pixel(x, y), _pixel(*end), colour, max(1, int(thick)))
        x, y = end


def _pixel(x: float, y: float) -> Point:
    return int(x), int(y)
