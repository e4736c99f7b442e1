"""The sensor of both boxes: 10 while an event lasts, else -10, a thousand times a second."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from agent.benches.twins.events import Events
from agent.data import Array
from drivers.base import DeviceMissing, SensorOptions
from drivers.options import FilePath
from drivers.sensor._simulated import Ticking

LEVEL = 10.0  # whose sigmoid is 1 to four digits


class Options(SensorOptions):
    """Where the events are written."""

    rate_hz: float = 1000.0
    path: FilePath = Field(description="page of events.py")
    pace: Literal["real"] = "real"
    faults: tuple[()] = ()

    def input_files(self) -> list[Path]:
        return [self.path]


class Driver(Ticking):
    """A late reader gets the readings that it missed with the newest value: what it did not see is lost to it."""

    channels = ("seen",)

    def open(self) -> None:
        try:
            self.events = Events(self.options.path)
        except (OSError, ValueError) as error:
            raise DeviceMissing(f"{self.options.path}: {error}") from error
        super().open()

    def _tick(self, row: Array, active: Mapping[str, Any]) -> None:
        # Not time.monotonic_ns, which box.py may have replaced: an event happens to both boxes at once.
        row[0] = LEVEL if self.events.active(time.clock_gettime_ns(time.CLOCK_MONOTONIC)) else -LEVEL
