"""sensor.bmi088 on a simulated chip: absent, other, unplugged, frozen, saturated, too hot; and back again."""

import errno
import os

import numpy as np
import pytest

from drivers.base import DeviceFault, DeviceMissing, DeviceTimeout
from drivers.sensor import _spidev
from drivers.sensor._raw_health import RawHealth, RawHealthOptions
from tests.bmi088_fixtures import board as board
from tests.bmi088_fixtures import counting, failure, recovers


@pytest.mark.parametrize("stuck", [0x00, 0xFF])
def test_nothing_is_connected(board, stuck):
    board.bus.stuck = stuck
    driver = board.driver()
    for _ in range(3):
        with pytest.raises(DeviceMissing, match=f"no accelerometer answers \\(0x{stuck:02X}\\): check power"):
            driver.open()
    assert driver.devices == []
    board.bus.stuck = None
    recovers(board, driver)


@pytest.mark.parametrize("stuck", [0x00, 0xFF])
def test_a_wire_breaks(board, stuck):
    driver = board.opened()
    board.collect(driver, 0.1)
    board.bus.stuck = stuck
    error = failure(board, driver, 0.2)
    assert isinstance(error, DeviceMissing) and "answers (0x" in str(error)
    board.clock.sleep(3600)
    board.bus.stuck = None
    recovers(board, driver)


def test_another_chip(board):
    board.gyroscope.registers[0] = 0xD1
    with pytest.raises(DeviceFault, match="chip id 0xD1 is not that of a BMI088 gyroscope"):
        board.opened()


def test_chip_selects_exchanged(board):
    board.paths = dict(zip(board.paths, reversed(board.paths.values())))
    with pytest.raises((DeviceFault, DeviceMissing), match="exchanged|chip select"):
        board.opened()


@pytest.mark.parametrize(
    "code, kind, text",
    [
        (errno.ESHUTDOWN, DeviceMissing, "is not there"),
        (errno.ENODEV, DeviceMissing, "is not there"),
        (errno.EIO, DeviceFault, "SPI error"),
        (errno.ETIMEDOUT, DeviceFault, "SPI error"),
        (errno.EMSGSIZE, DeviceFault, "bufsiz"),
    ],
)
def test_an_error_of_the_bus(board, code, kind, text):
    driver = board.opened()
    board.collect(driver, 0.1)
    board.bus.failing = code
    error = failure(board, driver)
    assert isinstance(error, kind) and text in str(error)
    with pytest.raises(kind, match=text):
        driver.open()
    driver.close()
    with pytest.raises(DeviceMissing, match="not open"):
        driver.read(0.0)
    board.bus.failing = 0
    recovers(board, driver)


def test_the_kernel_is_asked_for_real(tmp_path):
    with pytest.raises(DeviceMissing, match="spidev bound"):
        _spidev.SpiDevice(str(tmp_path / "nothing"), 1_000_000)
    with pytest.raises(DeviceFault, match="not a spidev device"):
        _spidev.SpiDevice("/dev/null", 1_000_000)
    assert _spidev.MESSAGE == 0x40206B00 and _spidev.WR_MAX_SPEED_HZ == 0x40046B04


def test_a_device_that_another_lane_has_open(board):
    board.opened()
    held = os.listdir("/proc/self/fd")
    with pytest.raises(DeviceMissing, match="busy"):
        board.opened("gyroscope")
    assert len(os.listdir("/proc/self/fd")) == len(held)


@pytest.mark.parametrize("chip", ["gyroscope", "accelerometer"])
def test_frozen(board, chip):
    driver = board.opened()
    board.collect(driver, 0.1)
    getattr(board, chip).motion = lambda number: (5, 6, 7)
    board.collect(driver, 0.9)
    assert f"{chip}: frozen" in str(failure(board, driver, 0.3))
    getattr(board, chip).motion = counting
    recovers(board, driver)


@pytest.mark.parametrize("value", [32767, -32768])
def test_saturated(board, value):
    """A knock is counted, a stuck axis is a fault."""
    driver = board.opened()
    board.gyroscope.motion = lambda number: (number % 100, value if number % 200 < 100 else 0, 0)
    board.collect(driver, 1.0)
    assert 400 <= driver.saturated <= 600
    board.gyroscope.motion = lambda number: (number % 100, value, 0)
    assert "gyroscope: y is at the end of its range for 500 ms" in str(failure(board, driver, 0.8))
    board.gyroscope.motion = counting
    recovers(board, driver)


def test_a_temperature_that_is_never_valid(board):
    board.accelerometer.defaults = board.accelerometer.defaults | {0x22: 0x80}
    driver = board.driver()
    with pytest.raises(DeviceFault, match="no valid temperature"):
        driver.open()
    board.accelerometer.defaults = board.accelerometer.defaults | {0x22: 0x00}
    recovers(board, driver)


def test_a_temperature_that_becomes_invalid_is_held_for_a_while(board):
    driver = board.opened(temperature=True)
    board.accelerometer.registers[0x22] = 0x80
    samples = board.collect(driver, 2.7)
    assert samples[-1].payload[-1, -1] == 23.0
    assert "no valid temperature" in str(failure(board, driver))


def test_too_hot(board):
    driver = board.opened()
    board.accelerometer.registers[0x22] = 0x50
    assert "103 degrees Celsius, outside -40 to 85" in str(failure(board, driver))
    board.accelerometer.registers[0x22] = 0
    recovers(board, driver)


@pytest.mark.parametrize("chip", ["gyroscope", "accelerometer"])
def test_a_dip_of_the_supply(board, chip):
    """The chip is in its reset state then, with another range: its values would be wrong by a factor."""
    driver = board.opened()
    board.collect(driver, 0.1)
    getattr(board, chip).power_up()
    error = failure(board, driver)
    assert f"{chip}" in str(error) and ("lost its settings" in str(error) or "answers" in str(error))
    recovers(board, driver)


def test_a_range_that_changes_by_itself(board):
    driver = board.opened()
    board.accelerometer.registers[0x41] = 0
    assert "register 0x41 is 0x00, not 0x02" in str(failure(board, driver))


def test_a_chip_that_measures_no_more(board):
    driver = board.opened()
    board.collect(driver, 0.1)
    board.accelerometer.due = None
    error = failure(board, driver, 0.3)
    assert isinstance(error, DeviceTimeout) and "accelerometer answers, but measured nothing for 100 ms" in str(error)
    recovers(board, driver)


def test_a_register_that_does_not_keep_its_value(board):
    write = board.gyroscope.write
    board.gyroscope.write = lambda address, value: address == 0x0F or write(address, value)
    with pytest.raises(DeviceFault, match="register 0x0F of the gyroscope keeps 0x00, not 0x01: lower speed_hz"):
        board.opened(gyro_range_dps=1000)


def test_a_self_test_that_fails(board):
    board.accelerometer.deflection = (2000, 100, 1500)
    with pytest.raises(DeviceFault, match="moved x by 2930, y by 146, z by 2197 mg"):
        board.opened(self_test=True)


def test_two_equal_readings_of_a_slow_sensor_are_not_frozen():
    health = RawHealth(["a"], np.array([-8]), np.array([7]), RawHealthOptions())
    rows = np.full((1, 1), 7)
    assert [health.check(rows, second * 1_000_000_000) for second in range(9)] == [""] * 9
    assert "frozen" in health.check(rows, 9_000_000_000)
