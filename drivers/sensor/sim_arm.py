"""Simulated three-joint arm at a pick-and-place job: tracking errors, speeds, wrist force and torque at 1 kHz."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from agent.data import Array
from drivers.base import SensorOptions
from drivers.faults import NEVER, Fault, Faults
from drivers.sensor._arm import ACTS, CHANNELS, Arm
from drivers.sensor._arm_plan import Setting, noise, nominal
from drivers.sensor._simulated import Ticking

PLAN_S = 60.0  # then the job repeats
NOISE_ROWS = 10_007  # a prime: noise and job never meet at the same place again


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
    fault_every_s: float = Field(
        0.0, ge=0, description="instead of `faults`: one robot fault after the other; 0 is never"
    )

    @model_validator(mode="after")
    def one_schedule(self) -> Options:
        if self.faults and self.fault_every_s:
            raise ValueError("give `faults` or `fault_every_s`, not both")
        return self


class Driver(Ticking):
    Options = Options
    device = "arm"
    channels = CHANNELS

    def __init__(self, options: Any, name: str = "") -> None:
        super().__init__(options, name)
        self.setting = Setting(options.payload_kg, options.friction, options.speed, options.noise)
        self.shown = options.faults or _parade(options.fault_every_s)
        self.again = 0 if options.fault_every_s else NEVER

    def open(self) -> None:
        self.arm = Arm(self.options.seed, self.rate_hz)
        self.plan = nominal(self.setting, PLAN_S, self.rate_hz, self.options.seed)
        self.noise = noise(self.setting, NOISE_ROWS, self.options.seed)
        super().open()
        if not self.again:
            self._parade()

    def _advance(self, row: Array) -> None:
        super()._advance(row)
        if self.due >= self.again:
            self._parade()

    def _tick(self, row: Array, on: Mapping[str, float]) -> None:
        if on is not self.on:
            self.arm.upset(on)
        row[:] = self.arm.step(self.plan[self.tick % len(self.plan)].tolist())
        row += self.noise[(self.tick + 1) % NOISE_ROWS]
        if "noise" in on:
            row += (on["noise"] or 20.0) * self.noise[(self.tick + 5_001) % NOISE_ROWS]

    def _parade(self) -> None:
        """Starts the faults of `fault_every_s` from the first again."""
        self.faults = Faults(self.shown, self.name, self.device)
        self.faults.start(self.due)
        self.again = self.due + int(1e9 * (self.shown[-1].at_s + self.shown[-1].for_s))


def _parade(every_s: float) -> tuple[ArmFault, ...]:
    """One fault of each kind, so far apart."""
    if not every_s:
        return ()
    lasts = min(0.3, every_s / 2)
    starts = [(kind, (n + 1) * every_s) for n, kind in enumerate(ACTS)]
    return tuple(ArmFault.model_validate({"kind": kind, "at_s": at_s, "for_s": lasts}) for kind, at_s in starts)
