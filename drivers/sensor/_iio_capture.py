"""Starts and stops the buffered capture of an IIO device."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from drivers.base import DeviceError, DeviceFault
from drivers.sensor import _iio as iio
from drivers.sensor._iio import TIMESTAMP, Element

RATE_TOLERANCE = 0.25  # devices round to what they can: 104 Hz for 100


class Settings(NamedTuple):
    """elements: names such as in_accel_x. trigger: its name, "" leaves it. length, watermark: in readings."""

    elements: Sequence[str]
    trigger: str
    rate_hz: float
    length: int
    watermark: int
    stamped: bool


class Capture:
    """The device from `find` to a running buffer. fd: of the character device."""

    def __init__(self, wanted: str, settings: Settings) -> None:
        """Raises DeviceMissing, DeviceFault, and then leaves nothing open."""
        self.device = iio.find(wanted)
        self.settings = settings
        node = iio.DEV / self.device.name
        try:
            # the kernel lets one program open it, so what follows disturbs nobody
            self.fd = os.open(node, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise iio.explain(node, error) from error
        try:
            self._start()
        except DeviceError:
            self.close()
            raise

    def _folder(self, name: str) -> Path:
        """Since Linux 5.11 both folders are one, buffer0; the old names are still there, but obsolete."""
        return self.device / name if (self.device / name).exists() else self.device / "buffer0"

    def _start(self) -> None:
        buffer, self.scan = self._folder("buffer"), self._folder("scan_elements")
        if not (buffer / "enable").exists():
            raise DeviceFault(f"{self.device.name}: its driver has no buffer, so no readings at a steady rate")
        iio.write(buffer / "enable", "0")  # left running by a program that was killed
        if self.settings.stamped:
            self._choose_clock()
        self._choose_trigger()
        self.rate_hz = self._choose_rate()
        self.elements = self._enable()
        iio.write(buffer / "length", str(self.settings.length))
        if (buffer / "watermark").exists():
            iio.write(buffer / "watermark", str(self.settings.watermark))
        elif self.settings.watermark > 1:
            raise DeviceFault(f"{self.device.name}: has no watermark: set watermark to 1")
        iio.write(buffer / "enable", "1")

    def _choose_clock(self) -> None:
        path = self.device / "current_timestamp_clock"
        if not path.exists():
            raise DeviceFault(f"{self.device.name}: its time stamps have no choice of clock: set stamp to arrival")
        iio.write(path, "monotonic")
        if iio.read(path) != "monotonic":
            raise DeviceFault(f"{path}: does not keep 'monotonic': set stamp to arrival")

    def _choose_trigger(self) -> None:
        self.trigger: Path | None = None
        if self.settings.trigger:
            self.trigger = iio.find_trigger(self.settings.trigger)
            iio.write(self.device / "trigger/current_trigger", self.settings.trigger)

    def _choose_rate(self) -> float:
        """What the device says that it does; 0 where it has no rate of its own."""
        path = self._rate_path()
        if path is None:
            return 0.0
        wanted = self.settings.rate_hz
        iio.write(path, f"{wanted:g}")
        rate = iio.number(path, 0.0)
        if abs(rate - wanted) > RATE_TOLERANCE * wanted:
            offered = iio.read(path.with_name(path.name + "_available")) or "not listed"
            raise DeviceFault(f"{path}: {rate:g} Hz instead of {wanted:g}; rates it has: {offered}")
        return rate

    def _rate_path(self) -> Path | None:
        """A trigger with a timer has the rate; else the device, or the channels of one quantity."""
        if self.trigger and (self.trigger / "sampling_frequency").exists():
            return self.trigger / "sampling_frequency"
        paths = (iio.attribute(self.device, name, "sampling_frequency") for name in self.settings.elements)
        return next((path for path in paths if path is not None), None)

    def _available(self) -> list[str]:
        names = sorted(path.name[:-3] for path in self.scan.glob("in_*_en"))
        return [name for name in names if name != TIMESTAMP and iio.ELEMENT.fullmatch(name)]

    def _enable(self) -> list[Element]:
        """Switches the elements on and all others off, as the layout depends on it."""
        available, wanted = self._available(), list(self.settings.elements)
        for name in wanted:
            if name not in available:
                raise DeviceFault(f"{self.device.name}: has no {name} in its buffer; it has {', '.join(available)}")
        stamp = self.scan / f"{TIMESTAMP}_en"
        if self.settings.stamped and not stamp.exists():
            raise DeviceFault(f"{self.device.name}: has no time stamps in its buffer: set stamp to arrival")
        if stamp.exists():
            available.append(TIMESTAMP)
        on = [*wanted, TIMESTAMP] if self.settings.stamped else wanted
        for name in available:
            iio.write(self.scan / f"{name}_en", "1" if name in on else "0")
        return [self._element(name) for name in on]

    def _element(self, name: str) -> Element:
        place = iio.number(self.scan / f"{name}_index", -1)
        try:
            element = iio.parse_type(name, int(place), iio.read(self.scan / f"{name}_type"))
        except ValueError as error:
            raise DeviceFault(f"{self.device.name}: {error}") from error
        if name == TIMESTAMP:
            return element
        scale = self._factor(name, "scale", 1.0) * iio.UNITS.get(iio.quantity(name), 1.0)
        if not scale:
            raise DeviceFault(f"{self.device.name}: the scale of {name} is 0")
        return element._replace(scale=scale, offset=self._factor(name, "offset", 0.0))

    def _factor(self, name: str, suffix: str, default: float) -> float:
        path = iio.attribute(self.device, name, suffix)
        return iio.number(path, default) if path else default

    def close(self) -> None:
        with suppress(DeviceError):
            iio.write(self._folder("buffer") / "enable", "0")
        with suppress(OSError):
            os.close(self.fd)
