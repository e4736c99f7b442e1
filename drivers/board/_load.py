"""The load of all cores; imports nothing slow, so that `reflexd status` can start its measurement first."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path


class Load:
    """Share of time that the cores were not idle since the last call, from /proc/stat."""

    def __init__(self, root: Path) -> None:
        self.path = root / "proc/stat"
        self.idle = self.total = 0
        self.percent = 0.0
        self.t_read = 0.0  # time.monotonic()

    def read(self) -> Mapping[str, float]:
        """{"load_percent": ...}, empty without /proc/stat."""
        line = text(self.path).partition("\n")[0].split()
        if len(line) < 6 or line[0] != "cpu":
            return {}
        # user nice system idle iowait irq softirq steal; guest time is already in user time
        ticks = [int(field) for field in line[1:9]]
        idle, total = ticks[3] + ticks[4], sum(ticks)
        # the counters tick at 100 Hz; between two calls in one tick no time passes
        if total > self.total:
            self.percent = min(100.0, max(0.0, 100.0 * (1 - (idle - self.idle) / (total - self.total))))
        self.idle, self.total, self.t_read = idle, total, time.monotonic()
        return {"load_percent": self.percent}


def text(path: Path) -> str:
    """The content of a file, "" where it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:  # reading a zone that is switched off fails with EAGAIN or EINVAL
        return ""
