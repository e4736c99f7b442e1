"""Finds frames in a stream of bytes and decodes them into readings; pure, and safe against any input."""

from __future__ import annotations

import math
import re
import struct
from typing import Any, Literal

from pydantic import Field, model_validator

from drivers.base import DriverOptions
from drivers.sensor._checksum import checked_binary, checked_text

FLOAT32_MAX = 3.4028234e38
EXCERPT = 24
UNUSED = "_"
LAYOUT = re.compile(r"[<>]([0-9]{0,2}[bBhHiIlLqQfd]){1,64}")

Reading = list[float]


class Channel(DriverOptions):
    """One field of a frame: value = raw * scale + offset. A field named "_" is ignored, whatever it contains."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    scale: float = Field(1.0, allow_inf_nan=False)
    offset: float = Field(0.0, allow_inf_nan=False)
    hold_frames: int = Field(
        0,
        ge=0,
        le=100_000,
        description="for so many frames in a row an empty or NaN field repeats the last value; then the frame is bad",
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class Counter(DriverOptions):
    """The field in which the device numbers its frames: 0, 1, ... modulus - 1, 0, ..."""

    channel: str
    modulus: int = Field(256, ge=2, le=1 << 32)


class FrameOptions(DriverOptions):
    """The format of one frame.

    newline: text, one frame a line, fields between separators; a line ends with LF, CR or both. A checksum follows
        as `*` and hex digits; nmea is xor without a leading `$` or `!`.
    cobs: binary, ended by a zero byte, fields as in `layout`. The checksum is the last byte, or two.
    crc16_ccitt: CRC-16/CCITT-FALSE (poly 1021, init FFFF, not reflected; "123456789" gives 29B1), high byte first.
    crc16_modbus: CRC-16/MODBUS (poly 8005, init FFFF, reflected; "123456789" gives 4B37), low byte first in cobs.
    """

    framing: Literal["newline", "cobs"] = "newline"
    checksum: Literal["none", "xor", "nmea", "crc16_ccitt", "crc16_modbus"] = "none"
    separator: Literal[",", ";", "|", ":", "\t", " "] = Field(",", description="a space stands for any white space")
    decimal: Literal[".", ","] = Field(".", description="of numbers in text; a comma needs another separator")
    layout: str = Field("", max_length=128, description="cobs: numbers as in Python's struct, such as '<Hhhf'")
    max_frame: int = Field(256, ge=8, le=4096, description="bytes; a longer frame is bad")
    channels: tuple[Channel, ...] = Field(min_length=1, max_length=256)
    sequence: Counter | None = None

    @model_validator(mode="after")
    def _fits(self) -> FrameOptions:
        names = [channel.name for channel in self.channels if channel.name != UNUSED]
        if len(set(names)) < len(names):
            raise ValueError("two channels have the same name")
        if self.sequence and self.sequence.channel not in names:
            raise ValueError(f"sequence.channel '{self.sequence.channel}' is not among the channels")
        if not set(names) - {self.sequence.channel if self.sequence else UNUSED}:
            raise ValueError("no channel with a reading is left")
        if self.decimal == self.separator:
            raise ValueError("decimal: ',' needs another separator between fields: set separator, such as ';'")
        if self.framing == "cobs":
            self._check_layout()
        elif self.layout:
            raise ValueError("layout belongs to framing: cobs")
        return self

    def _check_layout(self) -> None:
        if self.checksum == "nmea":
            raise ValueError("checksum nmea belongs to framing: newline")
        if not LAYOUT.fullmatch(self.layout):
            raise ValueError("layout is '<' or '>' and then numbers out of bBhHiIlLqQfd, such as '<Hhhf'")
        size = struct.calcsize(self.layout)
        if size > self.max_frame:
            raise ValueError(f"layout has {size} bytes, max_frame allows {self.max_frame}")
        fields = len(struct.unpack(self.layout, bytes(size)))
        if fields != len(self.channels):
            raise ValueError(f"layout has {fields} numbers for {len(self.channels)} channels")


class FrameParser:
    """Bytes in, readings out. Keeps at most `max_frame` bytes between two calls.

    sequence: number of the newest reading, from 0; it includes those that the device numbered and that never arrived.
    bad, bad_run: bad frames, in total and since the last good one. last_bad: the first bytes of the last bad frame.
    held: values that were repeated because a field had none.
    """

    def __init__(self, form: FrameOptions) -> None:
        self.form = form
        self.delimiter = b"\n" if form.framing == "newline" else b"\0"
        self.used = [i for i, channel in enumerate(form.channels) if channel.name != UNUSED]
        self.counter = next(
            (i for i in self.used if form.sequence and form.channels[i].name == form.sequence.channel), -1
        )
        self.measured = [(i, form.channels[i].scale, form.channels[i].offset) for i in self.used if i != self.counter]
        self.holds = [form.channels[i].hold_frames for i, _, _ in self.measured]
        self.size = struct.calcsize(form.layout) if form.layout else 0
        self.names = tuple(form.channels[i].name for i, _, _ in self.measured)
        self.reset()

    def reset(self) -> None:
        """As after open: the first bytes may be the end of a frame, and "2.5" of "12.5" looks complete."""
        self.pending = b""
        self.synchronized = False
        self.number = -1
        self.sequence = -1
        self.bad = self.bad_run = self.held = 0
        self.last = [math.nan] * len(self.measured)
        self.missing = [0] * len(self.measured)  # frames in a row without a value, by channel
        self.last_bad = b""

    def feed(self, data: bytes) -> list[Reading]:
        """The readings that these bytes complete, oldest first. Never raises."""
        if self.delimiter == b"\n":
            data = data.replace(b"\r", b"\n")  # a line may end with CR alone; empty lines are no frames
        frames = (self.pending + data).split(self.delimiter)
        self.pending = frames.pop()
        if frames and not self.synchronized:
            self.synchronized = True
            del frames[0]
        readings = []
        for frame in frames:
            reading = self._decode(frame)
            if reading is not None:
                readings.append(reading)
        if len(self.pending) > self.form.max_frame:
            self._reject(self.pending)
            self.pending = b""
            self.synchronized = False
        return readings

    def _decode(self, frame: bytes) -> Reading | None:
        if not frame:
            return None
        try:
            if len(frame) > self.form.max_frame:
                raise ValueError("too long")
            raw = self._binary(frame) if self.form.layout else self._text(frame)
            reading = self._filled([raw[i] * scale + offset for i, scale, offset in self.measured])
            gap = self._gap(raw[self.counter]) if self.counter >= 0 else 0
        except ValueError:
            self._reject(frame)
            return None
        self.sequence += 1 + gap
        self.bad_run = 0
        self.last = reading
        return reading

    def _filled(self, reading: Reading) -> Reading:
        """The reading with its holes filled, each for a limited time. Raises ValueError where one stays."""
        if not any(self.holds):
            return [_in_range(value) for value in reading]
        for at, value in enumerate(reading):
            self.missing[at] = self.missing[at] + 1 if math.isnan(value) else 0
            if 0 < self.missing[at] <= self.holds[at]:
                reading[at] = self.last[at]
        checked = [_in_range(value) for value in reading]
        self.held += sum(missing > 0 for missing in self.missing)
        return checked

    def _reject(self, frame: bytes) -> None:
        self.bad += 1
        self.bad_run += 1
        self.last_bad = frame[:EXCERPT]

    def _text(self, frame: bytes) -> list[float]:
        body = checked_text(frame, self.form.checksum)
        fields = body.split(None if self.form.separator == " " else self.form.separator.encode())
        if len(fields) != len(self.form.channels):
            raise ValueError("wrong number of fields")
        values = [0.0] * len(fields)
        for i in self.used:
            values[i] = self._number(fields[i])
        return values

    def _number(self, field: bytes) -> float:
        """Raises ValueError. An empty field is a hole."""
        if self.form.decimal == ",":
            field = field.replace(b".", b"_").replace(b",", b".")
        if b"_" in field:  # Python accepts 1_000 as a thousand; on a wire it is damage, as is the dot of 1.000,5
            raise ValueError("not a number")
        return float(field) if field.strip() else math.nan

    def _binary(self, frame: bytes) -> tuple[float, ...]:
        body = checked_binary(cobs_decode(frame), self.form.checksum)
        if len(body) != self.size:
            raise ValueError("wrong length")
        return struct.unpack(self.form.layout, body)

    def _gap(self, raw: float) -> int:
        """Frames lost before this one. The same number again is an error: a device that repeats a frame is stuck."""
        assert self.form.sequence
        modulus = self.form.sequence.modulus
        if not 0 <= raw < modulus or raw != int(raw):
            raise ValueError("not a frame number")
        step = (int(raw) - self.number) % modulus if self.number >= 0 else 1
        if step == 0:
            raise ValueError("repeated")
        self.number = int(raw)
        return step - 1


def _in_range(value: float) -> float:
    # one comparison that is false for NaN, infinity and anything beyond the range of float32
    if not -FLOAT32_MAX <= value <= FLOAT32_MAX:
        raise ValueError("not a finite number")
    return value


def cobs_decode(frame: bytes) -> bytes:
    """Consistent overhead byte stuffing undone (Cheshire and Baker 1997). Raises ValueError for an incomplete frame."""
    out = bytearray()
    at = 0
    while at < len(frame):
        code = frame[at]
        block = frame[at + 1 : at + code]
        if code == 0 or len(block) != code - 1:
            raise ValueError("cut")
        out += block
        at += code
        # no zero follows a block of 254 bytes or the last block
        if code < 0xFF and at < len(frame):
            out.append(0)
    return bytes(out)
