"""Simulated three-joint arm in a pick-and-place job: tracking errors, speeds, wrist force and torque at 1 kHz."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from agent.data import Array
from drivers.base import SensorOptions
from drivers.faults import NEVER, Fault, Faults
from drivers.sensor._arm import CHANNELS, EFFECTS, Arm
from drivers.sensor._arm_plan import Setting, noise, nominal
from drivers.sensor._simulated import Ticking

PLAN_S = 60.0  # then the job repeats
NOISE_ROWS = 10_007  # a prime, so that noise and job do not repeat together

Kind = Literal["deviation", "collision", "slip", "overspeed", "unplug", "freeze", "repeat", "clock_jump", "noise"]


class ArmFault(Fault):
    """amount 0 means typical: 10 deg, 150 N, 12 deg, 250 deg/s; clock_jump in ms, noise as a multiple of the usual."""

    kind: Kind


class Options(SensorOptions):
    """The arm, its job and its faults."""

    rate_hz: float = Field(1000.0, ge=100, le=2000, description="readings a second")
    seed: int = Field(0, ge=0, description="the same seed gives the same run")
    payload_kg: float = Field(2.0, ge=0, le=10, description="mass that the arm carries")
    friction: float = Field(1.0, ge=0, le=5, description="1 is a typical joint")
    speed: float = Field(0.7, ge=0.1, le=1, description="share of the fastest plan")
    noise: float = Field(1.0, ge=0, le=10, description="1 is a typical sensor")
    pace: Literal["real", "fast"] = Field("real", description="fast: one reading per read, on a simulated clock")
    faults: tuple[ArmFault, ...] = Field((), description="faults on a schedule")
    fault_every_s: float = Field(
        0.0, ge=0, description="instead of `faults`: one robot fault after the other, this far apart; 0: none"
    )

    @model_validator(mode="after")
    def _check_schedule(self) -> Options:
        if self.faults and self.fault_every_s:
            raise ValueError("give `faults` or `fault_every_s`, not both")
        return self


class Driver(Ticking):
    """The plan of PLAN_S seconds repeats; a fault draws joint and direction each time."""

    Options = Options
    device = "arm"
    channels = CHANNELS

    def __init__(self, options: Any, name: str = "") -> None:
        super().__init__(options, name)
        self.setting = Setting(options.payload_kg, options.friction, options.speed, options.noise)
        self.schedule = options.faults or _fault_cycle(options.fault_every_s)
        self.t_restart = 0 if options.fault_every_s else NEVER

    def open(self) -> None:
        self.arm = Arm(self.options.seed, self.rate_hz)
        self.plan = nominal(self.setting, PLAN_S, self.rate_hz, self.options.seed)
        self.noise = noise(self.setting, NOISE_ROWS, self.options.seed)
        super().open()
        if not self.t_restart:
            self._restart_cycle()

    def _advance(self, row: Array) -> None:
        super()._advance(row)
        if self.due >= self.t_restart:
            self._restart_cycle()

    def _tick(self, row: Array, active: Mapping[str, float]) -> None:
        if active is not self.active:
            self.arm.set_faults(active)
        row[:] = self.arm.step(self.plan[self.tick % len(self.plan)].tolist())
        row += self.noise[(self.tick + 1) % NOISE_ROWS]
        if "noise" in active:
            row += (active["noise"] or 20.0) * self.noise[(self.tick + 5_001) % NOISE_ROWS]

    def _restart_cycle(self) -> None:
        """Restarts the faults of `fault_every_s` with the first."""
        self.faults = Faults(self.schedule, self.name, self.device)
        self.faults.start(self.due)
        self.t_restart = self.due + int(1e9 * (self.schedule[-1].at_s + self.schedule[-1].for_s))


def _fault_cycle(every_s: float) -> tuple[ArmFault, ...]:
    """One fault of each kind, every_s apart."""
    if not every_s:
        return ()
    for_s = min(0.3, every_s / 2)
    starts = [(kind, (n + 1) * every_s) for n, kind in enumerate(EFFECTS)]
    return tuple(ArmFault.model_validate({"kind": kind, "at_s": at_s, "for_s": for_s}) for kind, at_s in starts)
