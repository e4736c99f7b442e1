"""Synthesised sounds for the simulated microphone: a source filtered by resonances, no recordings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from agent.data import Array

Random = np.random.Generator

# Formants in Hz of some vowels, an adult's (Peterson & Barney 1952).
VOWELS = {
    "a": (730, 1090, 2440),
    "i": (270, 2290, 3010),
    "u": (300, 870, 2240),
    "e": (530, 1840, 2480),
    "o": (570, 840, 2410),
}
WIDTHS = (80.0, 110.0, 170.0)  # bandwidths of the formants, Hz


def make(kind: str, rate_hz: int, seconds: float, seed: int) -> Array:
    """float32 [seconds * rate_hz], the loudest value 1. The same seed makes the same sound."""
    count = max(1, round(seconds * rate_hz))
    wave = KINDS[kind](np.arange(count) / rate_hz, rate_hz, np.random.default_rng(seed))
    if kind != "glass":  # fade in and out, so that the edges do not click
        index = np.arange(count)
        wave = wave * np.clip(np.minimum(index, index[::-1]) / (0.005 * rate_hz), 0, 1)
    return (wave / max(float(np.abs(wave).max()), 1e-9)).astype(np.float32)


def _scream(t: Array, rate_hz: int, random: Random) -> Array:
    """A high, strained voice, vowel a; rough: amplitude modulation at 30 to 150 Hz (Arnal et al. 2015)."""
    rise = 1 - np.exp(-t / 0.07)
    fall = np.exp(-np.clip(t - 0.55 * t[-1], 0, None) / 0.25)
    vibrato = 1 + 0.016 * np.sin(2 * np.pi * 5.4 * t)
    pitch = (500 + 530 * rise) * (0.82 + 0.18 * fall) * vibrato * _wobble(t, random, 0.013, 94)
    rough = 1 + 0.72 * np.sin(2 * np.pi * 106 * t + 2 * np.sin(2 * np.pi * 9 * t))
    voice = _buzz(pitch, rate_hz, 0.58) * rough + 0.26 * random.standard_normal(len(t))
    sound: Array = _resonate(voice, rate_hz, [(1260, 180), (1810, 220), (3510, 310)]) * rise * fall
    return sound


def _groan(t: Array, rate_hz: int, random: Random) -> Array:
    """A voice that swells, falls in pitch and creaks at 37 Hz, an open back vowel."""
    share = t / max(t[-1], 1e-9)
    swell = np.sin(np.pi * share) ** 0.9
    pitch = (200 - 68 * share) * (1 + 0.043 * np.sin(np.pi * share)) * _wobble(t, random, 0.108, 34.6)
    creak = 1 + 0.61 * np.sin(2 * np.pi * 37.5 * t)
    voice = _buzz(pitch, rate_hz, 0.92) * creak + 0.25 * random.standard_normal(len(t))
    sound: Array = _resonate(voice, rate_hz, list(zip((730, 1020, 2890), WIDTHS))) * swell
    return sound


def _speech(t: Array, rate_hz: int, random: Random) -> Array:
    """Syllables, four a second: a voiced vowel each, hissing consonants between, a pause at the end of a phrase."""
    out, at = np.zeros(len(t)), 0
    names = sorted(VOWELS)
    while at < len(t):
        size = min(int(rate_hz * random.uniform(0.16, 0.3)), len(t) - at)
        part = slice(at, at + size)
        shape = np.sin(np.pi * np.arange(size) / size) ** 0.7
        tone = 125 + 25 * random.standard_normal()
        pitch = tone * np.linspace(1.1, 0.9, size) * _wobble(t[:size], random, 0.01, 20)
        vowel, after = (np.array(VOWELS[names[random.integers(len(names))]]) for _ in range(2))
        halves = [
            _resonate(_buzz(pitch, rate_hz, 1.0), rate_hz, list(zip(formants, WIDTHS))) for formants in (vowel, after)
        ]
        glide = np.linspace(0, 1, size)
        out[part] = shape * (halves[0] * (1 - glide) + halves[1] * glide)
        hiss = min(size, int(0.07 * rate_hz))
        burst = _resonate(random.standard_normal(hiss), rate_hz, [(min(4500.0, 0.4 * rate_hz), 1500)])
        out[at : at + hiss] += 0.2 * np.abs(out[part]).max() * burst / max(np.abs(burst).max(), 1e-9) * np.hanning(hiss)
        at += size + (int(0.35 * rate_hz) if random.random() < 0.12 else int(0.02 * rate_hz))
    return out


def _glass(t: Array, rate_hz: int, random: Random) -> Array:
    """A pane breaks and its pieces ring as they fall: inharmonic modes of small plates, each decaying within 0.1 s."""
    out = 1.5 * random.standard_normal(len(t)) * np.exp(-t / 0.03)
    out -= np.convolve(out, np.ones(8) / 8, "same")  # glass has no low frequencies
    moments = [0.0, *np.cumsum(random.exponential(0.025, 80))]
    for moment in moments:
        at = int(moment * rate_hz)
        if at >= len(t):
            break
        rest, strength = t[: len(t) - at], np.exp(-moment / 0.4)
        for _ in range(6):
            mode = random.uniform(min(2000, 0.2 * rate_hz), min(7500, 0.46 * rate_hz))
            decay = random.uniform(0.008, 0.06)
            out[at:] += strength * random.uniform(0.1, 0.5) * np.sin(2 * np.pi * mode * rest) * np.exp(-rest / decay)
    return np.asarray(out)


KINDS: dict[str, Callable[[Array, int, Random], Array]] = {
    "scream": _scream,
    "groan": _groan,
    "glass": _glass,
    "speech": _speech,
}


def room(rate_hz: int, seconds: float, seed: int) -> Array:
    """float32 [seconds * rate_hz], rms 1: noise with equal power in each octave above 50 Hz; it repeats seamlessly."""
    count = round(seconds * rate_hz)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    hz = np.fft.rfftfreq(count, 1 / rate_hz)
    spectrum *= np.where(hz < 50, 0, 1 / np.sqrt(np.maximum(hz, 50)))
    noise: Array = np.fft.irfft(spectrum, count)
    noise /= noise.std()
    return noise.astype(np.float32)


def _buzz(pitch: Array, rate_hz: int, tilt: float) -> Array:
    """The sound of vocal folds: harmonics of the pitch [n] in Hz below half the rate, the h-th as h ** -tilt."""
    phase = 2 * np.pi * np.cumsum(pitch) / rate_hz
    out = np.zeros(len(pitch))
    for harmonic in range(1, int(0.48 * rate_hz / max(float(pitch.min()), 1.0)) + 1):
        out += np.where(harmonic * pitch < 0.48 * rate_hz, np.sin(harmonic * phase), 0) * harmonic**-tilt
    return out


def _resonate(wave: Array, rate_hz: int, resonances: Sequence[tuple[float, float]]) -> Array:
    """The wave filtered by parallel resonances (Hz, bandwidth in Hz): Lorentz curves over its spectrum."""
    hz = np.fft.rfftfreq(2 * len(wave), 1 / rate_hz)
    gain = sum(
        1 / np.sqrt(1 + ((hz - centre) / (width / 2)) ** 2) / rank for rank, (centre, width) in enumerate(resonances, 1)
    )
    return np.fft.irfft(np.fft.rfft(wave, 2 * len(wave)) * gain)[: len(wave)]


def _wobble(t: Array, random: Random, depth: float, hz: float) -> Array:
    """Random variation around 1, slower than `hz`: no voice keeps a constant pitch."""
    knots = max(2, int((t[-1] if len(t) else 0) * hz) + 2)
    return 1 + depth * np.interp(t, np.linspace(0, t[-1] if len(t) else 0, knots), random.standard_normal(knots))
