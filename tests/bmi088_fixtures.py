"""sensor.bmi088 on the simulated chip of `bmi088.py`."""

from __future__ import annotations

import numpy as np
import pytest

from drivers.base import DeviceFault, DeviceMissing, DeviceTimeout
from drivers.sensor import _bmi088, _bmi088_accel, _bmi088_source, _spidev, bmi088
from tests.bmi088 import Accelerometer, Bus, Clock, Gyroscope


def counting(number):
    """A frame that says its number: no two in a row are alike, none is at the end of the range."""
    return number % 30_000, (7 * number) % 1000 - 500, 100


class Board:
    """Both chips on one bus, and drivers on it."""

    def __init__(self, folder):
        self.clock = Clock()
        self.gyroscope, self.accelerometer = Gyroscope(self.clock, counting), Accelerometer(self.clock, counting)
        self.paths = {"accelerometer": str(folder / "spidev0.0"), "gyroscope": str(folder / "spidev0.1")}
        for path in self.paths.values():
            open(path, "w").close()
        chips = [self.accelerometer, self.gyroscope]
        self.bus = Bus(self.clock, dict(zip(self.paths.values(), chips)))
        self.drivers = []
        self.clock.sleep(1)  # both have been on for a while

    def driver(self, *chips, **options):
        """chips: which of both; both when empty."""
        paths = {chip: self.paths[chip] for chip in chips or self.paths}
        self.drivers.append(bmi088.Driver(bmi088.Options.model_validate(paths | options), "imu"))
        return self.drivers[-1]

    def opened(self, *chips, **options):
        driver = self.driver(*chips, **options)
        driver.open()
        return driver

    def collect(self, driver, seconds):
        """All samples of so long, their payloads copied."""
        samples, end = [], self.clock.ns + round(seconds * 1e9)
        while self.clock.ns < end:
            sample = driver.read(0.005)
            if sample is not None:
                samples.append(sample._replace(payload=sample.payload.copy()))
        return samples

    def numbers(self, samples, column, scale):
        """The numbers of the frames, from the first axis."""
        return np.rint(np.concatenate([sample.payload for sample in samples])[:, column] / scale).astype(int)


def failure(board, driver, seconds=3.0):
    with pytest.raises((DeviceFault, DeviceMissing, DeviceTimeout)) as caught:
        board.collect(driver, seconds)
    return caught.value


def recovers(board, driver):
    driver.close()
    driver.open()
    samples = board.collect(driver, 0.2)
    assert samples[0].sequence == len(samples[0].payload) - 1
    assert sum(len(sample.payload) for sample in samples) > 150
    assert board.clock.ns - samples[-1].t_capture < 5e6
    assert driver.lost == 0


@pytest.fixture
def board(tmp_path, monkeypatch):
    board = Board(tmp_path)
    monkeypatch.setattr(_spidev, "ioctl", board.bus.ioctl)
    for module in (_bmi088, _bmi088_accel, _bmi088_source, bmi088):
        monkeypatch.setattr(module, "time", board.clock)
    yield board
    for driver in board.drivers:
        driver.close()
