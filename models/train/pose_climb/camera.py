"""A simulated camera at a fence, farther and higher than one in a room; the pose network is that of pose_fall."""

from __future__ import annotations

import numpy as np

from agent.data import Array
from models.train.pose_climb.activities import Scenario
from models.train.pose_fall.body import keypoints
from models.train.pose_fall.camera import PoseRecording, add_errors
from models.train.pose_fall.figure import RATE

RATES = (10.0, 12.5, 15.0, 20.0, 25.0, 30.0)


def render(scenario: Scenario, seed: int, missing: float = 0.0) -> PoseRecording:
    """A recording at 10 to 30 pictures a second. missing: share of keypoints that are also lost, at random in each
    picture.
    """
    random, motion = np.random.default_rng(seed + 1_000_003), scenario.motion
    rate = random.choice(RATES)
    ticks = np.arange(0, len(motion.labels), RATE / rate)
    rows = np.unique(np.clip(ticks + random.normal(0, 0.15, len(ticks)), 0, len(motion.labels) - 1).astype(int))
    body = keypoints(motion.limbs[rows], motion.height) + motion.hips[rows, None]
    aspect = random.choice([4 / 3, 16 / 9])
    flat, depth = _project(body, aspect, scenario, random)
    # add_errors treats low joints as a lying person; nobody lies above the foot of a wall.
    above = body[..., 2] - body[..., 2].min(axis=1, keepdims=True)
    points = add_errors(flat, depth, above, rate, aspect, random)
    points[random.random(points.shape[:2]) < missing, 2] = 0.01
    onset = motion.onset / RATE if motion.onset >= 0 else np.nan
    return PoseRecording(rows / RATE, points.astype(np.float32), motion.labels[rows], onset, float(aspect))


def _project(body: Array, aspect: float, scenario: Scenario, random: np.random.Generator) -> tuple[Array, Array]:
    """A pinhole camera 4 to 10 m off and 1 to 4 m high, on any side of the wall; results as in pose_fall."""
    low, high = body.reshape(-1, 3).min(axis=0), body.reshape(-1, 3).max(axis=0)
    middle, reach = (low + high) / 2, float(np.linalg.norm(high - low))
    distance = random.uniform(4.0, 10.0) + (reach / 2 if scenario.to_camera else 0.0)
    yaw = {0: random.uniform(-np.pi, np.pi), 1: 0.0, -1: np.pi}[scenario.to_camera] + random.normal(0, 0.1)
    eye = np.array([*middle[:2], 0.0]) + [distance * np.cos(yaw), distance * np.sin(yaw), random.uniform(1.0, 4.0)]
    ahead = (middle - eye) / np.linalg.norm(middle - eye)
    right = np.cross(ahead, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(ahead, right)
    offset = body - eye
    depth = np.maximum(offset @ ahead, 0.3)
    x, y = (offset @ right) / depth, (offset @ down) / depth
    # The zoom shows the whole motion with a small margin.
    focus = random.uniform(0.6, 0.95) * 0.5 / max(float(np.abs(y).max()), float(np.abs(x).max()) / aspect)
    return np.stack([0.5 + focus * y, 0.5 + focus * x / aspect], axis=-1), depth
