"""When the stop rule of the robot scene stops the arm in simulated runs, and which stops are false."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from agent.data import Array
from drivers.sensor._arm import Run
from models.train.arm_deviation.windows import LENGTH, windows

THRESHOLD, HITS, OF = 0.7, 2, 3  # a fault with this score in 2 of the last 3 windows stops the arm
MAX_FAULT = 400  # ticks after a crossing in which a stop still belongs to it: no fault lasts longer


class Tally(NamedTuple):
    """Stops in runs. crossing_ms: from passing 5 degrees to the stop, for every crossing; negative: before, NaN: never.

    onset_ms: the same from the first reading beyond any limit of angle, force or speed.
    """

    hours: float
    false_stops: int
    crossing_ms: Array
    onset_ms: Array


def stop_ticks(scores: Array) -> Array:
    """Array bool [n]: the rule is met at this window. scores: float [n, labels]; the first label is normal."""
    hits = np.convolve(scores[:, 1:].max(axis=1) >= THRESHOLD, np.ones(OF))[: len(scores)]
    return np.asarray(hits >= HITS)


def _events(labels: Array) -> list[tuple[int, int]]:
    """[first, last) ticks of each unhealthy period, with its UNCLEAR readings. Pauses under 100 ms do not split it."""
    rows = np.flatnonzero(labels != 0)
    if not len(rows):
        return []
    parts = np.split(rows, np.flatnonzero(np.diff(rows) > 100) + 1)
    return [(int(part[0]), int(part[-1]) + 1) for part in parts]


def _lateness(stops: Array, tick: int, since: int) -> float:
    """Delay in ms (ticks) from `tick` to the first stop in since..tick + MAX_FAULT; NaN for none."""
    ticks = np.flatnonzero(stops[since : tick + MAX_FAULT])
    return float(ticks[0] + since - tick) if len(ticks) else np.nan


def _tally_run(run: Run, score: Callable[[Array], Array]) -> Tally:
    """score: windows [n, LENGTH, 12] to probabilities [n, labels]."""
    ends = np.arange(LENGTH - 1, len(run.labels))
    stops = np.zeros(len(run.labels), bool)
    stops[ends] = stop_ticks(score(windows(run.readings, ends)))
    crossing_ms, onset_ms, justified = [], [], np.zeros(len(stops), bool)
    for first, last in _events(run.labels):
        justified[max(0, first - 50) : last + LENGTH] = True
        crossed = run.crossings[(run.crossings >= first) & (run.crossings < last)]
        crossing_ms += [_lateness(stops, int(tick), max(0, first - 50)) for tick in crossed[:1]]
        bad = np.flatnonzero(run.labels[first:last] > 0)
        onset_ms += [_lateness(stops, int(tick) + first, max(0, first - 50)) for tick in bad[:1]]
    raised = stops & ~np.roll(stops, 1) & ~justified
    return Tally(len(stops) / 3.6e6, int(raised.sum()), np.array(crossing_ms), np.array(onset_ms))


def tally(runs: Iterable[Run], score: Callable[[Array], Array]) -> Tally:
    return merge(_tally_run(run, score) for run in runs)


def merge(tallies: Iterable[Tally]) -> Tally:
    hours, false_stops, crossing_ms, onset_ms = zip(*tallies)
    return Tally(sum(hours), sum(false_stops), np.concatenate(crossing_ms), np.concatenate(onset_ms))


def in_time(delays_ms: Array, limit_ms: float = 10.0) -> int:
    """Number of stops with at most this delay; NaN (no stop) is not in time."""
    return int((delays_ms <= limit_ms).sum())
