"""Keypoints of a person over the last seconds as the window of a second model, whatever the camera's rate."""

from __future__ import annotations

import numpy as np

from agent.backends.base import Tensor
from agent.data import Array
from agent.decoders.base import Finding
from agent.packages.manifest import Poses
from agent.packages.package import Package

KEYPOINTS, CHANNELS = 17, 51
MIN_KEYPOINTS = 5  # this many detected keypoints are a person
MAX_FRAMES = 256  # in memory: 4 s at 60 a second
GAP_NS = 500_000_000  # keypoints from before a longer pause may be another person's
MAX_COORDINATE = 10.0  # in pictures from the corner: no keypoint is farther
MAX_FEATURE = 2.0  # features are clipped here, in sizes of the person


class SecondModel:
    """A loaded model with the window it reads: what a lane's `then` names."""

    def __init__(self, package: Package) -> None:
        poses = package.manifest.poses
        if not poses:
            raise ValueError(f"{package.name} reads no keypoints")
        self.package, self.engine = package, package.engine
        self.poses = poses
        self.window = PoseWindow(poses, self.engine.inputs[0])
        self.last_finding: Finding | None = None  # the best, when a person was last detected
        self.t_person = 0

    def exchange(self, package: Package) -> None:
        """Another version of the model, with the same input; the poses so far stay."""
        self.package, self.engine = package, package.engine
        self.window.set_tensor(self.engine.inputs[0])

    def restart(self) -> None:
        """The next picture does not follow on the one before."""
        self.window.reset()

    def __call__(self, t_capture: int, keypoints: Array, aspect: float) -> list[Finding]:
        self.window(t_capture, keypoints, aspect, self.engine.input(0))
        findings = self.package.infer()
        if np.count_nonzero(keypoints[:, 2] >= self.poses.min_score) >= MIN_KEYPOINTS:
            self.last_finding, self.t_person = (findings[0] if findings else None), t_capture
            return findings
        return self.recall(t_capture)  # a window that empties as a person leaves the picture looks like a fall

    def recall(self, t_capture: int) -> list[Finding]:
        """The last finding if its label is a lasting one: pose networks lose a person who lies on the floor."""
        if not self.last_finding or self.last_finding.label not in self.poses.lasting:
            return []
        return [self.last_finding] if t_capture - self.t_person < self.poses.memory_s * 1e9 else []


class PoseWindow:
    """One person's track. Its rows are interpolated between frames, so that the frame rate does not matter."""

    def __init__(self, section: Poses, tensor: Tensor) -> None:
        self.section = section
        self.set_tensor(tensor)
        step = int(section.every_ms * 1e6)
        self.offsets = np.arange(1 - section.length, 1, dtype=np.int64) * step
        self.span_ns = step * section.length
        self.times = np.zeros(MAX_FRAMES, np.int64)
        self.points = np.zeros((MAX_FRAMES, KEYPOINTS, 3), np.float32)
        self.frames = 0  # filled, at the end of times and points

    def set_tensor(self, tensor: Tensor) -> None:
        """How the window is stored."""
        self.scale, self.zero_point = tensor.scale, tensor.zero_point
        self.dtype = np.dtype(tensor.dtype)

    def reset(self) -> None:
        self.frames = 0

    def __call__(self, t_capture: int, keypoints: Array, aspect: float, view: Array) -> None:
        """Add a frame and fill view [1, length, 51].

        keypoints: float32 [17, 3]: y, x as shares of the frame, score. aspect: its width / height.
        """
        if self.frames and not 0 < t_capture - self.times[-1] < GAP_NS:
            self.reset()
        self.times[:-1], self.points[:-1] = self.times[1:], self.points[1:]
        self.times[-1], self.points[-1] = t_capture, keypoints
        self.frames = min(self.frames + 1, MAX_FRAMES)
        rows = interpolate(self.times[-self.frames :], self.points[-self.frames :], t_capture + self.offsets)
        window = features(rows, aspect, self.section.min_score)
        if self.scale:
            limits = np.iinfo(self.dtype)
            window = np.clip(np.rint(window / self.scale + self.zero_point), limits.min, limits.max)
        view[0] = window


def interpolate(times: Array, points: Array, at: Array) -> Array:
    """[n, 17, 3] at `times` (ascending) to [m, 17, 3] at the times `at`: linear between two; outside, the nearest."""
    if len(times) == 1:
        return np.asarray(points[np.zeros(len(at), int)])
    after = np.clip(np.searchsorted(times, at), 1, len(times) - 1)
    start, end = times[after - 1], times[after]
    share = np.clip((at - start) / (end - start), 0.0, 1.0).astype(np.float32)[:, None, None]
    return np.asarray(points[after - 1] * (1 - share) + points[after] * share)


def features(rows: Array, aspect: float, min_score: float) -> Array:
    """Rows [n, 17, 3] to float32 [n, 51]: x, y, score of each point; 0, 0 where its score is below min_score.

    Positions are relative to the mean of all detected points of the window, in sizes of the person: the larger side of
    the box around one row's points, which four of five rows do not exceed. So distance and position in the picture do
    not matter, and motion within the window does.
    """
    rows = np.clip(np.nan_to_num(rows), -MAX_COORDINATE, MAX_COORDINATE)  # a damaged network may give any number
    score = rows[..., 2]
    detected = score >= min_score
    count = max(int(detected.sum()), 1)
    x, y = rows[..., 1] * aspect, rows[..., 0]
    sides = [np.where(detected, axis, -9.0).max(axis=1) - np.where(detected, axis, 9.0).min(axis=1) for axis in (x, y)]
    size = max(float(np.sort(np.maximum(*sides))[int(0.8 * (len(rows) - 1))]), 0.02)
    centered = [(axis - np.where(detected, axis, 0.0).sum() / count) / size * detected for axis in (x, y)]
    window = np.stack([*centered, score], axis=-1).reshape(len(rows), CHANNELS)
    return np.asarray(np.clip(window, -MAX_FEATURE, MAX_FEATURE), np.float32)
