"""Bosch BMI088 over SPI (/dev/spidevB.C): gyroscope and accelerometer, every frame of their FIFOs."""

from __future__ import annotations

import math
import time
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from agent.data import Array, Sample
from drivers.base import DeviceError, DeviceFault, DeviceMissing, SensorStream, SourceOptions
from drivers.sensor._bmi088_accel import Accelerometer
from drivers.sensor._bmi088_gyro import Gyroscope
from drivers.sensor._bmi088_source import Source
from drivers.sensor._imu_merge import Merge
from drivers.sensor._raw_health import RawHealthOptions
from drivers.sensor._spidev import SpiDevice

AXES = ("x", "y", "z")
G = 9.80665  # m/s2
CHECK_NS = 1_280_000_000  # between two looks at temperature (a new one every 1.28 s, data sheet 5.3.7) and settings
TEMPERATURES = (-40.0, 85.0)  # data sheet 1.1: the chip is not specified outside
TEMPERATURE_TRIES = 3


class Options(RawHealthOptions, SourceOptions):
    """The two chips; leave one out to read the other alone, at its own rate."""

    gyroscope: str = Field("", pattern="^(/|$)", description="device of its chip select, /dev/spidev0.1")
    accelerometer: str = Field("", pattern="^(/|$)", description="device of its chip select, /dev/spidev0.0")
    speed_hz: int = Field(5_000_000, ge=100_000, le=10_000_000, description="SPI clock; the chip allows 10 MHz")
    gyro_range_dps: Literal[125, 250, 500, 1000, 2000] = 2000
    gyro_rate_hz: Literal[100, 200, 400, 1000, 2000] = 1000
    gyro_bandwidth_hz: Literal[0, 12, 23, 32, 47, 64, 116, 230, 532] = Field(0, description="0: widest of the rate")
    accel_range_g: Literal[3, 6, 12, 24] = 12
    accel_rate_hz: Literal[100, 200, 400, 800, 1600] = 1600
    accel_filter: Literal["normal", "osr2", "osr4"] = Field("normal", description="osr4 has the lowest bandwidth")
    temperature: bool = Field(False, description="channel temperature_c, of the accelerometer")
    poll_ms: float = Field(2.0, ge=0.5, le=10, description="pause between two reads of the FIFOs")
    self_test: bool = Field(False, description="of the accelerometer at open, 0.1 s; the machine must stand still")
    timeout_ms: float = Field(100.0, ge=30, le=60_000, description="silence of either chip after which it is a fault")

    @model_validator(mode="after")
    def _consistent(self) -> Options:
        if not self.gyroscope and not self.accelerometer:
            raise ValueError("give gyroscope, accelerometer or both")
        if self.gyroscope == self.accelerometer:
            raise ValueError("gyroscope and accelerometer have their own chip selects, so two devices")
        if (self.temperature or self.self_test) and not self.accelerometer:
            raise ValueError("temperature and self_test are the accelerometer's: give accelerometer")
        if self.gyro_bandwidth_hz and (self.gyro_rate_hz, self.gyro_bandwidth_hz) not in Gyroscope.RATES:
            fitting = ", ".join(str(width) for rate, width in Gyroscope.RATES if rate == self.gyro_rate_hz)
            raise ValueError(f"gyro_bandwidth_hz at {self.gyro_rate_hz} Hz: {fitting}")
        return self

    @property
    def rate_hz(self) -> float:
        return float(self.gyro_rate_hz if self.gyroscope else self.accel_rate_hz)

    @property
    def bandwidth_hz(self) -> int:
        return self.gyro_bandwidth_hz or max(width for rate, width in Gyroscope.RATES if rate == self.gyro_rate_hz)

    def exclusive_device(self) -> str:
        return self.gyroscope or self.accelerometer


class Driver(SensorStream):
    """lost: frames of either chip that its FIFO had no room for, or that were unreadable.

    held: readings whose acceleration is that of the reading before (at 800 Hz one in five). saturated: readings with an
    axis at the end of its range. All since open.
    """

    def __init__(self, options: Options, name: str = "") -> None:
        super().__init__(options, name)
        names = [f"accel_{axis}" for axis in AXES if options.accelerometer]
        names += [f"gyro_{axis}" for axis in AXES if options.gyroscope]
        self.channels = (*names, "temperature_c") if options.temperature else tuple(names)
        self.rate_hz = options.rate_hz
        self.devices: list[SpiDevice] = []
        self.gyroscope: Source | None = None
        self.accelerometer: Source | None = None
        self.merge = Merge()

    @property
    def lost(self) -> int:
        return sum(source.lost for source in self._sources())

    @property
    def held(self) -> int:
        return self.merge.held

    @property
    def saturated(self) -> int:
        return sum(source.health.saturated for source in self._sources())

    def _sources(self) -> list[Source]:
        return [source for source in (self.gyroscope, self.accelerometer) if source is not None]

    def open(self) -> None:
        self.close()
        self.gyroscope = self.accelerometer = None
        self.merge = Merge()
        self.sequence = -1
        self.temperature: float = math.nan
        self.temperature_tries = 0
        try:
            self._start()
        except DeviceError:
            self.close()
            raise
        self.due = time.monotonic_ns()
        self.check_due = self.due + CHECK_NS

    def _start(self) -> None:
        if self.options.accelerometer:
            self.accelerometer = self._start_accelerometer()
        if self.options.gyroscope:
            self.gyroscope = self._start_gyroscope()
        sources = (self.accelerometer, self.gyroscope)
        self.scales = np.array([source.scale for source in sources if source for _ in range(3)])
        for source in self._sources():
            source.chip.clear()  # what the first one measured while the second was started

    def _start_accelerometer(self) -> Source:
        options: Options = self.options
        device = self._device(options.accelerometer)
        chip = Accelerometer(device, options.accel_range_g, options.accel_rate_hz, options.accel_filter)
        chip.start()
        if options.self_test:
            chip.test_itself()
            chip.start()
        self._wait_for_temperature(chip)
        return Source(chip, AXES, options.accel_range_g * G / 32768, options, options.timeout_ms)  # data sheet 5.3.4

    def _start_gyroscope(self) -> Source:
        options: Options = self.options
        device = self._device(options.gyroscope)
        chip = Gyroscope(device, options.gyro_range_dps, options.gyro_rate_hz, options.bandwidth_hz)
        chip.start()
        scale = math.radians(options.gyro_range_dps) / 32767  # data sheet 5.5.2
        return Source(chip, AXES, scale, options, options.timeout_ms)

    def _device(self, path: str) -> SpiDevice:
        self.devices.append(SpiDevice(path, self.options.speed_hz))
        return self.devices[-1]

    def _wait_for_temperature(self, accelerometer: Accelerometer) -> None:
        """The first value may take the 1.28 s of one measurement."""
        end = time.monotonic_ns() + 2 * CHECK_NS
        while not self._take_temperature(accelerometer):
            if time.monotonic_ns() > end:
                raise DeviceFault(f"{accelerometer.spi.path}: no valid temperature from the accelerometer")
            time.sleep(0.02)

    def _take_temperature(self, accelerometer: Accelerometer) -> bool:
        """Raises DeviceFault where it is outside of the chip's specification."""
        value = accelerometer.temperature_c()
        if value is None:
            return False
        low, high = TEMPERATURES
        if not low <= value <= high:
            raise DeviceFault(
                f"{accelerometer.spi.path}: {value:g} degrees Celsius, outside {low:g} to {high:g}: "
                "too hot or cold for the chip, or broken"
            )
        self.temperature = value
        return True

    def read(self, wait_s: float) -> Sample | None:
        if not self.devices:
            raise DeviceMissing(f"{self.options.exclusive_device()}: not open")
        until = time.monotonic_ns() + int(wait_s * 1e9)
        while True:
            ahead = min(self.due, until) - time.monotonic_ns()
            if ahead > 0:
                time.sleep(ahead / 1e9)
            now = time.monotonic_ns()
            if now < self.due:
                return None
            self.due = now + int(self.options.poll_ms * 1e6)
            sample = self._poll(now)
            if sample is not None or now >= until:
                return sample

    def _poll(self, now: int) -> Sample | None:
        if now >= self.check_due:
            self._check(now)
        # the gyroscope first: each acceleration up to its newest reading is then in the other FIFO
        rotation = self.gyroscope.poll() if self.gyroscope else None
        acceleration = self.accelerometer.poll() if self.accelerometer else None
        if rotation and acceleration:
            rows, stamps = self.merge(rotation, acceleration)
            lost = rotation.lost + acceleration.lost  # of either: a window must not span the hole
        else:
            alone = rotation or acceleration
            assert alone is not None, "options have one chip at least"
            rows, stamps, lost = alone.raw, alone.stamps, alone.lost
        self.sequence += len(rows) + (lost if self.sequence >= 0 else 0)
        return Sample(self.name, self.sequence, int(stamps[-1]), self._values(rows)) if len(rows) else None

    def _values(self, rows: Array) -> Array:
        values = np.empty((len(rows), len(self.channels)), np.float32)
        np.multiply(rows, self.scales, out=values[:, : len(self.scales)], casting="same_kind")
        if self.options.temperature:
            values[:, -1] = self.temperature
        return values

    def _check(self, now: int) -> None:
        self.check_due = now + CHECK_NS
        for source in self._sources():
            source.chip.check_settings()
            if isinstance(source.chip, Accelerometer):
                self._check_temperature(source.chip)

    def _check_temperature(self, accelerometer: Accelerometer) -> None:
        """An invalid value holds the last one for TEMPERATURE_TRIES checks."""
        self.temperature_tries = 0 if self._take_temperature(accelerometer) else self.temperature_tries + 1
        if self.temperature_tries >= TEMPERATURE_TRIES:
            raise DeviceFault(f"{accelerometer.spi.path}: no valid temperature from the accelerometer")

    def close(self) -> None:
        devices, self.devices = self.devices, []
        for device in devices:
            device.close()
