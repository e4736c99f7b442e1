"""Boxes matched from picture to picture: by overlap, and by a Kalman filter that bridges missed detections."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from agent.data import Box
from agent.decoders.base import Finding

MIN_OVERLAP = 0.1  # of a box with where its track was predicted
# Standard deviations, in shares of the picture: of a box's position; of the change of its speed in a second.
POSITION_STD, SPEED_CHANGE_STD = 0.02, 0.5
MAX_TRACKS = 64


class Track:
    """One object over time. Filter state: middle x, y, width, height; speed of the middle, in pictures a second."""

    def __init__(self, number: int, finding: Finding, now: int) -> None:
        assert finding.box
        self.number = number
        self.finding = finding  # the newest
        self.t_detected = self.t_state = now
        self.filter = cv2.KalmanFilter(6, 4)
        self.filter.measurementMatrix = np.eye(4, 6, dtype=np.float32)
        self.filter.measurementNoiseCov = np.eye(4, dtype=np.float32) * np.float32(POSITION_STD**2)
        self.filter.errorCovPost = np.diag(np.array([POSITION_STD**2] * 4 + [1.0, 1.0], np.float32))
        self.filter.statePost = np.array([*_measurement(finding.box), 0.0, 0.0], np.float32)[:, None]

    def predict(self, now: int) -> Box:
        """Where it should be now: straight on at the same speed."""
        seconds = np.float32(max(0, now - self.t_state) / 1e9)
        step = np.eye(6, dtype=np.float32)
        step[0, 4] = step[1, 5] = seconds
        self.filter.transitionMatrix = step
        size, turn = (POSITION_STD * seconds) ** 2, (SPEED_CHANGE_STD * seconds) ** 2
        self.filter.processNoiseCov = np.diag(np.array([size, size, size, size, turn, turn], np.float32))
        self.filter.predict()
        self.t_state = now
        return self.box

    def update(self, finding: Finding, now: int) -> None:
        assert finding.box
        self.filter.correct(np.array(_measurement(finding.box), np.float32)[:, None])
        self.finding, self.t_detected = finding, now

    @property
    def box(self) -> Box:
        x, y, width, height = self.filter.statePost[:4, 0].tolist()
        return Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)


class Tracks:
    """All objects of one label. Those not detected for `memory_ns` are dropped."""

    def __init__(self, memory_ns: int) -> None:
        self.memory_ns = memory_ns
        self.all: list[Track] = []
        self.last_number = 0

    def __call__(self, now: int, findings: Sequence[Finding]) -> list[Track]:
        """Add one picture's boxes; return every track that is alive, also those without a box, oldest first."""
        self.all = [track for track in self.all if 0 <= now - track.t_detected <= self.memory_ns]
        new = [finding for finding in findings if finding.box][:MAX_TRACKS]
        unmatched: set[int] = set(range(len(new)))
        free = set(range(len(self.all)))
        for share, old, number in self._overlaps(now, new):
            if share >= MIN_OVERLAP and old in free and number in unmatched:
                self.all[old].update(new[number], now)
                free.discard(old)
                unmatched.discard(number)
        for number in sorted(unmatched):
            if len(self.all) < MAX_TRACKS:
                self.last_number += 1
                self.all.append(Track(self.last_number, new[number], now))
        return self.all

    def _overlaps(self, now: int, new: Sequence[Finding]) -> list[tuple[float, int, int]]:
        """Overlap of each track's prediction with each new box: (share, track, box), largest first."""
        predicted = [track.predict(now) for track in self.all]
        pairs = [
            (overlap(box, finding.box), old, number)
            for old, box in enumerate(predicted)
            for number, finding in enumerate(new)
            if finding.box
        ]
        return sorted(pairs, reverse=True)


def overlap(first: Box, second: Box) -> float:
    """Intersection over union, 0..1."""
    wide = min(first.right, second.right) - max(first.left, second.left)
    high = min(first.bottom, second.bottom) - max(first.top, second.top)
    if wide <= 0 or high <= 0:
        return 0.0
    areas = [(box.right - box.left) * (box.bottom - box.top) for box in (first, second)]
    return wide * high / (sum(areas) - wide * high)


def _measurement(box: Box) -> tuple[float, float, float, float]:
    return (box.left + box.right) / 2, (box.top + box.bottom) / 2, box.right - box.left, box.bottom - box.top
