"""A sensor with its own clock, as a driver of somebody's: twelve channels, one reading each millisecond."""

from __future__ import annotations

import time

import numpy as np

from agent.data import Sample
from drivers.base import DeviceMissing, SensorStream, SourceOptions

CHANNELS = ("e1", "e2", "e3", "v1", "v2", "v3", "fx", "fy", "fz", "tx", "ty", "tz")


class Options(SourceOptions):
    gone_after: int = 1 << 60  # readings


class Driver(SensorStream):
    def open(self) -> None:
        self.channels, self.rate_hz, self.sequence = CHANNELS, 1000.0, -1
        self.row = np.zeros((1, len(CHANNELS)), np.float32)

    def read(self, wait_s: float) -> Sample | None:
        time.sleep(0.001)
        self.sequence += 1
        if self.sequence >= self.options.gone_after:
            raise DeviceMissing(f"{self.name}: unplugged")
        self.row[:] = self.sequence  # in place, as drivers do
        return Sample(self.name, self.sequence, time.monotonic_ns(), self.row)

    def close(self) -> None:
        pass
