"""A WAV file as a microphone, at its recorded pace or as fast as it is read."""

from __future__ import annotations

import time
import wave
from pathlib import Path
from struct import error as StructError
from typing import Literal

import numpy as np
from pydantic import Field

from agent.data import Array, Sample
from drivers.audio._values import AudioOptions, Blocks, DeadCheck
from drivers.base import DeviceFault, DeviceMissing, Microphone
from drivers.resample import resample

LOWEST_HZ, HIGHEST_HZ = 1_000, 192_000
MAX_CHANNELS = 64
CHUNK = 65_536  # frames that are converted at a time


class Options(AudioOptions):
    """The recording and its pace."""

    path: Path = Field(description="WAV, PCM of 8, 16, 24 or 32 bit; channels are mixed, resampled to rate_hz")
    pace: Literal["real", "fast"] = Field("real", description="fast: one block per read, on a simulated clock")
    loop: bool = Field(False, description="restart at the end")
    max_s: float = Field(300.0, gt=0, le=3600, description="a longer file is refused: it is kept in memory")
    dead_ms: float = Field(0.0, ge=0, le=3_600_000, description="digital silence that counts as a fault; 0: none does")

    def input_files(self) -> list[Path]:
        return [self.path]


class Driver(Microphone):
    """A late reader gets every value since. Ends with EOFError."""

    options: Options
    values: Array

    def __init__(self, options: Options, name: str = "") -> None:
        super().__init__(options, name)
        self.rate_hz = options.rate_hz
        self.dead_check = DeadCheck(str(options.path), options.rate_hz, options.dead_ms)

    def open(self) -> None:
        self.values = load(self.options.path, self.options.rate_hz, self.options.max_s)
        self.blocks = Blocks(self.options, self.options.pace == "fast", time.monotonic_ns())
        self.next = 0

    def read(self, wait_s: float) -> Sample | None:
        if self.next == len(self.values):
            if not self.options.loop:
                raise EOFError(f"{self.options.path}: end of the recording")
            self.next = 0
        self.t_next = self.blocks.due
        count = min(self.blocks.wait(wait_s), len(self.values) - self.next)
        if not count:
            return None
        first, self.next = self.next, self.next + count
        payload = self.values[first : self.next]
        self.dead_check.check(payload)
        self.blocks.delivered += count
        return Sample(self.name, self.blocks.delivered - 1, self.blocks.time(self.blocks.delivered), payload)

    def close(self) -> None:
        self.next = 0


def load(path: Path, rate_hz: int, max_s: float) -> Array:
    """float32 [n] at rate_hz, at least one value, read-only. Raises DeviceMissing, DeviceFault."""
    try:
        if not path.is_file():  # a pipe has no end; opening it could wait for ever
            raise DeviceMissing(f"{path}: no such file")
        with open(path, "rb") as raw, wave.open(raw) as file:
            values = _mixed(file, path, max_s)
            before_hz = file.getframerate()
    except OSError as error:
        raise DeviceMissing(f"{path}: {error.strerror}") from error
    # RuntimeError: a chunk that ends outside its parent
    except (wave.Error, EOFError, StructError, RuntimeError, ValueError, OverflowError) as error:
        reason = str(error) or "it ends too early"
        raise DeviceFault(
            f"{path}: not a WAV file with PCM ({reason}); ffmpeg -i IN -c:a pcm_s16le OUT.wav makes one"
        ) from error
    values = resample(values, before_hz, rate_hz, silence=True)
    values.flags.writeable = False
    return values


def _mixed(file: wave.Wave_read, path: Path, max_s: float) -> Array:
    """float32 [n] at the file's rate: the mean of its channels."""
    channels, width, rate, frames = file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()
    if not 1 <= channels <= MAX_CHANNELS or not 1 <= width <= 4 or not LOWEST_HZ <= rate <= HIGHEST_HZ:
        raise DeviceFault(f"{path}: {channels} channels of {8 * width} bit at {rate} Hz cannot be played")
    if frames > max_s * rate:
        raise DeviceFault(f"{path}: {frames / rate:.0f} s is longer than max_s {max_s:g}")
    parts = []
    while len(raw := file.readframes(CHUNK)) >= channels * width:
        whole = len(raw) // (channels * width) * channels * width  # a truncated file may end within a frame
        parts.append(_real(raw[:whole], width).reshape(-1, channels).mean(axis=1))
    if not parts:
        raise DeviceFault(f"{path}: no sound in it")
    return np.concatenate(parts)


def _real(raw: bytes, width: int) -> Array:
    """PCM of `width` bytes, little-endian, as float32 in -1..1. WAV has 8 bit with zero at 128, the others signed."""
    if width == 1:
        return (np.frombuffer(raw, np.uint8).astype(np.float32) - 128) / 128
    if width == 3:  # as the upper bytes of 32 bit
        wide = np.zeros((len(raw) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        return _real(wide.tobytes(), 4)
    values: Array = np.frombuffer(raw, "<i2" if width == 2 else "<i4").astype(np.float32)
    values /= 1 << (8 * width - 1)
    return values
