"""A folder of pictures, in the order of their names, as a camera."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import cv2
from pydantic import Field

from agent.data import Array, Sample
from drivers.base import Camera, CameraOptions, DeviceFault, DeviceMissing
from drivers.camera._pace import Pace

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")


class Options(CameraOptions):
    """The folder and the rate at which its pictures are played."""

    folder: Path = Field(description="contains png, jpg and bmp files of one size")
    fps: float = Field(30.0, gt=0, le=1000)
    pace: Literal["real", "fast"] = Field("real", description="fast: every picture, as fast as they are read")
    loop: bool = False
    frozen_ms: float = Field(0.0, ge=0, le=600_000, description="as of a live camera; 0: identical pictures are normal")


class Driver(Camera):
    """A late reader gets the newest picture that is due. Ends with EOFError."""

    options: Options
    pixels = "bgr"

    def open(self) -> None:
        self.files = _pictures(self.options.folder)
        first = _load(self.files[0])
        self.height, self.width = first.shape[:2]
        self.rate_hz = self.options.fps
        self.pace = Pace(self.options.fps, self.options.pace == "fast", time.monotonic_ns())
        self.decoded, self.picture = 0, first

    def read(self, wait_s: float) -> Sample | None:
        number = self.pace.tick + 1
        if number >= len(self.files) and not self.options.loop:
            raise EOFError(f"{self.options.folder}: all {len(self.files)} pictures played")
        # decoding takes milliseconds: done while waiting
        self._decode(number)
        passed = self.pace.wait(wait_s)
        if not passed:
            return None
        newest = self.pace.tick if self.options.loop else min(self.pace.tick, len(self.files) - 1)
        self._decode(newest)
        return Sample(self.name, newest, self.pace.time(newest), self.picture, newest - number)

    def close(self) -> None:
        pass

    def _decode(self, number: int) -> None:
        if self.decoded == number:
            return
        file = self.files[number % len(self.files)]
        picture = _load(file)
        if picture.shape[:2] != (self.height, self.width):
            size = f"{picture.shape[1]}x{picture.shape[0]}"
            raise DeviceFault(f"{file} is {size}, the first picture {self.width}x{self.height}: one folder, one size")
        self.decoded, self.picture = number, picture


def _pictures(folder: Path) -> list[Path]:
    try:
        pictures = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise DeviceMissing(f"{folder}: {error.strerror}") from error
    if not pictures:
        raise DeviceMissing(f"{folder} contains no {', '.join(SUFFIXES)} files")
    return pictures


def _load(file: Path) -> Array:
    try:
        picture: Array | None = cv2.imread(str(file), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise DeviceFault(f"{file} does not decode: {error.err}") from error
    if picture is None:
        raise DeviceFault(f"{file} does not decode")
    return picture
