"""Has the mean of a statistic left its reference? Page-Hinkley, two-sided, against what was learnt and is fixed."""

from __future__ import annotations

from math import sqrt

ALLOWANCE = 0.5  # standard deviations that the mean may be off for ever: half of the smallest shift worth a report
CLIP = 4.0  # standard deviations: no single value counts for more, so that a flash of light is no drift


class Reference:
    """Mean and standard deviation of the values so far, in constant memory.

    Welford, "Note on a method for calculating corrected sums of squares and products", Technometrics 4 (1962):
    m_n = m_(n-1) + (x - m_(n-1)) / n, S_n = S_(n-1) + (x - m_(n-1)) (x - m_n), variance S_n / (n - 1).
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self.squares = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        off = value - self.mean
        self.mean += off / self.count
        self.squares += off * (value - self.mean)

    @property
    def deviation(self) -> float:
        return sqrt(self.squares / (self.count - 1)) if self.count > 1 else 0.0


class PageHinkley:
    """Sums of what lies above and below the reference beyond the allowance, in its standard deviations.

    Page, "Continuous inspection schemes", Biometrika 41 (1954); Hinkley, "Inference about the change-point from
    cumulative sum tests", Biometrika 58 (1971). With z_t = (x_t - mean) / deviation, clipped:
    up_t = max(0, up_(t-1) + z_t - allowance), down_t = max(0, down_(t-1) - z_t - allowance); a change is reported when
    either exceeds a threshold h. up_t is Page-Hinkley's m_t - min(m), written as a recursion. A shift by s deviations
    is reported after about h / (s - allowance) values, and after h / (CLIP - allowance) at the earliest.

    The mean is that of the reference and is not updated: a running mean follows a slow drift and hides it.
    """

    def __init__(self) -> None:
        self.up = self.down = 0.0

    def add(self, z: float) -> float:
        """The larger of the two sums."""
        z = min(max(z, -CLIP), CLIP)
        self.up = max(0.0, self.up + z - ALLOWANCE)
        self.down = max(0.0, self.down - z - ALLOWANCE)
        return self.largest

    @property
    def largest(self) -> float:
        return max(self.up, self.down)

    def reset(self) -> None:
        self.up = self.down = 0.0
