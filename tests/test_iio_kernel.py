"""sensor.iio on a device of the kernel: iio_dummy and a timer as trigger, both made through configfs."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from drivers.base import DeviceMissing
from drivers.sensor import iio
from tests.waiting import until

CONFIG = Path("/sys/kernel/config/iio")
DEVICE, TRIGGER = CONFIG / "devices/dummy/reflexd-test", CONFIG / "triggers/hrtimer/reflexd-test"


def reason():
    if os.geteuid() != 0:
        return "needs root: iio_dummy is made through configfs"
    for module in ("iio_dummy", "iio_trig_hrtimer"):
        with suppress(OSError):
            subprocess.run(["modprobe", module], capture_output=True, timeout=20, check=False)
    for folder in (DEVICE.parent, TRIGGER.parent):
        if not folder.is_dir():
            return f"this kernel has no {folder}: needs CONFIG_IIO_SIMPLE_DUMMY_BUFFER and CONFIG_IIO_HRTIMER_TRIGGER"
    return ""


WHY_NOT = reason()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)


@pytest.fixture
def dummy():
    for folder in (DEVICE, TRIGGER):
        folder.mkdir()
    yield
    for folder in (DEVICE, TRIGGER):
        folder.rmdir()


def opened(**options):
    channels = [{"element": "in_accel_x"}, {"element": "in_voltage0"}, {"element": "in_voltage1-voltage2"}]
    options = {"device": "reflexd-test", "channels": channels, "rate_hz": 200, "trigger": "reflexd-test"} | options
    driver = iio.Driver(iio.Options.model_validate({"frozen_ms": 0} | options), "imu")
    driver.open()
    return driver


def test_readings_with_the_kernels_stamps(dummy):
    driver = opened()
    try:
        samples = []
        while not samples or samples[-1].sequence < 100:
            sample = until(lambda: driver.read(0.05))
            samples.append(sample._replace(payload=sample.payload.copy()))
        steps = np.diff([sample.t_capture for sample in samples])
        assert (steps > 0).all() and np.median(steps) == pytest.approx(5e6, rel=0.2)
        assert sum(len(sample.payload) for sample in samples) + driver.lost == samples[-1].sequence + 1
        row = driver._values(np.array([[344, 7, -33]]))[0]  # what the dummy always has
        assert samples[-1].payload[-1].tolist() == row.tolist()
    finally:
        driver.close()


def test_it_is_busy_and_comes_back(dummy):
    driver = opened()
    try:
        with pytest.raises(DeviceMissing, match="busy"):
            opened()
        driver.close()
        driver.open()
        assert until(lambda: driver.read(0.05)).sequence >= 0
    finally:
        driver.close()


def test_it_is_removed(dummy):
    driver = opened(timeout_ms=200)
    try:
        until(lambda: driver.read(0.05))
        DEVICE.rmdir()
        with pytest.raises(DeviceMissing):
            until(lambda: driver.read(0.05) and False)
        driver.close()
        with pytest.raises(DeviceMissing, match="is not there"):
            driver.open()
        DEVICE.mkdir()
        driver.open()
        assert until(lambda: driver.read(0.05)).sequence >= 0
    finally:
        driver.close()
