"""Faults that a simulated device shows on a schedule, so that a test or a demo can watch the daemon cope."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from pydantic import Field

from drivers.base import DeviceMissing, DriverOptions

log = logging.getLogger(__name__)
NEVER = 1 << 63  # a nanosecond that CLOCK_MONOTONIC does not reach


class Fault(DriverOptions):
    """One trouble. A driver narrows `kind` to those it can show, with a Literal."""

    kind: str
    at_s: float = Field(ge=0, description="seconds after the first open")
    for_s: float = Field(gt=0, description="seconds it lasts")
    amount: float = Field(0.0, description="how much of it, in the kind's own unit")


class Faults:
    """The schedule as it runs. It goes on over close and open: a device stays broken until its time is over."""

    def __init__(self, schedule: Sequence[Fault], name: str = "", device: str = "device") -> None:
        self.name = name
        self.device = device
        self.schedule = tuple(schedule)
        self.start_ns = -1
        self.change_ns = 0
        self.on: dict[str, float] = {}

    def start(self, now_ns: int) -> None:
        """Time zero of the schedule. Only the first call counts."""
        if self.start_ns < 0:
            self.start_ns = now_ns

    def active(self, now_ns: int) -> Mapping[str, float]:
        """The kinds that show now, each with its amount. Logs when one begins and when it ends."""
        if now_ns >= self.change_ns:
            self._turn(now_ns)
        return self.on

    def plugged(self, now_ns: int) -> Mapping[str, float]:
        """As `active`. Raises DeviceMissing while "unplug" shows."""
        on = self.active(now_ns)
        if "unplug" in on:
            raise DeviceMissing(f"{self.name}: the simulated {self.device} is unplugged")
        return on

    def _turn(self, now_ns: int) -> None:
        before, self.on, self.change_ns = self.on, {}, NEVER
        for fault in self.schedule:
            begin = self.start_ns + int(fault.at_s * 1e9)
            end = begin + int(fault.for_s * 1e9)
            if begin <= now_ns < end:
                self.on[fault.kind] = fault.amount
            self.change_ns = min([self.change_ns, *(edge for edge in (begin, end) if edge > now_ns)])
        at_s = (now_ns - self.start_ns) / 1e9
        for kind in self.on.keys() - before.keys():
            log.warning("%s: injected fault '%s' begins at %.3f s, amount %g", self.name, kind, at_s, self.on[kind])
        for kind in before.keys() - self.on.keys():
            log.warning("%s: injected fault '%s' is over at %.3f s", self.name, kind, at_s)
