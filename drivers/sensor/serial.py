"""A sensor that sends frames over a serial line, a USB serial port or a TCP socket."""

from __future__ import annotations

import errno
import os
import select
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

import numpy as np
import serial
from pydantic import Field, field_validator

from agent.data import Sample
from drivers.base import DeviceError, DeviceFault, DeviceMissing, DeviceTimeout, SensorStream, SourceOptions
from drivers.holder import Claim, claim_device, holder
from drivers.sensor._frames import FrameOptions, FrameParser, Reading

SCHEMES = ("loop", "socket", "rfc2217")
CHUNK = 4096  # size of the kernel's line buffer
CHUNKS = 16  # a device faster than this reader must not keep it from returning
PARITY = {"none": serial.PARITY_NONE, "even": serial.PARITY_EVEN, "odd": serial.PARITY_ODD}


class Options(FrameOptions, SourceOptions):
    """The port and the format of its frames."""

    url: str = Field(min_length=1, description="a device such as /dev/serial/by-id/usb-..., or socket://host:port")
    baud: int = Field(115_200, ge=50, le=12_000_000)
    parity: Literal["none", "even", "odd"] = "none"
    rate_hz: float = Field(gt=0, le=10_000, description="frames a second that the device sends")
    start_ms: float = Field(
        0.0, ge=0, le=60_000, description="extra time allowed after open; an Arduino restarts: 2000"
    )
    bad_run: int = Field(20, ge=1, le=100_000, description="bad frames in a row before the device counts as faulty")
    max_batch: int = Field(256, ge=1, le=65_536, description="readings in one sample; older ones are skipped")

    @field_validator("url")
    @classmethod
    def _url(cls, url: str) -> str:
        return checked_url(url)

    def exclusive_device(self) -> str:
        return self.url


class Driver(SensorStream):
    """bad_frames: damaged frames since open."""

    def __init__(self, options: Options, name: str = "") -> None:
        super().__init__(options, name)
        self.parser = FrameParser(options)
        self.channels = self.parser.names
        self.rate_hz = options.rate_hz
        self.rows = np.zeros((options.max_batch, len(self.channels)), np.float32)
        self.port: serial.Serial | None = None

    @property
    def bad_frames(self) -> int:
        return self.parser.bad

    def open(self) -> None:
        self.close()
        self.port = open_port(self.options.url, self.options.baud, self.options.parity)
        self.fd = file_descriptor(self.port)
        self.ready = select.poll()
        if self.fd >= 0:
            self.ready.register(self.fd, select.POLLIN)
        self.parser.reset()
        self.t_received = time.monotonic_ns() + int(self.options.start_ms * 1e6)

    def read(self, wait_s: float) -> Sample | None:
        timeout = self.t_received + int(self.options.timeout_ms * 1e6)
        until = min(time.monotonic_ns() + int(wait_s * 1e9), timeout)
        while True:
            sample = self._sample(max(0, until - time.monotonic_ns()) / 1e9)
            if sample:
                return sample
            if self.parser.bad_run > self.options.bad_run:
                raise self._bad_frames_error()
            now = time.monotonic_ns()
            if now >= timeout:
                raise DeviceTimeout(
                    f"{self.options.url}: no good frame for {self.options.timeout_ms:g} ms, "
                    f"{self.parser.bad} bad ones since open"
                )
            if now >= until:
                return None

    def close(self) -> None:
        port, self.port = self.port, None
        if port is not None:
            with suppress(Exception):  # a port that is gone cannot be closed properly either
                port.close()

    def _sample(self, wait_s: float) -> Sample | None:
        """Empties the kernel's buffer; the newest frame has the stamp of the read that completed it."""
        readings: list[Reading] = []
        until = time.monotonic() + wait_s
        for _ in range(CHUNKS):
            # the bytes of an incomplete frame must not restart the wait: a lane has heartbeats to send
            try:
                data = self._receive(0.0 if readings else max(0.0, until - time.monotonic()))
            except DeviceMissing:
                if readings:
                    break  # the last readings are still valid; the next read reports the device as gone
                raise
            stamp = time.monotonic_ns()
            new = self.parser.feed(data)
            if new:
                readings += new
                self.t_received = stamp
            if not data:
                break
        if not readings:
            return None
        newest = readings[-self.options.max_batch :]
        payload = self.rows[: len(newest)]
        payload[:] = newest
        return Sample(self.name, self.parser.sequence, self.t_received, payload, len(readings) - len(newest))

    def _receive(self, wait_s: float) -> bytes:
        """The received bytes, after waiting for the first; b"" when none arrived. Raises DeviceMissing."""
        assert self.port is not None, "read before open"
        try:
            if self.fd < 0:
                return _receive_without_fd(self.port, wait_s)
            if not self.ready.poll(wait_s * 1e3):
                return b""
            data = os.read(self.fd, CHUNK)
        except BlockingIOError:
            return b""
        except OSError as error:  # SerialException is one
            raise DeviceMissing(f"{self.options.url}: gone, {error}") from error
        if not data:
            raise DeviceMissing(f"{self.options.url}: gone, unplugged or closed at the other end")
        return data

    def _bad_frames_error(self) -> DeviceFault:
        return DeviceFault(
            f"{self.options.url}: {self.parser.bad_run} bad frames in a row, the last one starts with "
            f"{self.parser.last_bad.hex(' ')}: check baud, framing and checksum"
        )


def _receive_without_fd(port: serial.Serial, wait_s: float) -> bytes:
    # loop:// and rfc2217:// have a queue in this process and no descriptor to poll
    port.timeout = wait_s
    first: bytes = port.read(1)
    return first + port.read(min(port.in_waiting, CHUNK)) if first else b""


class _Port(serial.Serial):
    """A port of this box, claimed until it is closed: pyserial locks its node, and the device may have others."""

    _claim: Claim | None = None

    def open(self) -> None:
        self._claim = claim_device(str(self.port))  # before: to open a port sets its rate, and restarts an Arduino
        try:
            super().open()
        except BaseException:
            self._claim.release()
            raise

    def close(self) -> None:
        try:
            super().close()
        finally:
            if self._claim:
                self._claim.release()


def open_port(url: str, baud: int, parity: str = "none", write_timeout_s: float | None = None) -> serial.Serial:
    """An open, locked, 8-bit port that does not block in read. Raises DeviceMissing, DeviceFault."""
    try:
        port = _opener(url)(
            url, baudrate=baud, parity=PARITY[parity], timeout=0, write_timeout=write_timeout_s, exclusive=True
        )
    except (OSError, termios.error) as error:
        raise explain(url, error) from error
    except ValueError as error:
        raise DeviceFault(f"{url}: {error}") from error
    # an FTDI chip delays bytes by up to 16 ms without this setting; a port that lacks it raises ValueError
    with suppress(AttributeError, NotImplementedError, OSError, ValueError):
        port.set_low_latency_mode(True)
    return port


def _opener(url: str) -> Callable[..., serial.Serial]:
    return serial.serial_for_url if "://" in url else _Port


def explain(url: str, error: Exception) -> DeviceError:
    """Why a port did not open, and what to do about it."""
    # pyserial does not always pass the errno on; then the error that it caught has it
    causes = [cause for cause in (error, error.__context__) if cause and cause.args]
    code = next((cause.args[0] for cause in causes if isinstance(cause.args[0], int)), 0)
    if code in (errno.EACCES, errno.EPERM):
        return DeviceMissing(f"{url}: no permission; add the service's user to the group dialout")
    if code in (errno.EBUSY, errno.EAGAIN):
        return DeviceMissing(f"{url}: busy, {holder(url)} has it open (ModemManager?)")
    if code in (errno.ENOENT, errno.ENXIO, errno.ENODEV, errno.EIO):
        return DeviceMissing(f"{url}: is not there (plugged in?): names under /dev/serial/by-id stay the same")
    if code == errno.ENOTTY:
        return DeviceFault(f"{url}: not a serial port")
    return DeviceMissing(f"{url}: {error}")


def file_descriptor(port: serial.Serial) -> int:
    """The port's descriptor, or -1 where it has none."""
    try:
        return port.fileno()
    except (AttributeError, OSError):
        return -1


def checked_url(url: str) -> str:
    """The URL itself. Raises ValueError for a scheme that is not a serial port."""
    scheme, mark, _ = url.partition("://")
    if mark and scheme not in SCHEMES:
        raise ValueError(f"not a serial port; use a device path, {', '.join(name + '://' for name in SCHEMES)}")
    return url
