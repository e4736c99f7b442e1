"""A camera at a fence: further off and higher than one in a room. Its pose network is pose_fall's."""

from __future__ import annotations

import numpy as np

from agent.data import Array
from models.train.pose_climb.acts import Scene
from models.train.pose_fall.body import keypoints
from models.train.pose_fall.story import RATE
from models.train.pose_fall.view import Seen, doubt

RATES = (10.0, 12.5, 15.0, 20.0, 25.0, 30.0)


def watch(scene: Scene, seed: int, missing: float = 0.0) -> Seen:
    """10 to 30 pictures a second. missing: share of the keypoints that are lost besides, each picture anew."""
    random, play = np.random.default_rng(seed + 1_000_003), scene.play
    rate = random.choice(RATES)
    ticks = np.arange(0, len(play.labels), RATE / rate)
    rows = np.unique(np.clip(ticks + random.normal(0, 0.15, len(ticks)), 0, len(play.labels) - 1).astype(int))
    body = keypoints(play.limbs[rows], play.height) + play.hips[rows, None]
    aspect = random.choice([4 / 3, 16 / 9])
    flat, depth = _project(body, aspect, scene, random)
    # The fault model takes low joints for a person who lies; above a wall's foot nobody does.
    above = body[..., 2] - body[..., 2].min(axis=1, keepdims=True)
    points = doubt(flat, depth, above, rate, aspect, random)
    points[random.random(points.shape[:2]) < missing, 2] = 0.01
    onset = play.onset / RATE if play.onset >= 0 else np.nan
    return Seen(rows / RATE, points.astype(np.float32), play.labels[rows], onset, float(aspect))


def _project(body: Array, aspect: float, scene: Scene, random: np.random.Generator) -> tuple[Array, Array]:
    """Pinhole camera 4 to 10 m off and 1 to 4 m high, from any side, that sees wall and person. As pose_fall's `project`."""
    low, high = body.reshape(-1, 3).min(axis=0), body.reshape(-1, 3).max(axis=0)
    middle, reach = (low + high) / 2, float(np.linalg.norm(high - low))
    distance = random.uniform(4.0, 10.0) + (reach / 2 if scene.to_camera else 0.0)
    yaw = {0: random.uniform(-np.pi, np.pi), 1: 0.0, -1: np.pi}[scene.to_camera] + random.normal(0, 0.1)
    eye = np.array([*middle[:2], 0.0]) + [distance * np.cos(yaw), distance * np.sin(yaw), random.uniform(1.0, 4.0)]
    ahead = (middle - eye) / np.linalg.norm(middle - eye)
    right = np.cross(ahead, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(ahead, right)
    away = body - eye
    depth = np.maximum(away @ ahead, 0.3)
    x, y = (away @ right) / depth, (away @ down) / depth
    # As much zoom as shows all of it, and a little more.
    focus = random.uniform(0.6, 0.95) * 0.5 / max(float(np.abs(y).max()), float(np.abs(x).max()) / aspect)
    return np.stack([0.5 + focus * y, 0.5 + focus * x / aspect], axis=-1), depth
