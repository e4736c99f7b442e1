"""Jetson board through jetson-stats: temperature, load and power of every rail. Not yet run on hardware."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from drivers.base import DeviceMissing, Sensor, SensorOptions

OFFLINE_C = -256


class Options(SensorOptions):
    """The rate of polling."""

    rate_hz: float = Field(1.0, gt=0, le=10, description="how often the board is read, and refreshed by jtop.service")
    timeout_ms: float = Field(3000.0, gt=0, le=600_000, description="silence after which it counts as stale")


class Driver(Sensor):
    """Keys are fixed at open; a value that disappears later is NaN.

    temperature_c (the highest), temperature_<name>_c, load_percent, gpu_load_percent, memory_available_mb, power_w,
    power_<rail>_w.
    """

    def __init__(self, options: Options, name: str = "") -> None:
        super().__init__(options, name)
        self.board: Any = None

    def open(self) -> None:
        self.close()
        try:
            import jtop
        except ModuleNotFoundError as error:
            install = "scripts/setup jetson, or pip install 'reflexd[jetson]'"
            raise DeviceMissing(f"jetson-stats is not installed: {install}") from error
        # a jtop is a thread, which starts only once, so every open makes a new one
        board = jtop.jtop(interval=1 / self.options.rate_hz)
        try:
            board.start()
        except (jtop.JtopException, OSError) as error:
            raise DeviceMissing(f"jetson-stats: {error}") from error
        self.board, self.errors = board, (jtop.JtopException, OSError)
        try:
            self.keys = tuple(self._readings())
        except DeviceMissing:
            self.close()
            raise

    def read(self) -> Mapping[str, float]:
        readings = self._readings()
        return {key: readings.get(key, math.nan) for key in self.keys}

    def close(self) -> None:
        board, self.board = self.board, None
        if board is not None:
            board.close()

    def _readings(self) -> dict[str, float]:
        try:
            # with spin it does not wait for the next refresh; an error of its thread is raised here
            alive = self.board.ok(spin=True)
        except self.errors as error:
            raise DeviceMissing(f"jetson-stats: {error}") from error
        if not alive:
            raise DeviceMissing("jetson-stats: the connection to jtop.service ended")
        return decode(self.board)


def decode(board: Any) -> dict[str, float]:
    """Readings of a jtop, which has power in mW, memory in kB, and -256 for an offline sensor."""
    readings: dict[str, float] = {}
    degrees = {
        name: sensor["temp"]
        for name, sensor in board.temperature.items()
        if sensor.get("online", True) and sensor["temp"] != OFFLINE_C
    }
    if degrees:
        readings["temperature_c"] = max(degrees.values())
    readings.update({f"temperature_{name.lower()}_c": value for name, value in degrees.items()})
    if "total" in board.cpu:
        readings["load_percent"] = 100.0 - board.cpu["total"]["idle"]
    loads = [gpu["status"]["load"] for gpu in board.gpu.values()]
    if loads:
        readings["gpu_load_percent"] = max(loads)
    if "RAM" in board.memory:
        readings["memory_available_mb"] = (board.memory["RAM"]["tot"] - board.memory["RAM"]["used"]) / 1024
    if "tot" in board.power:
        readings["power_w"] = board.power["tot"]["power"] / 1000
    rails = board.power.get("rail", {})
    readings.update({f"power_{name.lower()}_w": rail["power"] / 1000 for name, rail in rails.items()})
    return readings
