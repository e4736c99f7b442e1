"""Recordings that are played again and again with the noise of another moment, a second at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from agent.data import Array
from agent.drift.lane import Change, LaneDrift
from agent.drift.signals import window_length
from agent.packages import package
from agent.prepare.pixels import Pixels
from agent.prepare.readings import Readings
from agent.tapes.live import sound_levels
from agent.tapes.live_reader import RawPicture
from drivers.base import open_source

WIDTH = 160  # columns of a camera's pictures here
MAX_FRAMES, MAX_ROWS = 900, 200_000
FIELDS = 16  # of noise; each second takes one at random
PIXEL_NOISE, EXPOSURE = (
    3.0,
    1.0,
)  # grey levels of an image sensor in a room; of its automatic exposure from second to second
READING_NOISE = 0.05  # of a channel's standard deviation
HOP_S = 0.1  # of sound
Finding = tuple[str, float, Any, str]


class Second(NamedTuple):
    """What the tapes of a lane bring in a second. window: float32 [n, channels]; levels: as in sound_figures."""

    findings: Sequence[Finding]
    picture: Array | None = None
    window: Array | None = None
    levels: Array | None = None


class Loop(ABC):
    """A recording of a lane."""

    channels: Sequence[str] = ()

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.random = np.random.default_rng(seed)

    @abstractmethod
    def second(self, number: int) -> Second:
        """number: of seconds since the beginning."""


class Camera(Loop):
    """Pictures, and what a model finds in them."""

    def __init__(self, name: str, frames: Sequence[Array], fps: float, findings: Sequence[Sequence[Finding]]) -> None:
        """frames: uint8 [height, width], all of one size. findings: of each."""
        super().__init__(name, 1)
        self._frames, self._fps, self._findings = frames, fps, findings
        shape = (FIELDS, *frames[0].shape)
        self._noise = self.random.normal(0, PIXEL_NOISE, shape).round().astype(np.int16)

    def leave(self, frames: int) -> None:
        """Nobody is there for so many frames at the end of the loop: the median of each pixel is the room."""
        room = np.median(np.stack(self._frames), axis=0).astype(np.uint8)
        self._frames = [*self._frames, *[room] * frames]
        self._findings = [*self._findings, *[()] * frames]

    def second(self, number: int) -> Second:
        at = int(number * self._fps) % len(self._frames)
        noise = self._noise[self.random.integers(FIELDS)] + np.int16(round(self.random.normal(0, EXPOSURE)))
        return Second(self._findings[at], picture=cv2.add(self._frames[at], noise, dtype=cv2.CV_8U))


class Sensor(Loop):
    """Readings, and what a model says of the windows of each second."""

    def __init__(
        self,
        name: str,
        rows: Array,
        channels: Sequence[str],
        rate_hz: float,
        findings: Sequence[Sequence[Finding]] = (),
    ) -> None:
        """rows: float32 [n, channels]. findings: of each second of them; empty: no model."""
        super().__init__(name, 2)
        self.channels, self._rows, self._findings = channels, rows, findings
        self._length = window_length(rate_hz)
        self._step = max(rate_hz, self._length)  # a slow sensor needs longer than a second for a window
        deviation = READING_NOISE * rows.std(axis=0)
        self._noise = (self.random.normal(0, 1, (FIELDS, self._length, rows.shape[1])) * deviation).astype(np.float32)

    def second(self, number: int) -> Second:
        first = int(number * self._step) % (len(self._rows) - self._length)
        window = self._rows[first : first + self._length] + self._noise[self.random.integers(FIELDS)]
        findings = self._findings[number % len(self._findings)] if self._findings else ()
        return Second(findings, window=window)


class Sound(Loop):
    """The levels of each tenth of a second."""

    def __init__(self, name: str, wave: Array, rate_hz: float) -> None:
        """wave: float32 [n], 1 = full scale."""
        super().__init__(name, 3)
        self.wave, self.rate_hz = wave, rate_hz
        hop = int(HOP_S * rate_hz)
        self.levels = np.stack([sound_levels(wave[at : at + hop], rate_hz) for at in range(0, len(wave) - hop, hop)])

    def second(self, number: int) -> Second:
        count = round(1 / HOP_S)
        levels = self.levels[(number * count + np.arange(count)) % len(self.levels)]
        factors = 1 + self.random.normal(0, 0.02, (count, 3))
        return Second((), levels=(levels * factors).astype(np.float32))


def feed(drift: LaneDrift, loop: Loop, number: int, second: Second) -> list[Change]:
    """As the monitor does with what it reads."""
    changes = drift.add_inferences([(number * 1_000_000_000, second.findings)])
    if second.picture is not None:
        changes += drift.add_picture(RawPicture(second.picture, "grey"))
    if second.window is not None:
        changes += drift.add_window(second.window, loop.channels)
    if second.levels is not None:
        changes += drift.add_sound(second.levels)
    return changes


def camera(name: str, driver: str, options: dict[str, Any], model: str = "person-coarse") -> Camera:
    """What a driver delivers, and what the model finds in it. Raises DeviceError."""
    source = open_source(driver, {"pace": "fast", **options}, name)
    source.open()
    opened = package.open_package(package.find(model))
    assert opened.manifest.picture
    pixels = Pixels(opened.manifest.picture, opened.engine.inputs[0], source.pixels)  # type: ignore[attr-defined]
    frames, findings = [], []
    for sample in islice(source.remaining_samples(), MAX_FRAMES):
        pixels(sample.payload, opened.engine.input(0))
        findings.append([tuple(each)[:4] for each in opened.infer()])
        grey = cv2.cvtColor(sample.payload, cv2.COLOR_BGR2GRAY)
        height = round(WIDTH * grey.shape[0] / grey.shape[1])
        frames.append(cv2.resize(grey, (WIDTH, height), interpolation=cv2.INTER_AREA))
    source.close()
    return Camera(name, frames, source.rate_hz or 30.0, findings)  # type: ignore[arg-type]


def sensor(name: str, driver: str, options: dict[str, Any], seconds: float, model: str = "") -> Sensor:
    """As `camera`, of readings. model: its findings, once a second; empty: none."""
    source = open_source(driver, {"pace": "fast", **options}, name)
    source.open()
    samples = islice(source.remaining_samples(), int(seconds * source.rate_hz))
    rows = np.concatenate([np.array(sample.payload, np.float32) for sample in samples])[:MAX_ROWS]
    source.close()
    channels, rate_hz = tuple(source.channels), float(source.rate_hz)  # type: ignore[attr-defined]
    findings = _of_windows(rows, channels, rate_hz, model) if model else ()
    return Sensor(name, rows, channels, rate_hz, findings)


def _of_windows(rows: Array, channels: tuple[str, ...], rate_hz: float, model: str) -> list[list[Finding]]:
    opened = package.open_package(package.find(model))
    assert opened.manifest.window
    readings = Readings(opened.manifest.window, opened.engine.inputs[0], channels, rate_hz)
    of_seconds: list[list[Finding]] = []
    for number, row in enumerate(rows):
        due = readings(row[None], opened.engine.input(0))
        if due and (number + 1) % int(rate_hz) == 0:
            of_seconds.append([tuple(each)[:4] for each in opened.infer()])  # type: ignore[misc]
    return of_seconds


def sound(name: str, driver: str, options: dict[str, Any], seconds: float) -> Sound:
    source = open_source(driver, {"pace": "fast", **options}, name)
    source.open()
    values: list[Array] = []
    for sample in source.remaining_samples():
        values.append(
            np.array(sample.payload, np.float32).reshape(-1) / (32768 if sample.payload.dtype == np.int16 else 1)
        )
        if sum(map(len, values)) >= seconds * source.rate_hz:
            break
    source.close()
    return Sound(name, np.concatenate(values), float(source.rate_hz))


def generated() -> list[Loop]:
    """What the simulated drivers deliver."""
    walk = camera("room", "camera.sim", {"width": 640, "height": 480, "pictures": 24, "fps": 4})
    walk.leave(18)
    arm = sensor("arm", "sensor.sim_arm", {"rate_hz": 1000}, 60, "arm-deviation")
    talk = [{"kind": "speech", "at_s": 4, "for_s": 3, "level": 0.3}]
    return [walk, arm, sound("hall", "audio.sim", {"sounds": talk, "every_s": 12}, 48)]


def recorded(data: Path) -> list[Loop]:
    """Those of ../shared/data that are there."""
    clips = (
        "video-intel/one-by-one-person-detection.mp4",
        "video-intel/car-detection.mp4",
        "video-fall-gmdcsa24/S1-ADL-16.mp4",
    )
    loops: list[Loop] = [
        camera(Path(clip).stem, "camera.file", {"path": str(data / clip)}) for clip in clips if (data / clip).is_file()
    ]
    if (data / "ecg/100.hea").is_file():
        loops.append(sensor("ecg 100", "sensor.wfdb", {"path": str(data / "ecg/100.hea")}, 500))
    for sample in ("typing", "snoring"):
        path = data / f"audio-ibm-max/{sample}.wav"
        if path.is_file():
            loops.append(sound(sample, "audio.file", {"path": str(path)}, 120))
    return loops
