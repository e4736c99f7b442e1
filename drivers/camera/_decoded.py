"""What file, rtsp and gstreamer share: a camera whose pictures a child process decodes."""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import Any

from pydantic import Field

from agent.data import Sample
from drivers.base import Camera, CameraOptions, DeviceError, DeviceFault, DeviceMissing, DeviceTimeout
from drivers.camera import _decode_protocol as protocol
from drivers.camera._child import Child, ChildDied, Message


class DecodedOptions(CameraOptions):
    """Limits of the child: time, picture size, memory."""

    open_timeout_ms: float = Field(10_000.0, gt=0, le=600_000, description="time limit for the first picture")
    max_pixels: int = Field(4096 * 2160, ge=1, le=1 << 28, description="larger pictures are refused")
    memory_mb: int = Field(
        1024,
        ge=512,
        le=65536,
        description="address space of the decoder, of which 300 are used before the first picture",
    )


class DecoderOptions(DecodedOptions):
    """And of the decoder that OpenCV brings."""

    threads: int = Field(
        1, ge=1, le=16, description="of the decoder; each one beyond the first delays a live picture by one frame"
    )


class Decoded(Camera):
    """A driver defines what to play by `request` and `environment`, and its name without credentials by `label`."""

    options: DecodedOptions
    pixels = "bgr"
    program = "drivers.camera._decode"
    release_s = 0.0  # how long the child may take to release its device when it is closed
    endless = False  # a camera: its end is a fault, and not that of a recording
    child: Child | None = None

    @abstractmethod
    def label(self) -> str:
        """The source's name in messages."""

    @abstractmethod
    def request(self) -> dict[str, Any]:
        """source, pace ("live", "recorded" or "fast"), loop, and open_failure: the error text when it does not open."""

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """Environment variables of the child."""

    def shape(self) -> tuple[int, ...]:
        """Of a picture, once its size is known."""
        return self.height, self.width, 3

    @property
    def open_limit_s(self) -> float:
        # and the time to start and to end the child
        return max(super().open_limit_s, self.options.open_timeout_ms / 1000 + 10)

    def message_text(self, text: str) -> str:
        """What the child says about a fault, for the log."""
        return text

    def end_error(self) -> Exception:
        """What read raises when the source is at its end."""
        frames = f"after {self.sequence + 1} frames"
        if self.endless:
            return DeviceMissing(f"{self.label()} ended the stream {frames}")
        return EOFError(f"{self.label()} ended {frames}")

    def open(self) -> None:
        self.sequence, self.t_next = -1, 0
        self.final_error: Exception | None = None
        limits = self.options.model_dump(
            include={"max_pixels", "memory_mb", "threads", "open_timeout_ms", "timeout_ms"}
        )
        try:
            self.child = Child({**self.request(), **limits}, self.program, self.environment())
            self._await_first(self.child)
        except (OSError, ValueError) as error:
            self.close()
            raise DeviceFault(f"{self.label()}: {error}") from error
        except DeviceError:
            self.close()
            raise

    def read(self, wait_s: float) -> Sample | None:
        """The picture is a view of memory shared with the decoder; it is valid until the next read."""
        assert self.child is not None, "read before open"
        deadline = time.monotonic() + min(wait_s, self.options.timeout_ms / 1000)
        while True:
            message = self._receive(self.child)
            if message is not None and message.kind == protocol.PAUSE:
                self.t_next = message.t_capture
                return None
            if message is not None:
                return self._sample(self.child, message)
            left = deadline - time.monotonic()
            if left <= 0:
                self._check_timeout()
                return None
            self.child.wait(left)

    def close(self) -> None:
        if self.child is not None:
            self.child.stop(self.release_s)
            self.child = None

    def _await_first(self, child: Child) -> None:
        deadline = time.monotonic() + self.options.open_timeout_ms / 1000
        while (hello := self._receive(child)) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise DeviceMissing(f"{self.label()}: no picture within {self.options.open_timeout_ms:.0f} ms")
            child.wait(left)
        width, height, rate_hz = hello.text.split()
        self.width, self.height, self.rate_hz = int(width), int(height), float(rate_hz)
        child.accept(self.shape())
        self.t_received = time.monotonic_ns()

    def _receive(self, child: Child) -> Message | None:
        if self.final_error is not None:
            raise self.final_error
        try:
            message = child.receive()
        except ChildDied as died:
            self.final_error = DeviceFault(f"{self.label()}: the decoder {died} after {self.sequence + 1} frames")
            raise self.final_error from died
        if message is None or message.kind in (protocol.PICTURE, protocol.DELTA, protocol.HELLO, protocol.PAUSE):
            return message
        self.final_error = self._ending(message)
        raise self.final_error

    def _ending(self, message: Message) -> Exception:
        if message.kind == protocol.END:
            return self.end_error()
        kind = DeviceMissing if message.kind == protocol.MISSING else DeviceFault
        return kind(f"{self.label()} {self.message_text(message.text)}")

    def _sample(self, child: Child, message: Message) -> Sample:
        skipped = max(0, message.sequence - self.sequence - 1)
        self.comparable = message.kind == protocol.PICTURE
        self.sequence = message.sequence
        self.t_received = time.monotonic_ns()
        return Sample(self.name, message.sequence, message.t_capture, child.slots[message.slot], skipped)

    def _check_timeout(self) -> None:
        silent_ms = (time.monotonic_ns() - max(self.t_received, self.t_next)) / 1e6
        if silent_ms > self.options.timeout_ms:
            raise DeviceTimeout(f"{self.label()}: no picture for {silent_ms:.0f} ms")
