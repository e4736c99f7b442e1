"""Sound at one rate into sound at another, once, before a recording is played."""

from __future__ import annotations

from math import gcd

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from agent.data import Array

CROSSINGS = 24  # zero crossings of the sinc on each side
BETA = 9.0  # of the Kaiser window: stop band below -90 dB
PASS = 0.9  # of the lower Nyquist frequency; the transition band ends where that begins to fold


def resample(values: Array, before_hz: int, after_hz: int) -> Array:
    """float32 [n] at before_hz as float32 [ceil(n * after_hz / before_hz)] at after_hz, without delay.

    Band-limited interpolation with a Kaiser-windowed sinc, one set of taps for each phase between two input values
    (J. O. Smith, "Digital Audio Resampling Home Page", CCRMA).
    """
    if before_hz == after_hz or not len(values):
        return values
    shared = gcd(before_hz, after_hz)
    up, down = after_hz // shared, before_hz // shared
    cutoff = PASS * min(1.0, after_hz / before_hz)
    half = int(np.ceil(CROSSINGS / cutoff))
    count = -(-len(values) * up // down)
    # what lies before the beginning and after the end is silence
    windows: Array = sliding_window_view(np.pad(values, (half - 1, half + 1)), 2 * half)
    out = np.empty(count, np.float32)
    offsets = np.arange(-half + 1, half + 1)
    for phase in range(min(up, count)):
        first, fraction = divmod(phase * down, up)
        mine = out[phase::up]
        # every up-th output lies `down` inputs further on, at the same phase
        mine[:] = windows[first :: down][: len(mine)] @ taps(offsets - fraction / up, cutoff, half)
    return out


def taps(at: Array, cutoff: float, half: int) -> Array:
    """float32 [2 * half]: weights of the inputs that lie `at` input steps from the output; their sum is 1."""
    window = np.i0(BETA * np.sqrt(np.clip(1 - (at / half) ** 2, 0, None)))
    weights: Array = np.sinc(cutoff * at) * window
    weights /= weights.sum()
    return weights.astype(np.float32)
