"""A video file as a camera, at its recorded pace or as fast as it is read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from drivers.base import DeviceFault, DeviceMissing
from drivers.camera._decoded import Decoded, DecoderOptions
from drivers.camera._names import local, readable


class Options(DecoderOptions):
    """The recording and its pace."""

    path: Path = Field(description="any container and codec that FFmpeg reads")
    pace: Literal["recorded", "fast"] = Field("recorded", description="fast: every frame, as fast as they are read")
    loop: bool = False
    frozen_ms: float = Field(0.0, ge=0, le=600_000, description="as of a live camera; 0: identical pictures are normal")

    @field_validator("path")
    @classmethod
    def _is_local(cls, path: Path) -> Path:
        local(str(path), "a video file")
        return path

    def input_files(self) -> list[Path]:
        return [self.path]


class Driver(Decoded):
    """t_capture is the time of open plus the frame's time in the recording, also where `fast` exceeds the clock."""

    options: Options

    def open(self) -> None:
        path = self.options.path
        if not path.exists() or not os.access(path, os.R_OK):
            raise DeviceMissing(f"{self.label()} does not exist or is not readable")
        if not path.is_file():
            raise DeviceFault(f"{self.label()} is not a file")
        super().open()

    def label(self) -> str:
        return readable(self.options.path)

    def request(self) -> dict[str, Any]:
        return {
            "source": os.path.abspath(self.options.path),
            "pace": self.options.pace,
            "loop": self.options.loop,
            "open_failure": "does not open as a video",
        }

    def environment(self) -> dict[str, str]:
        # a file may be a playlist that names other files, also in the network
        return {"OPENCV_FFMPEG_CAPTURE_OPTIONS": "protocol_whitelist;file"}
