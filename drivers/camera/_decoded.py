"""What file and rtsp share: a camera whose pictures a child process decodes."""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import Any

from pydantic import Field

from agent.data import Sample
from drivers.base import Camera, DeviceError, DeviceFault, DeviceMissing, DeviceTimeout, SourceOptions
from drivers.camera import _mail as mail
from drivers.camera._child import Child, Died, Message


class DecodedOptions(SourceOptions):
    open_timeout_ms: float = Field(10_000.0, gt=0, le=600_000, description="for the first picture to come")
    max_pixels: int = Field(4096 * 2160, ge=1, le=1 << 28, description="larger pictures are refused")
    memory_mb: int = Field(1024, ge=512, le=65536, description="address space of the decoder; an empty one has 300")
    threads: int = Field(
        1, ge=1, le=16, description="of the decoder; a live picture is late by one frame for each more than one"
    )


class Decoded(Camera):
    """A driver says by `request` and `ffmpeg` what to play, by `label` how to call it without credentials."""

    options: DecodedOptions
    pixels = "bgr"
    child: Child | None = None

    @abstractmethod
    def label(self) -> str:
        """The source's name in messages."""

    @abstractmethod
    def request(self) -> dict[str, Any]:
        """source, pace ("live", "recorded" or "fast"), loop, and `closed`: what it means that nothing opens."""

    @abstractmethod
    def ffmpeg(self) -> str:
        """Options of the decoder library, "key;value|key;value"."""

    def ended(self) -> Exception:
        """What read raises when the source is over."""
        return EOFError(f"{self.label()} is over after {self.sequence + 1} frames")

    def open(self) -> None:
        self.sequence = -1
        self.over: Exception | None = None
        limits = self.options.model_dump(include={"max_pixels", "memory_mb", "threads", "open_timeout_ms"})
        try:
            self.child = Child({**self.request(), **limits}, self.ffmpeg())
            self._meet(self.child)
        except (OSError, ValueError) as error:
            self.close()
            raise DeviceFault(f"{self.label()}: {error}") from error
        except DeviceError:
            self.close()
            raise

    def read(self, wait_s: float) -> Sample | None:
        """The picture is a view of memory shared with the decoder, which gets it back at the next read."""
        assert self.child is not None, "read before open"
        deadline = time.monotonic() + min(wait_s, self.options.timeout_ms / 1000)
        while True:
            message = self._receive(self.child)
            if message is not None:
                return self._sample(self.child, message)
            left = deadline - time.monotonic()
            if left <= 0:
                self._check_silence()
                return None
            self.child.wait(left)

    def close(self) -> None:
        if self.child is not None:
            self.child.stop()
            self.child = None

    def _meet(self, child: Child) -> None:
        deadline = time.monotonic() + self.options.open_timeout_ms / 1000
        while (hello := self._receive(child)) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise DeviceMissing(f"{self.label()}: no picture within {self.options.open_timeout_ms:.0f} ms")
            child.wait(left)
        width, height, rate_hz = hello.text.split()
        self.width, self.height, self.rate_hz = int(width), int(height), float(rate_hz)
        child.accept(self.width, self.height)
        self.heard = time.monotonic_ns()

    def _receive(self, child: Child) -> Message | None:
        if self.over is not None:
            raise self.over
        try:
            message = child.receive()
        except Died as died:
            self.over = DeviceFault(f"{self.label()}: the decoder {died} after {self.sequence + 1} frames")
            raise self.over from died
        if message is None or message.kind in (mail.PICTURE, mail.HELLO):
            return message
        self.over = self._ending(message)
        raise self.over

    def _ending(self, message: Message) -> Exception:
        if message.kind == mail.END:
            return self.ended()
        kind = DeviceMissing if message.kind == mail.MISSING else DeviceFault
        return kind(f"{self.label()} {message.text}")

    def _sample(self, child: Child, message: Message) -> Sample:
        skipped = message.sequence - self.sequence - 1
        self.sequence = message.sequence
        self.heard = time.monotonic_ns()
        return Sample(self.name, message.sequence, message.t_capture, child.slots[message.slot], skipped)

    def _check_silence(self) -> None:
        silent_ms = (time.monotonic_ns() - self.heard) / 1e6
        if silent_ms > self.options.timeout_ms:
            raise DeviceTimeout(f"{self.label()}: no picture for {silent_ms:.0f} ms")
