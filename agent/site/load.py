"""What a box says of its load: the share of its cores in use, and how long each of its models takes."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from agent import ledger
from agent.site.settings import Settings
from drivers.board._load import ticks

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
        self._busy = self._total = 0
        self._read = 0.0

    def update(self, now: float) -> float:
        """now: s of a monotonic clock."""
        busy, total = self._ticks()
        passed, first = now - self._read, not self._total
        if total > self._total:
            newest = (busy - self._busy) / (total - self._total)
            weight = 1.0 if first else min(1.0, passed / SMOOTHED_S)
            self.share += weight * (min(max(newest, 0.0), 1.0) - self.share)
            self._busy, self._total, self._read = busy, total, now
        return self.share

    def _ticks(self) -> tuple[int, int]:
        """(busy, all) of these cores since the boot."""
        with suppress(OSError, ValueError):
            return ticks(self._stat.read_text(encoding="ascii"), self._cores)
        return 0, 0


class Times:
    """p99 of each model's inference in the last ten seconds, ms, from the lanes' ledgers."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._looked = -LOOK_S
        self.p99_ms: dict[str, float] = {}

    def update(self, now: float) -> None:
        """Takes milliseconds. now: s of a monotonic clock."""
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        p99_ms: dict[str, float] = {}
        for lane, model in self._settings.model_of.items():
            with suppress(OSError, ValueError):
                newest = self._of_lane(lane, int(now * 1e9))
                p99_ms[model] = max(newest, p99_ms.get(model, 0.0))
        self.p99_ms = p99_ms

    def _of_lane(self, lane: str, now: int) -> float:
        """Raises OSError; ValueError where it has inferred nothing lately."""
        rows = ledger.read(self._settings.run_dir / f"{lane}.ledger").rows
        recent = rows[(rows["capture"] > now - NEWEST_NS) & (rows["inferred"] > rows["prepared"])]
        if not len(recent):
            raise ValueError("no inference")
        return round(ledger.quantiles(ledger.parts(recent)["inference"])["p99"], 3)
