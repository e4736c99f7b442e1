"""Simulated ECG of one channel in mV: a heart with a settable rate, jumps, flat line, fibrillation, a lead that falls off."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import Field

from agent.data import Sample
from drivers.base import DeviceMissing, DeviceTimeout, SensorOptions, SensorStream
from drivers.faults import Fault, Faults
from drivers.sensor._heart import Heart

BUFFER_S = 1.0  # a later lane gets the rest with its next read
NOISE_MV, CLOCK_JUMP_MS = 0.2, 100.0


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


class Driver(SensorStream):
    channels = ("ecg",)

    def __init__(self, options: Any, name: str = "") -> None:
        super().__init__(options, name)
        self.rate_hz = options.rate_hz
        self.period = round(1e9 / options.rate_hz)
        self.real = options.pace == "real"
        self.faults = Faults(options.faults, name)
        self.rows = np.zeros((max(1, round(BUFFER_S * options.rate_hz)), 1), np.float32)
        self.due = 0  # when the next sample is

    def open(self) -> None:
        self.heart = Heart(self.options.seed, self.rate_hz, self.options.bpm, self.options.r_mv)
        self.noise = np.random.default_rng(self.options.seed)
        self.on: Mapping[str, float] = {}
        self.tick = 0
        self.last: Sample | None = None
        self.due = self.heard = max(time.monotonic_ns(), self.due)
        self.faults.start(self.due)
        if "unplug" in self.faults.active(self.due):
            raise DeviceMissing(f"{self.name}: the simulated heart's amplifier is unplugged")

    def read(self, wait_s: float) -> Sample | None:
        if self.real and not self._wait(wait_s):
            return None
        on = self.faults.active(self.due)
        if "unplug" in on:
            self._step()
            raise DeviceMissing(f"{self.name}: the simulated heart's amplifier was unplugged")
        if "freeze" in on:
            self._silence()
            return None
        if "repeat" in on and self.last:
            self._step()
        else:
            self.last = self._collect()
        self.heard = self.due
        return self.last._replace(t_capture=self._stamp())

    def close(self) -> None:
        self.last = None

    def _wait(self, wait_s: float) -> bool:
        """Sleeps until a sample is due, at most wait_s. Absolute times, so that being late once does not add up."""
        ahead = (self.due - time.monotonic_ns()) / 1e9
        if ahead > 0:
            time.sleep(min(ahead, wait_s))
        return ahead <= wait_s

    def _collect(self) -> Sample:
        """Every sample that is due by now, at least one."""
        late = (time.monotonic_ns() - self.due) // self.period if self.real else 0
        rows = self.rows[: max(0, late) + 1]
        for row in rows:
            row[0] = self._step()
        return Sample(self.name, self.tick - 1, 0, rows)

    def _step(self) -> float:
        """The heart goes on by one tick, whether anybody hears of it or not."""
        self.on = on = self.faults.active(self.due)
        value = self.heart.step(on)
        if "lead_off" not in on:  # at its end the converter gives one number
            sigma = self.options.noise_mv + ((on["noise"] or NOISE_MV) if "noise" in on else 0.0)
            value += sigma * self.noise.standard_normal()
        self.tick += 1
        self.due += self.period
        return value

    def _stamp(self) -> int:
        """When the newest sample was taken, as a clock that may jump would say."""
        jump_ms = (self.on["clock_jump"] or CLOCK_JUMP_MS) if "clock_jump" in self.on else 0.0
        return int(self.due - self.period + jump_ms * 1e6)

    def _silence(self) -> None:
        self._step()
        if self.due - self.heard > self.options.timeout_ms * 1e6:
            self.heard = self.due
            raise DeviceTimeout(f"{self.name}: no sample for {self.options.timeout_ms:g} ms")
