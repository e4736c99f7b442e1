"""Temperature, load, memory, clock and power of the board, from /sys and /proc; values without a file are left out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from drivers.base import DeviceMissing, Sensor, SensorOptions
from drivers.board._readings import Readings


class Options(SensorOptions):
    """The rate of polling and the root of the file system."""

    rate_hz: float = Field(1.0, gt=0, le=10, description="how often the board is read")
    timeout_ms: float = Field(3000.0, gt=0, le=600_000, description="silence after which it counts as stale")
    root: str = Field("/", description="folder that contains sys and proc")


class Driver(Sensor):
    """Keys are fixed at open; a value that cannot be read later is NaN.

    temperature_c: the highest of all; temperature_<name>_c: each zone and chip. load_percent: all cores together.
    memory_available_mb. cpu_mhz: mean of the cores. gpu_load_percent: Jetson. power_w: the input of the board.
    throttled: 0 or 1 (Raspberry Pi). throttle_count: increases with each thermal event (Intel).
    """

    def open(self) -> None:
        self.readings = Readings(Path(self.options.root))
        if not self.readings.keys:
            raise DeviceMissing(f"{self.options.root}: neither sys nor proc has readings of this board")

    def read(self) -> Mapping[str, float]:
        return self.readings.read()

    def close(self) -> None:
        pass
