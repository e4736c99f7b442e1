"""How busy the cores of this box are, from /proc/stat: only those that this process may use."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from drivers.board._load import ticks

WINDOW_NS = 500_000_000
TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


class Times(NamedTuple):
    """ns since the start of the box, of the cores together."""

    at: int
    busy: int
    total: int


def parse(text: str, cores: Iterable[int]) -> tuple[int, int]:
    """(busy, all) of these cores in clock ticks. text: of /proc/stat."""
    return ticks(text, {f"cpu{core}" for core in cores})


class BusyMeter:
    """Share of the cores that is used, over the last half second or more."""

    def __init__(self, cores: Iterable[int] = (), without_own: bool = False) -> None:
        """cores: empty: those that this process may use. without_own: what this process uses counts as free."""
        self._cores = sorted(cores or os.sched_getaffinity(0))
        self._without_own = without_own
        self._times: deque[Times] = deque()
        self._share = 0.0

    def __call__(self) -> float:
        """0..1; 0 before there were two readings."""
        now = time.monotonic_ns()
        if self._times and now - self._times[-1].at < WINDOW_NS / 10:
            return self._share
        self._times.append(self._read(now))
        while len(self._times) > 2 and now - self._times[1].at >= WINDOW_NS:
            self._times.popleft()
        first, last = self._times[0], self._times[-1]
        total = last.total - first.total
        if total > 0:
            self._share = min(max((last.busy - first.busy) / total, 0.0), 1.0)
        return self._share

    def _read(self, now: int) -> Times:
        with open("/proc/stat", encoding="ascii") as file:
            busy, total = parse(file.read(), self._cores)
        own = time.process_time_ns() if self._without_own else 0
        return Times(now, busy * TICK_NS - own, total * TICK_NS)
