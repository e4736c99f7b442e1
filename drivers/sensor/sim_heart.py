"""Simulated one-channel ECG in mV: settable heart rate; faults: rate jump, flat line, fibrillation, lead off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from agent.data import Array
from drivers.base import SensorOptions
from drivers.faults import Fault
from drivers.sensor._heart import Heart
from drivers.sensor._simulated import Ticking

NOISE_MV = 0.2


class HeartFault(Fault):
    """amount 0 means typical.

    rate: bpm, 120. flat_line: sigma of the remaining noise in mV, 0.01. fibrillation: sigma in mV, 0.5.
    lead_off: the constant value of the input in mV, 5. noise: sigma in mV, 0.2. clock_jump: ms, 100.
    """

    kind: Literal["rate", "flat_line", "fibrillation", "lead_off", "unplug", "freeze", "repeat", "clock_jump", "noise"]


class Options(SensorOptions):
    """The heart, its amplifier and its faults."""

    rate_hz: float = Field(250.0, ge=125, le=1000, description="samples a second")
    seed: int = Field(0, ge=0, description="the same seed gives the same run")
    bpm: float = Field(72.0, ge=20, le=220, description="heart rate without a fault")
    r_mv: float = Field(1.0, gt=0, le=5, description="height of the R wave")
    noise_mv: float = Field(0.01, ge=0, le=1, description="sigma of the amplifier's noise")
    pace: Literal["real", "fast"] = Field("real", description="fast: one sample per read, on a simulated clock")
    faults: tuple[HeartFault, ...] = Field((), description="faults on a schedule")


class Driver(Ticking):
    """Noise of the amplifier is added to the heart's signal, except with the lead off."""

    device = "heart's amplifier"
    channels = ("ecg",)

    def open(self) -> None:
        self.heart = Heart(self.options.seed, self.rate_hz, self.options.bpm, self.options.r_mv)
        self.noise = np.random.default_rng(self.options.seed)
        super().open()

    def _tick(self, row: Array, active: Mapping[str, float]) -> None:
        value = self.heart.step(active)
        if "lead_off" not in active:  # then the converter saturates and gives a constant
            sigma = self.options.noise_mv + ((active["noise"] or NOISE_MV) if "noise" in active else 0.0)
            value += sigma * self.noise.standard_normal()
        row[0] = value
