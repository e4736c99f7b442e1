"""A simulated board with constant readings and faults on a schedule."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from drivers.base import DeviceFault, Sensor, SensorOptions
from drivers.faults import Fault, Faults

HEAT_C = 40.0


class BoardFault(Fault):
    """heat: amount in degrees added, 0 is 40. nan: values cannot be read. unplug and broken: errors."""

    kind: Literal["unplug", "broken", "nan", "heat"]


class Options(SensorOptions):
    """The readings and the faults of the simulated board."""

    rate_hz: float = Field(1.0, gt=0, le=100, description="how often the board is read")
    timeout_ms: float = Field(3000.0, gt=0, le=600_000, description="silence after which it counts as stale")
    values: dict[str, float] = Field(
        {"temperature_c": 50.0, "load_percent": 20.0, "memory_available_mb": 4000.0, "power_w": 8.0}, min_length=1
    )
    faults: tuple[BoardFault, ...] = Field((), description="faults on a schedule")


class Driver(Sensor):
    """Reads the configured values; faults count from the first open."""

    def __init__(self, options: Options, name: str = "") -> None:
        super().__init__(options, name)
        self.faults = Faults(options.faults, name, "board")

    def open(self) -> None:
        self.faults.start(time.monotonic_ns())
        self.read()

    def read(self) -> Mapping[str, float]:
        active = self.faults.require_plugged(time.monotonic_ns())
        if "broken" in active:
            raise DeviceFault(f"{self.name}: the simulated board answers with an error")
        if "nan" in active:
            return dict.fromkeys(self.options.values, math.nan)
        heat = (active["heat"] or HEAT_C) if "heat" in active else 0.0
        return {key: value + heat * key.startswith("temperature") for key, value in self.options.values.items()}

    def close(self) -> None:
        pass
