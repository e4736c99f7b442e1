"""What an update does between two samples of a lane, on the lane's thread: exchange a model, copy an inference.

A lane without a version on trial has no visitor, and reads one attribute a sample for it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Sequence

from agent.data import Sample
from agent.lane import Lane
from agent.packages.package import Package
from agent.update.probation.shadow import Shadow
from drivers.base import DeviceError

LEAVE_S = 1.0


class Exchange:
    """One exchange, asked for by the trial and carried out by the lane."""

    def __init__(self, new: Package) -> None:
        self.new = new
        self.error = ""  # why the old one stays
        self.done = threading.Event()


class Visitor:
    """Of one lane and one of its models."""

    def __init__(self, lane: Lane, package: Package) -> None:
        self.lane = lane
        self.package = package  # the version in the lane
        self.shadow: Shadow | None = None
        self._wanted: deque[Exchange] = deque()
        self._leaving = False

    def attach(self) -> None:
        self.lane.between = self

    def leave(self, final: Package) -> Exchange:
        """For good: before the lane's next sample, which `final` infers."""
        if self.shadow:
            self.shadow.stop()
        self.shadow, self._leaving = None, True
        return self.exchange(final)

    def exchange(self, new: Package) -> Exchange:
        """Carried out before the lane's next sample; while its source or its model is at fault, once that is over."""
        wanted = Exchange(new)
        self._wanted.append(wanted)
        return wanted

    def __call__(self, sample: Sample | None) -> None:
        shadow = self.shadow
        if self._wanted:
            self._carry_out(self._wanted.popleft())
        elif shadow is not None and sample is not None and self.lane.evidence is not None:
            shadow.offer(sample.t_capture)

    def _carry_out(self, wanted: Exchange) -> None:
        lane = self.lane
        try:
            if wanted.new is not self.package:
                lane.perception.exchange(self.package, wanted.new, lane.source)
                self.package = wanted.new
                if lane.tapes:
                    lane.tapes.exchange(lane.perception.recorded_engines, lane.source)
        except DeviceError as error:
            wanted.error = str(error)
        if self._leaving and lane.between is self:
            lane.between = None
        wanted.done.set()


async def done(exchanges: Sequence[Exchange], within_s: float = LEAVE_S) -> bool:
    """True once the lanes have carried them out; False where a lane does not get to it."""
    end = time.monotonic() + within_s
    while not all(each.done.is_set() for each in exchanges):
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.002)
    return True
