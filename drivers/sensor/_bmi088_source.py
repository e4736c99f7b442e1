"""A chip of a BMI088 as a source of readings: its silence and its impossible values are faults."""

from __future__ import annotations

import time

import numpy as np

from drivers.base import DeviceFault, DeviceTimeout
from drivers.sensor._bmi088 import Chip, Frames
from drivers.sensor._raw_health import RawHealth, RawHealthOptions


class Source:
    """A chip, its scale, and when it was last heard."""

    def __init__(
        self, chip: Chip, axes: tuple[str, ...], scale: float, options: RawHealthOptions, timeout_ms: float
    ) -> None:
        """scale: from the raw value to m/s2 or rad/s."""
        self.chip = chip
        self.scale = scale
        low, high = np.full(3, -32767), np.full(3, 32767)
        self.health = RawHealth(axes, low, high, options)
        self.timeout_ns = int(timeout_ms * 1e6)
        self.lost = 0
        self.t_heard = time.monotonic_ns()

    def poll(self) -> Frames:
        """Raises DeviceMissing, DeviceTimeout, DeviceFault."""
        frames = self.chip.poll()
        now = time.monotonic_ns()
        self.lost += frames.lost
        if len(frames.raw):
            problem = self.health.check(frames.raw, int(frames.stamps[-1]))
            if problem:
                raise DeviceFault(f"{self.chip.spi.path}: {self.chip.name}: {problem}")
            self.t_heard = now
        elif not frames.lost and now - self.t_heard > self.timeout_ns:
            self.chip.check_settings()  # it may be gone, or have lost its supply for a moment
            raise DeviceTimeout(
                f"{self.chip.spi.path}: the {self.chip.name} answers, but measured nothing for "
                f"{self.timeout_ns / 1e6:g} ms"
            )
        return frames
