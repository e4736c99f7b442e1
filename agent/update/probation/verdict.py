"""When a version on trial has failed: too slow, a fault, or other findings than the version before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from agent import ledger
from agent.lane import Lane
from agent.packages.package import Package
from agent.update.probation.shadow import Shadow
from agent.update.probation.visitor import Visitor

MAX_P99_MS = 50.0
MIN_TIMES = 100  # before a p99 counts
MIN_AGREEMENT = 0.95  # with the version before
NEWEST = 2000  # rows of the ledger for a p99


class Failed(Exception):
    """The version on trial has failed; one sentence for a person."""


class Waiting(Exception):
    """The lanes are not as a trial needs them: it begins again later."""


class Start(NamedTuple):
    """A lane's counts when a stage began. head: of its ledger."""

    faults: int
    inferences: int
    head: int


class Use:
    """A lane that uses the model. old, new: the versions. asked: of its rules. p99_before: with the old one, ms."""

    def __init__(self, visitor: Visitor, new: Package, asked: Mapping[str, float]) -> None:
        self.visitor, self.lane = visitor, visitor.lane
        self.old, self.new, self.asked = visitor.package, new, asked
        self.p99_before = p99_ms(self.lane, 0)
        self.begin()

    def begin(self) -> None:
        """A stage."""
        count = self.lane.ledger.count
        self.start = Start(count[ledger.FAULTS], count[ledger.INFERENCES], self.lane.ledger.head)

    def note_time(self) -> None:
        """Of the old version, while the new one computes beside it: as when it will be the other way round."""
        self.p99_before = max(self.p99_before, p99_ms(self.lane, self.start.head))

    @property
    def inferred(self) -> int:
        """Samples of this stage."""
        return self.lane.ledger.count[ledger.INFERENCES] - self.start.inferences

    @property
    def compared(self) -> int:
        """The same, of those on which both versions computed; all, where that is not possible."""
        shadow = self.visitor.shadow
        return shadow.compared if shadow and shadow.comparable else self.inferred


def check_beside(use: Use, samples: int) -> None:
    """A version that computes beside the one before. samples: of the stage. Raises Failed."""
    shadow, where = use.visitor.shadow, f"lane {use.lane.name}"
    assert shadow
    if shadow.fault:
        raise Failed(f"{where}, beside version {use.old.manifest.version}: {shadow.fault}")
    limit = min(MAX_P99_MS, use.lane.limits.budget_ms)
    if len(shadow.times_ms) >= min(MIN_TIMES, samples) and shadow.p99_ms > limit:
        raise Failed(f"{where}: an inference takes {shadow.p99_ms:.1f} ms of a core (p99), {limit:g} are allowed")
    _check_agreement(use, shadow, samples)


def check_alone(use: Use, samples: int, with_p99: bool) -> None:
    """A version that decides; the one before computes beside it. with_p99: also the lane's p99. Raises Failed."""
    lane, shadow = use.lane, use.visitor.shadow
    assert shadow
    # A source that fails is no fault of the model.
    if lane.ledger.count[ledger.FAULTS] > use.start.faults and lane.reason.startswith(f"model {use.new.name}:"):
        raise Failed(f"lane {lane.name}: a fault: {lane.reason}")
    if not shadow.fault:  # else it is the old version's, which decides nothing now
        _check_agreement(use, shadow, samples)
    if not with_p99 or lane.ledger.head - use.start.head < min(MIN_TIMES, samples):
        return
    limit, p99 = min(MAX_P99_MS, lane.limits.budget_ms), p99_ms(lane, use.start.head)
    if p99 > limit and p99 > use.p99_before:
        raise Failed(
            f"lane {lane.name}: capture to decision takes {p99:.1f} ms (p99), {limit:g} are allowed, and version"
            f" {use.old.manifest.version} took {use.p99_before:.1f}"
        )


def _check_agreement(use: Use, shadow: Shadow, samples: int) -> None:
    """Of the newest inputs; where these are few, as if the others were equal. Raises Failed."""
    newest = list(shadow.newest)
    disagreed = newest.count(False)
    if disagreed > (1 - MIN_AGREEMENT) * max(len(newest), min(MIN_TIMES, samples)):
        raise Failed(
            f"lane {use.lane.name}: on {disagreed} of {len(newest)} inputs it finds something else than version"
            f" {use.old.manifest.version}; {1 - MIN_AGREEMENT:.0%} are allowed"
        )


def p99_ms(lane: Lane, head: int) -> float:
    """Capture to decision, of the newest rows since that head; 0 without any."""
    newest = min(lane.ledger.head - head, NEWEST)
    if newest <= 0:
        return 0.0
    rows = ledger.snapshot(lane.ledger.memory, newest).rows
    return float(np.percentile((rows["decided"] - rows["capture"]) / 1e6, 99))
