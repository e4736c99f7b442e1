"""How a camera and MoveNet would see the person of sticks: perspective, cut-off, doubt and plain mistakes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from agent.data import Array
from models.train.pose_fall.body import SWAPPED, keypoints
from models.train.pose_fall.story import NEITHER, RATE, Play

SEEN = 0.2  # MoveNet's score from which a point counts


class Seen(NamedTuple):
    """times: seconds [n]; points: float32 [n, 17, 3], y, x as shares of the picture and score; labels: int [n]."""

    times: Array
    points: Array
    labels: Array
    onset: float
    aspect: float


def watch(play: Play, seed: int) -> Seen:
    """One camera's recording of a play, at 10 to 30 pictures a second that do not come evenly."""
    random = np.random.default_rng(seed + 1_000_003)
    rate = random.choice([10.0, 12.5, 15.0, 20.0, 25.0, 30.0])
    ticks = np.arange(0, len(play.labels), RATE / rate)
    ticks = np.clip(ticks + random.normal(0, 0.15, len(ticks)), 0, len(play.labels) - 1)
    rows = np.unique(ticks.astype(int))
    body = keypoints(play.limbs[rows], play.height) + play.hips[rows, None]
    aspect = random.choice([4 / 3, 4 / 3, 16 / 9, 1.0])
    flat, depth = _project(body, aspect, random)
    points, labels = doubt(flat, depth, body[..., 2], rate, aspect, random), play.labels[rows].copy()
    onset = play.onset / RATE if play.onset >= 0 else np.nan
    gone = _nobody(len(rows), np.searchsorted(rows, play.onset), play.onset >= 0, rate, random)
    points[gone] = _furniture(int(gone.sum()), rate, random)
    if play.onset < 0:
        labels[gone] = NEITHER
    return Seen(rows / RATE, points.astype(np.float32), labels, onset, aspect)


def _nobody(n: int, fallen: int, falls: bool, rate: float, random: np.random.Generator) -> Array:
    """Array bool [n]: MoveNet has no person to look at: before one enters or after one leaves; or it has lost one who lies."""
    gone = np.zeros(n, bool)
    if falls and random.random() < 0.3:
        gone[fallen + int(random.uniform(1.2, 3.5) * rate) :] = True
    elif not falls and random.random() < 0.3:
        edge = int(random.uniform(0.15, 0.85) * n)
        gone[:edge] = random.random() < 0.5
        gone[edge:] = not gone[0]
    return gone


def _furniture(n: int, rate: float, random: np.random.Generator) -> Array:
    """What MoveNet makes of a room without a person: points here and there that jump, now and then rather sure. [n, 17, 3]"""
    points = np.zeros((n, 17, 3))
    spots = np.clip(
        random.uniform(0.1, 0.9, (3, 1, 2)) + random.normal(0, random.uniform(0.03, 0.25), (3, 17, 2)), 0, 1
    )
    sure = random.uniform(0.02, random.uniform(0.1, 0.5), (3, 17))
    which = np.cumsum(random.random(n) < random.uniform(0.1, 2.0) / rate) % 3
    points[..., :2] = spots[which] + random.normal(0, 0.01, (n, 17, 2))
    points[..., 2] = np.clip(sure[which] + random.normal(0, 0.04, (n, 17)), 0.01, 0.9)
    return points


def _project(body: Array, aspect: float, random: np.random.Generator) -> tuple[Array, Array]:
    """Pinhole camera somewhere in the room that looks roughly at the scene. [n, 17, 3] m to [n, 17, 2] (y, x) and distance."""
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
    away = body - eye
    depth = np.maximum(away @ ahead, 0.3)
    focus = 0.5 / np.tan(np.radians(random.uniform(40, 65)) / 2)  # of the picture's height
    y, x = 0.5 + focus * (away @ down) / depth, 0.5 + focus * (away @ right) / depth / aspect
    return np.stack([y, x], axis=-1), depth


def doubt(flat: Array, depth: Array, height: Array, rate: float, aspect: float, random: np.random.Generator) -> Array:
    """Scores, noise and mistakes. MoveNet is least sure of people who lie, move fast, turn away or leave the picture."""
    n = len(flat)
    size = np.maximum(np.ptp(flat[..., 0], axis=1), np.ptp(flat[..., 1], axis=1) * aspect).clip(0.05)
    speed = np.zeros(n)
    speed[1:] = np.abs(np.diff(flat.mean(axis=1), axis=0)).sum(axis=1) * rate / size[1:]
    low = np.clip(1.4 - height.max(axis=1), 0, 1)  # 0 standing .. 1 flat on the floor
    skill = random.uniform(0.55, 1.0)
    behind = depth - depth.mean(axis=1, keepdims=True)
    sure = skill * (0.75 - 0.35 * low[:, None] * random.uniform(0.2, 1.3) - 0.12 * speed[:, None]) - 0.6 * np.maximum(
        behind, 0
    )
    sure = sure + _slow(random, n, 17, rate) * 0.1 + random.normal(0, 0.07, (n, 17))
    outside = (flat < 0.0).any(axis=-1) | (flat > 1.0).any(axis=-1)
    sure = np.where(outside, sure * 0.35, sure)
    if random.random() < 0.3:  # furniture before the legs
        sure[:, 13:] -= random.uniform(0.1, 0.5)
    spread = (0.01 + 0.05 * np.clip(0.6 - sure, 0, 1)) * random.uniform(0.5, 1.6)
    noise = (_slow(random, n, 34, rate).reshape(n, 17, 2) + random.normal(0, 0.7, (n, 17, 2))) * spread[..., None]
    placed = flat + noise * size[:, None, None] * [1.0, 1.0 / aspect]
    placed, sure = _lose(placed, sure, low, speed, rate, random)
    swap = np.flatnonzero(_bursts(random, n, 0.05 * np.ones(n), rate))
    placed[swap] = placed[swap][:, SWAPPED]
    return np.concatenate([placed.clip(-0.02, 1.02), sure.clip(0.01, 0.9)[..., None]], axis=-1)


def _lose(
    placed: Array, sure: Array, low: Array, speed: Array, rate: float, random: np.random.Generator
) -> tuple[Array, Array]:
    """For moments some points, or all, sit on furniture or are heaped on a part of the body, with low scores."""
    n = len(placed)
    ghost = np.clip(random.uniform(0.2, 0.8, 2) + random.normal(0, 0.12, (17, 2)), 0, 1)
    lost = _bursts(random, n, random.uniform(0, 1.2) * (0.05 + low**2 + 0.2 * np.minimum(speed, 2)), rate)
    for begin, end in _stretches(lost):
        which = random.random(17) < random.choice([0.3, 0.6, 0.95])
        heap = placed[begin:end].mean(axis=1, keepdims=True) + random.normal(0, 0.04, (end - begin, 17, 2))
        there = heap if random.random() < 0.4 else ghost + random.normal(0, 0.02, (end - begin, 17, 2))
        placed[begin:end, which] = there[:, which]
        sure[begin:end, which] = random.uniform(0.03, random.uniform(0.1, 0.45), (end - begin, which.sum()))
    return placed, sure


def _bursts(random: np.random.Generator, n: int, per_second: Array, rate: float) -> Array:
    """Array bool [n]: spells that begin so often and last 0.1 to 0.8 s."""
    on = np.zeros(n, bool)
    for begin in np.flatnonzero(random.random(n) < per_second / rate):
        on[begin : begin + 1 + int(random.uniform(0.1, 0.8) * rate)] = True
    return on


def _stretches(on: Array) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], on.astype(int), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2])]


def _slow(random: np.random.Generator, n: int, channels: int, rate: float) -> Array:
    """Noise that takes about 0.4 s to change, of unit size: [n, channels]."""
    keep = np.exp(-1.0 / (0.4 * rate))
    steps = random.normal(0, np.sqrt(1 - keep * keep), (n, channels))
    steps[0] /= np.sqrt(1 - keep * keep)
    for row in range(1, n):
        steps[row] += keep * steps[row - 1]
    return steps
