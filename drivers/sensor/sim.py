"""A simulated sensor: each channel a constant, a sine, noise or their sum, with faults on a schedule."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from agent.data import Sample
from drivers.base import DriverOptions, SourceOptions
from drivers.faults import Fault
from drivers.sensor._simulated import Simulated

NOISE = 1.0


class Wave(DriverOptions):
    """One channel: offset + amplitude * sin(2 pi hz t + phase) + noise * N(0, 1)."""

    offset: float = Field(0.0, allow_inf_nan=False)
    amplitude: float = Field(0.0, allow_inf_nan=False)
    hz: float = Field(1.0, ge=0, le=5000)
    phase_deg: float = Field(0.0, ge=-360, le=360)
    noise: float = Field(0.0, ge=0, allow_inf_nan=False)


class SensorFault(Fault):
    """clock_jump: amount in ms, 0 is 100. noise: amount in the channels' unit, 0 is 1. nan: every value is NaN."""

    kind: Literal["unplug", "freeze", "repeat", "clock_jump", "noise", "nan"]


class Options(SourceOptions):
    """The channels, their rate and faults."""

    rate_hz: float = Field(100.0, gt=0, le=5000, description="readings a second")
    channels: dict[str, Wave] = Field(min_length=1, max_length=256)
    seed: int = Field(0, ge=0, description="the same seed gives the same readings")
    pace: Literal["real", "fast"] = Field("real", description="fast: one reading per read, on a simulated clock")
    max_batch: int = Field(1000, ge=1, le=65_536, description="readings in one sample; older ones are skipped")
    faults: tuple[SensorFault, ...] = Field((), description="faults on a schedule")


class Driver(Simulated):
    """Readings of a late reader are computed together, at most max_batch of them."""

    def __init__(self, options: Options, name: str = "") -> None:
        super().__init__(options, name)
        self.channels = tuple(options.channels)
        waves = tuple(options.channels.values())
        self.offset = np.array([wave.offset for wave in waves])
        self.amplitude = np.array([wave.amplitude for wave in waves])
        self.step = np.array([2 * np.pi * wave.hz / options.rate_hz for wave in waves])
        self.phase = np.radians([wave.phase_deg for wave in waves])
        self.sigma = np.array([wave.noise for wave in waves])
        self.rows = np.zeros((options.max_batch, len(waves)), np.float32)

    def open(self) -> None:
        self.random = np.random.default_rng(self.options.seed)
        super().open()

    def read(self, wait_s: float) -> Sample | None:
        if not self._wait(wait_s):
            return None
        count = self._ready()
        self.tick += count
        self.due += count * self.period
        active = self.faults.require_plugged(self.due - self.period)
        if "freeze" in active:
            self._check_timeout()
            return None
        self.t_delivered = self.due
        if "repeat" in active and self.last:
            return self.last._replace(t_capture=self._stamp(active))
        fitting = min(count, len(self.rows))
        payload = self._fill(fitting, (active["noise"] or NOISE) if "noise" in active else 0.0)
        if "nan" in active:
            payload[:] = np.nan
        self.last = Sample(self.name, self.tick - 1, self._stamp(active), payload, count - fitting)
        return self.last

    def _fill(self, count: int, extra: float) -> npt.NDArray[np.float32]:
        """The newest `count` readings with additional noise of sigma `extra`."""
        payload = self.rows[:count]
        angle = np.arange(self.tick - count, self.tick)[:, None] * self.step + self.phase
        payload[:] = self.offset + self.amplitude * np.sin(angle)
        payload += (self.sigma + extra) * self.random.standard_normal(payload.shape)
        return payload
