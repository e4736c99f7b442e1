"""Where a lane's samples come from: a recording that can be played again and again, or its device, captured once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agent.config.models import Device, LaneConfig
from agent.data import Array, Sample
from agent.errors import DataError
from drivers import base as drivers
from drivers.base import Camera, DeviceError, DriverOptions, SensorStream, Stream, open_source

MAX_BYTES = 512 << 20  # of samples of a device that are kept in memory
RECORDING, SIMULATED, DEVICE = "recording", "simulated", "device"
WAIT_S = 5.0


class Footage(NamedTuple):
    """kind: one of the above. name: of the file or driver, for people. samples: of a device, captured before."""

    lane: str
    kind: str
    name: str
    source: Stream
    seconds: float
    samples: Sequence[tuple[Sample, int]] | None = None  # each with the ns from its capture to the lane

    @contextmanager
    def played(self) -> Iterator[tuple[Stream, Iterator[tuple[Sample, int]]]]:
        """The source, whose format is known, and its samples from the beginning. Raises DataError."""
        if self.samples is not None:
            yield self.source, iter(self.samples)
            return
        try:
            self.source.open()
            yield self.source, self._until_end()
        except DeviceError as error:
            raise DataError(f"lane {self.lane}: {error}") from error
        finally:
            self.source.close()

    def _until_end(self) -> Iterator[tuple[Sample, int]]:
        """A recording's samples, up to where it breaks off. What its camera or its bus took is not in it."""
        first = None
        try:
            while (sample := self.source.read(WAIT_S)) is not None:
                first = sample.t_capture if first is None else first
                if sample.t_capture - first > self.seconds * 1e9:
                    return
                yield sample, 0
        except EOFError:
            return
        except DeviceError:
            if first is None:
                raise


def of_source(lane: str, section: LaneConfig, seconds: float, network: tuple[int, int] | None) -> Footage:
    """Of the lane's own source: a recording, a simulated device or a device, which is then captured at once.

    network: width and height that are enough of a picture, as in a lane; None: all of it. Raises DataError.
    """
    device = section.source
    fields = drivers.load(device.driver).Options.model_fields
    fast = {"pace": "fast"} if "fast" in str(fields["pace"].annotation if "pace" in fields else "") else {}
    once = {"loop": False} if "loop" in fields else {}
    source = open_source(device.driver, {**device.options, **fast, **once}, lane)
    if isinstance(source, Camera) and not section.refine:  # as in build.py: a part of it may need all of its pixels
        source.network = network
    name = device.driver.rpartition(".")[2]
    simulated = name == "sim" or name.startswith("sim_")
    if fast or once:  # only recordings and simulated devices have a clock of their own
        kind = SIMULATED if simulated else RECORDING
        return Footage(lane, kind, device.driver if simulated else _file_name(device), source, seconds)
    return _captured(Footage(lane, SIMULATED if simulated else DEVICE, device.driver, source, seconds))


def _file_name(device: Device) -> str:
    named = device.options.get("path") or device.options.get("folder") or device.driver
    return Path(str(named)).name


def _captured(footage: Footage) -> Footage:
    """With what the device delivers in these seconds, as a lane that does nothing else would get it."""
    samples: list[tuple[Sample, int]] = []
    source, size, begun = footage.source, 0, time.monotonic_ns()
    try:
        source.open()
        while time.monotonic_ns() - begun < footage.seconds * 1e9 and size < MAX_BYTES:
            sample = source.read(0.1)
            if sample is not None:
                samples.append((_copied(sample), max(0, time.monotonic_ns() - sample.t_capture)))
                size += sample.payload.nbytes
    except (DeviceError, EOFError) as error:
        if not samples:
            raise DataError(
                f"lane {footage.lane}: {error}: connect it, or give a recording with --recording"
            ) from error
    finally:
        source.close()
    if not samples:
        raise DataError(f"lane {footage.lane}: {footage.name} delivered nothing in {footage.seconds:g} s")
    return footage._replace(samples=samples)


def _copied(sample: Sample) -> Sample:
    """A payload is valid until the next read."""
    return sample._replace(payload=sample.payload.copy())


class Readings(SensorStream):
    """The readings of a lane in a recording of the recorder."""

    def __init__(self, lane: str, channels: tuple[str, ...], rate_hz: float) -> None:
        super().__init__(DriverOptions(), lane)
        self.channels, self.rate_hz = channels, rate_hz

    def open(self) -> None:
        pass

    def read(self, wait_s: float) -> Sample | None:
        raise EOFError

    def close(self) -> None:
        pass


def of_messages(lane: str, name: str, messages: Sequence[dict[str, Any]], seconds: float) -> Footage | None:
    """Of a lane's messages in such a recording; None where they hold no readings, as of pictures."""
    rows = [message for message in messages if message.get("readings") and not message.get("lost")]
    if not rows:
        return None
    first = rows[0]
    kept = [row for row in rows if row["t_capture"] - first["t_capture"] <= seconds * 1e9]
    samples = [(_sample(lane, row), 0) for row in kept]
    source = Readings(lane, tuple(first["channels"]), float(first.get("rate_hz", 0.0)))
    return Footage(lane, RECORDING, name, source, seconds, samples)


def _sample(lane: str, message: dict[str, Any]) -> Sample:
    payload: Array = np.array(message["readings"], np.float32)
    return Sample(lane, message["sequence"], message["t_capture"], payload, message["skipped"])
