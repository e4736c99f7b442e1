"""The simulated heart: nothing lost, same seed same run, every trouble looks like itself."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from agent.data import Array, Sample
from agent.decoders import vitals
from drivers.base import DeviceMissing, DeviceTimeout, SensorStream, open_source

RATE = 250


def heart(**options: Any) -> SensorStream:
    driver = open_source("sensor.sim_heart", {"pace": "fast"} | options, "bed")
    assert isinstance(driver, SensorStream)
    driver.open()
    return driver


def take(driver: SensorStream) -> Sample:
    sample = driver.read(1.0)
    assert sample
    return sample


def ecg(seconds: float, **options: Any) -> Array:
    driver = heart(**options)
    return np.array([take(driver).payload[0, 0] for _ in range(round(seconds * driver.rate_hz))])


def trouble(kind: str, **more: Any) -> dict[str, Any]:
    return {"faults": [{"kind": kind, "at_s": 10.0, "for_s": 10.0} | more]}


def test_is_a_stream_of_one_channel() -> None:
    driver = heart()
    assert driver.channels == ("ecg",) and driver.rate_hz == RATE
    samples = [take(driver) for _ in range(5)]
    assert [one.sequence for one in samples] == [0, 1, 2, 3, 4]
    assert np.diff([one.t_capture for one in samples]).tolist() == [4_000_000] * 4
    assert all(one.payload.shape == (1, 1) and one.payload.dtype == np.float32 for one in samples)


def test_real_pace_waits_no_longer_than_asked_and_a_late_lane_gets_all() -> None:
    driver = heart(pace="real")
    first = take(driver)
    driver.due -= 30_000_000  # as if 30 ms had passed
    late = take(driver)
    assert len(late.payload) >= 7 and late.sequence == first.sequence + len(late.payload)
    assert late.t_capture <= time.monotonic_ns()
    setattr(driver, "due", time.monotonic_ns() + 60_000_000_000)
    assert driver.read(0.0) is None and driver.read(0.01) is None


def test_opens_and_closes_any_number_of_times() -> None:
    driver = heart()
    before = [take(driver) for _ in range(100)][-1]
    driver.close()
    driver.close()
    driver.open()
    again = take(driver)
    assert again.sequence == 0 and again.t_capture > before.t_capture


def test_the_seed_decides_everything() -> None:
    runs = [ecg(15, seed=seed, **trouble("fibrillation")) for seed in (1, 1, 2)]
    assert np.array_equal(runs[0], runs[1]) and not np.array_equal(runs[0], runs[2])


@pytest.mark.parametrize("bpm", [30, 45, 72, 110, 150, 200])
@pytest.mark.parametrize("rate_hz", [125, 250, 1000])
def test_beats_come_at_the_rate_asked_for(bpm: float, rate_hz: float) -> None:
    run = ecg(30, bpm=bpm, rate_hz=rate_hz)
    found = vitals.beats(run.astype(np.float32), rate_hz)
    assert len(found) == pytest.approx(bpm / 2, abs=1 + 0.02 * bpm)
    assert np.diff(found).min() > 0.8 * 60 / bpm * rate_hz and np.diff(found).max() < 1.2 * 60 / bpm * rate_hz


def test_a_beat_has_its_five_waves_in_their_order() -> None:
    """Table I of McSharry et al.: R upright and highest, small Q and S below the line around it, P before, T after."""
    run = ecg(10, bpm=60, noise_mv=0.0, r_mv=1.0)
    peak = int(vitals.beats(run.astype(np.float32), RATE)[4])
    wave = run[peak - 70 : peak + 120] - run[peak - 90]
    r = int(wave.argmax())
    q, s = int(wave[r - 20 : r].argmin()) + r - 20, int(wave[r : r + 20].argmin()) + r
    p, t = int(wave[: r - 20].argmax()), int(wave[r + 25 :].argmax()) + r + 25
    assert p < q < r < s < t
    assert 0.9 < wave[r] < 1.1 and 0.15 < wave[p] < 0.35 and 0.3 < wave[t] < 0.5
    assert wave[q] < -0.05 and wave[s] < -0.1


def test_the_rate_jumps_and_comes_back() -> None:
    run = ecg(30, **trouble("rate", amount=120.0))
    rates = 60 * RATE / np.diff(vitals.beats(run.astype(np.float32), RATE))
    assert np.median(rates[:8]) == pytest.approx(72, abs=4)
    assert np.median(rates[18:30]) == pytest.approx(120, abs=6)
    assert rates[-1] == pytest.approx(72, abs=8)


def test_each_trouble_looks_like_itself() -> None:
    part = slice(13 * RATE, 20 * RATE)
    flat, wild, off = (ecg(20, **trouble(kind))[part] for kind in ("flat_line", "fibrillation", "lead_off"))
    assert np.ptp(flat - np.convolve(flat, np.ones(50) / 50, "same"))[()] < 0.2 and flat.std() > 0.005
    power = np.abs(np.fft.rfft(wild * np.hanning(len(wild)))) ** 2
    hz = np.fft.rfftfreq(len(wild), 1 / RATE)
    assert power[(hz > 2.5) & (hz < 8)].sum() > 0.9 * power[hz > 1].sum()
    assert 0.25 < wild.std() < 1.0
    assert (off == 5.0).all()
    assert ecg(20, **trouble("noise"))[part].std() > ecg(20)[part].std() + 0.02


def test_fibrillation_is_as_much_like_a_sine_and_as_restless_as_a_real_one() -> None:
    """Record cu01 in ventricular fibrillation: leakage 0.19 to 0.44, median 0.28; crossing 0.42 to 0.74, median 0.63."""
    run = ecg(70, faults=[{"kind": "fibrillation", "at_s": 0, "for_s": 100}])
    steady = vitals.filtered(run.astype(np.float32), RATE, vitals.ECG_BAND_HZ)
    parts = [steady[end - 6 * RATE : end] for end in range(8 * RATE, len(run), RATE)]
    assert 0.19 < np.median([vitals.leakage(part, RATE)[0] for part in parts]) < 0.44
    assert 0.42 < np.median([vitals.crossing(part, RATE) for part in parts]) < 0.74


def test_unplug_freeze_repeat_and_clock_jump() -> None:
    driver = heart(faults=[{"kind": "unplug", "at_s": 0.2, "for_s": 1}])
    for _ in range(50):
        take(driver)
    with pytest.raises(DeviceMissing):
        driver.read(1.0)
    with pytest.raises(DeviceMissing):
        heart(faults=[{"kind": "unplug", "at_s": 0, "for_s": 1}])

    driver = heart(timeout_ms=100, faults=[{"kind": "freeze", "at_s": 0.2, "for_s": 0.2}])
    last = [take(driver) for _ in range(50)][-1]
    assert [driver.read(1.0) for _ in range(25)] == [None] * 25
    with pytest.raises(DeviceTimeout):
        driver.read(1.0)
    assert [driver.read(1.0) for _ in range(24)] == [None] * 24
    assert take(driver).sequence == last.sequence + 51

    driver = heart(faults=[{"kind": "repeat", "at_s": 0.2, "for_s": 0.2}])
    last = [take(driver) for _ in range(50)][-1]
    again = take(driver)
    assert again.sequence == last.sequence and again.t_capture > last.t_capture

    driver = heart(faults=[{"kind": "clock_jump", "at_s": 0.2, "for_s": 0.2, "amount": 50}])
    before, after = [take(driver) for _ in range(51)][-2:]
    assert after.t_capture - before.t_capture == 54_000_000


def test_options_are_checked() -> None:
    for wrong in ({"bpm": 0}, {"rate_hz": 100}, trouble("fire"), {"channels": 2}):
        with pytest.raises(ValidationError):
            heart(**wrong)
