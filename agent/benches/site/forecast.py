"""How far off a forecast of a box's load is 10 s ahead, on a traffic trace; and late frames in a morning peak."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from agent.benches.site import morning_peak, traffic
from agent.benches.site.traffic import Day
from agent.data import Array
from agent.forecast import AHEAD_S, DampedHolt

KEYS = ("forecast_mae", "morning_peak")
BUSY_AT_PEAK = 90.0  # percent
ROWS = [(hour_s, peak) for hour_s in (60.0, 150.0, 600.0) for peak in (50.0, 200.0)]  # a day in 23 min, 1 h, 4 h
SETTLED_S = 60  # before that nothing is counted
EWMA_GAIN = 0.1


def measure(short: bool) -> dict[str, Any]:
    """Mean absolute errors in percent of the box's time; of each row all days together."""
    known = traffic.days()
    # The constants of forecast.py were chosen on the first half of the trace.
    chosen = known[len(known) // 2 :][:: max(1, len(known) // (6 if short else 40))]
    rows = [{"hour_s": hour_s, "peak_per_s": peak, **_errors(chosen, hour_s, peak)} for hour_s, peak in ROWS]
    played = {"days": len(chosen), "trace": chosen[0].name != "synthetic", "rows": rows}
    return {"forecast_mae": played, "morning_peak": morning_peak.measure(chosen[: 2 if short else 10])}


def _errors(days: list[Day], hour_s: float, peak: float) -> dict[str, float]:
    played = [busy(day, hour_s, peak, seed) for seed, day in enumerate(days)]
    return {
        name: round(float(np.mean(np.concatenate([_of(forecast, load) for load in played]))), 3)
        for name, forecast in FORECASTS.items()
    }


def busy(day: Day, hour_s: float, peak: float, seed: int) -> Array:
    """Percent of each second that the box works: arrivals at random, each for the same time."""
    arrivals = np.random.default_rng(seed).poisson(traffic.rate(day, hour_s, peak))
    return np.asarray(arrivals * (BUSY_AT_PEAK / peak))


def _of(forecast: Callable[[Array], Array], load: Array) -> Array:
    """Absolute errors: what was said at t of t + AHEAD_S."""
    said = forecast(load)
    errors: Array = np.abs(said[SETTLED_S:-AHEAD_S] - load[SETTLED_S + AHEAD_S :])
    return errors


def damped_holt(load: Array) -> Array:
    model, said = DampedHolt(), np.empty(len(load))
    for second, value in enumerate(load):
        model.observe(float(value))
        said[second] = model.ahead(AHEAD_S)
    return said


def _smoothed(load: Array) -> Array:
    """A mean that forgets: without the trend, to show what the trend adds."""
    said, level = np.empty(len(load)), float(load[0])
    for second, value in enumerate(load):
        level += EWMA_GAIN * (float(value) - level)
        said[second] = level
    return said


FORECASTS: dict[str, Callable[[Array], Array]] = {
    "same_as_now": lambda load: load,
    "smoothed": _smoothed,
    "damped_holt": damped_holt,
}


def text(result: dict[str, Any]) -> str:
    table, peak = result["forecast_mae"], result["morning_peak"]
    origin = f"{table['days']} weekdays of the traffic trace" if table["trace"] else "one synthetic day"
    lines = [
        f"busy share {AHEAD_S} s ahead, mean absolute error in percent, {origin}",
        f"{'hour in':>8}{'peak/s':>8}{'same as now':>13}{'smoothed':>10}{'damped Holt':>13}",
    ]
    for row in table["rows"]:
        errors = f"{row['same_as_now']:>13.2f}{row['smoothed']:>10.2f}{row['damped_holt']:>13.2f}"
        lines.append(f"{row['hour_s']:>6.0f} s{row['peak_per_s']:>8.0f}{errors}")
    return "\n".join([*lines, "", morning_peak.text(peak)])
