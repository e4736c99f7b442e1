"""A chest strap: the packets of its Bluetooth Heart Rate profile, received over a serial line or a TCP socket.

The strap is connected by Bluetooth LE to a dongle or gateway, which writes each notification of characteristic 0x2A37
as one frame. newline: the packet as hex digits, `163C0004`, optionally `*` and a checksum; cobs: its bytes, optionally
a checksum.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from drivers.base import SensorStream, SourceOptions
from drivers.sensor import serial
from drivers.sensor._checksum import checked_binary, checked_text
from drivers.sensor._frames import FrameOptions, FrameParser, cobs_decode
from drivers.sensor._measurement import parse_measurement

CHANNELS = ("heart_rate_bpm", "contact", "rr_ms")


class Options(SourceOptions):
    """The line to the dongle and the format of its frames."""

    url: str = Field(min_length=1, description="a device such as /dev/serial/by-id/usb-..., or socket://host:port")
    baud: int = Field(115_200, ge=50, le=12_000_000)
    parity: Literal["none", "even", "odd"] = "none"
    framing: Literal["newline", "cobs"] = Field(
        "newline", description="newline: hex digits, one packet a line; cobs: bytes"
    )
    checksum: Literal["none", "xor", "nmea", "crc16_ccitt", "crc16_modbus"] = Field(
        "none", description="as in sensor.serial"
    )
    rate_hz: float = Field(1.0, gt=0, le=100, description="packets a second; straps send one")
    timeout_ms: float = Field(
        3000.0, gt=0, le=600_000, description="time without a packet after which the strap counts as gone"
    )
    start_ms: float = Field(
        0.0, ge=0, le=60_000, description="extra time allowed after open: a dongle has to find the strap"
    )
    bad_run: int = Field(20, ge=1, le=100_000, description="bad frames in a row before the device counts as faulty")
    max_batch: int = Field(64, ge=1, le=65_536, description="packets in one sample; older ones are skipped")

    @field_validator("url")
    @classmethod
    def _url(cls, url: str) -> str:
        return serial.checked_url(url)

    @model_validator(mode="after")
    def _fits(self) -> Options:
        if self.framing == "cobs" and self.checksum == "nmea":
            raise ValueError("checksum nmea belongs to framing: newline")
        return self

    def exclusive_device(self) -> str:
        return self.url


class Driver(serial.Driver):
    """contact: 1 skin, 0 none (the strap is off), -1 not reported. rr_ms: the newest interval, 0 without one."""

    def __init__(self, options: Options, name: str = "") -> None:
        SensorStream.__init__(self, options, name)
        self.parser = PacketParser(options.framing, options.checksum)
        self.channels = CHANNELS
        self.rate_hz = options.rate_hz
        self.rows = np.zeros((options.max_batch, len(CHANNELS)), np.float32)
        self.port = None


class PacketParser(FrameParser):
    """A FrameParser whose frames each contain one Heart Rate Measurement."""

    def __init__(self, framing: Literal["newline", "cobs"], checksum: str) -> None:
        layout = "<fff" if framing == "cobs" else ""  # of the decoded packet: one number per channel
        form = {"framing": framing, "checksum": checksum, "layout": layout, "channels": CHANNELS}
        super().__init__(FrameOptions.model_validate(form))

    def _text(self, frame: bytes) -> list[float]:
        body = checked_text(frame, self.form.checksum)
        return list(_row(bytes.fromhex(body.decode("ascii"))))

    def _binary(self, frame: bytes) -> tuple[float, ...]:
        return _row(checked_binary(cobs_decode(frame), self.form.checksum))


def _row(packet: bytes) -> tuple[float, ...]:
    """One reading in the order of CHANNELS. Raises ValueError."""
    measurement = parse_measurement(packet)
    rr_ms = measurement.rr_ms[-1] if measurement.rr_ms else 0.0
    return measurement.heart_rate_bpm, measurement.contact, rr_ms
