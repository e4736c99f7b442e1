"""When the frames of a FIFO were measured, from the moments of the reads and how many frames were in it."""

from __future__ import annotations

import numpy as np

from agent.data import Array


class FrameClock:
    """At a read of the fill level the newest frame is between zero and one period old.

    The chip's own clock is steadier than the reads, so frames are counted on from the stamp before and corrected only
    as far as that interval demands. The error stays below one period and the time that the read took; a clock of the
    chip that is a few per cent off is followed.
    """

    def __init__(self, rate_hz: float) -> None:
        self.period_ns = round(1e9 / rate_hz)
        self.newest = 0

    def restart(self) -> None:
        self.newest = 0

    def missed(self, now: int) -> int:
        """Frames since the last one, where the FIFO no longer says how many: at least one."""
        return max(1, round((now - self.newest) / self.period_ns)) if self.newest else 1

    def advance(self, count: int, before: int, after: int) -> Array:
        """Stamps of the `count` >= 1 frames up to the newest, int64, rising. before, after: the read of the level."""
        oldest_possible = before - self.period_ns
        last = self.newest or after - count * self.period_ns
        expected = last + count * self.period_ns
        self.newest = max(last + 1, min(max(expected, oldest_possible), after))
        return last + (self.newest - last) * np.arange(1, count + 1, dtype=np.int64) // count
