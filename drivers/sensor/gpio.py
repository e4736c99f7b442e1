"""Input lines of a GPIO chip: level and number of edges, stamped by the kernel in its interrupt (libgpiod 2)."""

from __future__ import annotations

import select
import time
from contextlib import suppress
from datetime import timedelta
from typing import Literal

import gpiod
import numpy as np
from gpiod.line import Bias, Clock, Direction, Edge
from pydantic import Field, model_validator

from agent.data import Sample
from drivers.base import DeviceMissing, SensorStream, SourceOptions
from drivers.links.gpio import ChipOptions, Line, explain, request
from drivers.options import DriverOptions

EDGES = {"both": Edge.BOTH, "rising": Edge.RISING, "falling": Edge.FALLING}
BIAS = {"as_is": Bias.AS_IS, "none": Bias.DISABLED, "pull_up": Bias.PULL_UP, "pull_down": Bias.PULL_DOWN}
COUNT = 1 << 24  # float32 counts no further in steps of one
BATCH = 64  # events in one read of the kernel
SUFFIX = "_edges"


class Channel(DriverOptions):
    """One line: two channels, `name` (level, 0 or 1) and `name`_edges (edges since open)."""

    line: Line = Field(description="name or offset")
    name: str = Field("", description="of the channel; the line's when empty")
    active_low: bool = False
    edges: Literal["both", "rising", "falling"] = Field("both", description="which are stamped and counted")
    bias: Literal["as_is", "none", "pull_up", "pull_down"] = "as_is"
    debounce_us: int = Field(
        0, ge=0, le=1_000_000, description="a level must last for so long; the stamp is then later by that"
    )

    @property
    def channel(self) -> str:
        return self.name or (f"line{self.line}" if isinstance(self.line, int) else self.line)


class Options(ChipOptions, SourceOptions):
    """The chip and its lines."""

    lines: list[Channel] = Field(min_length=1, max_length=64)
    rate_hz: float = Field(
        100.0, gt=0, le=10_000, description="without edges the levels are read this often, as a sign of life"
    )
    buffer: int = Field(1024, ge=16, le=1024, description="edges that the kernel keeps until they are read")

    @model_validator(mode="after")
    def _distinct(self) -> Options:
        names: list[int | str] = [channel.channel for channel in self.lines]
        for what, values in (("line", [channel.line for channel in self.lines]), ("name", names)):
            twice = next((value for value in values if values.count(value) > 1), None)
            if twice is not None:
                raise ValueError(f"lines: the {what} {twice} is given twice")
        if 1e3 / self.rate_hz > self.timeout_ms:
            raise ValueError("timeout_ms: shorter than the pause between two readings at rate_hz")
        return self

    def exclusive_device(self) -> str:
        return ""  # of the chip's lines others may be outputs; the kernel gives each line to one program


class Driver(SensorStream):
    """lost: edges that the kernel counted and had no room for, since open.

    Every edge is a reading, with the stamp of its interrupt; so is a look at the levels, once 1/rate_hz has passed
    without one. That look also corrects a level after lost edges.
    """

    def __init__(self, options: Options, name: str = "") -> None:
        super().__init__(options, name)
        names = [channel.channel for channel in options.lines]
        self.channels = tuple(names) + tuple(name + SUFFIX for name in names)
        self.rate_hz = options.rate_hz
        self.period_ns = int(1e9 / options.rate_hz)
        self.rows = np.zeros((BATCH, len(self.channels)), np.float32)
        self.request: gpiod.LineRequest | None = None

    def open(self) -> None:
        self.close()
        lines: list[Channel] = self.options.lines
        settings = {channel.line: _settings(channel) for channel in lines}
        self.request = request(self.options.chip, settings, self.options.buffer)
        self.ready = select.poll()
        self.ready.register(self.request.fd, select.POLLIN)
        self.places = {offset: at for at, offset in enumerate(self.request.lines)}
        self.levels = [0.0] * len(lines)
        self.counts = [0] * len(lines)
        self.sequence = -1
        self.lost = 0
        self.due = self.t_last = time.monotonic_ns()

    def read(self, wait_s: float) -> Sample | None:
        if self.request is None:
            raise DeviceMissing(f"{self.options.chip}: not open")
        now = time.monotonic_ns()
        ahead = min(now + int(wait_s * 1e9), self.due) - now
        try:
            if self.ready.poll(max(0, ahead) / 1e6):
                return self._edges(self.request)
            return self._sample(self.request) if time.monotonic_ns() >= self.due else None
        except (OSError, ValueError) as error:
            raise explain(self.options.chip, (c.line for c in self.options.lines), error) from error

    def _edges(self, held: gpiod.LineRequest) -> Sample | None:
        """What the kernel has; also a chip that is gone is 'readable', and the read then fails."""
        events = held.read_edge_events(BATCH)
        if not events:
            return None
        before = self.lost
        for row, event in enumerate(events):
            self._count(event)
            self._fill(row)
        self.sequence += len(events) + self.lost - before
        # edges of several lines are in the order of their interrupts, debounced ones later than their stamps
        self.t_last = max(self.t_last, max(event.timestamp_ns for event in events))
        self.due = time.monotonic_ns() + self.period_ns
        return Sample(self.name, self.sequence, self.t_last, self.rows[: len(events)])

    def _count(self, event: gpiod.EdgeEvent) -> None:
        """The kernel numbers the edges of a line from 1, also those that it drops when its buffer is full."""
        at = self.places[event.line_offset]
        self.lost += max(0, event.line_seqno - self.counts[at] - 1)
        self.counts[at] = event.line_seqno
        self.levels[at] = float(event.event_type is gpiod.EdgeEvent.Type.RISING_EDGE)

    def _sample(self, held: gpiod.LineRequest) -> Sample:
        stamp = time.monotonic_ns()
        self.levels = [float(bool(value)) for value in held.get_values()]
        self._fill(0)
        self.sequence += 1
        self.t_last = max(self.t_last, stamp)
        self.due = stamp + self.period_ns
        return Sample(self.name, self.sequence, self.t_last, self.rows[:1])

    def _fill(self, row: int) -> None:
        self.rows[row] = [*self.levels, *(count % COUNT for count in self.counts)]

    def close(self) -> None:
        released, self.request = self.request, None
        if released is not None:
            with suppress(OSError):
                released.release()


def _settings(channel: Channel) -> gpiod.LineSettings:
    """Rising means to active: the kernel turns edges round, too, where active is low."""
    return gpiod.LineSettings(
        direction=Direction.INPUT,
        edge_detection=EDGES[channel.edges],
        bias=BIAS[channel.bias],
        active_low=channel.active_low,
        debounce_period=timedelta(microseconds=channel.debounce_us),
        event_clock=Clock.MONOTONIC,
    )
