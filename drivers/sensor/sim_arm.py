"""Simulated three-joint arm at a pick-and-place job: tracking errors, speeds, wrist force and torque at 1 kHz."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from agent.data import Sample
from drivers.base import DeviceMissing, DeviceTimeout, SensorOptions, SensorStream
from drivers.faults import NEVER, Fault, Faults
from drivers.sensor._arm import ACTS, CHANNELS, Arm
from drivers.sensor._arm_plan import Setting, noise, nominal

PLAN_S = 60.0  # then the job repeats
NOISE_ROWS = 10_007  # a prime: noise and job never meet at the same place again
BUFFER_S = 1.0  # a later lane gets the rest with its next read


Kind = Literal["deviation", "collision", "slip", "overspeed", "unplug", "freeze", "repeat", "clock_jump", "noise"]


class ArmFault(Fault):
    """amount 0 means typical: 10 deg, 150 N, 12 deg, 250 deg/s off plan; clock_jump in ms, noise in sigmas of the usual."""

    kind: Kind


class Options(SensorOptions):
    rate_hz: float = Field(1000.0, ge=100, le=2000, description="readings a second")
    seed: int = Field(0, ge=0, description="same seed, same run")
    payload_kg: float = Field(2.0, ge=0, le=10, description="what the arm carries")
    friction: float = Field(1.0, ge=0, le=5, description="1 is a usual joint")
    speed: float = Field(0.7, ge=0.1, le=1, description="share of the fastest plan")
    noise: float = Field(1.0, ge=0, le=10, description="1 is a usual sensor")
    pace: Literal["real", "fast"] = Field("real", description="fast: a reading whenever asked, on a clock of its own")
    faults: tuple[ArmFault, ...] = Field((), description="troubles on a schedule")
    fault_every_s: float = Field(0.0, ge=0, description="instead of `faults`: one robot fault after the other; 0 is never")

    @model_validator(mode="after")
    def one_schedule(self) -> Options:
        if self.faults and self.fault_every_s:
            raise ValueError("give `faults` or `fault_every_s`, not both")
        return self


class Driver(SensorStream):
    Options = Options
    channels = CHANNELS

    def __init__(self, options: Any, name: str = "") -> None:
        super().__init__(options, name)
        self.period = round(1e9 / options.rate_hz)
        self.real = options.pace == "real"
        self.setting = Setting(options.payload_kg, options.friction, options.speed, options.noise)
        self.shown = options.faults or parade(options.fault_every_s)
        self.faults = Faults(self.shown, name)
        self.again = 0 if options.fault_every_s else NEVER
        self.rows = np.zeros((max(1, round(BUFFER_S * options.rate_hz)), len(CHANNELS)), np.float32)
        self.due = 0  # when the next reading is

    def open(self) -> None:
        self.rate_hz = self.options.rate_hz
        self.arm = Arm(self.options.seed, self.rate_hz)
        self.plan = nominal(self.setting, PLAN_S, self.rate_hz, self.options.seed)
        self.noise = noise(self.setting, NOISE_ROWS, self.options.seed)
        self.on: Mapping[str, float] = {}
        self.tick = 0
        self.last: Sample | None = None
        self.due = self.heard = max(time.monotonic_ns(), self.due)
        self.faults.start(self.due)
        if not self.again:
            self._parade()
        if "unplug" in self.faults.active(self.due):
            raise DeviceMissing(f"{self.name}: the simulated arm is unplugged")

    def read(self, wait_s: float) -> Sample | None:
        if self.real and not self._wait(wait_s):
            return None
        on = self.faults.active(self.due)
        if "unplug" in on:
            self._step()
            raise DeviceMissing(f"{self.name}: the simulated arm was unplugged")
        if "freeze" in on:
            self._silence()
            return None
        if "repeat" in on and self.last:
            self._step()
        else:
            self.last = self._collect()
        self.heard = self.due
        return self.last._replace(t_capture=self._stamp())

    def _wait(self, wait_s: float) -> bool:
        """Sleeps until a reading is due, at most wait_s. Absolute times, so that being late once does not add up."""
        ahead = (self.due - time.monotonic_ns()) / 1e9
        if ahead > 0:
            time.sleep(min(ahead, wait_s))
        return ahead <= wait_s

    def _collect(self) -> Sample:
        """Every reading that is due by now, at least one."""
        late = (time.monotonic_ns() - self.due) // self.period if self.real else 0
        rows = self.rows[: max(0, late) + 1]
        for row in rows:
            row[:] = self._step()
            row += self.noise[self.tick % NOISE_ROWS]
            if "noise" in self.on:
                row += (self.on["noise"] or 20.0) * self.noise[(self.tick + 5_000) % NOISE_ROWS]
        return Sample(self.name, self.tick - 1, 0, rows)

    def _step(self) -> list[float]:
        """The arm moves on by one tick, whether anybody hears of it or not."""
        on = self.faults.active(self.due)
        if on is not self.on:
            self.on = on
            self.arm.upset(on)
        reading = self.arm.step(self.plan[self.tick % len(self.plan)].tolist())
        self.tick += 1
        self.due += self.period
        if self.due >= self.again:
            self._parade()
        return reading

    def _stamp(self) -> int:
        """When the newest reading was made, as a clock that may jump would say."""
        jump_ms = (self.on["clock_jump"] or 100.0) if "clock_jump" in self.on else 0.0
        return int(self.due - self.period + jump_ms * 1e6)

    def _silence(self) -> None:
        self._step()
        if self.due - self.heard > self.options.timeout_ms * 1e6:
            self.heard = self.due
            raise DeviceTimeout(f"{self.name}: no reading for {self.options.timeout_ms:g} ms")

    def _parade(self) -> None:
        """Starts the faults of `fault_every_s` from the first again."""
        self.faults = Faults(self.shown, self.name)
        self.faults.start(self.due)
        self.again = self.due + int(1e9 * (self.shown[-1].at_s + self.shown[-1].for_s))

    def close(self) -> None:
        self.last = None


def parade(every_s: float) -> tuple[ArmFault, ...]:
    """One fault of each kind, so far apart."""
    if not every_s:
        return ()
    lasts = min(0.3, every_s / 2)
    starts = [(kind, (n + 1) * every_s) for n, kind in enumerate(ACTS)]
    return tuple(ArmFault.model_validate({"kind": kind, "at_s": at_s, "for_s": lasts}) for kind, at_s in starts)
