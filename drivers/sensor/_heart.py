"""The simulated heart: beats as sums of bells over the cycle, and what stands in their place in trouble."""

from __future__ import annotations

import random
from collections.abc import Mapping
from math import cos, exp, pi, sin, sqrt, tau

# Where in the cycle each wave is (rad, R at 0), how wide, and its height as a share of R's, of P Q R S T:
# McSharry, Clifford, Tarassenko, Smith, IEEE Trans. Biomed. Eng. 50(3), 2003, table I; height = a b^2 of its equation 1.
WAVES = ((-pi / 3, 0.25, 0.25), (-pi / 12, 0.1, -0.167), (0.0, 0.1, 1.0), (pi / 12, 0.1, -0.25), (pi / 2, 0.4, 0.4))
TYPICAL = {"rate": 120.0, "flat_line": 0.01, "fibrillation": 0.5, "lead_off": 5.0}  # bpm, mV noise, mV, mV
BREATH_HZ, DRIFT_MV, SWING = 0.25, 0.06, 0.03  # breath moves the baseline, and the rate by 3 % (sinus arrhythmia)
CATCH_UP_S = 1.5  # a rate changes within a few beats
CYCLE_BPM = (20.0, 250.0)
FIBRILLATION_HZ, BANDWIDTH_HZ = 5.0, 0.8  # fibrillation has its power in a narrow band that wanders between 3 and 7 Hz
WANDER_HZ, WANDER_S = 1.0, 3.0


class Heart:
    """A tick at a time; kind and amount of the trouble come from outside."""

    def __init__(self, seed: int, rate_hz: float, bpm: float, r_mv: float) -> None:
        self.random = random.Random(seed)
        self.dt = 1.0 / rate_hz
        self.usual = self.bpm = bpm
        self.r_mv = r_mv
        self.phase = -pi / 2
        self.time = 0.0
        self.variation = 0.0
        self.wild = [0.0, 0.0]
        self.centre = FIBRILLATION_HZ

    def step(self, on: Mapping[str, float]) -> float:
        """The next sample in mV, without noise of the amplifier."""
        self.time += self.dt
        if "lead_off" in on:
            return on["lead_off"] or TYPICAL["lead_off"]
        drift = DRIFT_MV * sin(tau * BREATH_HZ * self.time)
        if "flat_line" in on:
            return drift + (on["flat_line"] or TYPICAL["flat_line"]) * self.random.gauss(0.0, 1.0)
        if "fibrillation" in on:
            return drift + (on["fibrillation"] or TYPICAL["fibrillation"]) * self._fibrillate()
        return drift + self.r_mv * self.beat(on.get("rate", self.usual) or TYPICAL["rate"])

    def beat(self, bpm: float) -> float:
        """The cycle moves on; height in shares of the R wave."""
        self.bpm += (bpm - self.bpm) * self.dt / CATCH_UP_S
        now = self.bpm * (1.0 + self.variation + SWING * sin(tau * BREATH_HZ * self.time))
        now = min(max(now, CYCLE_BPM[0]), CYCLE_BPM[1])
        self.phase += tau * now / 60.0 * self.dt
        if self.phase > pi:
            self.phase -= tau
            self.variation = self.random.gauss(0.0, 0.01)
        # A fast heart's waves take more of the cycle: widths and Q, S grow with the root of the rate, P and T go outwards with
        # its fourth root (ecgsyn.m, which the paper published with it).
        wider = sqrt(now / 60.0)
        return sum(
            height
            * exp(
                -0.5 * (_apart(self.phase - where * (sqrt(wider) if abs(where) > 1 else wider)) / (width * wider)) ** 2
            )
            for where, width, height in WAVES
        )

    def _fibrillate(self) -> float:
        """Noise through a resonator whose frequency wanders; one sigma is 1."""
        pull = self.dt / WANDER_S
        self.centre += (FIBRILLATION_HZ - self.centre) * pull + WANDER_HZ * sqrt(2 * pull) * self.random.gauss(0.0, 1.0)
        self.centre = min(max(self.centre, 3.0), 7.0)
        radius, angle = exp(-pi * BANDWIDTH_HZ * self.dt), tau * self.centre * self.dt
        first, second = 2 * radius * cos(angle), -radius * radius
        # Variance of an autoregression of order two with noise of variance 1 (Box and Jenkins 1970).
        sigma = sqrt((1 - second) / ((1 + second) * ((1 - second) ** 2 - first**2)))
        new = first * self.wild[0] + second * self.wild[1] + self.random.gauss(0.0, 1.0) / sigma
        self.wild = [new, self.wild[0]]
        return new


def _apart(angle: float) -> float:
    """The same angle within half a turn either way."""
    return (angle + pi) % tau - pi
