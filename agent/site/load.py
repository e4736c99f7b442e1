"""What a box says of its load: the share of its cores in use, and how long each of its models takes."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from agent import ledger
from agent.site.settings import Settings

STAT = Path("/proc/stat")
SMOOTHED_S = 1.0  # the kernel counts in ticks of 10 ms
LOOK_S = 2.0  # a ledger holds two megabytes
NEWEST_NS = 10_000_000_000


class Busy:
    """Share of time, 0..1, that the cores which this process may use were not idle; smoothed over a second."""

    def __init__(self, stat: Path = STAT) -> None:
        self.share = 0.0
        self._stat = stat
        self._cores = {f"cpu{core}" for core in os.sched_getaffinity(0)}
        self._idle = self._total = 0
        self._read = 0.0

    def update(self, now: float) -> float:
        """now: s of a monotonic clock."""
        idle, total = self._ticks()
        passed, first = now - self._read, not self._total
        if total > self._total:
            newest = 1.0 - (idle - self._idle) / (total - self._total)
            weight = 1.0 if first else min(1.0, passed / SMOOTHED_S)
            self.share += weight * (min(max(newest, 0.0), 1.0) - self.share)
            self._idle, self._total, self._read = idle, total, now
        return self.share

    def _ticks(self) -> tuple[int, int]:
        """(idle, all) of these cores since the boot."""
        idle = total = 0
        with suppress(OSError, ValueError):
            for line in self._stat.read_text(encoding="ascii").splitlines():
                name, *fields = line.split()
                if name in self._cores:
                    # user nice system idle iowait irq softirq steal; guest time is already in user time
                    ticks = [int(field) for field in fields[:8]]
                    idle, total = idle + ticks[3] + ticks[4], total + sum(ticks)
        return idle, total


class Times:
    """p99 of each model's inference in the last ten seconds, ms, from the lanes' ledgers."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._looked = -LOOK_S
        self.p99_ms: dict[str, float] = {}

    def update(self, now: float) -> dict[str, float]:
        if now - self._looked >= LOOK_S:
            self._looked = now
            self.p99_ms = {}
            for lane, model in self._settings.model_of.items():
                with suppress(OSError, ValueError):
                    self._add(lane, model, int(now * 1e9))
        return self.p99_ms

    def _add(self, lane: str, model: str, now: int) -> None:
        rows = ledger.read(self._settings.run_dir / f"{lane}.ledger").rows
        recent = rows[(rows["capture"] > now - NEWEST_NS) & (rows["inferred"] > rows["prepared"])]
        found = ledger.quantiles(ledger.parts(recent)["inference"])
        if found:
            self.p99_ms[model] = round(max(found["p99"], self.p99_ms.get(model, 0.0)), 3)
