"""The load of a box a few seconds ahead, so that it can hand over work before it is busy."""

from __future__ import annotations

from math import inf, isfinite

AHEAD_S, STEP_S = 10, 1.0
# Chosen on other days of the traffic trace than those on which `reflexd bench site --only forecast` measures.
LEVEL_GAIN, TREND_GAIN, DAMPING = 0.1, 0.1, 0.98


class DampedHolt:
    """Level and trend of values at equal steps, the trend fading with the distance.

    Holt 1957, damped by Gardner and McKenzie 1985 ("Forecasting trends in time series", Management Science 31):
    a trend of now says less the further one looks, and an undamped one overshoots at the end of each rise.
    """

    def __init__(
        self, level_gain: float = LEVEL_GAIN, trend_gain: float = TREND_GAIN, damping: float = DAMPING
    ) -> None:
        """Gains: weight of the newest value, 0..1. damping: of the trend in each step, 0..1."""
        self.level_gain, self.trend_gain, self.damping = level_gain, trend_gain, damping
        self.level: float | None = None  # before the first value
        self.trend = 0.0

    def observe(self, value: float) -> None:
        """The next value, a step after the one before; one that is no number is left out."""
        if not isfinite(value):
            return
        if self.level is None:
            self.level = value
            return
        expected = self.level + self.damping * self.trend
        level = expected + self.level_gain * (value - expected)
        self.trend = self.trend_gain * (level - self.level) + (1.0 - self.trend_gain) * self.damping * self.trend
        self.level = level

    def ahead(self, steps: int) -> float:
        """The value expected so many steps later, at least 0: a load. Before the first value 0."""
        if self.level is None:
            return 0.0
        weight = sum(self.damping**step for step in range(1, steps + 1))
        return max(0.0, self.level + weight * self.trend)


class BusyAhead:
    """How busy a box is now, or AHEAD_S seconds ahead where that is more: so it hands work over before it is busy.

    Forecast is the work of the box's own lanes wherever it is done: handing over would else look like a falling load.
    """

    def __init__(self) -> None:
        self._own = DampedHolt()
        self._values: list[float] = []  # of this step
        self._next = -inf

    def __call__(self, busy: float, moved: float, now: float) -> float:
        """0..1. busy: share of the cores; moved: share that the work handed over would take here. now: s, monotonic.

        Called at any rate; a step is STEP_S.
        """
        self._values.append(busy + moved)
        if now >= self._next:
            self._own.observe(sum(self._values) / len(self._values))
            self._values.clear()
            self._next = now + STEP_S if now - self._next > STEP_S else self._next + STEP_S
        kept = busy / (busy + moved) if moved else 1.0  # share of the work that stays here, then as now
        return max(busy, min(1.0, kept * self._own.ahead(AHEAD_S)))
