"""USB relay boards of the LCUS-1 type: four bytes per relay at 9600 baud, 8N1."""

from __future__ import annotations

import os
import termios
import time
from collections.abc import Mapping
from typing import Annotated, Literal

import serial
from pydantic import Field, field_validator, model_validator

from agent.data import Arguments
from drivers.actuator._shared_line import SharedLine, discard, join
from drivers.base import Actuator, DeviceError, DeviceFault, DeviceMissing, DeviceTimeout, DriverOptions
from drivers.sensor.serial import checked_url, file_descriptor

START = 0xA0
DRAIN_STEP_S = 0.0005
SLACK_MS = 50.0  # of this computer, beyond the time limits

Relay = Annotated[int, Field(ge=1, le=255)]
Pattern = Annotated[dict[Relay, bool], Field(min_length=1)]


class Options(DriverOptions):
    """The board and the relays of each verb."""

    url: str = Field(min_length=1, description="a device such as /dev/serial/by-id/usb-...")
    baud: int = Field(9600, ge=50, le=12_000_000)
    channels: dict[str, Pattern] = Field(
        min_length=1, description="verb -> relay -> on; a relay not named does not change"
    )
    safe: str = Field(description="the verb of the safe state; it must name every relay")
    echo: Literal["none", "same"] = Field("none", description="same: the board answers with the received bytes")
    timeout_ms: float = Field(100.0, gt=0, le=5000, description="time limit for sending, and again for the echo")

    @field_validator("url")
    @classmethod
    def _url(cls, url: str) -> str:
        return checked_url(url)

    @model_validator(mode="after")
    def _safe(self) -> Options:
        if self.safe not in self.channels:
            raise ValueError(f"safe: '{self.safe}' is not among the channels' verbs: {', '.join(self.channels)}")
        unnamed = {relay for pattern in self.channels.values() for relay in pattern} - set(self.channels[self.safe])
        if unnamed:
            raise ValueError(f"safe: '{self.safe}' does not name relay {min(unnamed)}")
        return self

    def exclusive_device(self) -> str:
        return self.url

    def exclusive_parts(self) -> frozenset[int]:
        return frozenset(self.channels[self.safe])


class Driver(Actuator):
    """After an error the relays are in an unknown state until the next success.

    Several actuators of one process may share a board. What one did to the line is known to all: `uncertain`.
    """

    def __init__(self, options: Options, name: str = "") -> None:
        super().__init__(options, name)
        self.bytes = {verb: encode(pattern) for verb, pattern in options.channels.items()}
        self.verbs = tuple(self.bytes)
        self.timeout_s = options.timeout_ms / 1e3
        self.deadline_ms = SLACK_MS + options.timeout_ms * (1 if options.echo == "none" else 2)
        self.line: SharedLine | None = None

    def open(self) -> None:
        self.close()
        before, self.line = self.line, join(self, self.options.exclusive_parts(), self.options.url)
        self.line.uncertain |= before is not None and before.uncertain
        try:
            self.line.open(self.options.url, self.options.baud, self.timeout_s)
        except DeviceError:
            self.close()
            raise

    def apply(self, verb: str, arguments: Arguments) -> None:
        if verb not in self.bytes:
            raise DeviceFault(f"{self.options.url}: no verb '{verb}', only {', '.join(self.bytes)}")
        if self.line is None or self not in self.line.relays:
            raise DeviceMissing(f"{self.options.url}: not open")
        until = time.monotonic() + self.timeout_s
        if not self.line.lock.acquire(timeout=self.timeout_s):
            raise DeviceTimeout(f"{self.options.url}: another actuator's bytes do not leave")
        try:
            if self.line.port is None:  # another actuator of the board could not open it again
                raise DeviceMissing(f"{self.options.url}: gone")
            self._switch(self.line, self.line.port, self.bytes[verb], until)
        finally:
            self.line.lock.release()

    def _switch(self, line: SharedLine, port: serial.Serial, data: bytes, until: float) -> None:
        # the board may have received half a frame; it then drops the first copy and executes the second
        data *= 2 if line.uncertain else 1
        line.uncertain = line.failed = True
        try:
            self._send(port, data, until)
        except serial.SerialTimeoutException as error:
            discard(port)
            raise DeviceFault(f"{self.options.url}: accepts no bytes for {self.options.timeout_ms:g} ms") from error
        except (OSError, termios.error) as error:  # SerialException is an OSError
            raise DeviceMissing(f"{self.options.url}: gone, {error}") from error
        line.uncertain = line.failed = False

    def safe(self) -> None:
        self.apply(self.options.safe, {})

    def close(self) -> None:
        if self.line is not None:
            self.line.leave(self)

    def _send(self, port: serial.Serial, data: bytes, until: float) -> None:
        if self.options.echo == "same":
            port.reset_input_buffer()
        port.write(data)
        _drain(port, until)
        if self.options.echo == "same":
            self._compare(port, data)

    def _compare(self, port: serial.Serial, data: bytes) -> None:
        port.timeout = self.timeout_s
        answer = port.read(len(data))
        if not answer:
            raise DeviceTimeout(f"{self.options.url}: no answer for {self.options.timeout_ms:g} ms")
        if answer != data:
            raise DeviceFault(f"{self.options.url}: sent {data.hex(' ')}, the board answered {answer.hex(' ')}")


def encode(pattern: Mapping[int, bool]) -> bytes:
    """A0, relay, 1 or 0, low byte of their sum; one such frame per relay."""
    frames = ((START, relay, int(on)) for relay, on in pattern.items())
    return b"".join(bytes((*frame, sum(frame) & 0xFF)) for frame in frames)


def _drain(port: serial.Serial, until: float) -> None:
    """Waits until the bytes have left this machine, until this monotonic time. Raises SerialTimeoutException.

    tcdrain alone waits without limit on a USB device that accepts nothing, so it is called only with an empty queue.
    """
    if not os.isatty(file_descriptor(port)):
        return
    while port.out_waiting:
        if time.monotonic() > until:
            raise serial.SerialTimeoutException("bytes stay in the queue")
        time.sleep(DRAIN_STEP_S)
    port.flush()
