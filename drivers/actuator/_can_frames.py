"""The frames of a verb, as configured, and their bytes: encoded once, at open, for every value of a rolling counter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import can
from cantools.database.can import Database, Message, Signal
from pydantic import Field, field_validator, model_validator

from drivers.links.can import EXTENDED_IDS, STANDARD_IDS, Image
from drivers.options import DriverOptions

CRC8 = {"crc8_j1850": 0x1D, "crc8_autosar": 0x2F}  # polynomials; both start with FF and invert the result
COUNTER_BITS = 8
FD_LENGTHS = (12, 16, 20, 24, 32, 48, 64)  # above eight bytes, ISO 11898-1


class Checksum(DriverOptions):
    """A byte of the frame that the receiver computes, too."""

    signal: str = Field(description="a signal of 8 bits that fills one byte")
    kind: Literal["sum8", "xor8", "crc8_j1850", "crc8_autosar"] = Field(
        description="over all other bytes: their sum, exclusive or, CRC of SAE J1850 (1D) or of AUTOSAR (2F)"
    )
    prefix: str = Field("", max_length=32, description="bytes in hex that come first, such as AUTOSAR's data id")

    @field_validator("prefix")
    @classmethod
    def _hex(cls, text: str) -> str:
        return bytes.fromhex(text).hex()


class Frame(DriverOptions):
    """A message of the DBC with a value for each of its signals, or an id and bytes."""

    message: str | None = Field(None, description="of the DBC")
    signals: dict[str, float | str] = Field(
        {}, description="value of each signal in its unit, or a name of its choices"
    )
    counter: str | None = Field(None, description="a signal of at most 8 bits that counts the frames, and wraps")
    checksum: Checksum | None = None
    id: int | None = Field(None, ge=0, lt=EXTENDED_IDS, description="instead of a message")
    extended: bool = Field(False, description="the id has 29 bits")
    data: str = Field("", max_length=192, description="the bytes in hex")

    @field_validator("data")
    @classmethod
    def _hex(cls, text: str) -> str:
        return bytes.fromhex(text).hex(" ")

    @model_validator(mode="after")
    def _one_kind(self) -> Frame:
        if (self.message is None) == (self.id is None):
            raise ValueError("write either message, with signals, or id, with data")
        if self.id is not None and (self.signals or self.counter or self.checksum):
            raise ValueError("signals, counter and checksum need a message of the DBC; an id has data")
        if self.id is not None and not self.extended and self.id >= STANDARD_IDS:
            raise ValueError(f"id {self.id:#x} has more than 11 bits: extended: true")
        if self.message is not None and (self.data or self.extended):
            raise ValueError("data and extended go with an id; a message has signals")
        return self


class Rolling:
    """One frame of a verb: the same bytes each time, or those of the next value of the counter."""

    def __init__(self, images: Sequence[Image], shared: dict[object, int]) -> None:
        """shared: counter by id; a receiver counts the frames of an id, whatever verb they are of."""
        self.images = images
        self.shared = shared
        self.key = images[0].key[:2]

    def next(self) -> Image:
        """The next value is used up even where sending fails: a receiver accepts a gap rather than a repetition."""
        count = self.shared.get(self.key, 0)
        self.shared[self.key] = count + 1
        return self.images[count % len(self.images)]


def encode(frame: Frame, database: Database | None, fd: bool) -> list[Image]:
    """One image, or one for each value of the counter. Raises ValueError."""
    if frame.id is not None:
        return [_image(frame.id, frame.extended, bytes.fromhex(frame.data), fd)]
    if database is None:
        raise ValueError(f"message {frame.message}: needs the option dbc")
    try:
        message = database.get_message_by_name(str(frame.message))
    except KeyError as error:
        raise ValueError(f"message {frame.message}: not in the DBC") from error
    values = dict(frame.signals)
    if frame.checksum:
        values[frame.checksum.signal] = 0
    counts = range(1 << _counter(message, frame.counter).length) if frame.counter else range(1)
    return [_counted(frame, message, values, count, fd) for count in counts]


def _counted(frame: Frame, message: Message, values: dict[str, float | str], count: int, fd: bool) -> Image:
    if frame.counter:
        values = {**values, frame.counter: count}
    try:
        data = message.encode(values)
    except KeyError as error:
        raise ValueError(f"message {message.name}: {error} is not among the choices of a signal") from error
    except Exception as error:  # a missing signal, a value out of range: cantools' text says which
        raise ValueError(f"message {message.name}: {error}") from error
    if frame.checksum:
        data = _checked(message, frame.checksum, data)
    return _image(message.frame_id, message.is_extended_frame, data, fd)


def _image(can_id: int, extended: bool, data: bytes, fd: bool) -> Image:
    if len(data) > 8 and not fd:
        raise ValueError(f"id {can_id:#x}: {len(data)} bytes need CAN FD: fd: true")
    if len(data) > 8 and len(data) not in FD_LENGTHS:
        raise ValueError(f"id {can_id:#x}: CAN FD has no frames of {len(data)} bytes, only {FD_LENGTHS}")
    return Image(can.Message(arbitration_id=can_id, is_extended_id=extended, data=data, is_fd=fd, check=True))


def _signal(message: Message, name: str) -> Signal:
    try:
        return message.get_signal_by_name(name)
    except KeyError as error:
        raise ValueError(f"message {message.name}: has no signal {name}") from error


def _counter(message: Message, name: str) -> Signal:
    signal = _signal(message, name)
    if signal.length > COUNTER_BITS or signal.scale != 1 or signal.offset or signal.is_signed:
        raise ValueError(f"message {message.name}: {name} is no counter: at most 8 bits, unsigned, without scale")
    return signal


def _checked(message: Message, checksum: Checksum, data: bytes) -> bytes:
    signal = _signal(message, checksum.signal)
    # DBC numbers bits from the lowest of byte 0: Intel signals start at their lowest bit, Motorola at their highest
    first = 0 if signal.byte_order == "little_endian" else 7
    if signal.length != 8 or signal.start % 8 != first:
        raise ValueError(f"message {message.name}: {checksum.signal} is no checksum: it must fill one byte")
    at = signal.start // 8
    others = bytes.fromhex(checksum.prefix) + data[:at] + data[at + 1 :]
    return data[:at] + bytes([total(others, checksum.kind)]) + data[at + 1 :]


def total(data: bytes, kind: str) -> int:
    """The check byte of these bytes."""
    if kind == "sum8":
        return sum(data) & 0xFF
    if kind == "xor8":
        result = 0
        for byte in data:
            result ^= byte
        return result
    return _crc8(data, CRC8[kind])


def _crc8(data: bytes, polynomial: int) -> int:
    """AUTOSAR CP, Specification of CRC Routines, 7.2.1: highest bit first, start and final exclusive or FF."""
    crc = 0xFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ polynomial) & 0xFF if crc & 0x80 else crc << 1
    return crc ^ 0xFF
