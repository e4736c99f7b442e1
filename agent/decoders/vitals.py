"""Beats, flat lines, lost contact and fibrillation in a window of ECG: one channel, in mV, newest last."""

from __future__ import annotations

from collections import deque
from functools import lru_cache

import numpy as np

from agent.data import Array

RATES_HZ = (125.0, 1000.0)
QRS_BAND_HZ, ECG_BAND_HZ = (8.0, 20.0), (1.0, 30.0)
QRS_S, BEAT_S, OFFSET = 0.097, 0.611, 0.08  # Elgendi 2013: the best durations and share
REFRACTORY_S = 0.2  # no heart muscle reacts sooner (Pan and Tompkins 1985)
MARGIN_S = 0.5  # this far from an end the moving averages and the filter are complete
MIN_BEAT_MV = 0.15  # peak to peak; a monitor must not count less (IEC 60601-2-27)
FROZEN_MV = 0.001  # less than a step of a coarse converter
# Minimum time of lost contact: not moving, longer than a heart at rest; at the limit, longer than a pacemaker's spike.
FROZEN_S, RAILED_S = 1.0, 0.2

LEAKAGE, CROSSING = 0.406, 0.48  # at and beyond these it is fibrillation: Kuo and Dillman 1978, Arafat et al. 2011
CHAOS_HZ = (2.5, 10.0)  # 150 to 600 a minute; chest compressions and walking move the lead more slowly
SEGMENT_S, TAPER_S, LEVEL = 3.0, 0.25, 0.2  # Arafat et al. 2011


def beats(ecg: Array, rate_hz: float) -> Array:
    """Sample indices, int64 ascending, of the QRS complexes in float32 [n] mV at 125 to 1000 Hz, at least two seconds.

    Two moving averages of the squared 8 to 20 Hz band: where the one as long as a QRS is above the one as long as a
    beat, there is a QRS (Elgendi, Fast QRS Detection with an Optimized Knowledge-Based Method, PLoS ONE 8(9), 2013). It
    keeps nothing from one window to the next, so windows overlap cleanly; see `settled`.
    """
    band = filtered(ecg, rate_hz, QRS_BAND_HZ)
    energy = band * band
    qrs = _moving_average(energy, round(QRS_S * rate_hz))
    beat = _moving_average(energy, round(BEAT_S * rate_hz))
    inside = qrs > beat + OFFSET * energy.mean()
    edges = np.flatnonzero(np.diff(inside, prepend=False, append=False))
    peaks: list[int] = []
    strength = np.abs(band)
    for start, end in edges.reshape(-1, 2).tolist():
        if end - start < QRS_S * rate_hz:
            continue
        peak = start + int(strength[start:end].argmax())
        if _height(ecg, peak, rate_hz) < MIN_BEAT_MV:
            continue
        if not peaks or peak - peaks[-1] >= REFRACTORY_S * rate_hz:
            peaks.append(peak)
        elif strength[peak] > strength[peaks[-1]]:
            peaks[-1] = peak
    return np.array(peaks, np.int64)


def settled(peaks: Array, length: int, rate_hz: float, hop: int) -> Array:
    """The beats of a window that are reported in it: windows `hop` samples apart report each beat once.

    A beat is reported when it is MARGIN_S to MARGIN_S plus one hop before the newest sample.
    """
    newest = length - round(MARGIN_S * rate_hz)
    return peaks[(peaks >= newest - hop) & (peaks < newest)]


def _height(ecg: Array, peak: int, rate_hz: float) -> float:
    """Peak to peak in mV around a QRS."""
    half = round(0.06 * rate_hz)
    return float(np.ptp(ecg[max(0, peak - half) : peak + half + 1]))


def rate_bpm(peaks: Array, rate_hz: float, newest: int = 5) -> float:
    """Heart rate of the median of the newest intervals, which a premature beat hardly moves; 0 with fewer than two."""
    intervals = np.diff(peaks[-newest - 1 :])
    return 60.0 * rate_hz / float(np.median(intervals)) if len(intervals) > 1 else 0.0


def quiet_s(steady: Array, rate_hz: float) -> float:
    """Seconds up to the newest sample without an amplitude of a beat. steady: the ECG_BAND_HZ of a window."""
    loud = np.flatnonzero(np.abs(steady) >= MIN_BEAT_MV / 2)
    return (len(steady) - 1 - int(loud[-1])) / rate_hz if len(loud) else len(steady) / rate_hz


def contact(ecg: Array, rate_hz: float, rail_mv: float) -> tuple[float, int]:
    """Seconds up to the newest sample without contact, and the number of samples since any loss of contact.

    Without contact the input is frozen or at its limit. With a stopped heart it still moves: noise, breath, drift.
    """
    railed = np.abs(ecg) >= rail_mv
    frozen = np.abs(np.diff(ecg, prepend=ecg[0])) < FROZEN_MV
    alive = np.flatnonzero(~(frozen | railed))
    off = len(ecg) - 1 - (int(alive[-1]) if len(alive) else -1)
    last = max(_last_run(railed, round(RAILED_S * rate_hz)), _last_run(frozen, round(FROZEN_S * rate_hz)))
    return off / rate_hz, len(ecg) - 1 - last


def _last_run(true: Array, count: int) -> int:
    """Where the last run of `count` true values ends; -1 without one."""
    total = np.concatenate([[0], np.cumsum(true)])
    ends = np.flatnonzero(total[count:] - total[:-count] == count)
    return int(ends[-1]) + count - 1 if len(ends) else -1


def fibrillation(steady: Array, rate_hz: float) -> float:
    """Score 0..1 of ventricular fibrillation or flutter, 0.5 at the limit. steady: ECG_BAND_HZ, three seconds or more.

    Two measures must agree: it is nearly a sine, so that half a period later it cancels itself, and never at rest.
    """
    residue, hz = leakage(steady, rate_hz)
    sine = 1.0 - residue / (2 * LEAKAGE) if CHAOS_HZ[0] <= hz <= CHAOS_HZ[1] else 0.0
    restless = crossing(steady, rate_hz) / (2 * CROSSING)
    return float(min(max(0.0, min(sine, restless)), 1.0))


def leakage(steady: Array, rate_hz: float) -> tuple[float, float]:
    """Residue 0..1 of the signal added to itself half a mean period later, and that period's frequency in Hz.

    VF-filter: Kuo and Dillman, Computer Detection of Ventricular Fibrillation, Computers in Cardiology, 1978.
    """
    signal = steady - steady.mean()
    # A sine of period T moves by 4 times its amplitude in T and has a mean size of 2 / pi of it.
    path, size = float(np.abs(np.diff(signal)).sum()), float(np.abs(signal).sum())
    half = round(np.pi * size / path) if path else 0
    if not 1 <= half < len(signal):
        return 1.0, 0.0
    late, early = signal[half:], signal[:-half]
    residue = np.abs(late + early).sum() / (np.abs(late) + np.abs(early)).sum()
    return float(residue), rate_hz * path / (2 * np.pi * size)


def crossing(steady: Array, rate_hz: float) -> float:
    """Share 0..1 of samples above a fifth of the peak, mean over segments of 3 s a second apart.

    Threshold crossing sample count: Arafat, Chowdhury and Hasan, Signal, Image and Video Processing 5, 2011.
    """
    taper = _taper(rate_hz)
    step = round(rate_hz)
    shares = []
    for end in range(len(steady), len(taper) - 1, -step):
        size = np.abs(steady[end - len(taper) : end] * taper)
        shares.append(float((size > LEVEL * size.max()).mean()))
    return float(np.mean(shares)) if shares else 0.0


@lru_cache(maxsize=8)
def _taper(rate_hz: float) -> Array:
    t = np.arange(round(SEGMENT_S * rate_hz)) / rate_hz
    near = np.minimum(np.minimum(t, SEGMENT_S - t), TAPER_S)
    return np.asarray((1 - np.cos(np.pi * near / TAPER_S)) / 2)


def filtered(ecg: Array, rate_hz: float, band_hz: tuple[float, float]) -> Array:
    """float64 [n]: the band, without delay. The ends are extended by their mirror image through the last sample."""
    spectrum, half, size = _response(len(ecg), rate_hz, band_hz)
    extended = np.empty(len(ecg) + 2 * half)
    extended[half:-half] = ecg
    extended[:half] = 2 * extended[half] - extended[2 * half : half : -1]
    extended[-half:] = 2 * extended[-half - 1] - extended[-half - 2 : -2 * half - 2 : -1]
    return np.asarray(np.fft.irfft(np.fft.rfft(extended, size) * spectrum, size)[2 * half : 2 * half + len(ecg)])


@lru_cache(maxsize=16)
def _response(length: int, rate_hz: float, band_hz: tuple[float, float]) -> tuple[Array, int, int]:
    """Spectrum, half the taps and transform size of a Hamming-windowed band-pass with gain 1 in its middle."""
    low, high = band_hz
    half = round(rate_hz * (0.2 if low > 4 else 1.0))  # passes less than 1 % from 3.3 / (2 half) outside the band on
    half = min(half, length - 1)
    t = np.arange(-half, half + 1) / rate_hz
    taps = (2 * high * np.sinc(2 * high * t) - 2 * low * np.sinc(2 * low * t)) * np.hamming(len(t))
    middle = np.abs(np.sum(taps * np.exp(-1j * np.pi * (low + high) * t)))
    size = 1 << (length + 4 * half).bit_length()
    return np.fft.rfft(taps / middle, size), half, size


def _moving_average(signal: Array, count: int) -> Array:
    """float64 [n]: the mean of `count` samples around each; of fewer near the ends."""
    total = np.concatenate([[0.0], np.cumsum(signal)])
    at = np.arange(len(signal))
    first = np.maximum(at - count // 2, 0)
    last = np.minimum(at + (count + 1) // 2, len(signal))
    return np.asarray((total[last] - total[first]) / (last - first))


class WindowShift:
    """How far a window has moved since the one before; by its content alone, so that a replay finds the same."""

    def __init__(self) -> None:
        self.previous: Array | None = None

    def __call__(self, window: Array, usual: int) -> int:
        """Number of new rows; 0 where the windows do not overlap: there was a gap.

        window: [n] or [n, channels]. usual: the shift to return where several fit (a constant signal).
        """
        previous, self.previous = self.previous, window.copy()
        if previous is None or previous.shape != window.shape:
            return 0
        same = np.flatnonzero((previous == window[0]).reshape(len(previous), -1).all(axis=1)).tolist()
        shifts = [usual] * (usual in same) + [shift for shift in same if shift > 0]
        return next((shift for shift in shifts if np.array_equal(previous[shift:], window[:-shift])), 0)


class UsualRate:
    """The median heart rate of the last minutes, from which a jump is measured."""

    def __init__(self, memory_s: float, settle_s: float, each_s: float = 1.0) -> None:
        """settle_s: the newest seconds, which do not count yet; as many more make a rate. each_s: resolution."""
        self.each_s = each_s
        self.delay = max(1, round(settle_s / each_s))
        self.rates: deque[float] = deque(maxlen=self.delay + round(memory_s / each_s))
        self.due_s = 0.0

    def reset(self) -> None:
        self.rates.clear()
        self.due_s = 0.0

    def add(self, rate: float, passed_s: float) -> None:
        """rate: now; passed_s: since the last one."""
        self.due_s -= passed_s
        if self.due_s <= 0:
            self.due_s += self.each_s
            self.rates.append(rate)

    @property
    def rate(self) -> float:
        """Median of the rates that are old enough; 0 while there are too few."""
        old = list(self.rates)[: -self.delay]
        return float(np.median(old)) if len(old) >= self.delay else 0.0
