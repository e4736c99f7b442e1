"""Registers and bits of a Modbus TCP or RTU device as channels (`pip install 'reflexd[modbus]'`)."""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from drivers.base import DeviceError, DeviceFault, DeviceMissing, Sensor, SensorOptions
from drivers.links.modbus.link import Link
from drivers.links.modbus.registers import LAST_ADDRESS, MAX_READ, ModbusOptions, Table, what
from drivers.links.modbus.wire import SerialLink, connect

# big-endian, as in the registers
FORMATS = {
    "uint16": ">H",
    "int16": ">h",
    "uint32": ">I",
    "int32": ">i",
    "uint64": ">Q",
    "int64": ">q",
    "float32": ">f",
    "float64": ">d",
}
FLOAT32_MAX = 3.4028234e38  # samples are float32

Type = Literal["bit", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]


class Channel(BaseModel):
    """Where a channel's value is, and what it means: raw * scale + offset."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    address: int = Field(ge=0, le=LAST_ADDRESS, description="of the first register, or of the bit; counted from 0")
    table: Table = Field("holding", description="coil and discrete have bits, holding and input registers")
    type: Type = Field("uint16", description="bit: in a register, that of `bit`; always so in coil and discrete")
    bit: int = Field(0, ge=0, le=15, description="of a register with type bit; 0 is the lowest")
    words: Literal["high_first", "low_first"] = Field("high_first", description="order of the registers of a value")
    scale: float = 1.0
    offset: float = 0.0

    @model_validator(mode="before")
    @classmethod
    def _bits(cls, data: object) -> object:
        if isinstance(data, dict) and data.get("table") in ("coil", "discrete"):
            return {"type": "bit", **data}
        return data

    @model_validator(mode="after")
    def _fits(self) -> Channel:
        if self.table in ("coil", "discrete") and (self.type != "bit" or self.bit):
            raise ValueError(f"a {self.table} is one bit: without type and bit")
        if self.bit and self.type != "bit":
            raise ValueError("bit: only with type: bit")
        if self.address + self.size - 1 > LAST_ADDRESS:
            raise ValueError(f"address: a {self.type} at {self.address} ends beyond {LAST_ADDRESS}")
        return self

    @property
    def size(self) -> int:
        """Registers, or 1 bit."""
        return 1 if self.type == "bit" else struct.calcsize(FORMATS[self.type]) // 2


class Options(ModbusOptions, SensorOptions):
    """The device and its map. timeout_ms is also the time limit of one reading with all its requests."""

    channels: dict[Annotated[str, Field(min_length=1)], Channel] = Field(
        min_length=1, max_length=10_000, description="channel -> its place and type"
    )
    max_gap: int = Field(
        0, ge=0, le=124, description="so many addresses that no channel names may be read over, to save a request"
    )
    invalid: Literal["fault", "nan"] = Field(
        "fault", description="what a NaN, infinite or too large value is: a fault of the device, or NaN in its channel"
    )


class Block(NamedTuple):
    """One request: consecutive addresses of a table."""

    table: Table
    address: int
    size: int

    def has(self, channel: Channel) -> bool:
        start = channel.address - self.address
        return self.table == channel.table and 0 <= start <= self.size - channel.size


class Driver(Sensor):
    """Each reading sends its requests again; their answers are some milliseconds apart."""

    def __init__(self, options: Options, name: str = "") -> None:
        super().__init__(options, name)
        channels = options.channels
        self.blocks = blocks(list(channels.values()), options.max_gap)
        self.block_of = {n: next(block for block in self.blocks if block.has(c)) for n, c in channels.items()}
        self.timeout_s = options.timeout_ms / 1e3
        self.link: Link | None = None

    def open(self) -> None:
        self.close()
        self.link = connect(self.options, self.timeout_s)
        try:
            # a late answer to an earlier request has no number there, and is not to be taken for that to a new one
            if isinstance(self.link, SerialLink):
                self.link.discard_until(time.monotonic() + self.timeout_s)
        except DeviceError:
            self.close()
            raise

    def read(self) -> dict[str, float]:
        if self.link is None:
            raise DeviceMissing(f"{self.options.where}: not open")
        until = time.monotonic() + self.timeout_s
        try:
            raw = {block: self.link.read(*block, until) for block in self.blocks}
        except DeviceError:
            self.close()  # `open` waits for late answers
            raise
        return {name: self._value(name, raw[block]) for name, block in self.block_of.items()}

    def close(self) -> None:
        link, self.link = self.link, None
        if link is not None:
            link.close()

    def _value(self, name: str, block: list[int]) -> float:
        channel = self.options.channels[name]
        start = channel.address - self.block_of[name].address
        value = decode(channel, block[start : start + channel.size])
        if abs(value) <= FLOAT32_MAX:  # false for NaN
            return value
        if self.options.invalid == "nan":
            return math.nan
        place = what(channel.table, channel.address, channel.size)
        raise DeviceFault(
            f"{self.options.where}: {name} ({place}) is {value:g}: sensor connected, type and order of words right?"
        )


def decode(channel: Channel, values: Sequence[int]) -> float:
    """The value of a channel's registers or bit, as a double; infinite where it is too large."""
    if channel.type == "bit":
        raw: float = values[0] >> channel.bit & 1
    else:
        ordered = values if channel.words == "high_first" else values[::-1]
        raw = struct.unpack(FORMATS[channel.type], struct.pack(f">{len(ordered)}H", *ordered))[0]
    return float(raw) * channel.scale + channel.offset


def blocks(channels: Sequence[Channel], max_gap: int = 0) -> list[Block]:
    """The fewest requests that read these channels; a value of several registers is never split between two."""
    made: list[Block] = []
    for channel in sorted(channels, key=lambda channel: (channel.table, channel.address, channel.size)):
        last = made[-1] if made else None
        if last and last.table == channel.table and channel.address <= last.address + last.size + max_gap:
            size = max(last.size, channel.address + channel.size - last.address)
            if size <= MAX_READ[channel.table]:
                made[-1] = last._replace(size=size)
                continue
        made.append(Block(channel.table, channel.address, channel.size))
    return made
