"""What every microphone here shares: when values come due or came in, and telling a dead microphone from a quiet room."""

from __future__ import annotations

import time

from pydantic import Field

from agent.data import Array
from drivers.base import DeviceFault, SourceOptions

HIGHEST_HZ = 192_000
CREEP = 500e-6  # a sound card's crystal is off by 100 ppm at most, a USB one's by as much again


class AudioOptions(SourceOptions):
    rate_hz: int = Field(16_000, ge=4_000, le=HIGHEST_HZ, description="values a second; what the model wants")
    block_ms: float = Field(10.0, ge=1, le=1000, description="values come in blocks of this length")


class Blocks:
    """Values of a source that has no clock of its own, due in whole blocks at absolute times, so that the rate does not drift.

    fast: a block is due whenever asked for; times stay 1/rate_hz apart and run ahead of the clock.
    """

    def __init__(self, options: AudioOptions, fast: bool, begin_ns: int) -> None:
        self.rate = options.rate_hz
        self.size = max(1, round(options.rate_hz * options.block_ms / 1000))
        self.fast = fast
        self.begin = begin_ns
        self.done = 0  # values handed out or passed over since begin

    def wait(self, wait_s: float) -> int:
        """Sleeps until the next block is due, at most wait_s. How many values are due, 0 for none yet."""
        if self.fast:
            return self.size
        ahead = (self.time(self.done + self.size) - time.monotonic_ns()) / 1e9
        if ahead > 0:
            time.sleep(min(ahead, wait_s))
        if ahead > wait_s:
            return 0
        passed = (time.monotonic_ns() - self.begin) * self.rate // 1_000_000_000 - self.done
        return max(self.size, passed // self.size * self.size)

    def time(self, count: int) -> int:
        """When the count-th value since begin was complete."""
        return self.begin + count * 1_000_000_000 // self.rate


class Arrivals:
    """When a value was captured, from when values came in.

    A card's clock is even, its way here is not: the arrivals least delayed show when its first value was captured, and from
    there one counts. The estimate creeps up by half a millisecond a second, so that it follows a card that is slow.
    """

    def __init__(self, rate_hz: int, now: int, count: int) -> None:
        """now: ns, when the count-th value came in."""
        self.rate = rate_hz
        self.seen = now
        self.start = now - self.span(count)

    def span(self, count: int) -> int:
        return count * 1_000_000_000 // self.rate

    def stamp(self, now: int, count: int) -> int:
        """ns when the count-th value was captured, which is in hand now; never after now."""
        self.start = min(self.start + int((now - self.seen) * CREEP), now - self.span(count))
        self.seen = now
        return self.start + self.span(count)

    def due(self, now: int) -> int:
        """How many values the card must have captured by now."""
        return (now - self.start) * self.rate // 1_000_000_000


class Pulse:
    """Notices a microphone that gives one and the same value: digital silence. A live one always has some noise.

    It remembers over close and open: a device that was dead must bring another value before it counts as alive.
    """

    def __init__(self, name: str, rate_hz: int, dead_ms: float) -> None:
        """dead_ms: for so long; 0 for ever."""
        self.name = name
        self.dead_ms = dead_ms
        self.limit = rate_hz * dead_ms / 1000
        self.value = 0.0
        self.run = 0

    def feel(self, values: Array) -> None:
        """values: as they came, at least one. Raises DeviceFault."""
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
                f"{self.name}: nothing but the value {last:g} for {self.dead_ms:g} ms: muted (alsamixer, F4), unplugged at its"
                " jack, or broken; 'dead_ms: 0' if it gates its noise"
            )
