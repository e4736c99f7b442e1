"""Which scores a lane's model gives lately: a histogram that forgets, beside the one that was learnt."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

BINS = 20  # of scores 0..1
HALF_LIFE = 500.0  # values after which one counts half
FORGET = 0.5 ** (1 / HALF_LIFE)
LEAST = 1e-3  # share of a bin, for the logarithm of an empty one


class DecayedHistogram:
    """Counts of scores, each multiplied by FORGET at every new one: an exponentially weighted histogram."""

    def __init__(self, counts: Sequence[float] = ()) -> None:
        self.counts = [float(count) for count in counts] if len(counts) == BINS else [0.0] * BINS

    def add(self, score: float) -> None:
        self.counts = [count * FORGET for count in self.counts]
        self.counts[min(max(int(score * BINS), 0), BINS - 1)] += 1.0

    @property
    def shares(self) -> list[float]:
        total = sum(self.counts)
        return [count / total if total else 0.0 for count in self.counts]


def stability_index(now: Sequence[float], learnt: Sequence[float]) -> float:
    """How far two histograms of shares are apart: the symmetric divergence of Kullback and Leibler.

    sum((p - q) ln(p / q)), "On information and sufficiency", Annals of Mathematical Statistics 22 (1951);
    known as the population stability index. A figure for people: no alarm depends on it, as it detects a change of
    the mean several times later than Page-Hinkley does.
    """
    pairs = [(max(p, LEAST), max(q, LEAST)) for p, q in zip(now, learnt)]
    return sum((p - q) * log(p / q) for p, q in pairs)
