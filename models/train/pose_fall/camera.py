"""MoveNet's keypoints of the stick figure before a simulated camera: perspective, cut-off, low scores and errors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from agent.data import Array
from models.train.pose_fall.body import SWAPPED, keypoints
from models.train.pose_fall.figure import NO_LABEL, RATE, Motion

MIN_SCORE = 0.2  # a keypoint counts from this score of MoveNet


class PoseRecording(NamedTuple):
    """Keypoints of a recording. times: float [n], s; points: float32 [n, 17, 3]; labels: int [n]; onset: s, or NaN.

    A point is y and x, as shares of the picture, and score. aspect: width / height.
    """

    times: Array
    points: Array
    labels: Array
    onset: float
    aspect: float


def render(motion: Motion, seed: int) -> PoseRecording:
    """A recording of the motion by a random camera, at 10 to 30 pictures a second with uneven intervals."""
    random = np.random.default_rng(seed + 1_000_003)
    rate = random.choice([10.0, 12.5, 15.0, 20.0, 25.0, 30.0])
    ticks = np.arange(0, len(motion.labels), RATE / rate)
    ticks = np.clip(ticks + random.normal(0, 0.15, len(ticks)), 0, len(motion.labels) - 1)
    rows = np.unique(ticks.astype(int))
    body = keypoints(motion.limbs[rows], motion.height) + motion.hips[rows, None]
    aspect = random.choice([4 / 3, 4 / 3, 16 / 9, 1.0])
    flat, depth = _project(body, aspect, random)
    points, labels = add_errors(flat, depth, body[..., 2], rate, aspect, random), motion.labels[rows].copy()
    onset = motion.onset / RATE if motion.onset >= 0 else np.nan
    fallen = int(np.searchsorted(rows, motion.onset))
    empty = _empty_frames(len(rows), fallen, motion.onset >= 0, rate, random)
    points[empty] = _empty_room(int(empty.sum()), rate, random)
    if motion.onset < 0:
        labels[empty] = NO_LABEL
    return PoseRecording(rows / RATE, points.astype(np.float32), labels, onset, aspect)


def _empty_frames(n: int, fallen: int, falls: bool, rate: float, random: np.random.Generator) -> Array:
    """Array bool [n]: MoveNet detects no person: before one enters, after one leaves, or it lost one who lies."""
    empty = np.zeros(n, bool)
    if falls and random.random() < 0.3:
        empty[fallen + int(random.uniform(1.2, 3.5) * rate) :] = True
    elif not falls and random.random() < 0.3:
        edge = int(random.uniform(0.15, 0.85) * n)
        empty[:edge] = random.random() < 0.5
        empty[edge:] = not empty[0]
    return empty


def _empty_room(n: int, rate: float, random: np.random.Generator) -> Array:
    """MoveNet's points [n, 17, 3] in a room without a person: they jump, and some have fair scores."""
    points = np.zeros((n, 17, 3))
    spots = np.clip(
        random.uniform(0.1, 0.9, (3, 1, 2)) + random.normal(0, random.uniform(0.03, 0.25), (3, 17, 2)), 0, 1
    )
    scores = random.uniform(0.02, random.uniform(0.1, 0.5), (3, 17))
    which = np.cumsum(random.random(n) < random.uniform(0.1, 2.0) / rate) % 3
    points[..., :2] = spots[which] + random.normal(0, 0.01, (n, 17, 2))
    points[..., 2] = np.clip(scores[which] + random.normal(0, 0.04, (n, 17)), 0.01, 0.9)
    return points


def _project(body: Array, aspect: float, random: np.random.Generator) -> tuple[Array, Array]:
    """A pinhole camera that points roughly at the figure: [n, 17, 3] m to [n, 17, 2] (y, x) and distance [n, 17]."""
    middle = body.reshape(-1, 3).mean(axis=0)
    distance, yaw = random.uniform(2.2, 6.0), random.uniform(-np.pi, np.pi)
    eye = np.array([distance * np.cos(yaw), distance * np.sin(yaw), random.uniform(0.6, 2.7)]) + [*middle[:2], 0]
    goal = np.array([*(middle[:2] + random.normal(0, 0.35, 2)), random.uniform(0.4, 1.1)])
    ahead = (goal - eye) / np.linalg.norm(goal - eye)
    right = np.cross(ahead, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    roll = random.normal(0, 0.03)
    down = np.cross(ahead, right)
    right, down = np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right
    offset = body - eye
    depth = np.maximum(offset @ ahead, 0.3)
    focus = 0.5 / np.tan(np.radians(random.uniform(40, 65)) / 2)  # of the picture's height
    y, x = 0.5 + focus * (offset @ down) / depth, 0.5 + focus * (offset @ right) / depth / aspect
    return np.stack([y, x], axis=-1), depth


def add_errors(
    flat: Array, depth: Array, height: Array, rate: float, aspect: float, random: np.random.Generator
) -> Array:
    """Add scores, noise and errors. Scores are lowest for people who lie, move fast, turn away or leave the picture."""
    n = len(flat)
    size = np.maximum(np.ptp(flat[..., 0], axis=1), np.ptp(flat[..., 1], axis=1) * aspect).clip(0.05)
    speed = np.zeros(n)
    speed[1:] = np.abs(np.diff(flat.mean(axis=1), axis=0)).sum(axis=1) * rate / size[1:]
    low = np.clip(1.4 - height.max(axis=1), 0, 1)  # 0 standing, 1 flat on the floor
    skill = random.uniform(0.55, 1.0)
    behind = depth - depth.mean(axis=1, keepdims=True)
    score = skill * (0.75 - 0.35 * low[:, None] * random.uniform(0.2, 1.3) - 0.12 * speed[:, None])
    score = score - 0.6 * np.maximum(behind, 0)
    score = score + _slow_noise(random, n, 17, rate) * 0.1 + random.normal(0, 0.07, (n, 17))
    outside = (flat < 0.0).any(axis=-1) | (flat > 1.0).any(axis=-1)
    score = np.where(outside, score * 0.35, score)
    if random.random() < 0.3:  # furniture hides the legs
        score[:, 13:] -= random.uniform(0.1, 0.5)
    spread = (0.01 + 0.05 * np.clip(0.6 - score, 0, 1)) * random.uniform(0.5, 1.6)
    noise = (_slow_noise(random, n, 34, rate).reshape(n, 17, 2) + random.normal(0, 0.7, (n, 17, 2))) * spread[..., None]
    placed = flat + noise * size[:, None, None] * [1.0, 1.0 / aspect]
    placed, score = _lose(placed, score, low, speed, rate, random)
    swap = np.flatnonzero(_bursts(random, n, 0.05 * np.ones(n), rate))
    placed[swap] = placed[swap][:, SWAPPED]
    return np.concatenate([placed.clip(-0.02, 1.02), score.clip(0.01, 0.9)[..., None]], axis=-1)


def _lose(
    placed: Array, score: Array, low: Array, speed: Array, rate: float, random: np.random.Generator
) -> tuple[Array, Array]:
    """For short periods move some points, or all, onto furniture or to one part of the body, with low scores."""
    n = len(placed)
    ghost = np.clip(random.uniform(0.2, 0.8, 2) + random.normal(0, 0.12, (17, 2)), 0, 1)
    lost = _bursts(random, n, random.uniform(0, 1.2) * (0.05 + low**2 + 0.2 * np.minimum(speed, 2)), rate)
    for first, end in _periods(lost):
        which = random.random(17) < random.choice([0.3, 0.6, 0.95])
        heap = placed[first:end].mean(axis=1, keepdims=True) + random.normal(0, 0.04, (end - first, 17, 2))
        target = heap if random.random() < 0.4 else ghost + random.normal(0, 0.02, (end - first, 17, 2))
        placed[first:end, which] = target[:, which]
        score[first:end, which] = random.uniform(0.03, random.uniform(0.1, 0.45), (end - first, which.sum()))
    return placed, score


def _bursts(random: np.random.Generator, n: int, per_second: Array, rate: float) -> Array:
    """Array bool [n]: periods of 0.1 to 0.8 s that begin at random, `per_second` of them on average."""
    active = np.zeros(n, bool)
    for first in np.flatnonzero(random.random(n) < per_second / rate):
        active[first : first + 1 + int(random.uniform(0.1, 0.8) * rate)] = True
    return active


def _periods(active: Array) -> list[tuple[int, int]]:
    """[first, end) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], active.astype(int), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2])]


def _slow_noise(random: np.random.Generator, n: int, channels: int, rate: float) -> Array:
    """Noise with a time constant of 0.4 s and unit variance: [n, channels]."""
    keep = np.exp(-1.0 / (0.4 * rate))
    steps = random.normal(0, np.sqrt(1 - keep * keep), (n, channels))
    steps[0] /= np.sqrt(1 - keep * keep)
    for row in range(1, n):
        steps[row] += keep * steps[row - 1]
    return steps
