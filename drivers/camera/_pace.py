"""The clock of a camera without one: absolute due times, so that the rate does not drift."""

from __future__ import annotations

import time


class Pace:
    """Ticks 1/rate_hz apart. `tick` is the newest that is due, -1 at first; `due` its time.

    fast: every tick is due as soon as it is requested; the times stay 1/rate_hz apart and run ahead of the clock.
    """

    def __init__(self, rate_hz: float, fast: bool, start_ns: int) -> None:
        self.period = 1e9 / rate_hz
        self.fast = fast
        self.start = start_ns
        self.tick = -1
        self.due = start_ns

    def wait(self, wait_s: float) -> int:
        """Sleeps until the next tick is due, at most wait_s; how many are due then, more than 1 for a late call."""
        ahead_s = 0.0 if self.fast else (self.time(self.tick + 1) - time.monotonic_ns()) / 1e9
        if ahead_s > wait_s:
            time.sleep(wait_s)
            return 0
        if ahead_s > 0:
            time.sleep(ahead_s)
        return self._advance()

    def _advance(self) -> int:
        newest = self.tick + 1
        if not self.fast:
            newest = max(newest, int((time.monotonic_ns() - self.start) // self.period))
        passed, self.tick = newest - self.tick, newest
        self.due = self.time(newest)
        return passed

    def time(self, tick: int) -> int:
        return self.start + int(tick * self.period)
