"""A false sysfs tree of an IIO device, and a named pipe as its character device. The kernel: test_iio_kernel.py."""

from __future__ import annotations

import os
import struct
import time

import pytest

from drivers.sensor import _iio, iio

IMU = {"accel_x": "le:s16/16>>0", "accel_y": "le:s16/16>>0", "accel_z": "le:s16/16>>0", "temp": "be:s12/16>>4"}
CHANNELS = [{"element": f"in_{name}"} for name in IMU]
REAL_WRITE = _iio.write
SCAN = struct.Struct("<3h2sq")


class Device:
    """A device with the channels of IMU. refuse: attribute -> errno. rounds: what it makes of a sampling frequency."""

    def __init__(self, root, number=0, name="imu-1"):
        self.folder, self.node = root / f"sys/iio:device{number}", root / f"dev/iio:device{number}"
        self.refuse, self.rounds, self.drivers, self.written = {}, lambda rate: rate, [], []
        self.create(name)
        self.node.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(self.node)
        # both ends, so that it has neither to be waited for nor can end
        self.pipe = os.open(self.node, os.O_RDWR | os.O_NONBLOCK)
        self.stamp = max(1, time.monotonic_ns() - 30_000_000_000)  # of the newest scan; it may be old

    def create(self, name):
        self.put("name", name)
        for place, (element, kind) in enumerate([*IMU.items(), ("timestamp", "le:s64/64>>0")]):
            self.put(f"scan_elements/in_{element}_en", 0)
            self.put(f"scan_elements/in_{element}_index", place)
            self.put(f"scan_elements/in_{element}_type", kind)
        for attribute in ("enable", "length", "watermark"):
            self.put(f"buffer/{attribute}", 0)
        self.put("current_timestamp_clock", "realtime")
        self.put("sampling_frequency", 100)
        self.put("sampling_frequency_available", "52 104 1040")
        self.put("in_accel_scale", "0.5")
        self.put("in_temp_scale", "62.5")
        self.put("in_temp_offset", "-8")
        self.put("trigger/current_trigger", "")

    def put(self, attribute, value):
        path = self.folder / attribute
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")

    def get(self, attribute):
        return (self.folder / attribute).read_text().strip()

    def remove(self, attribute):
        (self.folder / attribute).unlink()

    def write(self, path, text):
        """Instead of `_iio.write`."""
        attribute = str(path.relative_to(self.folder)) if path.is_relative_to(self.folder) else path.name
        self.written.append((attribute, text))
        if attribute in self.refuse:
            code = self.refuse[attribute]
            raise _iio.explain(path, OSError(code, os.strerror(code)), f"'{text}' not accepted")
        if attribute == "sampling_frequency":
            text = f"{self.rounds(float(text)):g}"
        REAL_WRITE(path, text)

    def send(self, rows, period_ns=1_000_000, missing=0):
        """Scans. missing: readings left out before them."""
        self.stamp += missing * period_ns
        for x, y, z, temperature in rows:
            self.stamp += period_ns
            os.write(self.pipe, SCAN.pack(x, y, z, struct.pack(">h", temperature << 4), self.stamp))

    def driver(self, **options):
        options = {"device": "imu-1", "channels": CHANNELS, "rate_hz": 1000, "timeout_ms": 20_000} | options
        self.drivers.append(iio.Driver(iio.Options.model_validate(options), "imu"))
        return self.drivers[-1]

    def opened(self, **options):
        driver = self.driver(**options)
        driver.open()
        return driver


@pytest.fixture
def device(tmp_path, monkeypatch):
    monkeypatch.setattr(_iio, "SYSFS", tmp_path / "sys")
    monkeypatch.setattr(_iio, "DEV", tmp_path / "dev")
    device = Device(tmp_path)
    monkeypatch.setattr(_iio, "write", device.write)
    yield device
    for driver in device.drivers:
        driver.close()
    os.close(device.pipe)
