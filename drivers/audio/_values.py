"""Common parts of microphones: due times and arrival times of values, and the detection of a dead microphone."""

from __future__ import annotations

import re
import time

from pydantic import Field

from agent.data import Array
from drivers.base import DeviceFault, SourceOptions

HIGHEST_HZ = 192_000
MAX_DRIFT = 500e-6  # above the error of a sound card's crystal, 100 ppm, plus that of a USB clock


class AudioOptions(SourceOptions):
    """Base of the options of microphones."""

    rate_hz: int = Field(16_000, ge=4_000, le=HIGHEST_HZ, description="values a second, as the model requires")
    block_ms: float = Field(10.0, ge=1, le=1000, description="values are delivered in blocks of this length")

    def exclusive_device(self) -> str:
        """hw:CARD,DEV of a card that is opened directly: other names may go through a plug-in that mixes."""
        card = re.fullmatch(r"(?:plug)?hw:(?:CARD=)?(\w+)(?:,(?:DEV=)?(\d+))?(?:,.*)?", getattr(self, "device", ""))
        return f"hw:{card[1]},{card[2] or 0}" if card else ""


class Blocks:
    """Due times of a source without a clock: whole blocks at absolute times, so that the rate does not drift.

    fast: a block is due at every call; times stay 1/rate_hz apart and run ahead of the clock.
    """

    def __init__(self, options: AudioOptions, fast: bool, start_ns: int) -> None:
        self.rate = options.rate_hz
        self.size = max(1, round(options.rate_hz * options.block_ms / 1000))
        self.fast = fast
        self.start = start_ns
        self.delivered = 0  # values delivered or skipped since start

    def wait(self, wait_s: float) -> int:
        """Sleeps until the next block is due, at most wait_s; how many values are due then, 0 if none."""
        if self.fast:
            return self.size
        ahead = (self.due - time.monotonic_ns()) / 1e9
        if ahead > 0:
            time.sleep(min(ahead, wait_s))
        if ahead > wait_s:
            return 0
        passed = (time.monotonic_ns() - self.start) * self.rate // 1_000_000_000 - self.delivered
        return max(self.size, passed // self.size * self.size)

    @property
    def due(self) -> int:
        """When the next block is."""
        return self.time(self.delivered + self.size)

    def time(self, count: int) -> int:
        """When the count-th value since start was complete."""
        return self.start + count * 1_000_000_000 // self.rate


class Arrivals:
    """Capture times of values, estimated from their arrival times.

    A card's clock is regular, the delay to this process is not: the least delayed arrivals determine when its first
    value was captured; the others follow by their number. The estimate increases by half a millisecond a second, so
    that it follows a slow card.
    """

    def __init__(self, rate_hz: int, now: int, count: int) -> None:
        """When the count-th value arrived: now, in ns."""
        self.rate = rate_hz
        self.t_updated = now
        self.start = now - self.span(count)

    def span(self, count: int) -> int:
        return count * 1_000_000_000 // self.rate

    def stamp(self, now: int, count: int) -> int:
        """Capture time in ns of the count-th value, which arrives now; never after now."""
        self.start = min(self.start + int((now - self.t_updated) * MAX_DRIFT), now - self.span(count))
        self.t_updated = now
        return self.start + self.span(count)

    def due(self, now: int) -> int:
        """How many values the card must have captured by now."""
        return (now - self.start) * self.rate // 1_000_000_000


class DeadCheck:
    """Detects a dead microphone: it delivers a constant value, digital silence. A live one always has some noise.

    Its state survives close and open: a dead device must deliver another value before it counts as alive.
    """

    def __init__(self, name: str, rate_hz: int, dead_ms: float) -> None:
        """dead_ms: how long a constant value is allowed; 0: without limit."""
        self.name = name
        self.dead_ms = dead_ms
        self.limit = rate_hz * dead_ms / 1000
        self.value = 0.0
        self.run = 0

    def check(self, values: Array) -> None:
        """Checks the next values, at least one. Raises DeviceFault."""
        if not self.limit:
            return
        last = float(values[-1])
        if values[0] != last or values.min() != last or values.max() != last:
            self.value, self.run = last, 1
            return
        self.run = self.run + len(values) if last == self.value else len(values)
        self.value = last
        if self.run >= self.limit:
            self.run = int(self.limit)
            raise DeviceFault(
                f"{self.name}: nothing but the value {last:g} for {self.dead_ms:g} ms: muted (alsamixer, F4), "
                "unplugged at its jack, or broken; set 'dead_ms: 0' if it suppresses its noise"
            )
