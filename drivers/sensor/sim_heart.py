"""Simulated ECG of one channel in mV: a heart with a settable rate, jumps, flat line, fibrillation, a lead that falls off."""

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
    """amount 0 means typical. rate: bpm, 120. flat_line: sigma of what noise is left in mV, 0.01. fibrillation: sigma in mV, 0.5.

    lead_off: where the input hangs in mV, 5. noise: sigma in mV, 0.2. clock_jump: ms, 100.
    """

    kind: Literal["rate", "flat_line", "fibrillation", "lead_off", "unplug", "freeze", "repeat", "clock_jump", "noise"]


class Options(SensorOptions):
    rate_hz: float = Field(250.0, ge=125, le=1000, description="samples a second")
    seed: int = Field(0, ge=0, description="same seed, same run")
    bpm: float = Field(72.0, ge=20, le=220, description="heart rate while nothing is the matter")
    r_mv: float = Field(1.0, gt=0, le=5, description="height of the R wave")
    noise_mv: float = Field(0.01, ge=0, le=1, description="sigma of the amplifier's noise")
    pace: Literal["real", "fast"] = Field("real", description="fast: a sample whenever asked, on a clock of its own")
    faults: tuple[HeartFault, ...] = Field((), description="troubles on a schedule")


class Driver(Ticking):
    device = "heart's amplifier"
    channels = ("ecg",)

    def open(self) -> None:
        self.heart = Heart(self.options.seed, self.rate_hz, self.options.bpm, self.options.r_mv)
        self.noise = np.random.default_rng(self.options.seed)
        super().open()

    def _tick(self, row: Array, on: Mapping[str, float]) -> None:
        value = self.heart.step(on)
        if "lead_off" not in on:  # at its end the converter gives one number
            sigma = self.options.noise_mv + ((on["noise"] or NOISE_MV) if "noise" in on else 0.0)
            value += sigma * self.noise.standard_normal()
        row[0] = value
