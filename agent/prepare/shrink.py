"""Down-sampling before anything else: the factor that costs least and does not change the model's picture."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from agent.data import Array

FACTORS = (1, 2, 3, 4, 6)  # every n-th pixel and row
PROBE_FRAMES = 15  # on which the choice is made
MAX_DIFFERENCE = 3.0  # grey levels, mean over the model's picture: less than a camera's noise in the dark
MAX_TIME_SHARE = 0.8  # of the time at full size: a smaller gain is not worth losing pixels


class ShrinkChoice:
    """Measures on the first frames each factor's difference and time.

    A fine pattern keeps the full size, and so does a camera whose frames cost nothing to resize.
    """

    def __init__(self, frame: tuple[int, ...], inner: tuple[int, int]) -> None:
        """frame: its shape. inner: width and height on the model's picture; no factor leaves fewer pixels."""
        limit = max(min(frame[1] / inner[0], frame[0] / inner[1]), 1)
        self.times_ns: dict[int, list[int]] = {factor: [] for factor in FACTORS if factor <= limit}
        self.probes = 0

    @property
    def chosen(self) -> int | None:
        """None while frames are still to be probed."""
        if len(self.times_ns) > 1 and self.probes < PROBE_FRAMES:
            return None
        costs = {factor: min(times) for factor, times in self.times_ns.items() if times}
        best = min(costs, key=lambda factor: costs[factor])
        return best if costs[best] <= MAX_TIME_SHARE * costs.get(1, 0) else 1

    def probe(self, draw: Callable[[int], Array]) -> None:
        """draw: the model's picture of this frame at a factor, uint8; the next call may overwrite it.

        One factor is timed on each frame, the one drawn first: later ones find the frame in the cache.
        """
        factors = list(self.times_ns)
        timed = factors[self.probes % len(factors)]
        before = time.perf_counter_ns()
        first = draw(timed).astype(np.int16)
        self.times_ns[timed].append(time.perf_counter_ns() - before)
        full = first if timed == 1 else draw(1).astype(np.int16)
        for factor in factors[1:]:
            if np.abs((first if factor == timed else draw(factor)) - full).mean() > MAX_DIFFERENCE:
                del self.times_ns[factor]
        self.probes += 1
