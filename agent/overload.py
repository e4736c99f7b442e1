"""Load shedding: where a lane misses its budget because the box has too much to do, less important lanes infer less.

In the order of the lanes' `priority`, the lowest first; equal ones share what is left, as ever. It ends by itself.
"""

from __future__ import annotations

import logging
import mmap
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from agent import ledger
from agent.config.models import Config
from agent.ledger import LedgerSnapshot

log = logging.getLogger("reflexd")

LATE_SHARE = 0.02  # of a lane's samples past its budget: more is a miss
FEWEST = 5  # samples, below which nothing is known
MAX_EVERY = 16
PERIOD_NS = 900_000_000
NEWEST = 2000  # rows of a lane that are examined: two seconds at 1 kHz
CALM_S, MAX_CALM_S = 5.0, 80.0  # without a miss before one step back; doubled where that step was too early


def most_every(rate_hz: float, expires_ms: float) -> int:
    """Inferences at most half as far apart as where its evidence or its commands expire: it would be taken for dead."""
    return max(1, min(MAX_EVERY, int(rate_hz * expires_ms / 2000)))


def misses(snapshot: LedgerSnapshot, since: int) -> bool:
    """Of its rows since then too many are past the budget. since: CLOCK_MONOTONIC, ns.

    Not where its fastest tenth is late, too: no other lane delays those, the model is too large for the budget.
    """
    rows = snapshot.rows[snapshot.rows["decided"] > since]
    if len(rows) < FEWEST or snapshot.state != "running":
        return False
    total = ledger.parts(rows)["total"]
    late = float(np.mean(total > snapshot.budget_ms))
    return late > LATE_SHARE and float(np.percentile(total, 10)) <= snapshot.budget_ms


class Overload:
    """Decides for all lanes once a second. Pure: time is an argument."""

    def __init__(self, priorities: Mapping[str, int]) -> None:
        self.priorities = priorities
        self.most = dict.fromkeys(priorities, 1)  # the largest `every` of each lane
        self.every = dict.fromkeys(priorities, 1)  # a lane infers on one sample in so many
        self._steps: list[dict[str, int]] = []  # what `every` was before each step, newest last
        self._calm_s = CALM_S
        self._changed_at = 0.0
        self._eased = False  # the newest step was one back

    def observe(self, missing: set[str], now: float) -> bool:
        """True where `every` has changed. missing: lanes that miss their budget. now: seconds."""
        if missing:
            return self._shed(max(self.priorities[name] for name in missing), now)
        if self._steps and now - self._changed_at >= self._calm_s:
            self.every.update(self._steps.pop())
            self._eased, self._changed_at = True, now
            return True
        return False

    def _shed(self, below: int, now: float) -> bool:
        """One step, of the lowest priority below this one whose lanes can still infer less."""
        since = now - self._changed_at
        if self._eased:  # too early, or long ago
            self._calm_s = min(2 * self._calm_s, MAX_CALM_S) if since < MAX_CALM_S else CALM_S
        self._eased, self._changed_at = False, now
        able = [name for name, every in self.every.items() if every < self.most[name]]
        lowest = min((self.priorities[name] for name in able), default=below)
        if lowest >= below:
            return False
        step = {name: self.every[name] for name in able if self.priorities[name] == lowest}
        self._steps.append(step)
        self.every.update({name: min(2 * every, self.most[name]) for name, every in step.items()})
        return True

    def __bool__(self) -> bool:
        return bool(self._steps)

    def __str__(self) -> str:
        """Which lanes infer less; empty where none does."""
        return ", ".join(f"{name} infers on one sample in {every}" for name, every in self.every.items() if every > 1)


class WatchedLane(NamedTuple):
    """A lane, which may run in another process.

    memory: of its ledger. timeout_ms: after which its commands expire. infer_every: it infers from now on on one sample
    in so many, of those on which it is configured to.
    """

    name: str
    memory: mmap.mmap
    timeout_ms: float
    infer_every: Callable[[int], None]

    @property
    def counts(self) -> dict[str, int]:
        return ledger.snapshot(self.memory, 0).counts


class LoadShedder:
    """Watches the lanes of a daemon, on the control plane."""

    def __init__(self, lanes: Sequence[WatchedLane], config: Config) -> None:
        self.lanes = lanes
        self._configured = {lane.name: config.lanes[lane.name].every for lane in lanes}
        self.expires_ms = {lane.name: _expires_ms(lane, config) for lane in lanes}
        self.overload = Overload({lane.name: config.lanes[lane.name].priority for lane in lanes})
        self.needed = len(set(self.overload.priorities.values())) > 1  # equal lanes share
        self.began = 0.0
        self._checked = time.monotonic_ns()
        self._samples = {lane.name: lane.counts["samples"] for lane in lanes}
        self._shed = 0
        for lane in lanes:  # those of before a reload, too
            lane.infer_every(1)

    @property
    def troubles(self) -> list[str]:
        """For the health of the box."""
        return [f"overload: {self.overload}"] if self.overload else []

    def check(self) -> None:
        """Once a second, however often it is called."""
        if not self.needed or time.monotonic_ns() - self._checked < PERIOD_NS:
            return
        since, self._checked = self._checked, time.monotonic_ns()
        for lane in self.lanes:
            before, self._samples[lane.name] = self._samples[lane.name], lane.counts["samples"]
            rate_hz = (self._samples[lane.name] - before) * 1e9 / (self._checked - since)
            if self.overload.every[lane.name] == 1:
                rate_hz /= self._configured[lane.name]
                self.overload.most[lane.name] = most_every(rate_hz, self.expires_ms[lane.name])
        missing = {lane.name for lane in self.lanes if misses(ledger.snapshot(lane.memory, NEWEST), since)}
        if self.overload.observe(missing, self._checked / 1e9):
            self._apply(missing)

    def _apply(self, missing: set[str]) -> None:
        """Logged where it begins and where it ends."""
        for lane in self.lanes:
            lane.infer_every(self.overload.every[lane.name])
        total = sum(lane.counts["shed"] for lane in self.lanes)
        if not self.began and self.overload:
            self.began, self._shed = self._checked / 1e9, total
            log.warning("overload: lane %s misses its budget; %s", ", ".join(sorted(missing)), self.overload)
        elif self.began and not self.overload:
            lasted_s = self._checked / 1e9 - self.began
            log.warning("overload is over after %.0f s; %d inferences were left out", lasted_s, total - self._shed)
            self.began = 0.0


def _expires_ms(lane: WatchedLane, config: Config) -> float:
    """When the lane's commands, or its evidence in a rule, expire."""
    within = [each.within_ms for rule in config.rules.values() for each in rule.conditions if each.lane == lane.name]
    return min([lane.timeout_ms, *within])
