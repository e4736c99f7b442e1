"""Keypoints of a person over the last seconds as the window of a second model, whatever the camera's pace."""

from __future__ import annotations

import numpy as np

from agent.backends.base import Tensor
from agent.data import Array
from agent.decoders.base import Finding
from agent.manifest import Poses
from agent.package import Package

KEYPOINTS, CHANNELS = 17, 51
SOMEBODY = 5  # so many keypoints seen are a person
REMEMBERED = 256  # frames: 4 s at 60 a second
GAP_NS = 500_000_000  # what came before a longer pause may have been another person
FAR = 10.0  # in pictures from the corner: no keypoint is there
REACH = 2.0  # features are clipped here, in sizes of the person


class SecondModel:
    """A loaded model with the window it reads: what a lane's `then` names."""

    def __init__(self, package: Package) -> None:
        poses = package.manifest.poses
        if not poses:
            raise ValueError(f"{package.name} reads no keypoints")
        self.package, self.engine = package, package.engine
        self.poses = poses
        self.window = PoseWindow(poses, self.engine.inputs[0])
        self.memory: Finding | None = None
        self.t_seen = 0

    def __call__(self, t_capture: int, keypoints: Array, aspect: float) -> list[Finding]:
        self.window(t_capture, keypoints, aspect, self.engine.input(0))
        self.engine.invoke()
        found = self.package.findings()
        if np.count_nonzero(keypoints[:, 2] >= self.poses.min_score) >= SOMEBODY:
            self.memory, self.t_seen = (found[0] if found else None), t_capture
            return found
        return self.remember(t_capture)  # a window that empties as somebody walks out of the picture looks like a fall

    def remember(self, t_capture: int) -> list[Finding]:
        """Pose networks lose whoever lies on the floor; nobody who lies is gone because of that."""
        if not self.memory or self.memory.label not in self.poses.lasting:
            return []
        return [self.memory] if t_capture - self.t_seen < self.poses.memory_s * 1e9 else []


class PoseWindow:
    """One person's track. Rows are read between frames, so that a model sees the same at 10 and at 30 frames a second."""

    def __init__(self, section: Poses, tensor: Tensor) -> None:
        self.section = section
        self.scale, self.zero = tensor.scale, tensor.zero_point
        self.dtype = np.dtype(tensor.dtype)
        step = int(section.every_ms * 1e6)
        self.offsets = np.arange(1 - section.length, 1, dtype=np.int64) * step
        self.span_ns = step * section.length
        self.times = np.zeros(REMEMBERED, np.int64)
        self.points = np.zeros((REMEMBERED, KEYPOINTS, 3), np.float32)
        self.seen = 0

    def reset(self) -> None:
        self.seen = 0

    def __call__(self, t_capture: int, keypoints: Array, aspect: float, view: Array) -> None:
        """keypoints: float32 [17, 3]: y, x as shares of the frame, score. aspect: its width / height. view: [1, length, 51]."""
        if self.seen and not 0 < t_capture - self.times[-1] < GAP_NS:
            self.reset()
        self.times[:-1], self.points[:-1] = self.times[1:], self.points[1:]
        self.times[-1], self.points[-1] = t_capture, keypoints
        self.seen = min(self.seen + 1, REMEMBERED)
        rows = between(self.times[-self.seen :], self.points[-self.seen :], t_capture + self.offsets)
        window = features(rows, aspect, self.section.min_score)
        if self.scale:
            limits = np.iinfo(self.dtype)
            window = np.clip(np.rint(window / self.scale + self.zero), limits.min, limits.max)
        view[0] = window


def between(times: Array, points: Array, asked: Array) -> Array:
    """[n, 17, 3] at `times` (ascending) to [m, 17, 3] at the times asked: linear between two; outside, the nearest."""
    if len(times) == 1:
        return np.asarray(points[np.zeros(len(asked), int)])
    after = np.clip(np.searchsorted(times, asked), 1, len(times) - 1)
    start, end = times[after - 1], times[after]
    share = np.clip((asked - start) / (end - start), 0.0, 1.0).astype(np.float32)[:, None, None]
    return np.asarray(points[after - 1] * (1 - share) + points[after] * share)


def features(rows: Array, aspect: float, min_score: float) -> Array:
    """Rows [n, 17, 3] to float32 [n, 51]: x, y, score of each point; 0, 0 where it is not seen.

    Positions are relative to the middle of all points seen in the window, in sizes of the person: the larger side of the
    box around one row's points, which four of five rows do not exceed. So distance and place in the picture do not matter, and
    what happens within the window does.
    """
    rows = np.clip(np.nan_to_num(rows), -FAR, FAR)  # a damaged network may say anything
    score = rows[..., 2]
    seen = score >= min_score
    count = max(int(seen.sum()), 1)
    x, y = rows[..., 1] * aspect, rows[..., 0]
    across, down = (np.where(seen, axis, 0.0) for axis in (x, y))
    sides = [np.where(seen, axis, -9.0).max(axis=1) - np.where(seen, axis, 9.0).min(axis=1) for axis in (x, y)]
    size = max(float(np.sort(np.maximum(*sides))[int(0.8 * (len(rows) - 1))]), 0.02)
    placed = [(axis - total.sum() / count) / size * seen for axis, total in ((x, across), (y, down))]
    window = np.stack([*placed, score], axis=-1).reshape(len(rows), CHANNELS)
    return np.asarray(np.clip(window, -REACH, REACH), np.float32)
