"""Readings at a lower rate than they come, behind a filter that keeps what is too fast from folding into them.

The filter is causal: a low-pass of least phase, made from a Kaiser-windowed sinc by its real cepstrum (Oppenheim and
Schafer, "Discrete-Time Signal Processing", chapter 13). In shares of the lower rate: it passes up to 0.3 within 0.1 dB
and suppresses by 48 dB or more from 0.5 on, where folding begins. It delays slow changes by 1.8 of the lower rate's
periods and the fastest that pass by 3.3 (18 and 33 ms at 100 Hz); a symmetric filter of this length would take 7.3.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

import numpy as np

from agent.data import Array

PASS, STOP = 0.3, 0.5  # edges, in shares of the lower rate
ATTENUATION_DB = 50.0
FINE = 256  # values of the kernel in a period of the lower rate; between them a straight line is good to 100 dB
DELAY = 1.8  # periods of the lower rate
MAX_RATIO = 1000
MAX_RATE_ERROR = 0.02  # share: clocks of two devices differ by less, two settings by more
MAX_WEIGHTS = 1 << 19  # 4 MB
MAX_PHASES = 256  # then a ratio is off by less than 0.1 %


def rate_mistake(wanted_hz: float, source_hz: float, model: str) -> str:
    """Why a source cannot serve a model at this rate; empty where it can. wanted_hz: 0: any."""
    if not wanted_hz or abs(source_hz - wanted_hz) <= MAX_RATE_ERROR * wanted_hz:
        return ""
    if not source_hz:
        return f"model {model} wants {wanted_hz:g} readings a second, and the source's rate is not known: set rate_hz"
    if source_hz < wanted_hz:
        return (
            f"model {model} wants {wanted_hz:g} readings a second, the source gives {source_hz:g}: set its rate_hz to"
            f" {wanted_hz:g} or more"
        )
    if source_hz > MAX_RATIO * wanted_hz:
        return (
            f"model {model} wants {wanted_hz:g} readings a second, the source gives {source_hz:g}: set its rate_hz to"
            f" {MAX_RATIO * wanted_hz:g} or less"
        )
    return ""


def make_decimator(wanted_hz: float, source_hz: float, channels: int) -> Decimator | None:
    """None where readings are used as they come: at the wanted rate, or where one of the rates is not known (0)."""
    if not wanted_hz or source_hz <= wanted_hz * (1 + MAX_RATE_ERROR):
        return None
    return Decimator(source_hz / wanted_hz, channels)


class Decimator:
    """One reading for every `ratio` of them, 1 < ratio <= MAX_RATIO; the first once the filter's memory is full."""

    def __init__(self, ratio: float, channels: int) -> None:
        self.taps = int(np.ceil(len(kernel()) / FINE * ratio)) + 1
        most = max(1, min(MAX_PHASES, MAX_WEIGHTS // self.taps))
        self.ratio = Fraction(ratio).limit_denominator(most)
        self.weights = _weights(self.ratio, self.taps)
        # Bit-exact on every machine, so that a replay is: float64, and sums in the order of the rows.
        self.rows = np.zeros((8 * self.taps, channels))
        self.products = np.zeros((self.taps, channels))
        self.sum = np.zeros(channels)
        self.reset()

    def reset(self) -> None:
        self.end = self.taps  # of the rows
        self.phase = 0  # of the next output: how far behind its newest reading it lies, in 1 / denominator
        self.wait = self.taps  # readings until the next output

    def __call__(self, readings: Array) -> list[list[float]]:
        """float32 [k, channels] to the readings that are due after them."""
        due: list[list[float]] = []
        at = 0
        while len(readings) - at >= self.wait:
            self._append(readings[at : at + self.wait])
            at += self.wait
            due.append(self._output())
        if at < len(readings):
            self.wait -= len(readings) - at
            self._append(readings[at:])
        return due

    def _append(self, readings: Array) -> None:
        """At most `taps` of them."""
        if self.end + len(readings) > len(self.rows):
            self.rows[: self.taps] = self.rows[self.end - self.taps : self.end]
            self.end = self.taps
        self.rows[self.end : self.end + len(readings)] = readings
        self.end += len(readings)

    def _output(self) -> list[float]:
        np.multiply(self.rows[self.end - self.taps : self.end], self.weights[self.phase], out=self.products)
        np.add.reduce(self.products, axis=0, out=self.sum)
        self.wait, self.phase = divmod(self.phase + self.ratio.numerator, self.ratio.denominator)
        values: list[float] = self.sum.tolist()
        return values


def decimated(rows: Array, wanted_hz: float, source_hz: float) -> tuple[Array, Array]:
    """A whole recording as a lane has it: float32 [m, channels], and int [m], the newest row behind each."""
    decimator = make_decimator(wanted_hz, source_hz, rows.shape[1])
    if decimator is None:
        return rows, np.arange(len(rows))
    due = np.array(decimator(rows), np.float32).reshape(-1, rows.shape[1])
    numbers = np.arange(len(due)) * decimator.ratio.numerator // decimator.ratio.denominator
    return due, decimator.taps - 1 + numbers


def _weights(ratio: Fraction, taps: int) -> Array:
    """[phases, taps, 1]: of the rows, oldest first, for an output so far behind the newest of them. Their sum is 1."""
    behind = np.arange(ratio.denominator)[:, None] / ratio.denominator + np.arange(taps - 1, -1, -1)
    weights = np.interp(behind / float(ratio) * FINE, np.arange(len(kernel())), kernel(), right=0.0)
    normal: Array = (weights / weights.sum(axis=1, keepdims=True))[:, :, None]
    return normal


@lru_cache(1)
def kernel() -> Array:
    """Impulse response from the moment of the impulse on, FINE values in a period of the lower rate."""
    # Length and shape for the attenuation and the transition: Kaiser 1974
    length = round((ATTENUATION_DB - 7.95) / (14.36 * (STOP - PASS)) * FINE)
    beta = 0.1102 * (ATTENUATION_DB - 8.7)
    at = (np.arange(length) - (length - 1) / 2) / FINE
    symmetric = np.sinc((PASS + STOP) * at) * np.kaiser(length, beta)
    size = 1 << (16 * length).bit_length()
    response = np.abs(np.fft.fft(symmetric, size))
    # The logarithm needs a floor: the zeros of the stop band are not worth more.
    cepstrum = np.fft.ifft(np.log(np.maximum(response, 1e-6 * response.max()))).real
    folded = np.concatenate([cepstrum[:1], 2 * cepstrum[1 : size // 2], cepstrum[size // 2 :][:1]])
    causal: Array = np.fft.ifft(np.exp(np.fft.fft(folded, size))).real[:length]
    return causal
