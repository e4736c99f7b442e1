"""Resamples a recording to another rate, once, before it is played."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from agent.data import Array

CROSSINGS = 24  # zero crossings of the sinc on each side
BETA = 9.0  # of the Kaiser window: stop band below -90 dB
PASS = 0.9  # of the lower Nyquist frequency; the transition band ends where that begins to fold
MAX_DENOMINATOR = 200_000  # denominator of the ratio of two rates; rates in whole Hz need 192,000


def resample(values: Array, before_hz: float, after_hz: float, *, silence: bool = False) -> Array:
    """float32 [n, ...] at before_hz as float32 [m, ...] at after_hz, without delay. The first value stays the first.

    Band-limited interpolation with a Kaiser-windowed sinc, one set of taps for each phase between two input values
    (J. O. Smith, "Digital Audio Resampling Home Page", CCRMA).
    silence: zeros precede and follow the values, so the result lasts as long as the input; else the values there are
    unknown, and the result ends at the last input value or before.
    """
    if before_hz == after_hz or not len(values):
        return values
    ratio = (Fraction(after_hz) / Fraction(before_hz)).limit_denominator(MAX_DENOMINATOR)
    up, down = ratio.numerator, ratio.denominator
    cutoff = PASS * min(1.0, after_hz / before_hz)
    half = int(np.ceil(CROSSINGS / cutoff))
    around = ((half - 1, half + 1), *((0, 0) for _ in values.shape[1:]))
    windows: Array = sliding_window_view(np.pad(values, around, "constant" if silence else "edge"), 2 * half, axis=0)
    count = -(-len(values) * up // down) if silence else 1 + (len(values) - 1) * up // down
    out = np.empty((count, *values.shape[1:]), np.float32)
    offsets = np.arange(-half + 1, half + 1)
    for phase in range(min(up, count)):
        first, fraction = divmod(phase * down, up)
        outputs = out[phase::up]
        # every up-th output lies `down` inputs further on, at the same phase
        outputs[:] = windows[first::down][: len(outputs)] @ _taps(offsets - fraction / up, cutoff, half)
    return out


def _taps(at: Array, cutoff: float, half: int) -> Array:
    """float32 [2 * half]: weights of the inputs that lie `at` input steps from the output; their sum is 1."""
    window = np.i0(BETA * np.sqrt(np.clip(1 - (at / half) ** 2, 0, None)))
    weights: Array = np.sinc(cutoff * at) * window
    weights /= weights.sum()
    return weights.astype(np.float32)
