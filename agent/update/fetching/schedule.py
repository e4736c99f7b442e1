"""When to check: with jitter, so that a fleet does not ask in the same second, and inside the maintenance window."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

MINUTES = 24 * 60
RETRY_S = 60.0  # after the first failure; then twice as long each time
MOST_DOUBLINGS = 20

Uniform = Callable[[float, float], float]


class Window(NamedTuple):
    """Minutes of the local day, from `begin` to before `end`; also across midnight. Both 0: always."""

    begin: int = 0
    end: int = 0

    def wait_s(self, local: datetime) -> float:
        """Until it opens; 0 while it is open."""
        if self.begin == self.end:
            return 0.0
        seconds = (local.hour * 60 + local.minute) * 60 + local.second
        into = (seconds - self.begin * 60) % (MINUTES * 60)
        return 0.0 if into < self.minutes * 60 else float(MINUTES * 60 - into)

    @property
    def minutes(self) -> int:
        return (self.end - self.begin) % MINUTES or MINUTES


def window_of(text: str) -> Window:
    """Of "22:00-05:30", or empty."""
    if not text:
        return Window()
    times = [int(part[:2]) * 60 + int(part[3:]) for part in text.split("-")]
    return Window(*times)


class Schedule(NamedTuple):
    """uniform: as random.uniform."""

    every_s: float
    jitter: float
    window: Window
    uniform: Uniform

    def first_s(self, local: datetime) -> float:
        """From the start to the first check: after a power cut all boxes of a site start at once."""
        return self._inside(self.uniform(0.0, self.every_s * self.jitter), local)

    def next_s(self, failures: int, local: datetime) -> float:
        """From a check to the next one. failures: in a row."""
        wait = self.every_s
        if failures:
            wait = min(wait, RETRY_S * 2.0 ** min(failures - 1, MOST_DOUBLINGS))
        return self._inside(wait * (1 + self.jitter * self.uniform(-1.0, 1.0)), local)

    def _inside(self, wait: float, local: datetime) -> float:
        """The same, or some time after the window opens."""
        closed = self.window.wait_s(local)
        if not closed:
            return wait
        spread = min(self.every_s * self.jitter, self.window.minutes * 30)
        return max(wait, closed + self.uniform(0.0, spread))
