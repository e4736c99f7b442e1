"""What of a sensor's readings and of sound changes when a sensor is exchanged, ages or comes loose."""

from __future__ import annotations

from collections.abc import Sequence
from math import log, log10

import numpy as np

from agent.data import Array
from agent.drift.detector import Floor

SHORTEST, LONGEST = 32, 256  # readings in a window
MAX_CHANNELS = 32  # each with figures of its own; more are summarised as one
ALL = "all channels"
FLOORS = {
    "level": Floor(1e-6, 0.01),
    "spread": Floor(0.05),  # of a logarithm: 5 %
    "spectrum": Floor(0.02),
    "loudness": Floor(1.0),  # dB
    "peaks": Floor(1.0),  # dB
    "pitch": Floor(0.05),  # of a logarithm
}
STILL = 1e-9  # of the level: less is rounding
QUIET = 1e-5  # of full scale: below the noise of any microphone


def window_length(rate_hz: float) -> int:
    """Readings that are summed up together: a second of them, within bounds."""
    return min(max(int(rate_hz), SHORTEST), LONGEST)


def figures(rows: Array, channels: Sequence[str]) -> dict[str, float]:
    """Of each channel "NAME level", "NAME spread", "NAME spectrum", of a window of readings without NaN.

    level: the mean. spread: ln of the standard deviation; another scale or unit moves it by ln of the factor.
    spectrum: the spectral centroid, sum(f P(f)) / sum(P(f)), with the power P of a Hann window (Grey and Gordon,
    "Perceptual effects of spectral modifications on musical timbres", JASA 63, 1978), as a share of half the rate; a
    channel that does not move has none.

    rows: float32 [n, channels].
    """
    values = rows.astype(np.float64)
    if values.shape[1] > MAX_CHANNELS:
        values, channels = values.mean(axis=1, keepdims=True), [ALL]
    means, deviations = values.mean(axis=0), values.std(axis=0)
    centroids = _centroids(values - means)
    of_channels: dict[str, float] = {}
    for name, mean, deviation, centroid in zip(channels, means.tolist(), deviations.tolist(), centroids.tolist()):
        least = STILL * max(1.0, abs(mean))
        of_channels[f"{name} level"] = mean
        of_channels[f"{name} spread"] = log(max(deviation, least))
        if deviation > least:
            of_channels[f"{name} spectrum"] = centroid
    return of_channels


def _centroids(centred: Array) -> Array:
    """float64 [channels]; NaN where there is no power."""
    power = np.abs(np.fft.rfft(centred * np.hanning(len(centred))[:, None], axis=0)) ** 2
    shares = np.linspace(0.0, 1.0, len(power))[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        centroids: Array = (shares * power).sum(axis=0) / power.sum(axis=0)
    return centroids


def sound_figures(levels: Array) -> dict[str, float]:
    """loudness: dB of full scale. peaks: dB above it. pitch: ln of the mean frequency, Hz.

    levels: float32 [n, 3], root mean square, peak and frequency of each sample of a second.
    """
    rms = float(np.sqrt(np.mean(np.square(levels[:, 0]))))
    peak = float(levels[:, 1].max())
    values = {"loudness": 20 * log10(rms + QUIET), "peaks": 20 * log10((peak + QUIET) / (rms + QUIET))}
    if rms > QUIET and levels[:, 2].max() > 0:
        values["pitch"] = log(float(np.average(levels[:, 2], weights=levels[:, 0] + QUIET)) + 1.0)
    return values


def floor_of(name: str) -> Floor:
    """name: of a figure, its last word is the kind."""
    return FLOORS[name.rpartition(" ")[2]]
