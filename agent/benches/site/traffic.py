"""Days of real load, an hour's count each, and how they are played: faster, as arrivals at random moments."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from agent.benches.recordings import SHARED
from agent.data import Array

TRACE = "load-traffic-volume/Metro_Interstate_Traffic_Volume.csv.gz"
# Without the trace: one day made by hand, with a peak in the morning and a broader one in the afternoon.
SYNTHETIC = (9, 6, 5, 5, 12, 38, 72, 96, 84, 66, 60, 63, 66, 67, 74, 86, 98, 92, 66, 48, 40, 36, 26, 16)
HOURS = 24


class Day(NamedTuple):
    """hourly: float64 [24], counts from midnight on. name: its date, or "synthetic"."""

    name: str
    hourly: Array


def days(data: Path = SHARED) -> list[Day]:
    """Whole weekdays of the trace, oldest first; where it is not there the synthetic day alone."""
    path = data / TRACE
    if not path.is_file():
        return [Day("synthetic", np.array(SYNTHETIC, np.float64))]
    hours: dict[str, dict[int, float]] = {}
    with gzip.open(path, "rt", newline="") as file:
        for row in csv.DictReader(file):
            date, _, clock = row["date_time"].partition(" ")
            hours.setdefault(date, {})[int(clock[:2])] = float(row["traffic_volume"])
    return list(_whole_weekdays(hours))


def _whole_weekdays(hours: dict[str, dict[int, float]]) -> Iterator[Day]:
    """Holidays, and days on which the counter stood, have no morning peak: 7 o'clock below half of the maximum."""
    for date, counts in hours.items():
        if len(counts) == HOURS and np.is_busday(date):
            hourly = np.array([counts[hour] for hour in range(HOURS)])
            if hourly[7] > hourly.max() / 2:
                yield Day(date, hourly)


def rate(day: Day, hour_s: float, peak_per_s: float, first: float = 0.0, last: float = HOURS - 1.0) -> Array:
    """Arrivals expected in each second of these hours, played in hour_s seconds each; the day's peak is peak_per_s."""
    at = np.arange(int((last - first) * hour_s)) / hour_s + first
    curve: Array = np.interp(at, np.arange(HOURS), day.hourly) * (peak_per_s / day.hourly.max())
    return curve
