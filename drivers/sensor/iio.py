"""A sensor that Linux' IIO drives: buffered capture, stamped by the kernel."""

from __future__ import annotations

import os
import re
import select
import time
from typing import Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from agent.data import FUTURE_NS, Array, Sample
from drivers.base import DeviceFault, DeviceMissing, DeviceTimeout, SensorStream, SourceOptions
from drivers.options import DriverOptions
from drivers.sensor import _iio
from drivers.sensor._iio import TIMESTAMP, Layout
from drivers.sensor._iio_capture import Capture, Settings
from drivers.sensor._raw_health import RawHealth, RawHealthOptions

BATCH = 256  # readings in one read; the rest stays in the kernel's buffer
LATE = 1.5  # periods between two readings from which on one was lost
BAD_RUN = 20  # readings in a row whose stamps do not advance
RATE_READINGS = 32  # over which the rate is compared with that of the options
RATE_TOLERANCE = 0.3


class Channel(DriverOptions):
    """One element of the buffer."""

    element: str = Field(pattern=_iio.ELEMENT.pattern + "$", description="as in scan_elements: in_accel_x")
    name: str = Field("", description="of the channel; the element's without in_ when empty")

    @property
    def channel(self) -> str:
        return self.name or self.element[3:]


class Options(RawHealthOptions, SourceOptions):
    """The device, its channels, its rate."""

    device: str = Field(
        pattern=r"^[A-Za-z0-9_.:,+-]{1,64}$",
        description="name or label (/sys/bus/iio/devices/*/name); or iio:device0, which may change from boot to boot",
    )
    channels: list[Channel] = Field(min_length=1, max_length=64)
    rate_hz: float = Field(gt=0, le=10_000, description="sampling frequency; set where the device has a choice")
    trigger: str = Field(
        "", max_length=64, description="name of the trigger that starts each reading; empty: that of the device"
    )
    stamp: Literal["kernel", "arrival"] = Field("kernel", description="arrival: of a device without in_timestamp")
    watermark: int = Field(1, ge=1, le=1024, description="readings that the kernel collects before it wakes this up")
    buffer: int = Field(1024, ge=2, le=65_536, description="readings that the kernel keeps until they are read")

    @field_validator("channels")
    @classmethod
    def _distinct(cls, channels: list[Channel]) -> list[Channel]:
        for what, names in (("element", [c.element for c in channels]), ("name", [c.channel for c in channels])):
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice:
                raise ValueError(f"the {what} {twice} is given twice")
        if any(channel.element == TIMESTAMP for channel in channels):
            raise ValueError("in_timestamp is no channel: it stamps the readings")
        return channels

    @model_validator(mode="after")
    def _waits(self) -> Options:
        if self.watermark * 2 > self.buffer:
            raise ValueError("buffer: at least twice the watermark")
        if self.watermark * 1e3 / self.rate_hz > self.timeout_ms:
            raise ValueError("timeout_ms: shorter than the readings of one watermark take")
        return self

    def exclusive_device(self) -> str:
        named = re.fullmatch(r"iio:device[0-9]+", self.device)
        return str(_iio.DEV / self.device) if named else f"iio:{self.device}"


class Driver(SensorStream):
    """lost: readings missing between the time stamps of others. saturated: with a channel at the end of its range.

    Both since open.
    """

    def __init__(self, options: Options, name: str = "") -> None:
        super().__init__(options, name)
        self.channels = tuple(channel.channel for channel in options.channels)
        self.rate_hz = options.rate_hz
        self.capture: Capture | None = None
        self.lost = 0
        self.health: RawHealth | None = None

    @property
    def saturated(self) -> int:
        return self.health.saturated if self.health else 0

    def open(self) -> None:
        self.close()
        options: Options = self.options
        self.stamped = options.stamp == "kernel"
        names = [channel.element for channel in options.channels]
        settings = Settings(
            names, options.trigger, options.rate_hz, options.buffer, options.watermark, stamped=self.stamped
        )
        self.capture = Capture(options.device, settings)
        self.rate_hz = self.capture.rate_hz or options.rate_hz
        self.period_ns = 1e9 / self.rate_hz
        elements = {element.name: element for element in self.capture.elements}
        self.layout = Layout(self.capture.elements)
        self.elements = [elements[name] for name in names]
        ends = np.array([_iio.value_range(element) for element in self.elements])
        self.health = RawHealth(self.channels, ends[:, 0], ends[:, 1], options)
        self.ready = select.poll()
        self.ready.register(self.capture.fd, select.POLLIN)
        self.pending = b""
        self.sequence, self.lost = -1, 0
        self.stamp = self.bad_run = 0
        self.first_steps = np.empty(0)
        self.t_arrived = time.monotonic_ns()

    def read(self, wait_s: float) -> Sample | None:
        if self.capture is None:
            raise DeviceMissing(f"{self.options.device}: not open")
        timeout = self.t_arrived + int(self.options.timeout_ms * 1e6)
        wait_ns = min(int(wait_s * 1e9), timeout - time.monotonic_ns())
        if self.ready.poll(max(0, wait_ns) / 1e6):
            data = self._receive(self.capture)
            if data:
                return self._sample(data)
        if time.monotonic_ns() >= timeout:
            raise self._silence(self.capture)
        return None

    def _receive(self, capture: Capture) -> bytes:
        """Whole scans. Raises DeviceMissing."""
        try:
            data = os.read(capture.fd, self.layout.size * BATCH - len(self.pending))
        except BlockingIOError:
            return b""
        except OSError as error:
            raise _iio.explain(_iio.DEV / capture.device.name, error) from error
        if not data:
            raise DeviceMissing(f"{_iio.DEV / capture.device.name}: gone, unplugged or its capture was stopped")
        data = self.pending + data  # the kernel gives whole scans only
        whole = len(data) // self.layout.size * self.layout.size
        self.pending = data[whole:]
        return data[:whole]

    def _silence(self, capture: Capture) -> DeviceMissing | DeviceTimeout:
        if not capture.device.exists():
            return DeviceMissing(f"{capture.device.name} ({self.options.device}): gone, unplugged")
        return DeviceTimeout(
            f"{capture.device.name} ({self.options.device}): no reading for {self.options.timeout_ms:g} ms; "
            f"trigger: {_iio.read(capture.device / 'trigger/current_trigger') or 'none'}"
        )

    def _sample(self, data: bytes) -> Sample:
        """Raises DeviceFault."""
        now = time.monotonic_ns()
        decoded = self.layout.decode(data)
        raw = np.stack([decoded[element.name] for element in self.elements], axis=1)
        if self.stamped:
            lost = self._account(decoded[TIMESTAMP], now)
        else:
            lost, self.stamp = 0, now
        self.t_arrived = now
        self.lost += lost
        self.sequence += len(raw) + lost
        assert self.health is not None, "made by open"
        problem = self.health.check(raw, self.stamp)
        if problem:
            raise DeviceFault(f"{self.options.device}: {problem}")
        return Sample(self.name, self.sequence, self.stamp, self._values(raw))

    def _values(self, raw: Array) -> Array:
        offsets, scales = ([getattr(element, what) for element in self.elements] for what in ("offset", "scale"))
        values: Array = ((raw + np.array(offsets)) * np.array(scales)).astype(np.float32)
        return values

    def _account(self, stamps: Array, now: int) -> int:
        """How many readings are missing before and among these. Raises DeviceFault where the stamps are not good."""
        newest = int(stamps[-1])
        if not 0 < newest <= now + FUTURE_NS:
            raise DeviceFault(
                f"{self.options.device}: time stamp {newest} is not of CLOCK_MONOTONIC ({now}): set stamp to arrival"
            )
        steps = np.diff(stamps, prepend=self.stamp or stamps[0] - int(self.period_ns))
        advancing = np.flatnonzero(steps > 0)
        self.bad_run = len(steps) - 1 - int(advancing[-1]) if len(advancing) else self.bad_run + len(steps)
        if self.bad_run >= BAD_RUN:
            raise DeviceFault(f"{self.options.device}: the time stamps of {self.bad_run} readings do not advance")
        self.stamp = max(self.stamp, newest)
        self._check_rate(steps)
        late = steps[steps > LATE * self.period_ns]
        return int((np.rint(late / self.period_ns) - 1).sum())

    def _check_rate(self, steps: Array) -> None:
        """Of the first readings only: later a hole could be taken for another rate. Raises DeviceFault."""
        if len(self.first_steps) > RATE_READINGS:
            return
        self.first_steps = np.concatenate([self.first_steps, steps])
        period = float(np.median(self.first_steps))
        if len(self.first_steps) > RATE_READINGS and abs(period / self.period_ns - 1) > RATE_TOLERANCE:
            raise DeviceFault(
                f"{self.options.device}: {1e9 / max(period, 1):.5g} Hz, not {self.rate_hz:g}: set rate_hz"
            )

    def close(self) -> None:
        capture, self.capture = self.capture, None
        if capture is not None:
            capture.close()
