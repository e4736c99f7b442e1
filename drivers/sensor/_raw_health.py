"""Finds raw values that a working sensor does not deliver: the same bits for long, or the end of the range for long."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, Field

from agent.data import Array

ENOUGH = 10  # readings: two equal ones of a slow sensor prove nothing


class RawHealthOptions(BaseModel):
    """Limits of both."""

    frozen_ms: float = Field(
        1000.0,
        ge=0,
        le=600_000,
        description="the same bits in every channel for so long are a fault, a sensor has noise; 0: normal here",
    )
    saturated_ms: float = Field(
        500.0,
        ge=0,
        le=600_000,
        description="a signed channel at the end of its range for so long is a fault; 0: normal here",
    )


class RawHealth:
    """saturated: readings since `restart` with a channel at the end of its range."""

    def __init__(self, names: Sequence[str], lowest: Array, highest: Array, options: RawHealthOptions) -> None:
        """lowest, highest: of the raw values, one for each channel."""
        self.names = tuple(names)
        self.lowest, self.highest = lowest, highest
        self.frozen_ns = int(options.frozen_ms * 1e6)
        self.saturated_ns = int(options.saturated_ms * 1e6)
        self.restart()

    def restart(self) -> None:
        self.saturated = 0
        self.last: Array | None = None
        self.changed = self.repeats = 0
        self.inside = np.zeros(len(self.names), np.int64)  # when each channel was last inside its range
        self.at_end: Array = np.zeros(len(self.names), np.int64)  # readings since then

    def check(self, raw: Array, stamp: int) -> str:
        """What is wrong with the channels, or "". raw: [k, channels], k >= 1, newest last, of the moment `stamp`."""
        if self.last is None:
            self.inside[:] = stamp
        if self.last is None or (raw != self.last).any():
            self.changed, self.repeats = stamp, 0
        self.last = raw[-1].copy()
        self.repeats += len(raw)
        self._count(raw, (raw <= self.lowest) | (raw >= self.highest), stamp)
        return self._problem(stamp)

    def _count(self, raw: Array, at_end: Array, stamp: int) -> None:
        if not at_end.any():  # nearly always, and at 1 kHz each operation counts
            self.inside[:] = stamp
            self.at_end[:] = 0
            return
        self.saturated += int(at_end.any(axis=1).sum())
        stuck = at_end.all(axis=0)
        self.inside[~stuck] = stamp
        self.at_end = np.where(stuck, self.at_end + len(raw), 0)

    def _problem(self, stamp: int) -> str:
        if self.frozen_ns and self.repeats >= ENOUGH and stamp - self.changed >= self.frozen_ns:
            return f"frozen: the same bits in every reading for {self.frozen_ns / 1e6:g} ms (frozen_ms)"
        if not self.saturated_ns or self.at_end.max() < ENOUGH:
            return ""
        stuck = (self.at_end >= ENOUGH) & (stamp - self.inside >= self.saturated_ns)
        if stuck.any():
            return (
                f"{self.names[int(np.argmax(stuck))]} is at the end of its range for {self.saturated_ns / 1e6:g} ms"
                " (saturated_ms): a wider range, or a broken sensor?"
            )
        return ""
