"""Modbus: the options of its drivers, tables and addresses, and what an answer must look like to be believed."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Literal

from pydantic import Field, field_validator, model_validator
from pymodbus.pdu import ExceptionResponse, ModbusPDU

from drivers.base import DeviceFault
from drivers.options import DriverOptions

Table = Literal["coil", "discrete", "holding", "input"]

LAST_ADDRESS = 65_535
MAX_READ = {"coil": 2000, "discrete": 2000, "holding": 125, "input": 125}  # MODBUS Application Protocol V1.1b3, 6.1-6.4
MAX_WRITE = {"coil": 1968, "holding": 123}  # the same, 6.11 and 6.12
NAMES = {"coil": "coil", "discrete": "discrete input", "holding": "holding register", "input": "input register"}

# MODBUS Application Protocol V1.1b3, section 7
EXCEPTIONS = {
    1: "illegal function: this device cannot read or write that table in this way",
    2: "illegal data address: not in its map; addresses count from 0, manuals often from 1 or 40001",
    3: "illegal data value",
    4: "device failure: see its own diagnostics",
    5: "acknowledged but not yet done: a command that takes long is not supported here",
    6: "device busy",
    8: "memory parity error",
    10: "gateway path unavailable: is the gateway set up for this unit?",
    11: "the device behind the gateway does not answer: its unit, power and cable?",
}


class ModbusOptions(DriverOptions):
    """Where the device is: `host` for TCP, or `url` for RTU on a serial line."""

    host: str = Field("", description="IP address of a Modbus TCP device or gateway")
    port: int = Field(502, ge=1, le=65_535, description="TCP port")
    url: str = Field("", description="serial device of Modbus RTU, such as /dev/serial/by-id/usb-...; instead of host")
    baud: int = Field(19_200, ge=300, le=12_000_000)
    parity: Literal["none", "even", "odd"] = Field("even", description="even is the standard's default")
    stop_bits: Literal[1, 2] = Field(1, description="2 where parity is none, says the standard")
    unit: int = Field(1, ge=0, le=255, description="unit id, also called slave address")

    @field_validator("host")
    @classmethod
    def _host(cls, host: str) -> str:
        try:
            return host and str(ipaddress.ip_address(host))
        except ValueError:
            # getaddrinfo may take 30 s, and has no time limit
            raise ValueError("write its IP address: the look-up of a name has no time limit") from None

    @field_validator("url")
    @classmethod
    def _url(cls, url: str) -> str:
        if "://" in url:
            raise ValueError("not a serial device; for a TCP device or gateway use host and port")
        return url

    @model_validator(mode="after")
    def _one_place(self) -> ModbusOptions:
        if bool(self.host) == bool(self.url):
            raise ValueError("set either host (Modbus TCP) or url (Modbus RTU)")
        if self.url and not 1 <= self.unit <= 247:
            raise ValueError(f"unit: {self.unit}: on a serial line 1 to 247; 0 is a broadcast, which nobody answers")
        return self

    def exclusive_device(self) -> str:
        """A serial line has one master; a TCP device serves several connections."""
        return self.url

    @property
    def where(self) -> str:
        """For messages."""
        if self.url:
            return f"{self.url} unit {self.unit}"
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port} unit {self.unit}"


def what(table: str, address: int, count: int) -> str:
    """Of addresses, for messages: "coil 3", "holding registers 4-7"."""
    name = NAMES[table]
    return f"{name} {address}" if count == 1 else f"{name}s {address}-{address + count - 1}"


class Mismatch(DeviceFault):
    """A sound answer, but not to this request."""


def check_function(text: str, answer: ModbusPDU, function: int) -> None:
    """Raises DeviceFault where the device refuses, Mismatch for the answer of another function: the library takes any.

    text: where and what, of the request.
    """
    if isinstance(answer, ExceptionResponse) and answer.function_code & 0x7F == function:
        code = answer.exception_code
        raise DeviceFault(f"{text}: {EXCEPTIONS.get(code, 'an exception that the standard does not name')} ({code})")
    if answer.function_code != function:
        raise Mismatch(f"{text}: the answer is of function {answer.function_code}, not {function}")


def values_of(text: str, answer: ModbusPDU, table: Table, count: int) -> list[int]:
    """The bits or words of the answer to a read. Raises Mismatch where they are not as many as requested."""
    bits = table in ("coil", "discrete")
    values: Sequence[int] = answer.bits if bits else answer.registers
    expected = (count + 7) // 8 * 8 if bits else count  # bits come in whole bytes
    if len(values) != expected:
        raise Mismatch(f"{text}: {count} requested, {len(values)} in the answer")
    return [int(value) for value in values[:count]]


def confirm(text: str, answer: ModbusPDU, address: int, values: Sequence[int], single: bool) -> None:
    """The answer to a write repeats address and value (functions 5, 6) or address and count (15, 16).

    Raises Mismatch where it repeats others.
    """
    repeated = [answer.address, answer.count]
    if single:
        repeated = [answer.address, *map(int, answer.bits or answer.registers)]
    sent = [address, int(values[0]) if single else len(values)]
    if repeated != sent:
        raise Mismatch(f"{text}: the answer confirms another write")
