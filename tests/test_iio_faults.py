"""sensor.iio on a false sysfs tree: absent, busy, refused, silent, unplugged, frozen, another clock; and back again."""

import errno
import os

import pytest

from drivers.base import DeviceFault, DeviceMissing, DeviceTimeout
from drivers.sensor import iio
from tests.iio_fixtures import Device
from tests.iio_fixtures import device as device
from tests.test_iio import read
from tests.waiting import until


def failure(driver, kind):
    def fails():
        try:
            driver.read(0.02)
        except (DeviceFault, DeviceMissing, DeviceTimeout) as error:
            return error
        return None

    error = until(fails, "the fault")
    assert isinstance(error, kind), error
    return str(error)


def works(device, driver):
    driver.open()
    device.send([(n, 1, 2, 3) for n in range(5)])
    sample = read(driver)
    assert (sample.sequence, len(sample.payload), driver.lost) == (4, 5, 0)


def test_absent(device, tmp_path):
    driver = device.driver(device="other")
    with pytest.raises(DeviceMissing, match=r"IIO device 'other': is not there .*iio:device0 \(imu-1\)"):
        driver.open()
    with pytest.raises(DeviceMissing, match="iio:device7: is not there"):
        device.opened(device="iio:device7")
    device.put("label", "other")
    works(device, driver)


def test_two_of_one_name(device, tmp_path):
    other = Device(tmp_path, 1)
    with pytest.raises(DeviceFault, match="iio:device0, iio:device1 have this name"):
        device.opened()
    works(device, device.driver(device="iio:device0"))
    os.close(other.pipe)


@pytest.mark.parametrize(
    "code, kind, text",
    [
        (errno.EBUSY, DeviceMissing, "busy"),
        (errno.EACCES, DeviceMissing, "udev"),
        (errno.ENODEV, DeviceMissing, "there"),
    ],
)
def test_the_character_device_does_not_open(device, monkeypatch, code, kind, text):
    driver, real = device.driver(), os.open

    def refuse(path, *rest):
        if path == device.node:
            raise OSError(code, os.strerror(code))
        return real(path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(kind, match=text):
            driver.open()
    works(device, driver)


@pytest.mark.parametrize(
    "attribute", ["buffer/enable", "buffer/length", "scan_elements/in_temp_en", "sampling_frequency"]
)
@pytest.mark.parametrize("code", [errno.EINVAL, errno.EBUSY, errno.EACCES, errno.EIO])
def test_a_setting_that_is_refused(device, attribute, code):
    device.refuse = {attribute: code}
    driver = device.driver()
    held = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises((DeviceFault, DeviceMissing), match=attribute):
            driver.open()
    assert driver.capture is None and len(os.listdir("/proc/self/fd")) == held
    device.refuse = {}
    works(device, driver)


@pytest.mark.parametrize(
    "attribute, value, text",
    [
        ("in_accel_scale", "nan", "not a possible number"),
        ("in_accel_scale", "1e400", "not a possible number"),
        ("in_accel_scale", "0.000000", "is 0"),
        ("in_temp_offset", "x" * 9000, "not a possible number"),
        ("scan_elements/in_temp_type", "le:s12/12", "is not known"),
        ("scan_elements/in_temp_index", "-3", "index -3 is not possible"),
        ("scan_elements/in_temp_index", "1e9", "is not possible"),
    ],
)
def test_attributes_that_make_no_sense(device, attribute, value, text):
    good = device.get(attribute)
    device.put(attribute, value)
    driver = device.driver()
    with pytest.raises(DeviceFault, match=text):
        driver.open()
    device.put(attribute, good)
    works(device, driver)


@pytest.mark.parametrize(
    "attribute, text",
    [
        ("buffer/enable", "has no buffer"),
        ("current_timestamp_clock", "set stamp to arrival"),
        ("scan_elements/in_timestamp_en", "has no time stamps"),
        ("scan_elements/in_temp_en", "has no in_temp in its buffer; it has in_accel_x, in_accel_y, in_accel_z$"),
    ],
)
def test_what_the_device_lacks(device, attribute, text):
    device.remove(attribute)
    with pytest.raises(DeviceFault, match=text):
        device.opened()


def test_arrival_needs_no_clock(device):
    device.remove("current_timestamp_clock")
    driver = device.opened(stamp="arrival")
    os.write(device.pipe, b"\0" * 8)
    assert read(driver).sequence == 0


def test_silence(device):
    device.put("trigger/current_trigger", "timer")
    driver = device.opened(timeout_ms=30)
    assert "no reading for 30 ms; trigger: timer" in failure(driver, DeviceTimeout)
    driver.close()
    works(device, driver)


def test_gone_while_it_is_silent(device):
    driver = device.opened(timeout_ms=30)
    device.folder.rename(device.folder.with_name("iio:gone"))
    assert "gone, unplugged" in failure(driver, DeviceMissing)
    with pytest.raises(DeviceMissing, match="is not there"):
        driver.open()
    device.folder.with_name("iio:gone").rename(device.folder)
    works(device, driver)


def test_unplugged_in_a_read(device, monkeypatch):
    driver = device.opened()
    device.send([(1, 2, 3, 4)])
    read(driver)

    def gone(fd, size):
        raise OSError(errno.ENODEV, "No such device")

    with monkeypatch.context() as patch:
        patch.setattr(iio.os, "read", gone)
        device.send([(1, 2, 3, 4)])
        assert "unplugged" in failure(driver, DeviceMissing)
    while True:  # the kernel empties its buffer when it is enabled; a pipe does not
        try:
            os.read(device.pipe, 65536)
        except BlockingIOError:
            break
    works(device, driver)


def test_the_end_of_the_data(device):
    driver = device.opened()
    os.close(device.pipe)
    assert "gone" in failure(driver, DeviceMissing)
    device.pipe = os.open(device.node, os.O_RDWR | os.O_NONBLOCK)
    works(device, driver)


@pytest.mark.parametrize("offset_ns", [10**18, 3600 * 10**9])
def test_stamps_of_another_clock(device, offset_ns):
    """CLOCK_REALTIME, or a clock that also runs while the box is suspended."""
    driver = device.opened()
    device.send([(1, 2, 3, 4)])
    read(driver)
    device.stamp += offset_ns
    device.send([(1, 2, 3, 5)])
    assert "not of CLOCK_MONOTONIC" in failure(driver, DeviceFault)


def test_stamps_that_stand_still(device):
    driver = device.opened()
    device.send([(n, 2, 3, 4) for n in range(64)], period_ns=0)
    assert "do not advance" in failure(driver, DeviceFault)


def test_stamps_that_step_back_are_not_delivered(device):
    driver = device.opened()
    device.send([(n, 2, 3, 4) for n in range(3)])
    first = read(driver).t_capture
    for row in range(3):
        os.write(device.pipe, b"\1\0" * 4 + (first - 10 + row).to_bytes(8, "little"))
    assert read(driver).t_capture == first and driver.lost == 0


def test_another_rate_than_configured(device):
    driver = device.opened()
    device.send([(n, 2, 3, 4) for n in range(64)], period_ns=4_000_000)
    assert "250 Hz, not 1000: set rate_hz" in failure(driver, DeviceFault)


def test_frozen_and_saturated(device):
    driver = device.opened()
    device.send([(1, 2, 3, 4)] * 1400)
    assert "frozen: the same bits in every reading for 1000 ms" in failure(driver, DeviceFault)
    driver.close()
    driver = device.opened()
    device.send([(n % 50, -32768, 3, 4) for n in range(1000)])
    assert "accel_y is at the end of its range for 500 ms" in failure(driver, DeviceFault)
    assert driver.saturated >= 500


def test_a_constant_value_may_be_normal(device):
    driver = device.opened(frozen_ms=0, saturated_ms=0)
    device.send([(32767, 2, 3, 4)] * 1500)
    rows = 0
    while rows < 1500:
        rows += len(read(driver).payload)
    assert driver.saturated == 1500
