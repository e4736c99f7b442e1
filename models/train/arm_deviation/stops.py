"""Would the arm have been stopped, when, and rightly: the rule of the robot scene played over simulated runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from agent.data import Array
from drivers.sensor._arm import Run
from models.train.arm_deviation.windows import LENGTH, windows

THRESHOLD, HITS, OF = 0.7, 2, 3  # a fault's score so high in 2 of the last 3 windows stops the arm
EARLY = 400  # ticks before a crossing in which a stop still belongs to it: no fault lasts longer


class Tally(NamedTuple):
    """late: ms from passing 5 degrees to the stop, of every crossing; negative is before, NaN never.

    onset: the same from the first reading that is stop-worthy by angle, force or speed.
    """

    hours: float
    false_stops: int
    late: Array
    onset: Array


def stop_ticks(scores: Array) -> Array:
    """bool [n]: the rule holds at this window. scores: float [n, labels], the first one normal."""
    hot = np.convolve(scores[:, 1:].max(axis=1) >= THRESHOLD, np.ones(OF))[: len(scores)]
    return np.asarray(hot >= HITS)


def _events(labels: Array) -> list[tuple[int, int]]:
    """[first, last) ticks of each time the arm was not healthy, from UNCLEAR on. Pauses under 100 ms do not part them."""
    rows = np.flatnonzero(labels != 0)
    if not len(rows):
        return []
    parts = np.split(rows, np.flatnonzero(np.diff(rows) > 100) + 1)
    return [(int(part[0]), int(part[-1]) + 1) for part in parts]


def _lateness(stops: Array, tick: int, since: int) -> float:
    """ms (ticks) from `tick` to the first stop that holds in since..tick + EARLY."""
    found = np.flatnonzero(stops[since : tick + EARLY])
    return float(found[0] + since - tick) if len(found) else np.nan


def _tally_run(run: Run, score: Callable[[Array], Array]) -> Tally:
    """score: windows [n, LENGTH, 12] to probabilities [n, labels]."""
    ends = np.arange(LENGTH - 1, len(run.labels))
    stops = np.zeros(len(run.labels), bool)
    stops[ends] = stop_ticks(score(windows(run.readings, ends)))
    late, onset, excused = [], [], np.zeros(len(stops), bool)
    for first, last in _events(run.labels):
        excused[max(0, first - 50) : last + LENGTH] = True
        crossed = run.crossings[(run.crossings >= first) & (run.crossings < last)]
        late += [_lateness(stops, int(tick), max(0, first - 50)) for tick in crossed[:1]]
        bad = np.flatnonzero(run.labels[first:last] > 0)
        onset += [_lateness(stops, int(tick) + first, max(0, first - 50)) for tick in bad[:1]]
    raised = stops & ~np.roll(stops, 1) & ~excused
    return Tally(len(stops) / 3.6e6, int(raised.sum()), np.array(late), np.array(onset))


def tally(runs: Iterable[Run], score: Callable[[Array], Array]) -> Tally:
    hours, false_stops, late, onset = zip(*(_tally_run(run, score) for run in runs))
    return Tally(sum(hours), sum(false_stops), np.concatenate(late), np.concatenate(onset))


def in_time(late: Array, ms: float = 10.0) -> int:
    """How many were stopped no later than so many ms; never is not in time."""
    return int((late <= ms).sum())
