"""Down-sampling before anything else: of the rungs on which the model still sees the same, the one that costs least."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from agent.data import Array

RUNGS = (1, 2, 3, 4, 6)  # take every so many pixels and rows
PROBED = 15  # frames on which the choice is made
SAME = 3.0  # grey levels, mean over the model's picture: less than a camera's noise in the dark
WORTH = 0.8  # of the time of the full size: less gain is not worth a pixel


class Ladder:
    """Chooses on the first frames, by what comes out and how long it took: a fine pattern keeps the full size, and so does a
    camera whose pixels cost nothing to resize."""

    def __init__(self, frame: tuple[int, ...], inner: tuple[int, int]) -> None:
        """frame: its shape. inner: width and height on the model's picture: no rung leaves fewer pixels than these."""
        most = min(frame[1] / inner[0], frame[0] / inner[1])
        self.took: dict[int, list[int]] = {
            rung: [] for rung in RUNGS if rung <= max(most, 1)
        }  # ns, of rungs that are left
        self.probes = 0

    @property
    def chosen(self) -> int | None:
        """None while it is still looking."""
        if len(self.took) > 1 and self.probes < PROBED:
            return None
        cost = {rung: min(took) for rung, took in self.took.items() if took}
        best = min(cost, key=lambda rung: cost[rung])
        return best if cost[best] <= WORTH * cost.get(1, 0) else 1

    def probe(self, drawn: Callable[[int], Array]) -> None:
        """drawn: what the model is shown of this frame from a rung, uint8; the next call may overwrite it.

        One rung is timed on each frame, the first: later ones find the frame in the cache.
        """
        rungs = list(self.took)
        timed = rungs[self.probes % len(rungs)]
        before = time.perf_counter_ns()
        first = drawn(timed).astype(np.int16)
        self.took[timed].append(time.perf_counter_ns() - before)
        full = first if timed == 1 else drawn(1).astype(np.int16)
        for rung in rungs[1:]:
            if np.abs((first if rung == timed else drawn(rung)) - full).mean() > SAME:
                del self.took[rung]
        self.probes += 1
