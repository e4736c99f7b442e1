"""Readings at a lower rate: the filter against its figures and its formula, and the window behind it."""

from __future__ import annotations

import numpy as np
import pytest

from agent.backends.base import Tensor
from agent.data import Array
from agent.packages.manifest import Window
from agent.prepare import decimate
from agent.prepare.decimate import Decimator, decimated
from agent.prepare.readings import Readings
from drivers.base import DeviceFault

RATIOS = [1.05, 1.44, 1.6, 2.0, 5.0, 8.333, 40.0]


def tone(share: float, ratio: float, count: int = 400) -> Array:
    """Of frequency `share` in the lower rate, sampled at the higher one, [n, 1]."""
    return np.cos(2 * np.pi * share * np.arange(round(count * ratio)) / ratio).astype(np.float32)[:, None]


def power(rows: Array) -> float:
    """Mean square, in decibels against that of a whole tone."""
    return float(10 * np.log10(2 * np.mean(np.square(rows, dtype=np.float64)) + 1e-30))


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("share", [0.02, 0.11, 0.2, 0.3])
def test_a_tone_of_the_pass_band_is_kept(ratio: float, share: float) -> None:
    assert power(decimated(tone(share, ratio), 1.0, ratio)[0]) == pytest.approx(0.0, abs=0.15)


@pytest.mark.parametrize(
    "ratio, share",
    [
        (ratio, share)
        for ratio in RATIOS
        for share in (0.505, 0.51, 0.6, 0.79, 0.95, 1.05, 1.3, 2.4, 3.9, 17.1)
        if share < ratio / 2
    ],
)
def test_a_tone_that_would_fold_is_suppressed(ratio: float, share: float) -> None:
    folded = tone(share, ratio)
    assert power(folded) > -3.0
    assert power(decimated(folded, 1.0, ratio)[0]) < -45.0


@pytest.mark.parametrize("ratio", RATIOS)
def test_the_outputs_are_those_of_the_kernel_at_their_own_times(ratio: float) -> None:
    """Against the sum as the formula has it, in plain Python."""
    values = np.random.default_rng(1).normal(size=(round(60 * ratio), 1)).astype(np.float32)
    decimator = Decimator(ratio, 1)
    rows, newest = decimated(values, 1.0, ratio)
    assert len(rows) == len(newest) > 30
    exact, grid = decimator.ratio, np.arange(len(decimate.kernel()))
    for number, row in enumerate(rows):
        moment = decimator.taps - 1 + number * exact  # in readings of the source
        assert newest[number] == int(moment)
        ages = [float((moment - each) / exact) for each in range(int(moment) + 1)]
        weights = np.interp(np.array(ages) * decimate.FINE, grid, decimate.kernel(), right=0.0)
        expected = float(weights @ values[: len(ages), 0] / weights.sum())
        assert row[0] == pytest.approx(expected, abs=1e-5)


def test_a_constant_stays_and_a_ramp_is_late_by_the_documented_delay() -> None:
    assert decimated(np.full((500, 2), 7.25, np.float32), 100.0, 833.0)[0] == pytest.approx(7.25)
    ramp = np.arange(3000, dtype=np.float32)[:, None]
    rows, newest = decimated(ramp, 1.0, 10.0)
    late = (newest - rows[:, 0]) / 10.0
    assert late == pytest.approx(decimate.DELAY, abs=0.1)
    delays = [group_delay(share) for share in np.linspace(0.01, decimate.PASS, 30)]
    assert max(delays) < 3.4 and min(delays) > 1.7


def group_delay(share: float) -> float:
    """In periods of the lower rate, from the kernel's phase at two near frequencies."""
    at = np.arange(len(decimate.kernel())) / decimate.FINE
    phases = [np.angle(np.exp(-2j * np.pi * near * at) @ decimate.kernel()) for near in (share, share + 1e-4)]
    return float((phases[0] - phases[1]) / (2 * np.pi * 1e-4))


@pytest.mark.parametrize("ratio", [1.6, 8.0])
def test_the_size_of_batches_makes_no_difference_to_the_last_bit(ratio: float) -> None:
    values = np.random.default_rng(2).normal(size=(2000, 3)).astype(np.float32)
    whole = Decimator(ratio, 3)(values)
    random = np.random.default_rng(3)
    single, decimator, at = [], Decimator(ratio, 3), 0
    while at < len(values):
        count = int(random.integers(1, 40))
        single += decimator(values[at : at + count])
        at += count
    assert single == whole and len(whole) > 200


def test_after_a_reset_nothing_of_the_readings_before_is_left() -> None:
    random = np.random.default_rng(4)
    values = random.normal(size=(400, 2)).astype(np.float32)
    decimator = Decimator(3.0, 2)
    expected = decimator(values)
    decimator(np.full((77, 2), 1e6, np.float32))
    decimator.reset()
    assert decimator(values) == expected


def window(rate_hz: float, length: int = 8) -> Window:
    return Window(channels=["b"], length=length, rate_hz=rate_hz, mean=[0.0], std=[1.0])


def test_the_window_of_a_faster_source_is_at_the_models_rate() -> None:
    tensor = Tensor("", (1, 8, 1), np.float32)
    readings, view = Readings(window(100.0), tensor, ("a", "b"), 500.0), np.zeros((1, 8, 1), np.float32)
    values = np.random.default_rng(5).normal(size=(300, 2)).astype(np.float32)
    due = [number for number in range(300) if readings(values[number : number + 1], view)]
    rows, newest = decimated(values, 100.0, 500.0)
    assert due == newest[7:].tolist()
    assert view[0, :, 0].tolist() == rows[-8:, 1].tolist()
    readings.reset()
    assert not readings(values[:20], view) and readings(values[20:], view)


def test_near_enough_and_unknown_rates_are_taken_as_they_are() -> None:
    tensor = Tensor("", (1, 8, 1), np.float32)
    for wanted, actual in ((100.0, 101.9), (100.0, 98.5), (0.0, 1000.0), (100.0, 0.0)):
        assert Readings(window(wanted), tensor, ("b",), actual).decimator is None


def test_not_a_number_is_a_fault_that_names_its_channel() -> None:
    readings = Readings(window(100.0), Tensor("", (1, 8, 1), np.float32), ("b",), 500.0)
    values = np.zeros((300, 1), np.float32)
    values[200] = np.nan
    with pytest.raises(DeviceFault, match="channel 'b' is not a number"):
        readings(values, np.zeros((1, 8, 1), np.float32))


@pytest.mark.parametrize(
    "wanted, actual, message",
    [
        (100.0, 90.0, "wants 100 readings a second, the source gives 90: set its rate_hz to 100 or more"),
        (100.0, 0.0, "the source's rate is not known: set rate_hz"),
        (0.01, 1000.0, "set its rate_hz to 10 or less"),
    ],
)
def test_a_rate_that_cannot_be_met_is_one_message(wanted: float, actual: float, message: str) -> None:
    assert message in decimate.rate_mistake(wanted, actual, "m")


def test_memory_is_bounded_for_any_ratio() -> None:
    for ratio in (1.0201, np.pi * 100, 999.99):
        assert Decimator(ratio, 1).weights.size <= 2 * decimate.MAX_WEIGHTS
