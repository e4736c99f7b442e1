"""A folder of pictures, in the order of their names, as a camera."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from agent.data import Array, Sample
from drivers.base import Camera, CameraOptions, DeviceFault, DeviceMissing
from drivers.camera import _jpeg
from drivers.camera._names import local, readable
from drivers.camera._pace import Pace

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")


class Options(CameraOptions):
    """The folder and the rate at which its pictures are played."""

    folder: Path = Field(description="contains png, jpg and bmp files; each is played in its own size")
    fps: float = Field(30.0, gt=0, le=1000)
    pace: Literal["real", "fast"] = Field("real", description="fast: every picture, as fast as they are read")
    loop: bool = False
    frozen_ms: float = Field(0.0, ge=0, le=600_000, description="as of a live camera; 0: identical pictures are normal")

    @field_validator("folder")
    @classmethod
    def _is_local(cls, folder: Path) -> Path:
        local(str(folder), "a folder of pictures")
        return folder

    def input_folders(self) -> list[Path]:
        return [self.folder]


class Driver(Camera):
    """A late reader gets the newest picture that is due. Ends with EOFError. width, height: of the first picture."""

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
            raise EOFError(f"{readable(self.options.folder)}: all {len(self.files)} pictures played")
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
        self.decoded, self.picture = number, _load(self.files[number % len(self.files)])


def _pictures(folder: Path) -> list[Path]:
    try:
        pictures = sorted(file for file in folder.iterdir() if _is_picture(file))
    except OSError as error:
        raise DeviceMissing(f"{readable(folder)}: {error.strerror}") from error
    if not pictures:
        raise DeviceMissing(f"{readable(folder)} contains no {', '.join(SUFFIXES)} files")
    return pictures


def _is_picture(file: Path) -> bool:
    # a Mac leaves ._1.png beside 1.png: its attributes, not a picture
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()


def _load(file: Path) -> Array:
    try:
        content = np.fromfile(file, np.uint8)
    except OSError as error:
        raise DeviceMissing(f"{readable(file)}: {error.strerror}") from error
    picture = _jpeg.decode(content) if len(content) else None
    if picture is None:
        raise DeviceFault(f"{readable(file)} does not decode: it is damaged, cut off, or no picture")
    return picture
