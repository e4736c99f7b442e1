"""sensor.iio on a false sysfs tree: layouts, units, settings, every reading, lost ones."""

import errno
import os
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from drivers.base import DeviceFault, DeviceMissing, load
from drivers.sensor import _iio, iio
from drivers.sensor._iio import Element, Layout, extract, parse_type
from tests.iio_fixtures import CHANNELS
from tests.iio_fixtures import device as device
from tests.waiting import until


def read(driver):
    return until(lambda: driver.read(0.02), "a sample")


@pytest.mark.parametrize(
    "text, data, value",
    [
        ("le:s16/16>>0", "feff", -2),
        ("le:s12/16>>4", "f0ff", -1),
        ("be:s12/16>>4", "8010", -2047),
        ("be:u12/16", "0fff", 4095),
        ("le:u24/32>>8", "ff010203", 0x030201),
        ("be:s24/32>>8", "80000000", -(1 << 23)),
        ("le:s64/64>>0", "feffffffffffffff", -2),
        ("le:s8/8>>0", "80", -128),
    ],
)
def test_types(text, data, value):
    kind = parse_type("in_a", 0, text)
    assert Layout([kind]).decode(bytes.fromhex(data))["in_a"].tolist() == [value]


@pytest.mark.parametrize(
    "text",
    ["", "le:s16", "s16/16>>0", "le:f32/32>>0", "le:s17/16>>0", "le:s12/16>>8", "le:s0/16>>0", "le:s16/24>>0"]
    + ["le:s16/16X4>>0", "le:s16/16>>0 ", "x" * 4096],
)
def test_types_that_are_refused(text):
    with pytest.raises(ValueError, match="in_a"):
        parse_type("in_a", 0, text)


@given(st.text("lebsuf:/0123456789X> ", max_size=24))
def test_any_type_is_survived(text):
    try:
        kind = parse_type("in_a", 0, text)
    except ValueError:
        return
    assert Layout([kind]).size <= 8


@given(st.integers(0, (1 << 64) - 1), st.sampled_from([1, 2, 4, 8]), st.booleans(), st.data())
def test_extraction(stored, storage, signed, data):
    """Against whole numbers of Python."""
    bits = data.draw(st.integers(1, storage * 8))
    shift = data.draw(st.integers(0, storage * 8 - bits))
    stored %= 1 << storage * 8
    value = stored >> shift & (1 << bits) - 1
    if (signed or bits == 64) and value >> bits - 1:
        value -= 1 << bits
    kind = Element("a", 0, False, signed, bits, storage, shift)
    assert extract(np.array([stored], f"u{storage}"), kind).tolist() == [value]


def test_the_layout_of_the_kernels_document():
    """iio_devbuf.rst: u16, u32, u32, u64; and u16, u64."""
    kinds = [
        parse_type(name, i, f"be:u{bits}/{bits}>>0") for i, (name, bits) in enumerate(zip("abcd", (16, 32, 32, 64)))
    ]
    whole, two = Layout(kinds[::-1]), Layout([kinds[3], kinds[0]])
    assert [whole.dtype.fields[name][1] for name in "abcd"] == [0, 4, 8, 16] and whole.size == 24
    assert [two.dtype.fields[name][1] for name in "ad"] == [0, 8] and two.size == 16
    last = [parse_type("a", 0, "le:s32/32>>0"), parse_type("b", 1, "le:s16/16>>0")]
    assert Layout(last).size == 8  # padded to the largest


def test_every_reading_in_si_units(device):
    driver = device.opened()
    assert driver.channels == ("accel_x", "accel_y", "accel_z", "temp") and driver.rate_hz == 1000
    assert device.get("current_timestamp_clock") == "monotonic"
    device.send([(n, -2 * n, 3, 400) for n in range(50)])
    sample = read(driver)
    assert sample.payload[:, 0].tolist() == [n * 0.5 for n in range(50)]
    assert sample.payload[:, 1].tolist() == [-n for n in range(50)]
    assert sample.payload[0, 3] == 24.5  # (400 - 8) * 62.5 milli degrees
    assert (sample.sequence, sample.skipped, sample.t_capture) == (49, 0, device.stamp)
    assert sample.payload.dtype == np.float32 and (driver.lost, driver.saturated) == (0, 0)
    device.send([(1, 2, 3, 4)])
    assert read(driver).sequence == 50
    assert driver.read(0.01) is None


def test_more_readings_than_one_read_takes(device):
    driver = device.opened()
    device.send([(n, 0, 0, 0) for n in range(600)])
    samples = [read(driver) for _ in range(3)]
    assert [len(sample.payload) for sample in samples] == [256, 256, 88]
    assert samples[-1].sequence == 599 and driver.lost == 0


def test_a_scan_in_two_parts(device):
    """The kernel does not do that; a pipe may."""
    driver = device.opened(stamp="arrival")
    os.write(device.pipe, b"\x01\0\x02\0")
    assert driver.read(0.02) is None
    os.write(device.pipe, b"\x03\0\x01\0")
    assert read(driver).payload[0].tolist() == [0.5, 1.0, 1.5, (16 - 8) * 0.0625]


def test_some_channels_with_other_names(device):
    device.put("scan_elements/in_accel_x_en", 1)  # left over from another program
    driver = device.opened(channels=[{"element": "in_temp", "name": "temperature_c"}, {"element": "in_accel_z"}])
    assert driver.channels == ("temperature_c", "accel_z")
    assert [device.get(f"scan_elements/in_{name}_en") for name in ("accel_x", "accel_z", "temp")] == ["0", "1", "1"]
    assert driver.layout.size == 16
    os.write(device.pipe, b"\x02\0\x01\x90" + b"\0" * 4 + time.monotonic_ns().to_bytes(8, "little"))
    assert read(driver).payload[0].tolist() == [(25 - 8) * 0.0625, 1.0]


def test_lost_readings_are_counted_by_the_stamps(device):
    driver = device.opened()
    device.send([(n, 0, 0, 0) for n in range(20)])
    first = read(driver)
    device.send([(n, 0, 0, 0) for n in range(3)], missing=7)
    second = read(driver)
    assert driver.lost == 7 and second.sequence - first.sequence == 3 + 7


def test_the_order_of_the_settings(device):
    """The buffer is off while they change, and on last."""
    driver = device.opened(watermark=4, buffer=64)
    order = [attribute for attribute, _ in device.written]
    assert device.written[0] == ("buffer/enable", "0") and device.written[-1] == ("buffer/enable", "1")
    assert order[-3:-1] == ["buffer/length", "buffer/watermark"]
    assert (device.get("buffer/length"), device.get("buffer/watermark")) == ("64", "4")
    driver.close()
    driver.close()
    assert device.get("buffer/enable") == "0"
    with pytest.raises(DeviceMissing, match="not open"):
        driver.read(0.0)


def test_the_one_folder_of_newer_kernels(device):
    (device.folder / "scan_elements").rename(device.folder / "buffer0")
    for attribute in ("enable", "length", "watermark"):
        (device.folder / "buffer" / attribute).rename(device.folder / "buffer0" / attribute)
    (device.folder / "buffer").rmdir()
    driver = device.opened()
    device.send([(1, 2, 3, 4)])
    assert len(read(driver).payload) == 1 and device.get("buffer0/enable") == "1"


def test_the_rate(device):
    device.rounds = lambda rate: 1040
    assert device.opened().rate_hz == 1040
    device.rounds = lambda rate: 52
    with pytest.raises(DeviceFault, match="52 Hz instead of 1000; rates it has: 52 104 1040"):
        device.opened()
    device.remove("sampling_frequency")
    device.put("in_accel_sampling_frequency", 5)
    assert device.opened().rate_hz == 1000 and device.get("in_accel_sampling_frequency") == "1000"


def test_a_trigger_with_a_timer_has_the_rate(device):
    folder = device.folder.parent / "trigger3"
    folder.mkdir()
    (folder / "name").write_text("timer\n")
    (folder / "sampling_frequency").write_text("0\n")
    driver = device.opened(trigger="timer", rate_hz=200)
    assert device.get("trigger/current_trigger") == "timer" and driver.rate_hz == 200
    assert (folder / "sampling_frequency").read_text() == "200" and device.get("sampling_frequency") == "100"
    with pytest.raises(DeviceMissing, match="trigger 'other': is not there; there are timer"):
        device.opened(trigger="other")


@pytest.mark.parametrize(
    "options, complaint",
    [
        ({"device": "../x"}, "should match pattern"),
        ({"channels": []}, "at least 1"),
        ({"channels": [{"element": "in_a"}, {"element": "in_a"}]}, "element in_a is given twice"),
        ({"channels": [{"element": "in_a", "name": "b"}, {"element": "in_b"}]}, "name b is given twice"),
        ({"channels": [{"element": "in_timestamp"}]}, "stamps the readings"),
        ({"channels": [{"element": "in_/../../x"}]}, "should match pattern"),
        ({"watermark": 100, "buffer": 100}, "twice the watermark"),
        ({"watermark": 100, "timeout_ms": 50}, "shorter than"),
    ],
)
def test_invalid_options(options, complaint):
    with pytest.raises(ValidationError, match=complaint):
        iio.Options.model_validate({"device": "imu-1", "channels": CHANNELS, "rate_hz": 1000} | options)
    assert load("sensor.iio") is iio


def test_what_check_knows_of_the_device():
    options = {"channels": CHANNELS, "rate_hz": 100}
    assert iio.Options(device="iio:device3", **options).exclusive_device() == "/dev/iio:device3"
    assert iio.Options(device="bmi160", **options).exclusive_device() == "iio:bmi160"
    assert _iio.explain(_iio.DEV, OSError(errno.EBUSY, "")).args[0].endswith("another program has the device open")
