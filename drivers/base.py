"""What every driver is: its options, its errors, and how a name in the config finds its file.

A driver is one file with one `Options` and one `Driver`. It is plain and blocking: no asyncio, no ZeroMQ, no config.
"""

from __future__ import annotations

import importlib
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
from pydantic import BaseModel, ConfigDict, Field

from agent.data import Arguments, Sample

KINDS = ("camera", "sensor", "audio", "actuator", "modem", "board")


class DeviceError(Exception):
    """Trouble with a device. The text says what, where and what to do; the runner retries with back-off."""


class DeviceMissing(DeviceError):
    """Not there, or gone: unplugged, no permission, nobody listening."""


class DeviceTimeout(DeviceError):
    """There, but silent for longer than its `timeout_ms`."""


class DeviceFault(DeviceError):
    """There, and talking nonsense: wrong format, broken checksum, an error status."""


class DriverError(Exception):
    """The config names a driver that cannot be loaded. Restarting does not help."""


class DriverOptions(BaseModel):
    """Base of every driver's `Options`: unknown keys are errors, units live in names."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SourceOptions(DriverOptions):
    timeout_ms: float = Field(500.0, gt=0, le=600_000, description="silence after which the source counts as stale")


class SensorOptions(SourceOptions):
    rate_hz: float = Field(10.0, gt=0, le=10_000, description="how often the sensor is read")


class Driver(ABC):
    """Life of a driver: made once, then open and close any number of times, always from one thread."""

    def __init__(self, options: Any, name: str = "") -> None:
        self.options = options
        self.name = name

    @abstractmethod
    def open(self) -> None:
        """Find and start the device. Raises DeviceMissing or DeviceFault and leaves nothing half open."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the device. Never raises; harmless when not open."""


class Stream(Driver):
    """A source that keeps its own pace. Cameras, microphones and streaming sensors derive from it."""

    rate_hz: float = 0.0  # nominal; known once open

    @abstractmethod
    def read(self, wait_s: float) -> Sample | None:
        """The newest sample, waiting at most wait_s for one; None when there is nothing new yet.

        From one sample to the next `sequence` grows by the readings handed out and skipped; by more where some were lost;
        not at all when the device repeats itself.
        Raises DeviceMissing when the device is gone, DeviceTimeout after `options.timeout_ms` of silence,
        DeviceFault when it talks nonsense. Raises EOFError at the end of a recording.
        """

    def rest(self) -> Iterator[Sample]:
        """Once open: sample after sample to the end of the recording, then closed."""
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


class SensorStream(Stream):
    """Samples are float32 [k, len(channels)]: every reading since the last sample, none left out."""

    channels: tuple[str, ...] = ()  # known once open


class Microphone(Stream):
    """Samples are float32 [k], one channel, -1..1: every value since the last sample, none left out.

    `sequence` counts values; `t_capture` is the moment of the newest one.
    """


class Sensor(Driver):
    """A slow device that is asked: the runner polls it at `options.rate_hz` and stamps the answer."""

    @abstractmethod
    def read(self) -> Mapping[str, float]:
        """One reading in SI units or as the key's suffix says (temperature_c, load_percent)."""


class Actuator(Driver):
    """Moves something. Only `agent/commands/host.py` calls apply and safe."""

    verbs: tuple[str, ...] = ()  # () takes any verb

    @abstractmethod
    def apply(self, verb: str, arguments: Arguments) -> None:
        """Do it now and return when the device has it. Raises DeviceError when it does not."""

    @abstractmethod
    def safe(self) -> None:
        """Go to the safe state now. May be called at any time while open, and twice. Raises DeviceError when it cannot."""


class Polled(SensorStream):
    """Makes a stream of a Sensor: one reading every 1/rate_hz, stamped when asked."""

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
        found = self.sensor.read()
        self.row[0] = [found.get(channel, math.nan) for channel in self.channels]
        missed = max(0, (now - self.due) // self.period)
        self.due += (missed + 1) * self.period
        self.sequence += missed + 1
        return Sample(self.name, self.sequence, now, self.row, missed)

    def close(self) -> None:
        self.sensor.close()


def load(name: str) -> ModuleType:
    """The module of driver `name`: "sensor.lm75" is drivers/sensor/lm75.py, any other dotted path anybody's.

    Raises DriverError that tells "no such driver" from "its library is missing".
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
        raise DriverError(f"driver '{name}' needs the Python package '{missing}': pip install {missing}") from error
    except (ImportError, SyntaxError) as error:
        raise DriverError(f"driver '{name}' cannot be loaded: {error}") from error
    if not hasattr(module, "Driver") or not hasattr(module, "Options"):
        raise DriverError(f"'{path}' is no driver: it has no Options and Driver")
    return module


def _nearest(name: str) -> str:
    """A hint for a misspelt driver: the closest names, or all of its kind."""
    known = names()
    close = get_close_matches(name, known, 3, 0.6) or [one for one in known if one.split(".")[0] == name.split(".")[0]]
    return f"; did you mean {', '.join(close)}?" if close else f"; kinds are {', '.join(KINDS)}"


def names() -> list[str]:
    """Every driver that is shipped, by file name."""
    found = []
    for kind in KINDS:
        spec = importlib.util.find_spec(f"drivers.{kind}")
        for place in (spec.submodule_search_locations or []) if spec else []:
            found += [f"{kind}.{m.name}" for m in pkgutil.iter_modules([place]) if not m.name.startswith("_")]
    return sorted(found)


def open_source(name: str, options: Mapping[str, Any], lane: str) -> Stream:
    """The source of a lane, made but not yet open. Raises DriverError, pydantic.ValidationError."""
    module = load(name)
    driver = module.Driver(module.Options.model_validate(options), lane)
    if isinstance(driver, Sensor):
        return Polled(driver)
    if not isinstance(driver, Stream):
        raise DriverError(f"driver '{name}' is no source of samples: a lane reads a camera, sensor or microphone")
    return driver
