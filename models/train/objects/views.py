"""Views of frames for tuning: mirrored, cut, shrunk, four in one, in other light."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from agent.data import Array
from models.train.objects.frames import Letterbox


class Views:
    """Draws float32 [side, side, 3] in 0..255, whole numbers; the same row of them each time."""

    def __init__(self, frames: Sequence[Array], side: int) -> None:
        self.frames, self.side = frames, side
        self.random = np.random.default_rng(0)
        self.letterbox = Letterbox(side, side)

    def draw(self) -> Array:
        if self.random.random() >= 0.35:
            return self._one()
        half = self.side // 2
        quarters = [cv2.resize(self._one(), (half, half), interpolation=cv2.INTER_AREA) for _ in range(4)]
        return np.rint(np.vstack([np.hstack(quarters[:2]), np.hstack(quarters[2:])]))

    def _one(self) -> Array:
        frame = self.frames[int(self.random.integers(len(self.frames)))]
        if self.random.random() < 0.5:
            frame = frame[:, ::-1]
        if self.random.random() < 0.6:
            frame = self._cut(frame)
        picture = self.letterbox(np.ascontiguousarray(frame))
        if self.random.random() < 0.3:
            picture = self._shrunk(picture)
        if self.random.random() < 0.3:
            picture = picture[:, :, self.random.permutation(3)]
        gains = self.random.uniform(0.6, 1.3) * self.random.uniform(0.9, 1.1, 3)
        light = picture * gains + self.random.uniform(-15, 15)
        return np.asarray(np.rint(light.clip(0, 255)), np.float32)

    def _cut(self, frame: Array) -> Array:
        share = self.random.uniform(0.4, 1.0)
        height, width = (int(side * share) for side in frame.shape[:2])
        top = self.random.integers(0, frame.shape[0] - height + 1)
        left = self.random.integers(0, frame.shape[1] - width + 1)
        return frame[top : top + height, left : left + width]

    def _shrunk(self, picture: Array) -> Array:
        side = int(self.side * self.random.uniform(0.4, 0.9))
        left, top = self.random.integers(0, self.side - side + 1, 2)
        canvas = np.zeros_like(picture)
        canvas[top : top + side, left : left + side] = cv2.resize(picture, (side, side))
        return canvas
