"""One row of acceleration and rotation for each reading of the gyroscope."""

from __future__ import annotations

import numpy as np

from agent.data import Array
from drivers.sensor._bmi088 import Frames

MOST = 4096  # accelerations that wait for the gyroscope; a silent one is a fault long before


class Merge:
    """Each rotation gets the newest acceleration that was measured no later. held: those that got one again."""

    def __init__(self) -> None:
        self.held = 0
        self.waiting: Array = np.empty((0, 3), np.int16)
        self.moments: Array = np.empty(0, np.int64)
        self.taken = False  # the first of `waiting` is in a row already

    def __call__(self, rotation: Frames, acceleration: Frames) -> tuple[Array, Array]:
        """Rows [k, 6] (acceleration, rotation) and their stamps; none before the first acceleration."""
        self.waiting = np.concatenate([self.waiting, acceleration.raw])[-MOST:]
        self.moments = np.concatenate([self.moments, acceleration.stamps])[-MOST:]
        index = np.searchsorted(self.moments, rotation.stamps, "right") - 1
        first = int(np.searchsorted(index, 0))
        index = index[first:]
        rows = np.concatenate([self.waiting[index], rotation.raw[first:]], axis=1)
        if len(index):
            self._release(index)
        return rows, rotation.stamps[first:]

    def _release(self, index: Array) -> None:
        before = np.concatenate([[0 if self.taken else -1], index[:-1]])
        self.held += int((index == before).sum())
        self.waiting, self.moments = self.waiting[index[-1] :], self.moments[index[-1] :]
        self.taken = True
