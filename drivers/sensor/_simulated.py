"""Base of simulated sensors: time that advances whether or not it is read, and faults on a schedule."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from agent.data import Array, Sample
from drivers.base import DeviceTimeout, SensorStream
from drivers.faults import Faults

CLOCK_JUMP_MS = 100.0
BUFFER_S = 1.0  # delivered at most in one read; a late reader gets the rest with its next read


class Simulated(SensorStream):
    """Readings are due 1/rate_hz apart, at absolute times, so that delays do not accumulate."""

    device = "sensor"  # its name in messages

    def __init__(self, options: Any, name: str = "") -> None:
        super().__init__(options, name)
        self.rate_hz = options.rate_hz
        self.period: int = round(1e9 / options.rate_hz)
        self.real = options.pace == "real"
        self.faults = Faults(options.faults, name, self.device)
        self.due = 0  # time of the next reading, ns

    def open(self) -> None:
        self.tick = 0
        self.last: Sample | None = None
        self.due = self.t_delivered = max(time.monotonic_ns(), self.due)
        self.faults.start(self.due)
        self.faults.require_plugged(self.due)

    def close(self) -> None:
        self.last = None

    def _wait(self, wait_s: float) -> bool:
        """Sleeps until a reading is due, at most wait_s."""
        if not self.real:
            return True
        ahead = (self.due - time.monotonic_ns()) / 1e9
        if ahead > 0:
            time.sleep(min(ahead, wait_s))
        return ahead <= wait_s

    def _ready(self) -> int:
        """How many readings are due by now; at least one."""
        late = (time.monotonic_ns() - self.due) // self.period if self.real else 0
        return 1 + max(0, late)

    def _stamp(self, active: Mapping[str, float]) -> int:
        """The time of the newest reading, by a clock that may jump."""
        jump_ms = (active["clock_jump"] or CLOCK_JUMP_MS) if "clock_jump" in active else 0.0
        return self.due - self.period + int(jump_ms * 1e6)

    def _check_timeout(self) -> None:
        """While frozen the sensor's clock continues: the readings of that time are lost."""
        if self.due - self.t_delivered > self.options.timeout_ms * 1e6:
            self.t_delivered = self.due
            raise DeviceTimeout(f"{self.name}: no reading for {self.options.timeout_ms:g} ms")


class Ticking(Simulated):
    """A sensor whose physics is computed tick by tick, also while nothing is delivered."""

    def __init__(self, options: Any, name: str = "") -> None:
        super().__init__(options, name)
        self.rows = np.zeros((max(1, round(BUFFER_S * options.rate_hz)), len(self.channels)), np.float32)
        self.discarded = np.zeros(len(self.channels), np.float32)

    def open(self) -> None:
        self.active: Mapping[str, float] = {}  # the faults in the newest reading
        super().open()

    def read(self, wait_s: float) -> Sample | None:
        if not self._wait(wait_s):
            return None
        now, active = self.due, self.faults.active(self.due)
        if "unplug" in active:
            self._advance(self.discarded)
            self.faults.require_plugged(now)
        if "freeze" in active:
            self._advance(self.discarded)
            self._check_timeout()
            return None
        if "repeat" in active and self.last:
            self._advance(self.discarded)
            sample = self.last
        else:
            sample = self.last = self._collect()
        self.t_delivered = self.due
        return sample._replace(t_capture=self._stamp(self.active))

    def _collect(self) -> Sample:
        """Every reading that is due by now."""
        rows = self.rows[: self._ready()]
        for row in rows:
            self._advance(row)
        return Sample(self.name, self.tick - 1, 0, rows)

    def _advance(self, row: Array) -> None:
        active = self.faults.active(self.due)
        self._tick(row, active)
        self.active = active
        self.tick += 1
        self.due += self.period

    @abstractmethod
    def _tick(self, row: Array, active: Mapping[str, float]) -> None:
        """Advances the simulation by one tick and writes its reading into `row`, float32 [channels]."""
