"""What simulated sensors share: time that goes on whether anybody reads or not, and troubles on a schedule."""

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
BUFFER_S = 1.0  # a later lane gets the rest with its next read


class Simulated(SensorStream):
    """Readings are due 1/rate_hz apart, at absolute times, so that being late once does not add up."""

    device = "sensor"  # as messages call it

    def __init__(self, options: Any, name: str = "") -> None:
        super().__init__(options, name)
        self.rate_hz = options.rate_hz
        self.period: int = round(1e9 / options.rate_hz)
        self.real = options.pace == "real"
        self.faults = Faults(options.faults, name, self.device)
        self.due = 0  # when the next reading is

    def open(self) -> None:
        self.tick = 0
        self.last: Sample | None = None
        self.due = self.heard = max(time.monotonic_ns(), self.due)
        self.faults.start(self.due)
        self.faults.plugged(self.due)

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
        """How many readings are due by now; at least the one that was waited for."""
        late = (time.monotonic_ns() - self.due) // self.period if self.real else 0
        return 1 + max(0, late)

    def _stamp(self, on: Mapping[str, float]) -> int:
        """When the newest reading was made, as a clock that may jump would say."""
        jump_ms = (on["clock_jump"] or CLOCK_JUMP_MS) if "clock_jump" in on else 0.0
        return self.due - self.period + int(jump_ms * 1e6)

    def _silence(self) -> None:
        """The sensor's clock goes on and nobody hears of it: those readings are lost."""
        if self.due - self.heard > self.options.timeout_ms * 1e6:
            self.heard = self.due
            raise DeviceTimeout(f"{self.name}: no reading for {self.options.timeout_ms:g} ms")


class Ticking(Simulated):
    """A sensor in a world that is computed tick by tick, heard or not."""

    def __init__(self, options: Any, name: str = "") -> None:
        super().__init__(options, name)
        self.rows = np.zeros((max(1, round(BUFFER_S * options.rate_hz)), len(self.channels)), np.float32)
        self.unheard = np.zeros(len(self.channels), np.float32)

    def open(self) -> None:
        self.on: Mapping[str, float] = {}  # what shows in the newest reading
        super().open()

    def read(self, wait_s: float) -> Sample | None:
        if not self._wait(wait_s):
            return None
        now, on = self.due, self.faults.active(self.due)
        if "unplug" in on:
            self._advance(self.unheard)
            self.faults.plugged(now)
        if "freeze" in on:
            self._advance(self.unheard)
            self._silence()
            return None
        if "repeat" in on and self.last:
            self._advance(self.unheard)
            sample = self.last
        else:
            sample = self.last = self._collect()
        self.heard = self.due
        return sample._replace(t_capture=self._stamp(self.on))

    def _collect(self) -> Sample:
        """Every reading that is due by now."""
        rows = self.rows[: self._ready()]
        for row in rows:
            self._advance(row)
        return Sample(self.name, self.tick - 1, 0, rows)

    def _advance(self, row: Array) -> None:
        on = self.faults.active(self.due)
        self._tick(row, on)
        self.on = on
        self.tick += 1
        self.due += self.period

    @abstractmethod
    def _tick(self, row: Array, on: Mapping[str, float]) -> None:
        """The world goes on by one tick; its reading into `row`, float32 [channels]. on: the troubles that show."""
