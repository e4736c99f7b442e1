"""agent/decoders/vitals.py: beats and alarms of known signals, overlapping windows, odd input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from agent.data import Array
from agent.decoders import vitals

RATE = 250.0
RANDOM = np.random.default_rng(5)


def ecg(at_s: list[float], seconds: float, rate_hz: float = RATE, r_mv: float = 1.0, noise: float = 0.01) -> Array:
    """QRS of 80 ms and a T wave at these times."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    run = noise * RANDOM.standard_normal(len(t))
    for at in at_s:
        for away, width, share in ((-0.03, 0.010, -0.15), (0, 0.012, 1.0), (0.03, 0.011, -0.2), (0.25, 0.05, 0.3)):
            run += r_mv * share * np.exp(-0.5 * ((t - at - away) / width) ** 2)
    return run.astype(np.float32)


def regular(seconds: float, every_s: float = 0.8) -> list[float]:
    return np.arange(0.4, seconds - 0.3, every_s).tolist()


@pytest.mark.parametrize("rate_hz", [125.0, 250.0, 360.0, 500.0, 1000.0])
@pytest.mark.parametrize("r_mv", [0.3, 1.0, 4.0, -1.0])
def test_every_beat_is_found_at_its_time(rate_hz: float, r_mv: float) -> None:
    at = regular(8)
    peaks_s = vitals.beats(ecg(at, 8, rate_hz, r_mv), rate_hz) / rate_hz
    assert len(peaks_s) == len(at)
    assert np.abs(peaks_s - at).max() < 0.04


def test_baseline_wander_and_mains_hum_are_no_beats() -> None:
    t = np.arange(2000) / RATE
    run = ecg(regular(8), 8) + 1.5 * np.sin(2 * np.pi * 0.3 * t) + 0.2 * np.sin(2 * np.pi * 50 * t)
    assert len(vitals.beats(run.astype(np.float32), RATE)) == len(regular(8))


def test_premature_beats_are_found_and_hardly_move_the_rate() -> None:
    at = [0.4, 1.2, 2.0, 2.45, 3.6, 4.4, 5.2, 6.0, 6.8, 7.6]  # one at 2.45, and its pause
    peaks = vitals.beats(ecg(at, 8), RATE)
    assert len(peaks) == len(at)
    assert vitals.rate_bpm(peaks[:6], RATE) == pytest.approx(75, abs=1)


def test_amplitudes_below_the_monitor_limit_are_no_beats() -> None:
    assert len(vitals.beats(ecg(regular(8), 8, r_mv=0.1, noise=0.001), RATE)) == 0
    assert len(vitals.beats(0.02 * RANDOM.standard_normal(2000).astype(np.float32), RATE)) == 0


def test_no_two_beats_within_the_refractory_time() -> None:
    peaks = vitals.beats(RANDOM.standard_normal(5000).astype(np.float32), RATE)
    assert len(peaks) > 5 and np.diff(peaks).min() >= vitals.REFRACTORY_S * RATE


def test_overlapping_windows_report_each_beat_once() -> None:
    at, length, hop = regular(60, 0.83), 2000, 62
    run, peaks = ecg(at, 60), []
    for end in range(length, len(run) + 1, hop):
        window = vitals.beats(run[end - length : end], RATE)
        peaks += (vitals.settled(window, length, RATE, hop) + end - length).tolist()
    expected = [beat for beat in at if length - 125 - hop <= beat * RATE < len(run) - 125 - hop]
    assert len(peaks) == len(set(peaks)) == pytest.approx(len(expected), abs=1)
    assert np.abs(np.array(peaks[: len(expected)]) / RATE - expected[: len(peaks)]).max() < 0.04


def test_the_rate_needs_two_intervals() -> None:
    assert vitals.rate_bpm(np.array([100]), RATE) == vitals.rate_bpm(np.array([100, 300]), RATE) == 0
    assert vitals.rate_bpm(np.array([0, 250, 500]), RATE) == 60


def test_the_length_of_a_flat_line_is_measured() -> None:
    run = ecg([beat for beat in regular(8) if beat < 3], 8)
    last = regular(3.2)[-1] + 0.4  # the T wave is over
    assert vitals.quiet_s(vitals.filtered(run, RATE, vitals.ECG_BAND_HZ), RATE) == pytest.approx(8 - last, abs=0.5)
    assert vitals.quiet_s(np.zeros(2000), RATE) == 8


def test_a_lead_that_is_off_is_distinguished_from_a_flat_line() -> None:
    flat, off, rail = ecg([], 8), ecg([], 8), ecg([], 8)
    off[1500:] = off[1500]
    rail[1500:] = 5.2 + 0.01 * RANDOM.standard_normal(500)
    assert vitals.contact(flat, RATE, 5.0) == (pytest.approx(0, abs=0.02), 2000)
    assert vitals.contact(off, RATE, 5.0) == (pytest.approx(2, abs=0.02), 0)
    assert vitals.contact(rail, RATE, 5.0) == (pytest.approx(2, abs=0.02), 0)
    assert vitals.contact(np.zeros(2000, np.float32), RATE, 5.0) == (8, 0)


def test_samples_since_the_last_loss_of_contact_are_counted() -> None:
    run, spikes = ecg(regular(8), 8), ecg(regular(8), 8)
    run[700:1000] = 5.0
    spikes[100::200] = 6.0  # of a pacemaker
    assert vitals.contact(run, RATE, 5.0) == (pytest.approx(0, abs=0.02), 1000)
    assert vitals.contact(spikes, RATE, 5.0) == (pytest.approx(0, abs=0.02), 2000)
    frozen = ecg(regular(8), 8)
    frozen[300:500], frozen[700:1000] = 0.3, 0.3  # 0.8 s are not enough
    assert vitals.contact(frozen[:700], RATE, 5.0)[1] == 700
    assert vitals.contact(frozen, RATE, 5.0)[1] == 1000


def test_leakage_is_low_for_a_sine_and_high_for_single_spikes() -> None:
    t = np.arange(1500) / RATE
    residue, hz = vitals.leakage(np.sin(2 * np.pi * 5 * t), RATE)
    assert residue < 0.05 and hz == pytest.approx(5, abs=0.1)
    spikes = (np.arange(1500) % 200 == 0).astype(float)
    assert vitals.leakage(spikes, RATE)[0] > 0.8
    assert vitals.leakage(np.zeros(1500), RATE) == (1, 0)


def test_crossing_is_the_share_above_a_fifth_of_the_peak() -> None:
    square = np.where(np.arange(1500) % 50 < 10, 1.0, 0.1)  # a fifth of the time, but for the tapered ends
    assert vitals.crossing(square, RATE) == pytest.approx(0.2, abs=0.02)
    assert vitals.crossing(np.zeros(1500), RATE) == 0 == vitals.crossing(np.ones(100), RATE)


@pytest.mark.parametrize("hz", [3.5, 5.0, 7.0])
def test_fast_sines_are_fibrillation_and_beats_are_not(hz: float) -> None:
    t = np.arange(1500) / RATE
    assert vitals.fibrillation(np.sin(2 * np.pi * hz * t) * (1 + 0.3 * np.sin(3 * t)), RATE) > 0.6
    for every_s in (0.3, 0.5, 0.8, 1.5):
        steady = vitals.filtered(ecg(regular(8, every_s), 8), RATE, vitals.ECG_BAND_HZ)
        assert vitals.fibrillation(steady[-1500:], RATE) < 0.3


def test_slow_sines_are_no_fibrillation() -> None:
    """A chest pressed 110 times a minute."""
    assert vitals.fibrillation(np.sin(2 * np.pi * 110 / 60 * np.arange(1500) / RATE), RATE) == 0


RUNS = arrays.arrays(np.float32, st.integers(500, 2500), elements=st.floats(-1e6, 1e6, width=32))


@given(RUNS, st.sampled_from([125.0, 250.0]))
def test_any_signal_gives_scores_in_range(run: Array, rate_hz: float) -> None:
    peaks = vitals.beats(run, rate_hz)
    assert (np.diff(peaks) > 0).all() and ((peaks >= 0) & (peaks < len(run))).all()
    steady = vitals.filtered(run, rate_hz, vitals.ECG_BAND_HZ)
    assert len(steady) == len(run)
    assert 0 <= vitals.fibrillation(steady, rate_hz) <= 1
    assert 0 <= vitals.quiet_s(steady, rate_hz) <= len(run) / rate_hz
    off_s, since = vitals.contact(run, rate_hz, 5.0)
    assert 0 <= off_s <= len(run) / rate_hz and 0 <= since <= len(run)


def test_the_filter_passes_its_band_without_delay_and_little_else() -> None:
    t = np.arange(2000) / RATE
    for hz, share in ((14.0, 1.0), (0.5, 0.0), (50.0, 0.0)):
        output = vitals.filtered(np.sin(2 * np.pi * hz * t), RATE, vitals.QRS_BAND_HZ)
        assert np.abs(output - share * np.sin(2 * np.pi * hz * t))[250:-250].max() < 0.03


def test_the_shift_of_a_window_is_measured_from_its_content() -> None:
    run, shift = ecg(regular(20), 20), vitals.WindowShift()
    assert shift(run[:2000], 62) == 0  # the first has none before it
    assert shift(run[62:2062], 62) == 62
    assert shift(run[69:2069], 62) == 7  # a batch that came late and a short one after it
    assert shift(run[2500:4500], 62) == 0  # nothing in common: a gap
    assert shift(run[2562:4562], 62) == 62
    flat = np.zeros(2000, np.float32)
    shift(flat, 62)
    assert shift(flat, 62) == 62  # any shift fits


def test_the_usual_rate_is_that_of_the_last_minutes_without_the_newest_seconds() -> None:
    usual = vitals.UsualRate(memory_s=60, settle_s=10)
    for _ in range(19):
        usual.add(70.0, 1.0)
    assert usual.rate == 0  # too few rates
    for _ in range(30):
        usual.add(70.0, 1.0)
    for _ in range(9):
        usual.add(140.0, 1.0)
    assert usual.rate == 70
    for _ in range(60):
        usual.add(140.0, 1.0)
    assert usual.rate == 140
    usual.reset()
    assert usual.rate == 0


def test_the_usual_rate_counts_time_not_calls() -> None:
    usual = vitals.UsualRate(memory_s=60, settle_s=10)
    for _ in range(40 * 4):
        usual.add(70.0, 0.25)
    assert len(usual.rates) == pytest.approx(40, abs=1)
