"""What a lane's model reports, as values that are not all the same: an appearance, or a second."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Any, NamedTuple

from agent.drift.detector import Detector, Floor, Limits
from agent.drift.histogram import DecayedHistogram

GAP_NS = 1_000_000_000  # without the label: the appearance has ended
LONGEST_NS = 60_000_000_000  # of an appearance: somebody who stays counts once a minute
MAX_LABELS = 8  # each with a share of its own; others are one
OTHERS = "other labels"
SCORE_FLOOR, SHARE_FLOOR = Floor(0.03), Floor(0.15)


class Value(NamedTuple):
    """One value of a lane's model. score: 0..1."""

    label: str
    score: float


class _Appearance(NamedTuple):
    """started, newest: capture times, ns. score: the highest."""

    started: int
    newest: int
    score: float


class Appearances:
    """From the evidence of each inference to values.

    Boxes come and go: what is in the picture for a while is one appearance with its highest score. Labels of a whole
    window or picture are always there: of these the best is taken once a second.
    """

    def __init__(self) -> None:
        self._open: dict[str, _Appearance] = {}
        self._second = -1
        self._best = Value("", 0.0)
        self.bad = 0  # scores that were no number

    def add(self, t_capture: int, evidence: Sequence[Sequence[Any]]) -> Iterator[Value]:
        """evidence: (label, score, box, mark) of each finding of one inference, which may be none."""
        whole: Value | None = None
        for label, score, box, _ in evidence:
            if not isfinite(score):
                self.bad += 1
            elif box:
                self._extend(str(label), float(score), t_capture)
            elif whole is None or score > whole.score:
                whole = Value(str(label), float(score))
        yield from self._ended(t_capture)
        if whole:
            yield from self._of_second(t_capture // 1_000_000_000, whole)

    def _extend(self, label: str, score: float, now: int) -> None:
        before = self._open.get(label)
        if before:
            self._open[label] = _Appearance(before.started, now, max(score, before.score))
        elif len(self._open) <= 4 * MAX_LABELS:
            self._open[label] = _Appearance(now, now, score)

    def _ended(self, now: int) -> Iterator[Value]:
        for label, each in list(self._open.items()):
            if now - each.newest > GAP_NS or now - each.started > LONGEST_NS or now < each.newest:
                del self._open[label]
                yield Value(label, each.score)

    def _of_second(self, second: int, best: Value) -> Iterator[Value]:
        """The newest of the second before, once another begins."""
        if second != self._second and self._second >= 0:
            yield self._best
        self._second, self._best = second, best


class Scores:
    """The statistics of a lane's values: their score, and the share of each label."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.score = Detector(SCORE_FLOOR, limits)
        self.labels: dict[str, Detector] = {OTHERS: Detector(SHARE_FLOOR, limits)}
        self.histogram = DecayedHistogram()
        self.learnt = DecayedHistogram()
        self.count = 0

    def add(self, value: Value) -> list[tuple[str, str]]:
        """(statistic, what begins) of each that does."""
        self.count += 1
        self.histogram.add(value.score)
        learning = self.score.state == "learning"
        if learning:
            self.learnt.counts[:] = self.histogram.counts
        self._add_label(value.label)
        changes = [("score", self.score.add(value.score))]
        known = value.label if value.label in self.labels else OTHERS
        for label, share in self.labels.items():
            changes.append((f"share of {label}", share.add(float(label == known))))
        return [(name, change) for name, change in changes if change]

    def _add_label(self, label: str) -> None:
        """New ones in the first half of learning: a label that comes later is one of the others, and a change."""
        early = 2 * self.score.reference.count < self.limits.learn and self.score.state == "learning"
        if label not in self.labels and early and len(self.labels) <= MAX_LABELS:
            self.labels[label] = Detector(SHARE_FLOOR, self.limits, zeros=self.score.reference.count)

    def statistics(self) -> dict[str, Detector]:
        return {"score": self.score, **{f"share of {label}": share for label, share in self.labels.items()}}

    def saved(self) -> dict[str, Any]:
        labels = {label: share.saved() for label, share in self.labels.items()}
        histograms = [self.histogram.counts, self.learnt.counts]
        return {"score": self.score.saved(), "labels": labels, "histograms": histograms, "count": self.count}

    def restore(self, saved: dict[str, Any]) -> None:
        """Raises LookupError, TypeError, ValueError."""
        self.score.restore(saved["score"])
        for label, content in list(saved["labels"].items())[: MAX_LABELS + 1]:
            share = self.labels[str(label)] = Detector(SHARE_FLOOR, self.limits)
            share.restore(content)
        now, learnt = saved["histograms"]
        self.histogram, self.learnt = DecayedHistogram(now), DecayedHistogram(learnt)
        self.count = int(saved["count"])
