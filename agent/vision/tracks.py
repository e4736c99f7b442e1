"""Which box of this picture is which of the last one's: overlap, and a Kalman filter that goes on while one is not seen."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from agent.data import Box
from agent.decoders.base import Finding

LEAST = 0.1  # overlap of a box with where its track was expected
PLACED, HASTE = (
    0.02,
    0.5,
)  # standard deviations: of a box's place; of the change of its speed in a second; shares of the picture
MANY = 64


class Track:
    """One thing over time. State of the filter: middle x, y, width, height; speed of the middle, in pictures a second."""

    def __init__(self, number: int, finding: Finding, now: int) -> None:
        assert finding.box
        self.number = number
        self.finding = finding  # the newest
        self.t_seen = self.t_state = now
        self.filter = cv2.KalmanFilter(6, 4)
        self.filter.measurementMatrix = np.eye(4, 6, dtype=np.float32)
        self.filter.measurementNoiseCov = np.eye(4, dtype=np.float32) * np.float32(PLACED**2)
        self.filter.errorCovPost = np.diag(np.array([PLACED**2] * 4 + [1.0, 1.0], np.float32))
        self.filter.statePost = np.array([*_measured(finding.box), 0.0, 0.0], np.float32)[:, None]

    def expect(self, now: int) -> Box:
        """Where it should be now: straight on at the same speed."""
        seconds = np.float32(max(0, now - self.t_state) / 1e9)
        step = np.eye(6, dtype=np.float32)
        step[0, 4] = step[1, 5] = seconds
        self.filter.transitionMatrix = step
        size, turn = (PLACED * seconds) ** 2, (HASTE * seconds) ** 2
        self.filter.processNoiseCov = np.diag(np.array([size, size, size, size, turn, turn], np.float32))
        self.filter.predict()
        self.t_state = now
        return self.box

    def see(self, finding: Finding, now: int) -> None:
        assert finding.box
        self.filter.correct(np.array(_measured(finding.box), np.float32)[:, None])
        self.finding, self.t_seen = finding, now

    @property
    def box(self) -> Box:
        x, y, width, height = self.filter.statePost[:4, 0].tolist()
        return Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)


class Tracks:
    """All things of one label. Those not seen for `memory_ns` are forgotten."""

    def __init__(self, memory_ns: int) -> None:
        self.memory_ns = memory_ns
        self.all: list[Track] = []
        self.made = 0

    def __call__(self, now: int, findings: Sequence[Finding]) -> list[Track]:
        """Take in one picture's boxes; every track that is alive, also those without one, oldest first."""
        self.all = [track for track in self.all if 0 <= now - track.t_seen <= self.memory_ns]
        expected = [track.expect(now) for track in self.all]
        new = [one for one in findings if one.box][:MANY]
        pairs = sorted(
            (
                (overlap(box, one.box), old, number)
                for old, box in enumerate(expected)
                for number, one in enumerate(new)
                if one.box
            ),
            reverse=True,
        )
        used: set[int] = set()
        free = set(range(len(self.all)))
        for share, old, number in pairs:
            if share >= LEAST and old in free and number not in used:
                self.all[old].see(new[number], now)
                free.discard(old)
                used.add(number)
        for number, finding in enumerate(new):
            if number not in used and len(self.all) < MANY:
                self.made += 1
                self.all.append(Track(self.made, finding, now))
        return self.all


def overlap(one: Box, other: Box) -> float:
    """Intersection over union, 0..1."""
    wide = min(one.right, other.right) - max(one.left, other.left)
    high = min(one.bottom, other.bottom) - max(one.top, other.top)
    if wide <= 0 or high <= 0:
        return 0.0
    areas = [(box.right - box.left) * (box.bottom - box.top) for box in (one, other)]
    return wide * high / (sum(areas) - wide * high)


def _measured(box: Box) -> tuple[float, float, float, float]:
    return (box.left + box.right) / 2, (box.top + box.bottom) / 2, box.right - box.left, box.bottom - box.top
