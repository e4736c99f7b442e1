"""The simulated heart: no sample lost, same seed same run, every fault has its signature."""

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


def read(driver: SensorStream) -> Sample:
    sample = driver.read(1.0)
    assert sample
    return sample


def ecg(seconds: float, **options: Any) -> Array:
    driver = heart(**options)
    return np.array([read(driver).payload[0, 0] for _ in range(round(seconds * driver.rate_hz))])


def fault(kind: str, **more: Any) -> dict[str, Any]:
    return {"faults": [{"kind": kind, "at_s": 10.0, "for_s": 10.0} | more]}


def test_is_a_stream_of_one_channel() -> None:
    driver = heart()
    assert driver.channels == ("ecg",) and driver.rate_hz == RATE
    samples = [read(driver) for _ in range(5)]
    assert [sample.sequence for sample in samples] == [0, 1, 2, 3, 4]
    assert np.diff([sample.t_capture for sample in samples]).tolist() == [4_000_000] * 4
    assert all(sample.payload.shape == (1, 1) and sample.payload.dtype == np.float32 for sample in samples)


def test_real_pace_waits_no_longer_than_wait_s_and_a_late_reader_gets_all() -> None:
    driver = heart(pace="real")
    first = read(driver)
    driver.due -= 30_000_000  # as if 30 ms had passed
    late = read(driver)
    assert len(late.payload) >= 7 and late.sequence == first.sequence + len(late.payload)
    assert late.t_capture <= time.monotonic_ns()
    driver.due += 60_000_000_000
    assert driver.read(0.0) is None and driver.read(0.01) is None


def test_opens_and_closes_any_number_of_times() -> None:
    driver = heart()
    before = [read(driver) for _ in range(100)][-1]
    driver.close()
    driver.close()
    driver.open()
    again = read(driver)
    assert again.sequence == 0 and again.t_capture > before.t_capture


def test_the_same_seed_gives_the_same_run() -> None:
    runs = [ecg(15, seed=seed, **fault("fibrillation")) for seed in (1, 1, 2)]
    assert np.array_equal(runs[0], runs[1]) and not np.array_equal(runs[0], runs[2])


@pytest.mark.parametrize("bpm", [30, 45, 72, 110, 150, 200])
@pytest.mark.parametrize("rate_hz", [125, 250, 1000])
def test_beats_have_the_configured_rate(bpm: float, rate_hz: float) -> None:
    run = ecg(30, bpm=bpm, rate_hz=rate_hz)
    beats = vitals.beats(run.astype(np.float32), rate_hz)
    assert len(beats) == pytest.approx(bpm / 2, abs=1 + 0.02 * bpm)
    assert np.diff(beats).min() > 0.8 * 60 / bpm * rate_hz and np.diff(beats).max() < 1.2 * 60 / bpm * rate_hz


def test_a_beat_has_its_five_waves_in_their_order() -> None:
    """Table I of McSharry et al.: R upright and highest, small negative Q and S around it, P before, T after."""
    run = ecg(10, bpm=60, noise_mv=0.0, r_mv=1.0)
    peak = int(vitals.beats(run.astype(np.float32), RATE)[4])
    wave = run[peak - 70 : peak + 120] - run[peak - 90]
    r = int(wave.argmax())
    q, s = int(wave[r - 20 : r].argmin()) + r - 20, int(wave[r : r + 20].argmin()) + r
    p, t = int(wave[: r - 20].argmax()), int(wave[r + 25 :].argmax()) + r + 25
    assert p < q < r < s < t
    assert 0.9 < wave[r] < 1.1 and 0.15 < wave[p] < 0.35 and 0.3 < wave[t] < 0.5
    assert wave[q] < -0.05 and wave[s] < -0.1


def test_the_rate_jumps_and_returns() -> None:
    run = ecg(30, **fault("rate", amount=120.0))
    rates = 60 * RATE / np.diff(vitals.beats(run.astype(np.float32), RATE))
    assert np.median(rates[:8]) == pytest.approx(72, abs=4)
    assert np.median(rates[18:30]) == pytest.approx(120, abs=6)
    assert rates[-1] == pytest.approx(72, abs=8)


def test_each_fault_has_its_signature() -> None:
    part = slice(13 * RATE, 20 * RATE)
    flat, fibrillating, off = (ecg(20, **fault(kind))[part] for kind in ("flat_line", "fibrillation", "lead_off"))
    assert np.ptp(flat - np.convolve(flat, np.ones(50) / 50, "same"))[()] < 0.2 and flat.std() > 0.005
    power = np.abs(np.fft.rfft(fibrillating * np.hanning(len(fibrillating)))) ** 2
    hz = np.fft.rfftfreq(len(fibrillating), 1 / RATE)
    assert power[(hz > 2.5) & (hz < 8)].sum() > 0.9 * power[hz > 1].sum()
    assert 0.25 < fibrillating.std() < 1.0
    assert (off == 5.0).all()
    assert ecg(20, **fault("noise"))[part].std() > ecg(20)[part].std() + 0.02


def test_fibrillation_has_the_leakage_and_crossing_of_a_real_one() -> None:
    """Record cu01, fibrillating ventricles: leakage 0.19 to 0.44, median 0.28; crossing 0.42 to 0.74, median 0.63."""
    run = ecg(70, faults=[{"kind": "fibrillation", "at_s": 0, "for_s": 100}])
    steady = vitals.filtered(run.astype(np.float32), RATE, vitals.ECG_BAND_HZ)
    parts = [steady[end - 6 * RATE : end] for end in range(8 * RATE, len(run), RATE)]
    assert 0.19 < np.median([vitals.leakage(part, RATE)[0] for part in parts]) < 0.44
    assert 0.42 < np.median([vitals.crossing(part, RATE) for part in parts]) < 0.74


def test_unplug_freeze_repeat_and_clock_jump() -> None:
    driver = heart(faults=[{"kind": "unplug", "at_s": 0.2, "for_s": 1}])
    for _ in range(50):
        read(driver)
    with pytest.raises(DeviceMissing):
        driver.read(1.0)
    with pytest.raises(DeviceMissing):
        heart(faults=[{"kind": "unplug", "at_s": 0, "for_s": 1}])

    driver = heart(timeout_ms=100, faults=[{"kind": "freeze", "at_s": 0.2, "for_s": 0.2}])
    last = [read(driver) for _ in range(50)][-1]
    assert [driver.read(1.0) for _ in range(25)] == [None] * 25
    with pytest.raises(DeviceTimeout):
        driver.read(1.0)
    assert [driver.read(1.0) for _ in range(24)] == [None] * 24
    assert read(driver).sequence == last.sequence + 51

    driver = heart(faults=[{"kind": "repeat", "at_s": 0.2, "for_s": 0.2}])
    last = [read(driver) for _ in range(50)][-1]
    again = read(driver)
    assert again.sequence == last.sequence and again.t_capture > last.t_capture

    driver = heart(faults=[{"kind": "clock_jump", "at_s": 0.2, "for_s": 0.2, "amount": 50}])
    before, after = [read(driver) for _ in range(51)][-2:]
    assert after.t_capture - before.t_capture == 54_000_000


def test_options_are_checked() -> None:
    for wrong in ({"bpm": 0}, {"rate_hz": 100}, fault("fire"), {"channels": 2}):
        with pytest.raises(ValidationError):
            heart(**wrong)
