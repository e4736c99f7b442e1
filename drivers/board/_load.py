"""The load of all cores; imports nothing slow, so that `reflexd status` can start its measurement first."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from pathlib import Path


class Load:
    """Share of time that the cores were not idle since the last call, from /proc/stat."""

    def __init__(self, root: Path) -> None:
        self.path = root / "proc/stat"
        self.busy = self.total = 0
        self.percent = 0.0
        self.t_read = 0.0  # time.monotonic()

    def read(self) -> Mapping[str, float]:
        """{"load_percent": ...}, empty without /proc/stat."""
        busy, total = ticks(text(self.path), ("cpu",))
        if not total:
            return {}
        # the counters tick at 100 Hz; between two calls in one tick no time passes
        if total > self.total:
            self.percent = min(100.0, max(0.0, 100.0 * (busy - self.busy) / (total - self.total)))
        self.busy, self.total, self.t_read = busy, total, time.monotonic()
        return {"load_percent": self.percent}


def ticks(stat: str, names: Collection[str]) -> tuple[int, int]:
    """(busy, all) ticks since the boot of the lines with these names. stat: of /proc/stat, proc(5).

    names: cpu is all cores together, cpu0 the first.
    """
    busy = total = 0
    for line in stat.splitlines():
        name, *fields = line.split() or [""]
        if name in names and len(fields) > 4:
            # user nice system idle iowait irq softirq steal; guest time is already in user time
            passed = [int(field) for field in fields[:8]]
            busy, total = busy + sum(passed) - passed[3] - passed[4], total + sum(passed)
    return busy, total


def text(path: Path) -> str:
    """The content of a file, "" where it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:  # reading a zone that is switched off fails with EAGAIN or EINVAL
        return ""
