"""A recording at another rate: windowed-sinc interpolation that keeps what both rates can hold."""

from __future__ import annotations

import numpy as np

from agent.data import Array

LOBES = 12  # zero crossings of the sinc on each side
CHUNK = 16_384  # rows at a time: a gather of 16 k x 35 samples is 4 MB


def resample(rows: Array, rate_hz: float, wanted_hz: float) -> Array:
    """float32 [n, channels] at rate_hz to float32 [m, channels] at wanted_hz; the first row stays the first.

    A sinc with its cut at the lower Nyquist frequency under a Hann window (Smith, Digital Audio Resampling, 2002). Ends are
    continued with their last value.
    """
    if rate_hz == wanted_hz:
        return rows
    cut = min(1.0, wanted_hz / rate_hz)
    half = int(np.ceil(LOBES / cut))
    padded = np.pad(rows, ((half, half + 1), (0, 0)), "edge")
    count = int((len(rows) - 1) * wanted_hz / rate_hz) + 1
    out = np.empty((count, rows.shape[1]), np.float32)
    around = np.arange(-half, half + 1)
    for first in range(0, count, CHUNK):
        place = np.arange(first, min(first + CHUNK, count)) * (rate_hz / wanted_hz)
        base = np.floor(place).astype(np.int64)
        away = around - (place - base)[:, None]
        weight = np.sinc(away * cut) * np.cos(np.clip(away / (half + 1), -1, 1) * (np.pi / 2)) ** 2
        weight /= weight.sum(axis=1, keepdims=True)
        near = padded[(base + half)[:, None] + around]
        out[first : first + len(place)] = np.einsum("nk,nkc->nc", weight, near)
    return out
