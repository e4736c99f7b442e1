"""Linux IIO through sysfs: finding a device, its scan elements, their layout in the buffer and their scale.

Sources: Documentation/iio/iio_devbuf.rst and Documentation/ABI/testing/sysfs-bus-iio of Linux.
"""

from __future__ import annotations

import errno
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from agent.data import Array
from drivers.base import DeviceError, DeviceFault, DeviceMissing
from drivers.holder import holder

SYSFS = Path("/sys/bus/iio/devices")
DEV = Path("/dev")
LONGEST = 4096  # an attribute of sysfs is at most one page
MOST_PLACES = 4096
LARGEST = 1e12  # of a scale or an offset: more is damage, and would not fit into float32
TIMESTAMP = "in_timestamp"
ELEMENT = re.compile(r"in_[a-z0-9_-]{1,64}")
TYPE = re.compile(r"(le|be):([su])([0-9]{1,2})/(8|16|32|64)(?:X([0-9]{1,3}))?(?:>>([0-9]{1,2}))?")
# sysfs-bus-iio: units after scale and offset; here the factor to SI units, temperatures to degrees Celsius
UNITS = {
    "voltage": 1e-3,
    "altvoltage": 1e-3,
    "current": 1e-3,
    "power": 1e-3,
    "capacitance": 1e-9,
    "magn": 1e-4,  # gauss
    "pressure": 1e3,  # kilopascal
    "temp": 1e-3,  # milli degrees Celsius
    "humidityrelative": 1e-3,  # milli percent
}


class Element(NamedTuple):
    """A channel of the buffer: `bits` from `shift` on, in `storage` bytes. A reading is (raw + offset) * scale."""

    name: str
    place: int
    big: bool
    signed: bool
    bits: int
    storage: int
    shift: int
    scale: float = 1.0
    offset: float = 0.0


def parse_type(name: str, place: int, text: str) -> Element:
    """[be|le]:[s|u]bits/storagebits[Xrepeat][>>shift]. Raises ValueError."""
    match = TYPE.fullmatch(text)
    if not match:
        raise ValueError(f"{name}: the type '{text[:40]}' is not known")
    order, sign, bits, storage, repeat, shift = match.groups()
    element = Element(name, place, order == "be", sign == "s", int(bits), int(storage) // 8, int(shift or 0))
    if not 0 <= place <= MOST_PLACES:
        raise ValueError(f"{name}: its index {place} is not possible")
    if int(repeat or 1) > 1:
        raise ValueError(f"{name}: channels of {repeat} values ('{text}') are not supported")
    if not 1 <= element.bits <= element.storage * 8 - element.shift:
        raise ValueError(f"{name}: the type '{text}' has more bits than it stores")
    return element


class Layout:
    """Where the elements are in a scan: in the order of their places, each aligned to its size.

    The scan is padded to its largest element, as iio_compute_scan_bytes does.
    """

    def __init__(self, elements: Sequence[Element]) -> None:
        self.elements = sorted(elements, key=lambda element: element.place)
        offsets, size = [], 0
        for element in self.elements:
            offsets.append(-(-size // element.storage) * element.storage)
            size = offsets[-1] + element.storage
        largest = max(element.storage for element in self.elements)
        self.size = -(-size // largest) * largest
        formats = [f"{'>' if element.big else '<'}u{element.storage}" for element in self.elements]
        names = [element.name for element in self.elements]
        self.dtype = np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": self.size})

    def decode(self, data: bytes) -> dict[str, Array]:
        """Raw values int64 [k] of each element; data: k whole scans."""
        scans = np.frombuffer(data, self.dtype)
        return {element.name: extract(scans[element.name], element) for element in self.elements}


def extract(stored: Array, element: Element) -> Array:
    """int64; an unsigned value of 64 bits above its half is negative."""
    spare = 64 - element.bits
    value = stored.astype(np.uint64) >> np.uint64(element.shift) << np.uint64(spare)
    if element.signed:
        signed: Array = value.view(np.int64) >> spare
        return signed
    unsigned: Array = (value >> np.uint64(spare)).view(np.int64)
    return unsigned


def value_range(element: Element) -> tuple[int, int]:
    """The ends of a signed channel's range; of an unsigned one what it does not reach, as 0 V is a normal voltage."""
    if not element.signed or element.bits < 8:
        return -(1 << 63), (1 << 63) - 1
    return -(1 << element.bits - 1), (1 << element.bits - 1) - 1


def quantity(name: str) -> str:
    """in_accel_x -> accel, in_voltage1-voltage2 -> voltage."""
    match = re.match(r"in_([a-z]+)", name)
    return match.group(1) if match else ""


def read(path: Path) -> str:
    """The attribute, "" where the device has none of that name. Raises DeviceMissing, DeviceFault."""
    try:
        with open(path, "rb") as file:
            return file.read(LONGEST).decode("ascii", "replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise explain(path, error) from error


def write(path: Path, text: str) -> None:
    """Raises DeviceMissing, DeviceFault."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode("ascii"))
        finally:
            os.close(fd)
    except OSError as error:
        raise explain(path, error, f"'{text}' not accepted") from error


def number(path: Path, default: float) -> float:
    """Raises DeviceFault where it is not a number of a possible size."""
    text = read(path)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= LARGEST:
        raise DeviceFault(f"{path}: '{text[:40]}' is not a possible number")
    return value


def attribute(device: Path, name: str, suffix: str) -> Path | None:
    """Of the channel, else of all channels of its quantity, else of the device."""
    for candidate in (f"{name}_{suffix}", f"in_{quantity(name)}_{suffix}", suffix):
        if (device / candidate).exists():
            return device / candidate
    return None


def find(wanted: str) -> Path:
    """The device's folder: by iio:deviceN, or by its name or label. Raises DeviceMissing, DeviceFault."""
    if re.fullmatch(r"iio:device[0-9]+", wanted):
        if not (SYSFS / wanted).exists():
            raise DeviceMissing(f"{wanted}: is not there; IIO has {_names()}")
        return SYSFS / wanted
    named = [device for device in _devices() if wanted in (read(device / "label"), read(device / "name"))]
    if not named:
        raise DeviceMissing(f"IIO device '{wanted}': is not there (plugged in? driver loaded?); IIO has {_names()}")
    if len(named) > 1:
        numbers = ", ".join(device.name for device in named)
        raise DeviceFault(f"IIO device '{wanted}': {numbers} have this name: write the number, or label them")
    return named[0]


def find_trigger(wanted: str) -> Path:
    triggers = {read(path / "name"): path for path in sorted(SYSFS.glob("trigger*"))}
    if wanted not in triggers:
        known = ", ".join(triggers) or "none"
        raise DeviceMissing(f"IIO trigger '{wanted}': is not there; there are {known}")
    return triggers[wanted]


def _devices() -> list[Path]:
    return sorted(SYSFS.glob("iio:device*"))


def _names() -> str:
    return ", ".join(f"{device.name} ({read(device / 'name')})" for device in _devices()) or "no devices"


def explain(path: Path, error: OSError, what: str = "") -> DeviceError:
    """What an error of the kernel means, and what to do."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return DeviceMissing(f"{path}: no permission; give the service's user access with a udev rule")
    if error.errno == errno.EBUSY:
        return DeviceMissing(f"{path}: busy, {holder(path)} has the device open")
    if error.errno in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        return DeviceMissing(f"{path}: is not there (unplugged? not supported by this device?)")
    return DeviceFault(f"{path}: {what + ': ' if what else ''}{error.strerror or error}")
