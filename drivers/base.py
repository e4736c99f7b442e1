"""The base classes of drivers, their options and errors, and how a driver's name finds its file.

A driver is one file with one `Options` and one `Driver`. It is plain and blocking: no asyncio, no ZeroMQ, no config.
"""

from __future__ import annotations

import importlib.util
import math
import pkgutil
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from types import ModuleType
from typing import Any

import numpy as np

from agent.data import Arguments, Sample
from drivers.options import FROZEN_MS
from drivers.options import CameraOptions as CameraOptions
from drivers.options import DriverOptions as DriverOptions  # here for the drivers, which import all from one place
from drivers.options import SensorOptions as SensorOptions
from drivers.options import SourceOptions as SourceOptions

OPEN_LIMIT_S = 60.0  # a driver that tries three name servers in turn takes 30 s
KINDS = ("camera", "sensor", "audio", "actuator", "modem", "board")
EXTRA = {"pymodbus": "modbus", "asyncua": "opcua", "can": "can", "cantools": "can", "gpiod": "gpio", "paho": "mqtt"}


class DeviceError(Exception):
    """A device fails. The text says what, where and what to do; the lane retries with back-off."""


class DeviceMissing(DeviceError):
    """Not there, or gone: unplugged, no permission, no peer that answers."""


class DeviceTimeout(DeviceError):
    """There, but silent for longer than its `timeout_ms`."""


class DeviceFault(DeviceError):
    """There, and sends invalid data: wrong format, wrong checksum, an error status."""


class DriverError(Exception):
    """The config names a driver that cannot be loaded. Restarting does not help."""


class Driver(ABC):
    """A driver is made once, then opened and closed any number of times, always from one thread."""

    def __init__(self, options: Any, name: str = "") -> None:
        self.options = options
        self.name = name

    @abstractmethod
    def open(self) -> None:
        """Find and start the device. Raises DeviceMissing or DeviceFault and leaves nothing half open."""

    @abstractmethod
    def close(self) -> None:
        """Release the device. Never raises; harmless when not open."""


class Stream(Driver):
    """A source that sets its own pace. Cameras, microphones and streaming sensors derive from it."""

    rate_hz: float = 0.0  # nominal; known once open
    t_next: int = 0  # of a recording at its own pace: when its next sample is due, ns; silence until then is no fault

    @property
    def open_limit_s(self) -> float:
        """`open` or `close` that takes longer counts as hung; until then it is only slow."""
        return OPEN_LIMIT_S

    @abstractmethod
    def read(self, wait_s: float) -> Sample | None:
        """The newest sample, waiting at most wait_s for it; None when there is nothing new yet.

        From one sample to the next `sequence` grows by the readings delivered and skipped; by more where readings were
        lost; not at all when the device repeats a sample.
        Raises DeviceMissing when the device is gone, DeviceTimeout after `options.timeout_ms` without a sample,
        DeviceFault when the data are invalid. Raises EOFError at the end of a recording.
        """

    def remaining_samples(self) -> Iterator[Sample]:
        """Once open: every sample up to the end of the recording; then closes."""
        try:
            while True:
                sample = self.read(5.0)
                if sample is not None:
                    yield sample
        except EOFError:
            return
        finally:
            self.close()


class Camera(Stream):
    """Samples are uint8: bgr, rgb and yuyv [height, width, 3 or 2], grey [height, width]."""

    width: int = 0
    height: int = 0
    pixels: str = "bgr"  # "bgr", "rgb", "grey" or "yuyv"; known once open
    network: tuple[int, int] | None = None  # width and height that are enough; set before open where nobody needs more
    comparable: bool = True  # the newest picture; not where a video codec repeats the one before for good reasons

    @property
    def frozen_ms(self) -> float:
        """Bit-identical pictures for this long are a frozen camera; 0: they are normal here."""
        return float(getattr(self.options, "frozen_ms", FROZEN_MS))


class SensorStream(Stream):
    """Samples are float32 [k, len(channels)]: every reading since the last sample, without gaps."""

    channels: tuple[str, ...] = ()  # known once open


class Microphone(Stream):
    """Samples are float32 [k], one channel, -1..1: every value since the last sample, without gaps.

    `sequence` counts values; `t_capture` is the moment of the newest one.
    """


class Sensor(Driver):
    """A slow device that is polled: `Polled` reads it at `options.rate_hz` and stamps the reading."""

    @abstractmethod
    def read(self) -> Mapping[str, float]:
        """One reading in SI units or in the unit of the key's suffix (temperature_c, load_percent)."""


class Actuator(Driver):
    """Moves or switches something. Only `agent/commands/server.py` calls apply; it and `standby.py` call safe."""

    verbs: tuple[str, ...] = ()  # () accepts any verb
    deadline_ms: float = 200.0  # an apply, safe or close that takes longer hangs, and its process is killed
    # Once that process is dead, another one can open the device and make it safe. False where only a new host can.
    second_process_safe: bool = True

    @property
    def lost(self) -> DeviceError | None:
        """What went wrong between two commands: the host then makes it safe and opens it again. Must not wait."""
        return None

    @abstractmethod
    def apply(self, verb: str, arguments: Arguments) -> None:
        """Carry out the command now; return when the device has accepted it. Raises DeviceError when it has not."""

    @abstractmethod
    def safe(self) -> None:
        """Go to the safe state now. May be called at any time while open, also twice. Raises DeviceError on failure."""


class Polled(SensorStream):
    """A Sensor as a stream: one reading every 1/rate_hz, stamped when it is requested."""

    def __init__(self, sensor: Sensor) -> None:
        super().__init__(sensor.options, sensor.name)
        self.sensor = sensor

    def open(self) -> None:
        self.sensor.open()
        self.rate_hz = self.options.rate_hz
        self.period = int(1e9 / self.rate_hz)
        self.channels = tuple(self.sensor.read())
        self.row = np.zeros((1, len(self.channels)), np.float32)
        self.sequence = -1
        self.due = time.monotonic_ns()

    def read(self, wait_s: float) -> Sample | None:
        ahead = (self.due - time.monotonic_ns()) / 1e9
        if ahead > wait_s:
            time.sleep(wait_s)
            return None
        if ahead > 0:
            time.sleep(ahead)
        now = time.monotonic_ns()
        reading = self.sensor.read()
        self.row[0] = [reading.get(channel, math.nan) for channel in self.channels]
        missed = max(0, (now - self.due) // self.period)
        self.due += (missed + 1) * self.period
        self.sequence += missed + 1
        return Sample(self.name, self.sequence, now, self.row, missed)

    def close(self) -> None:
        self.sensor.close()


def load(name: str) -> ModuleType:
    """The module of driver `name`: "sensor.lm75" is drivers/sensor/lm75.py, any other dotted path a module of your own.

    Raises DriverError, whose text distinguishes "no such driver" from "its library is missing".
    """
    if not re.fullmatch(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)+", name):
        raise DriverError(f"'{name}' is not a driver name: write kind.name, such as camera.v4l2")
    path = f"drivers.{name}" if name.split(".")[0] in KINDS else name
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if path == missing or path.startswith(missing + "."):
            raise DriverError(f"no driver '{name}'{_nearest(name)}") from error
        package = missing.split(".")[0]
        raise DriverError(f"driver '{name}' needs the Python package '{package}': {_install(package)}") from error
    except (ImportError, SyntaxError) as error:
        raise DriverError(f"driver '{name}' cannot be loaded: {error}") from error
    if not hasattr(module, "Driver") or not hasattr(module, "Options"):
        raise DriverError(f"'{path}' is not a driver: it must define Options and Driver")
    return module


def _install(package: str) -> str:
    extra = EXTRA.get(package)
    return f"scripts/setup {extra}, or pip install 'reflexd[{extra}]'" if extra else f"pip install {package}"


def _nearest(name: str) -> str:
    """A hint for a misspelt driver: the closest names, or all of its kind."""
    known = names()
    kind = name.split(".")[0]
    close = get_close_matches(name, known, 3, 0.6) or [driver for driver in known if driver.split(".")[0] == kind]
    return f"; did you mean {', '.join(close)}?" if close else f"; kinds are {', '.join(KINDS)}"


def names() -> list[str]:
    """Every shipped driver, by file name."""
    drivers = []
    for kind in KINDS:
        spec = importlib.util.find_spec(f"drivers.{kind}")
        for folder in (spec.submodule_search_locations or []) if spec else []:
            drivers += [f"{kind}.{m.name}" for m in pkgutil.iter_modules([folder]) if not m.name.startswith("_")]
    return sorted(drivers)


def open_source(name: str, options: Mapping[str, Any], lane: str) -> Stream:
    """The source of a lane, made but not yet open. Raises DriverError, pydantic.ValidationError."""
    module = load(name)
    driver = module.Driver(module.Options.model_validate(options), lane)
    if isinstance(driver, Sensor):
        return Polled(driver)
    if not isinstance(driver, Stream):
        raise DriverError(f"driver '{name}' is not a source of samples: a lane reads a camera, sensor or microphone")
    return driver
