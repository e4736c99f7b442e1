"""One statistic of a lane: what is normal is learnt first, then it is said when that ends, and when it is so again."""

from __future__ import annotations

from math import isfinite
from typing import Any, NamedTuple

from agent.drift.page_hinkley import ALLOWANCE, PageHinkley, Reference

LEARNING, NORMAL, DRIFTING = "learning", "normal", "drifting"
# Standard deviations, summed. With independent values the mean time between false reports is about
# exp(2 a (h + 1.17)) / 2 a^2
# (Siegmund, Sequential Analysis, 1985; a: ALLOWANCE, h: THRESHOLD): beyond any life of a machine, as is wanted where
# values are not independent and twenty statistics of each lane are watched for years.
THRESHOLD, HIGHEST = 50.0, 300.0
MARGIN = 4.0  # what a loop of traffic, people or light reached while it was learnt may be exceeded by this
END_MARGIN = 1.5  # the same of the mean of a block of values, at which a drift ends


class Limits(NamedTuple):
    """learn: values until the reference is fixed. recover: values, together normal, that end a drift."""

    learn: int = 600
    recover: int = 60

    @property
    def of_scores(self) -> Limits:
        """A third: appearances come more slowly than seconds, and are less alike."""
        return Limits(max(self.learn // 3, 40), max(self.recover // 3, 10))


class Floor(NamedTuple):
    """The least standard deviation that counts: absolute, and as a share of the mean. Below it no change matters."""

    absolute: float
    relative: float = 0.0


class Detector:
    """Constant memory, about a microsecond a value.

    In the first half of learning mean and deviation are found. In the second half the sums run without a report, and
    how high they go raises the threshold: what returns every minute (a person passing, a machine's cycle) makes
    neighbouring values alike, and so the sums larger than the theory of independent values has them.
    """

    def __init__(self, floor: Floor, limits: Limits, zeros: int = 0) -> None:
        """zeros: values of 0 that were there before, of a label that is new."""
        self.floor, self.limits = floor, limits
        self.reference = Reference()
        self.reference.count = zeros
        self.sums = PageHinkley()
        self.block = Reference()  # the newest values, up to `recover`
        self.state = LEARNING
        self.threshold, self.end = THRESHOLD, ALLOWANCE
        self.value = 0.0
        self._worst = self._worst_block = 0.0

    def add(self, value: float) -> str:
        """DRIFTING or NORMAL where that begins with this value, else empty. What is no number is no value."""
        if not isfinite(value):
            return ""
        self.value = value
        return self._learn(value) if self.state == LEARNING else self._watch(value)

    @property
    def deviation(self) -> float:
        """Of the reference, the floor at least."""
        floor = self.floor.absolute + self.floor.relative * abs(self.reference.mean)
        return max(self.reference.deviation, floor, 1e-12)

    @property
    def level(self) -> float:
        """The larger sum as a share of the threshold; a drift begins at 1."""
        return self.sums.largest / self.threshold

    @property
    def recent(self) -> float:
        """Mean of the newest values."""
        return self.block.mean if self.block.count else self.value

    def _z(self, value: float) -> float:
        return (value - self.reference.mean) / self.deviation

    def _learn(self, value: float) -> str:
        if 2 * self.reference.count >= self.limits.learn:
            self._worst = max(self._worst, self.sums.add(self._z(value)))
            mean = self._add_to_block(value)
            self._worst_block = max(self._worst_block, abs(self._z(mean)) if mean is not None else 0.0)
        self.reference.add(value)
        if self.reference.count < self.limits.learn:
            return ""
        self.threshold = min(max(THRESHOLD, MARGIN * self._worst), HIGHEST)
        self.end = max(ALLOWANCE, END_MARGIN * self._worst_block)
        self._start(NORMAL)
        return ""

    def _watch(self, value: float) -> str:
        mean = self._add_to_block(value)
        if self.state == NORMAL:
            return self._start(DRIFTING) if self.sums.add(self._z(value)) > self.threshold else ""
        return self._start(NORMAL) if mean is not None and abs(self._z(mean)) <= self.end else ""

    def _add_to_block(self, value: float) -> float | None:
        """The mean of a block that is full with this value."""
        if self.block.count >= self.limits.recover:
            self.block = Reference()
        self.block.add(value)
        return self.block.mean if self.block.count == self.limits.recover else None

    def _start(self, state: str) -> str:
        self.state = state
        if state == NORMAL:
            self.sums.reset()
        self.block = Reference()
        return state

    def saved(self) -> dict[str, Any]:
        """For the disk. The block is not: a drift ends some values later after a restart."""
        reference, sums = self.reference, self.sums
        return {
            "state": self.state,
            "reference": [reference.count, reference.mean, reference.squares],
            "sums": [sums.up, sums.down],
            "limits": [self.threshold, self.end],
            "worst": [self._worst, self._worst_block],
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Raises LookupError, TypeError, ValueError where it is not what `saved` wrote."""
        count, mean, squares = map(_finite, saved["reference"])
        up, down = map(_finite, saved["sums"])
        threshold, end = map(_finite, saved["limits"])
        worst, worst_block = map(_finite, saved["worst"])
        if saved["state"] not in (LEARNING, NORMAL, DRIFTING) or threshold <= 0:
            raise ValueError(f"state {saved['state']!r}, threshold {threshold:g}")
        self.state, self.threshold, self.end = str(saved["state"]), threshold, end
        self.reference.count, self.reference.mean, self.reference.squares = int(count), mean, squares
        self.sums.up, self.sums.down = up, down
        self._worst, self._worst_block = worst, worst_block


def _finite(number: Any) -> float:
    if not isfinite(float(number)):
        raise ValueError("not a finite number")
    return float(number)
