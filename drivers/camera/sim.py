"""A simulated camera: a person walks to and fro in a room; faults follow a schedule."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from agent.data import Array, Sample
from drivers.base import Camera, CameraOptions, DeviceMissing, DeviceTimeout
from drivers.camera._pace import Pace
from drivers.camera._scene import walk
from drivers.faults import Fault, Faults

REFUSED_S = 0.1  # by which a refused open advances the clock of a fast camera; otherwise only reads advance it


class CameraFault(Fault):
    """freeze: no picture; repeat: the same sample again; still: the same picture in new samples.

    amount: seconds for clock_jump (0: one second), grey levels of standard deviation for noise (0: 25).
    """

    kind: Literal["unplug", "freeze", "repeat", "still", "clock_jump", "noise", "wrong_format"]


class Options(CameraOptions):
    """Picture size, rate, pace and faults of the simulated camera."""

    width: int = Field(640, ge=32, le=4096)
    height: int = Field(480, ge=32, le=4096)
    fps: float = Field(30.0, gt=0, le=1000)
    seed: int = Field(0, ge=0, description="the same seed gives the same room and the same walk")
    pictures: int = Field(24, ge=1, le=500, description="drawn at open, played forwards and backwards")
    pace: Literal["real", "fast"] = Field(
        "real", description="fast: as fast as it is read; the clock advances by one period per read"
    )
    faults: tuple[CameraFault, ...] = Field((), description="kind, at_s after the first open, for_s, amount")


class Driver(Camera):
    """Faults count from the first open and continue while the camera is closed."""

    options: Options
    pixels = "bgr"

    def __init__(self, options: Options, name: str = "") -> None:
        super().__init__(options, name)
        self.faults = Faults(options.faults, name)
        self.pictures: list[Array] = []
        self.stuck: Array | None = None  # the picture of the fault "still", also after it is opened again
        self.clock = 0  # of a fast camera: the time of its next tick

    def open(self) -> None:
        o = self.options
        # drawing takes time: before the clock starts
        self.pictures = self.pictures or walk(o.width, o.height, o.pictures, o.fps, o.seed)
        now = self._now()
        self.faults.start(now)
        if "unplug" in self.faults.active(now):
            self.clock = now + int(REFUSED_S * 1e9)
            raise DeviceMissing(f"{self.name}: the simulated camera is unplugged")
        self.width, self.height, self.rate_hz = o.width, o.height, o.fps
        self.noise = np.random.default_rng(o.seed)
        self.pace = Pace(o.fps, o.pace == "fast", now)
        self.t_received = now
        self.sequence = -1
        self.last: Sample | None = None

    def read(self, wait_s: float) -> Sample | None:
        passed = self.pace.wait(wait_s)
        now = self.pace.due if self.pace.fast else time.monotonic_ns()
        self.clock = self.pace.time(self.pace.tick + 1)
        active = self.faults.active(now)
        if "unplug" in active:
            raise DeviceMissing(f"{self.name}: the simulated camera was unplugged")
        if not passed or "freeze" in active:
            self._check_timeout(now)
            return None
        self.t_received = now
        if "repeat" in active and self.last is not None:
            return self.last
        self.sequence += passed
        self.last = self._sample(active, passed - 1)
        return self.last

    def close(self) -> None:
        self.last = None

    def _now(self) -> int:
        # the clock of a fast camera continues from where it was closed
        return self.clock if self.options.pace == "fast" and self.clock else time.monotonic_ns()

    def _sample(self, active: Mapping[str, float], skipped: int) -> Sample:
        picture, t_capture = self.pictures[self._index()], self.pace.due
        self.stuck = (picture if self.stuck is None else self.stuck) if "still" in active else None
        picture = picture if self.stuck is None else self.stuck
        if active:
            t_capture += int((active.get("clock_jump", 0.0) or "clock_jump" in active) * 1e9)
            picture = self._distort(picture, active)
        return Sample(self.name, self.sequence, t_capture, picture, skipped)

    def _index(self) -> int:
        # 0 1 2 3 2 1 0 ...: no jump at the turn
        count = len(self.pictures)
        step = self.pace.tick % max(1, 2 * count - 2)
        return min(step, 2 * count - 2 - step) if count > 1 else 0

    def _distort(self, picture: Array, active: Mapping[str, float]) -> Array:
        if "noise" in active:
            noise = self.noise.normal(0.0, active["noise"] or 25.0, picture.shape)
            picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
        return picture[::2, ::2] if "wrong_format" in active else picture

    def _check_timeout(self, now: int) -> None:
        silent_ms = (now - self.t_received) / 1e6
        if silent_ms > self.options.timeout_ms:
            raise DeviceTimeout(f"{self.name}: no picture for {silent_ms:.0f} ms")
