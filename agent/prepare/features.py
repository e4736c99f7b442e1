"""Spectra of sound as a model was trained on them: log-mel bands, and their cepstral coefficients (MFCC).

The recipe is that of tf.signal (https://www.tensorflow.org/api_docs/python/tf/signal): frames under a periodic Hann
window, magnitudes of their spectrum, triangles of equal width on the HTK mel scale, 1127 ln(1 + f / 700), without the
constant part, the natural logarithm, and for MFCC a DCT-II of it. Or with `mel: slaney` that of librosa
(https://librosa.org/doc/latest/generated/librosa.filters.mel.html): the scale of Slaney's Auditory Toolbox, triangles
that are straight in hertz, each of the area 1.
"""

from __future__ import annotations

import numpy as np

from agent.backends.base import Tensor
from agent.data import Array
from agent.packages.manifest import SoundFeatures, SoundInput
from agent.prepare.quantise import stored
from agent.prepare.sound import Sound

REAL = Tensor("", (), np.float32)


class FeatureSound(Sound):
    """A ring of sound as real values; its features are computed for each inference."""

    def __init__(self, sound: SoundInput, features: SoundFeatures, tensor: Tensor, rate_hz: float) -> None:
        """As Sound."""
        super().__init__(sound, REAL, rate_hz)
        self.newest = np.zeros(self.length, np.float32)
        self.spectra = Spectra(features, sound.rate_hz)
        self.tensor = tensor

    def _fill(self, view: Array) -> None:
        super()._fill(self.newest)
        view.reshape(-1)[:] = stored(self.spectra(self.newest), self.tensor).reshape(-1)


class Spectra:
    """Sound of any length to its features."""

    def __init__(self, features: SoundFeatures, rate_hz: float) -> None:
        self.features = features
        self.taper = hann(features.frame)
        matrix = slaney_matrix if features.mel == "slaney" else mel_matrix
        self.mel = matrix(features.fft_size // 2 + 1, rate_hz, features.bands, features.low_hz, features.high_hz)
        self.gain = np.float32(20.0 / features.power / np.log(10.0) if features.log == "db" else 1.0)
        self.cosines = dct_matrix(features.bands, features.coefficients) if features.coefficients else None

    def __call__(self, sound: Array) -> Array:
        """float32 [values] to float32 [frames, width]."""
        features = self.features
        if features.peak:
            highest = np.abs(sound).max()
            sound = sound / highest if highest else sound
        frames = np.lib.stride_tricks.sliding_window_view(sound, features.frame)[:: features.step]
        magnitudes = np.abs(np.fft.rfft(frames * self.taper, features.fft_size, axis=1)).astype(np.float32)
        if features.power == 2:
            magnitudes *= magnitudes
        bands: Array = np.log(magnitudes @ self.mel + np.float32(features.floor))
        if features.log == "db":
            bands *= self.gain
        return bands if self.cosines is None else bands @ self.cosines


def hann(size: int) -> Array:
    """Periodic Hann window, float32 [size]."""
    window: Array = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)).astype(np.float32)
    return window


def mel_matrix(bins: int, rate_hz: float, bands: int, low_hz: float, high_hz: float) -> Array:
    """Weights float32 [bins, bands] of a spectrum from 0 to half the rate; the first bin, the constant part, is 0."""
    mel = _mel(np.linspace(0.0, rate_hz / 2, bins))[:, None]
    edges = np.linspace(_mel(low_hz), _mel(high_hz), bands + 2)
    rising = (mel - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mel) / (edges[2:] - edges[1:-1])
    weights: Array = np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)
    weights[0] = 0.0
    return weights


def slaney_matrix(bins: int, rate_hz: float, bands: int, low_hz: float, high_hz: float) -> Array:
    """As `mel_matrix`, with Slaney's scale and triangles of the area 1: Auditory Toolbox, Interval Technical Report
    1998-010.
    """
    hz = np.linspace(0.0, rate_hz / 2, bins)[:, None]
    edges = _slaney_hz(np.linspace(_slaney_mel(low_hz), _slaney_mel(high_hz), bands + 2))
    rising = (hz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hz) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0.0, np.minimum(rising, falling)) * 2.0 / (edges[2:] - edges[:-2])
    return np.asarray(weights.astype(np.float32))


def dct_matrix(bands: int, coefficients: int) -> Array:
    """DCT-II of the bands, its first coefficients: float32 [bands, coefficients], scaled by sqrt(2 / bands)."""
    angles = np.pi / bands * np.outer(np.arange(bands) + 0.5, np.arange(coefficients))
    matrix: Array = (np.sqrt(2.0 / bands) * np.cos(angles)).astype(np.float32)
    return matrix


def _mel(hz: Array | float) -> Array:
    mel: Array = 1127.0 * np.log1p(np.asarray(hz) / 700.0)
    return mel


# 15 mel up to 1 kHz in equal steps; above, 27 mel are a factor of 6.4
STRAIGHT_HZ, STRAIGHT_MEL, STEP = 1000.0, 15.0, np.log(6.4) / 27.0


def _slaney_mel(hz: float) -> float:
    if hz < STRAIGHT_HZ:
        return hz * STRAIGHT_MEL / STRAIGHT_HZ
    return STRAIGHT_MEL + float(np.log(hz / STRAIGHT_HZ) / STEP)


def _slaney_hz(mel: Array) -> Array:
    above = STRAIGHT_HZ * np.exp(STEP * (np.maximum(mel, STRAIGHT_MEL) - STRAIGHT_MEL))
    return np.where(mel < STRAIGHT_MEL, mel * STRAIGHT_HZ / STRAIGHT_MEL, above)
