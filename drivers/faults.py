"""Faults that a simulated device shows on a schedule, to exercise the daemon's fault handling in tests and demos."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from pydantic import Field

from drivers.base import DeviceMissing, DriverOptions

log = logging.getLogger(__name__)
NEVER = 1 << 63  # a nanosecond that CLOCK_MONOTONIC does not reach


class Fault(DriverOptions):
    """One fault. A driver narrows `kind` to those it can simulate, with a Literal."""

    kind: str
    at_s: float = Field(ge=0, description="seconds after the first open")
    for_s: float = Field(gt=0, description="seconds it lasts")
    amount: float = Field(0.0, description="its size, in the kind's own unit")


class Faults:
    """The schedule as it runs. Closing and opening do not restart it: a fault lasts until its time is over."""

    def __init__(self, schedule: Sequence[Fault], name: str = "", device: str = "device") -> None:
        self.name = name
        self.device = device
        self.schedule = tuple(schedule)
        self.start_ns = -1
        self.change_ns = 0
        self.current: dict[str, float] = {}

    def start(self, now_ns: int) -> None:
        """Time zero of the schedule. Only the first call counts."""
        if self.start_ns < 0:
            self.start_ns = now_ns

    def active(self, now_ns: int) -> Mapping[str, float]:
        """The kinds of fault active now, each with its amount. Logs the start and the end of each."""
        if now_ns >= self.change_ns:
            self._update(now_ns)
        return self.current

    def require_plugged(self, now_ns: int) -> Mapping[str, float]:
        """As `active`. Raises DeviceMissing while "unplug" is active."""
        active = self.active(now_ns)
        if "unplug" in active:
            raise DeviceMissing(f"{self.name}: the simulated {self.device} is unplugged")
        return active

    def _update(self, now_ns: int) -> None:
        before, self.current, self.change_ns = self.current, {}, NEVER
        for fault in self.schedule:
            start = self.start_ns + int(fault.at_s * 1e9)
            end = start + int(fault.for_s * 1e9)
            if start <= now_ns < end:
                self.current[fault.kind] = fault.amount
            self.change_ns = min([self.change_ns, *(edge for edge in (start, end) if edge > now_ns)])
        at_s = (now_ns - self.start_ns) / 1e9
        for kind in self.current.keys() - before.keys():
            amount = f", amount {self.current[kind]:g}" if self.current[kind] else ""
            log.warning("%s: injecting fault '%s' at %.3f s%s", self.name, kind, at_s, amount)
        for kind in before.keys() - self.current.keys():
            log.warning("%s: injected fault '%s' ended at %.3f s", self.name, kind, at_s)
