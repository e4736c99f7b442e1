"""The board's temperature, load and power in one line."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path

from agent.field import format
from drivers.board._load import Load
from drivers.board._readings import Readings

SETTLE_S = 0.2  # the kernel's load counters tick at 100 Hz
# Reading, its text, the divisor into the text's unit. Temperature first: a cabinet may stand in the sun.
PARTS = (
    ("temperature_c", "{:.1f} C", 1),
    ("load_percent", "load {:.0f} %", 1),
    ("gpu_load_percent", "GPU {:.0f} %", 1),
    ("power_w", "{:.1f} W", 1),
    ("memory_available_mb", "{:.1f} GB free", 1024),
    ("cpu_mhz", "{:.0f} MHz", 1),
)


class BoardMonitor:
    """Reads the board by the files of the kernel; no readings where it has none."""

    def __init__(self, root: str = "/", load: Load | None = None) -> None:
        """load: already read once, as early as possible; its counters need SETTLE_S until they show a load."""
        self.load = load
        self.readings = Readings(Path(root))
        self.t_read = time.monotonic()

    def read(self) -> dict[str, float]:
        if not self.readings.keys:
            return {}
        since = min(self.t_read, self.load.t_read) if self.load else self.t_read
        time.sleep(max(0.0, since + SETTLE_S - time.monotonic()))
        self.t_read = time.monotonic()
        readings = {**self.readings.read(), **(self.load.read() if self.load else {})}
        return {key: round(value, 2) for key, value in readings.items() if not math.isnan(value)}


def line(readings: Mapping[str, float]) -> str:
    """80 columns of what BoardMonitor.read returned."""
    parts = [text.format(readings[key] / size) for key, text, size in PARTS if key in readings]
    if readings.get("throttled"):
        parts.append("THROTTLED")
    if readings.get("throttle_count"):
        parts.append(f"throttled {readings['throttle_count']:.0f} times")
    return format.clip("board  " + (", ".join(parts) or "no readings from the kernel"))
