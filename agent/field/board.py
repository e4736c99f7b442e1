"""The board's heat, load and power in one line."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from agent.field import format
from drivers.base import DeviceMissing
from drivers.board.linux import Driver, Options

SETTLE_S = 0.2  # the kernel's load counters tick at 100 Hz


class Board:
    """Empty readings where the kernel tells nothing."""

    def __init__(self, root: str = "/") -> None:
        self.driver: Driver | None = Driver(Options.model_validate({"root": root}))
        self.since = time.monotonic()
        try:
            self.driver.open()
        except DeviceMissing:
            self.driver = None

    def read(self) -> dict[str, float]:
        if self.driver is None:
            return {}
        time.sleep(max(0.0, self.since + SETTLE_S - time.monotonic()))
        self.since = time.monotonic()
        return {key: round(value, 2) for key, value in self.driver.read().items() if not math.isnan(value)}


def line(found: Mapping[str, float]) -> str:
    """What a cabinet in the sun is asked first."""
    said = []
    for key, text, size in (
        ("temperature_c", "{:.1f} C", 1),
        ("load_percent", "load {:.0f} %", 1),
        ("gpu_load_percent", "GPU {:.0f} %", 1),
        ("power_w", "{:.1f} W", 1),
        ("memory_available_mb", "{:.1f} GB free", 1024),
        ("cpu_mhz", "{:.0f} MHz", 1),
    ):
        if key in found:
            said.append(text.format(found[key] / size))
    if found.get("throttled"):
        said.append("THROTTLED")
    if found.get("throttle_count"):
        said.append(f"throttled {found['throttle_count']:.0f} times")
    return format.clip("board  " + (", ".join(said) or "the kernel tells nothing about it"))
