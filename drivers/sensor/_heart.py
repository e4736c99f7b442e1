"""The simulated heart: beats as sums of bell curves over the cycle, and the signals that replace them in a fault."""

from __future__ import annotations

import random
from collections.abc import Mapping
from math import cos, exp, pi, sin, sqrt, tau

# P Q R S T: position in the cycle (rad, R at 0), width, and height as a share of R's. McSharry, Clifford, Tarassenko,
# Smith, IEEE Trans. Biomed. Eng. 50(3), 2003, table I; height = a b^2 of its equation 1.
WAVES = ((-pi / 3, 0.25, 0.25), (-pi / 12, 0.1, -0.167), (0.0, 0.1, 1.0), (pi / 12, 0.1, -0.25), (pi / 2, 0.4, 0.4))
TYPICAL = {"rate": 120.0, "flat_line": 0.01, "fibrillation": 0.5, "lead_off": 5.0}  # bpm, mV noise, mV, mV
BREATH_HZ, DRIFT_MV, SWING = 0.25, 0.06, 0.03  # breathing shifts the baseline, and the rate by 3 % (sinus arrhythmia)
RATE_TIME_S = 1.5  # time constant of a rate change: a few beats
CYCLE_BPM = (20.0, 250.0)
FIBRILLATION_HZ, BANDWIDTH_HZ = 5.0, 0.8  # the power of fibrillation is in a narrow band that drifts between 3 and 7 Hz
DRIFT_HZ, DRIFT_S = 1.0, 3.0


class Heart:
    """One tick at a time; the caller gives kind and amount of the faults."""

    def __init__(self, seed: int, rate_hz: float, bpm: float, r_mv: float) -> None:
        self.random = random.Random(seed)
        self.dt = 1.0 / rate_hz
        self.normal_bpm = self.bpm = bpm
        self.r_mv = r_mv
        self.phase = -pi / 2
        self.time = 0.0
        self.variation = 0.0
        self.resonator = [0.0, 0.0]
        self.centre = FIBRILLATION_HZ

    def step(self, faults: Mapping[str, float]) -> float:
        """The next sample in mV, without noise of the amplifier."""
        self.time += self.dt
        if "lead_off" in faults:
            return faults["lead_off"] or TYPICAL["lead_off"]
        drift = DRIFT_MV * sin(tau * BREATH_HZ * self.time)
        if "flat_line" in faults:
            return drift + (faults["flat_line"] or TYPICAL["flat_line"]) * self.random.gauss(0.0, 1.0)
        if "fibrillation" in faults:
            return drift + (faults["fibrillation"] or TYPICAL["fibrillation"]) * self._fibrillate()
        return drift + self.r_mv * self._beat(faults.get("rate", self.normal_bpm) or TYPICAL["rate"])

    def _beat(self, bpm: float) -> float:
        """Advances the cycle by one tick; height as a share of the R wave."""
        self.bpm += (bpm - self.bpm) * self.dt / RATE_TIME_S
        now = self.bpm * (1.0 + self.variation + SWING * sin(tau * BREATH_HZ * self.time))
        now = min(max(now, CYCLE_BPM[0]), CYCLE_BPM[1])
        self.phase += tau * now / 60.0 * self.dt
        if self.phase > pi:
            self.phase -= tau
            self.variation = self.random.gauss(0.0, 0.01)
        return self._waves(sqrt(now / 60.0))

    def _waves(self, wider: float) -> float:
        """The sum of the waves at this phase.

        In a fast heart the waves cover more of the cycle: widths and Q, S grow with the root of the rate, P and T move
        outwards with its fourth root (ecgsyn.m, published with the paper).
        """
        height = 0.0
        for position, width, peak in WAVES:
            centre = position * (sqrt(wider) if abs(position) > 1 else wider)
            height += peak * exp(-0.5 * (_difference(self.phase - centre) / (width * wider)) ** 2)
        return height

    def _fibrillate(self) -> float:
        """Noise through a resonator whose frequency drifts; its standard deviation is 1."""
        pull = self.dt / DRIFT_S
        self.centre += (FIBRILLATION_HZ - self.centre) * pull + DRIFT_HZ * sqrt(2 * pull) * self.random.gauss(0.0, 1.0)
        self.centre = min(max(self.centre, 3.0), 7.0)
        radius, angle = exp(-pi * BANDWIDTH_HZ * self.dt), tau * self.centre * self.dt
        first, second = 2 * radius * cos(angle), -radius * radius
        # Variance of an autoregression of order two with noise of variance 1 (Box and Jenkins 1970).
        sigma = sqrt((1 - second) / ((1 + second) * ((1 - second) ** 2 - first**2)))
        new = first * self.resonator[0] + second * self.resonator[1] + self.random.gauss(0.0, 1.0) / sigma
        self.resonator = [new, self.resonator[0]]
        return new


def _difference(angle: float) -> float:
    """The angle wrapped to -pi..pi."""
    return (angle + pi) % tau - pi
