"""sensor.bmi088 on a simulated chip: start, every frame of both FIFOs, their moments, merging. Not run on hardware."""

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from drivers.base import load
from drivers.sensor import _spidev, bmi088
from drivers.sensor._bmi088 import Frames
from drivers.sensor._bmi088_accel import celsius, parse
from drivers.sensor._imu_merge import Merge
from tests.bmi088_fixtures import board as board

GYRO = math.radians(2000) / 32767
ACCEL = 12 * 9.80665 / 32768


def check_account(samples):
    before = -1
    for sample in samples:
        assert sample.sequence - before == len(sample.payload) and sample.skipped == 0
        before = sample.sequence


def test_every_frame_of_the_gyroscope(board):
    driver = board.opened("gyroscope")
    samples = board.collect(driver, 3.0)
    numbers = board.numbers(samples, 0, GYRO)
    assert (np.diff(numbers) == 1).all() and len(numbers) >= 2990
    check_account(samples)
    assert driver.channels == ("gyro_x", "gyro_y", "gyro_z") and driver.rate_hz == 1000
    assert (driver.lost, driver.held, driver.saturated) == (0, 0, 0)
    assert samples[0].payload.dtype == np.float32


@pytest.mark.parametrize("rate", [100, 200, 400, 800, 1600])
def test_every_frame_of_the_accelerometer(board, rate):
    driver = board.opened("accelerometer", accel_rate_hz=rate)
    samples = board.collect(driver, 2.0)
    numbers = board.numbers(samples, 0, ACCEL)
    assert (np.diff(numbers) == 1).all() and abs(len(numbers) - 2 * rate) <= rate / 50
    check_account(samples)
    assert driver.rate_hz == rate


@pytest.mark.parametrize("slow", [0.0, 0.02, -0.02])
@pytest.mark.parametrize("poll_ms", [0.5, 2.0, 10.0])
def test_stamps_are_right_to_one_period(board, slow, poll_ms):
    """Also where the chip's clock is 2 % off, as no data sheet excludes it."""
    board.gyroscope.slow = slow
    driver = board.opened("gyroscope", poll_ms=poll_ms)
    samples = board.collect(driver, 3.0)
    numbers = [int(round(sample.payload[-1, 0] / GYRO)) for sample in samples]
    late = [sample.t_capture - board.gyroscope.moments[n] for sample, n in zip(samples, numbers)]
    assert min(late) >= -1.1e6 and max(late) <= 1.1e6, (min(late), max(late))
    stamps = [sample.t_capture for sample in samples]
    assert stamps == sorted(set(stamps))


@pytest.mark.parametrize("rate, share", [(1600, 0.0), (800, 0.2)])
def test_merged_readings(board, rate, share):
    """Each rotation has the newest acceleration that is not newer than itself."""
    driver = board.opened(accel_rate_hz=rate)
    samples = board.collect(driver, 2.0)
    rows = sum(len(sample.payload) for sample in samples)
    check_account(samples)
    assert driver.channels == ("accel_x", "accel_y", "accel_z", "gyro_x", "gyro_y", "gyro_z")
    rotations, accelerations = board.numbers(samples, 3, GYRO), board.numbers(samples, 0, ACCEL)
    assert (np.diff(rotations) == 1).all() and driver.lost == 0
    assert abs(driver.held - share * rows) <= 0.02 * rows
    moments = board.gyroscope.moments, board.accelerometer.moments
    ages = [moments[0][r] - moments[1][a] for r, a in zip(rotations, accelerations)]
    period = 1e9 / rate
    assert min(ages) > -1.7e6 and max(ages) < period + 1.7e6  # up to one period of either chip by the stamps' error


def frames(stamps):
    return Frames(np.array([[stamp, 0, 0] for stamp in stamps], np.int16).reshape(-1, 3), np.array(stamps, np.int64), 0)


def test_which_acceleration_a_rotation_gets():
    """The stamps of both, also over the borders of reads; the one of the same moment is not too new."""
    merge = Merge()
    rows, stamps = merge(frames([5, 10]), frames([8, 12, 16]))
    assert rows[:, [0, 3]].tolist() == [[8, 10]] and stamps.tolist() == [10]  # before 8 there is none
    rows, _ = merge(frames([12, 15, 20]), frames([]))
    assert rows[:, [0, 3]].tolist() == [[12, 12], [12, 15], [16, 20]] and merge.held == 1
    rows, _ = merge(frames([25]), frames([]))
    assert rows[:, [0, 3]].tolist() == [[16, 25]] and merge.held == 2
    assert merge(frames([]), frames([30]))[0].shape == (0, 6)
    assert merge(frames([31]), frames([]))[0][0, 0] == 30 and merge.held == 2


def test_scales_of_the_data_sheet(board):
    board.accelerometer.motion = lambda number: (16384 + number % 2, -16384, 0)
    board.gyroscope.motion = lambda number: (16384 + number % 2, -16384, 0)
    driver = board.opened(accel_range_g=24, gyro_range_dps=125)
    row = board.collect(driver, 0.05)[0].payload[0]
    assert row[:3] == pytest.approx([12 * 9.80665, -12 * 9.80665, 0], abs=0.02)
    assert row[3:] == pytest.approx([math.radians(62.5), -math.radians(62.5), 0], abs=1e-3)


@pytest.mark.parametrize(
    "data, degrees", [("3e00", 85.0), ("0060", 23.375), ("0020", 23.125), ("0000", 23.0), ("c100", -40.0)]
)
def test_temperatures_of_the_data_sheet(data, degrees):
    assert celsius(*bytes.fromhex(data)) == degrees


def test_the_channel_of_the_temperature(board):
    board.accelerometer.defaults = board.accelerometer.defaults | {0x22: 0x02}
    driver = board.opened(temperature=True)
    assert driver.channels[-1] == "temperature_c"
    assert board.collect(driver, 0.05)[0].payload[0, -1] == 25.0


def test_settings_reach_both_chips(board):
    board.opened(accel_range_g=3, accel_filter="osr4", accel_rate_hz=800, gyro_range_dps=250, speed_hz=1_000_000)
    accelerometer, gyroscope = board.accelerometer.registers, board.gyroscope.registers
    assert [accelerometer[at] for at in (0x40, 0x41, 0x7C, 0x7D, 0x48, 0x49)] == [0x8B, 0, 0, 4, 0x02, 0x50]
    assert [gyroscope[at] for at in (0x0F, 0x10, 0x11, 0x3E)] == [3, 0x82, 0, 0x80]
    assert board.bus.settings[_spidev.WR_MAX_SPEED_HZ] == struct.pack("=I", 1_000_000)
    assert board.accelerometer.ignored == board.gyroscope.ignored == []


def test_the_simulated_chip_ignores_writes_while_it_is_suspended(board):
    """So the test above proves the order of the start."""
    chip = board.accelerometer
    board.clock.sleep(1)
    chip.transfer(b"\x80\0\0")
    chip.transfer(b"\x40\xab")
    assert chip.ignored == [(0x40, 0xAB)] and chip.registers[0x40] == 0xA8


def test_waiting(board):
    """An empty FIFO: None after the wait, and the time in between is slept through."""
    driver = board.opened("gyroscope", gyro_rate_hz=100, poll_ms=1)
    board.collect(driver, 0.1)
    start = board.clock.ns
    assert driver.read(0.003) is None or driver.read(0.003) is None
    assert 0.003e9 <= board.clock.ns - start <= 0.008e9


def test_self_test(board):
    driver = board.opened(self_test=True)
    assert board.accelerometer.registers[0x6D] == 0 and board.accelerometer.registers[0x40] == 0xAC
    assert board.collect(driver, 0.1)


def test_frames_of_all_kinds():
    frame = bytes.fromhex("84 0100 0200 ffff")
    other = bytes.fromhex("4005 44010203 4801 5001")
    raw, lost = parse(frame + other + b"\x87" + frame[1:] + frame[:4])
    assert raw.tolist() == [[1, 2, -1], [1, 2, -1]] and lost == 5
    assert parse(frame + b"\x80" * 20)[0].tolist() == [[1, 2, -1]]
    assert parse(b"")[0].shape == (0, 3)


@given(st.binary(max_size=1024))
def test_any_bytes_are_survived(data):
    try:
        raw, lost = parse(data)
    except ValueError:
        return
    assert len(raw) <= len(data) / 7 and 0 <= lost <= 255 * len(data) / 2


@pytest.mark.parametrize(
    "options, complaint",
    [
        ({}, "give gyroscope, accelerometer or both"),
        ({"gyroscope": "/dev/a", "accelerometer": "/dev/a"}, "own chip selects"),
        ({"gyroscope": "spidev0.1"}, "should match pattern"),
        ({"gyroscope": "/dev/a", "temperature": True}, "give accelerometer"),
        ({"gyroscope": "/dev/a", "self_test": True}, "give accelerometer"),
        ({"gyroscope": "/dev/a", "gyro_bandwidth_hz": 532}, "at 1000 Hz: 116"),
        ({"accelerometer": "/dev/a", "accel_rate_hz": 1000}, "1600"),
        ({"accelerometer": "/dev/a", "speed_hz": 20_000_000}, "less than or equal"),
        ({"accelerometer": "/dev/a", "poll_ms": 50}, "less than or equal"),
    ],
)
def test_invalid_options(options, complaint):
    with pytest.raises(ValidationError, match=complaint):
        bmi088.Options.model_validate(options)
    assert load("sensor.bmi088") is bmi088
