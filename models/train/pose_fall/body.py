"""A stick figure: postures as directions of limbs, and the 17 keypoints that follow from them."""

from __future__ import annotations

import numpy as np

from agent.data import Array

# A posture is float [12, 3]: unit vectors in the frame of the person, x forward, y to the left, z up.
TORSO, LEFT, FACE, NECK, ARM_L, ARM_R, FORE_L, FORE_R, THIGH_L, THIGH_R, SHIN_L, SHIN_R = range(12)
# Lengths in metres of a person of 1.70 m (Drillis and Contini 1966, rounded).
TALL, TRUNK, HEAD, SHOULDER, HIP, ARM, FORE, THIGH, SHIN = 1.70, 0.49, 0.24, 0.19, 0.10, 0.30, 0.25, 0.42, 0.42
FLESH = 0.09  # a joint that touches the floor is this far above it
MIRROR = (0, 1, 2, 3, 5, 4, 7, 6, 9, 8, 11, 10)  # limbs when left becomes right
SWAPPED = (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)  # keypoints when left becomes right

UP, DOWN, FORWARD, BACK = (0, 0, 1), (0, 0, -1), (1, 0, 0), (-1, 0, 0)


def posture(
    torso: tuple[float, ...],
    thigh: tuple[float, ...],
    shin: tuple[float, ...],
    face: tuple[float, ...] = FORWARD,
    left: tuple[float, ...] = (0, 1, 0),
    arm: tuple[float, ...] = (0.05, 0.12, -1),
    fore: tuple[float, ...] = (0.2, 0.05, -1),
    neck: tuple[float, ...] | None = None,
) -> Array:
    """A posture. Limbs are given for the left side; the right side mirrors them in the plane of x and z."""
    right = [(x, -y, z) for x, y, z in (arm, fore, thigh, shin)]
    limbs = (arm, right[0], fore, right[1], thigh, right[2], shin, right[3])
    return unit(np.array([torso, left, face, neck or torso, *limbs], float))


def unit(vectors: Array) -> Array:
    """Vectors of length 1 along the last axis; a nearly zero vector points up."""
    vectors = vectors + np.array([0.0, 0.0, 1e-6])
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def turned(limbs: Array, yaw: Array) -> Array:
    """Limbs [..., 12, 3] rotated about the vertical. yaw: radians, [...]."""
    cos, sin = np.cos(yaw)[..., None], np.sin(yaw)[..., None]
    x, y = limbs[..., 0], limbs[..., 1]
    return np.stack([x * cos - y * sin, x * sin + y * cos, limbs[..., 2]], axis=-1)


def mirrored(limbs: Array) -> Array:
    """The same with left and right exchanged."""
    flipped = limbs[..., MIRROR, :] * [1.0, -1.0, 1.0]
    flipped[..., LEFT, :] *= -1.0  # still points to the left of the person
    return np.asarray(flipped)


def keypoints(limbs: Array, height: float = TALL) -> Array:
    """Limbs [..., 12, 3] to MoveNet's 17 points [..., 17, 3] in metres, the middle of the hips at the origin."""
    size = height / TALL
    part = [limbs[..., index, :] for index in range(12)]
    neck = part[TORSO] * TRUNK
    head = neck + part[NECK] * HEAD
    left = unit(np.cross(part[FACE], part[NECK])) * -1.0  # to the left of the face
    nose = head + part[FACE] * 0.09
    eyes = [head + part[FACE] * 0.07 + part[NECK] * 0.04 + left * sign for sign in (0.035, -0.035)]
    ears = [head + left * sign for sign in (0.075, -0.075)]
    points = [nose, *eyes, *ears]
    shoulders = [neck + part[LEFT] * sign for sign in (SHOULDER, -SHOULDER)]
    elbows = [shoulders[side] + part[ARM_L + side] * ARM for side in (0, 1)]
    wrists = [elbows[side] + part[FORE_L + side] * FORE for side in (0, 1)]
    hips = [part[LEFT] * sign for sign in (HIP, -HIP)]
    knees = [hips[side] + part[THIGH_L + side] * THIGH for side in (0, 1)]
    ankles = [knees[side] + part[SHIN_L + side] * SHIN for side in (0, 1)]
    points += [*shoulders, *elbows, *wrists, *hips, *knees, *ankles]
    return np.stack(points, axis=-2) * size


def hip_height(limbs: Array, height: float = TALL) -> Array:
    """Height of the hips in m when the lowest joint touches the floor: [..., 12, 3] to [...]."""
    return np.asarray(FLESH - np.minimum(keypoints(limbs, height)[..., 2].min(axis=-1), 0.0))


SIT = {"thigh": (1, 0.2, -0.05), "shin": (0.1, 0.0, -1)}
POSTURES = {
    "stand": posture(UP, DOWN, (-0.03, 0, -1)),
    "bend": posture(
        (1, 0, 0.15), (-0.15, 0.1, -1), (-0.02, 0, -1), (0.6, 0, -0.8), arm=(0.25, 0.1, -1), fore=(0.3, 0, -1)
    ),
    "squat": posture((0.45, 0, 0.9), (0.9, 0.3, -0.1), (-0.35, 0, -1), arm=(0.7, 0.2, -0.6), fore=(0.7, -0.2, -0.5)),
    "kneel": posture((0.05, 0, 1), (0.1, 0.1, -1), (-1, 0, -0.05)),
    "fours": posture((1, 0, 0.15), (0.0, 0.1, -1), (-1, 0, -0.05), (0.5, 0, -0.8), arm=(0.1, 0.1, -1), fore=(0, 0, -1)),
    "plank": posture(
        (1, 0, 0.3), (-1, 0.05, -0.25), (-1, 0, -0.25), (0.4, 0, -0.9), arm=(0.1, 0.2, -1), fore=(0, 0, -1)
    ),
    "chair": posture((-0.08, 0, 1), arm=(0.3, 0.15, -1), fore=(1, -0.2, -0.1), **SIT),
    "slump": posture((0.75, 0, 0.7), arm=(0.3, 0.15, -1), fore=(0.6, -0.1, -0.8), face=(0.8, 0, -0.6), **SIT),
    "reach": posture((1, 0, -0.1), arm=(0.3, 0.1, -1), fore=(0.3, 0, -1), face=(0.6, 0, -0.8), **SIT),
    "long sit": posture((-0.15, 0, 1), (1, 0.15, 0.0), (1, 0.05, -0.05), arm=(0.2, 0.2, -1), fore=(0.8, -0.3, -0.2)),
    "tailor": posture((0.1, 0, 1), (0.75, 0.75, 0.05), (0.1, -1, -0.1), arm=(0.3, 0.2, -1), fore=(0.9, -0.3, -0.1)),
    "knees up": posture((-0.2, 0, 1), (0.75, 0.15, 0.75), (0.35, 0.0, -1), arm=(0.4, 0.2, -0.8), fore=(0.9, -0.1, 0.1)),
    "prop": posture(
        (-0.75, 0, 0.65), (0.85, 0.15, 0.5), (0.45, 0, -0.9), (0.9, 0, 0.4), arm=(-0.5, 0.3, -1), fore=(-0.2, 0, -1)
    ),
    "supine": posture(
        (-1, 0, 0.03), (1, 0.1, 0.03), (1, 0.05, -0.03), (0.05, 0, 1), arm=(0.8, 0.6, 0), fore=(1, 0.2, 0)
    ),
    "supine knees": posture(
        (-1, 0, 0), (0.75, 0.15, 0.75), (0.4, 0, -1), (0.1, 0, 1), arm=(0.4, 0.9, 0), fore=(1, 0.3, 0)
    ),
    "prone": posture((1, 0, 0.03), (-1, 0.1, 0), (-1, 0.05, 0), (0.1, 0.6, -0.5), arm=(0.5, 0.9, 0), fore=(1, 0.2, 0)),
    "side": posture(
        (0.05, 1, 0), (0.5, -1, 0), (-0.3, -1, 0), (1, 0.1, 0), (0, 0, -1), arm=(1, 0.5, -0.1), fore=(1, 0.7, 0)
    ),
}
UPPER_SIDE = np.array([(1, 0.2, 0.1), (0.9, 0.5, -0.2), (0.7, -1, 0.05), (-0.2, -1, 0)])
POSTURES["side"][[ARM_R, FORE_R, THIGH_R, SHIN_R]] = unit(UPPER_SIDE)
