"""Checksums at the end of a frame, in text and in binary; `FrameOptions` describes each."""

from __future__ import annotations

from binascii import crc_hqx
from functools import reduce
from operator import xor
from typing import Literal

WIDTH = {"none": 0, "xor": 1, "nmea": 1, "crc16_ccitt": 2, "crc16_modbus": 2}  # bytes


def checked_text(line: bytes, checksum: str) -> bytes:
    """The line without its checksum. Raises ValueError when that is missing or wrong."""
    if checksum == "none":
        return line
    body, _, digits = line.rpartition(b"*")
    covered = body[1:] if checksum == "nmea" and body[:1] in (b"$", b"!") else body
    sent = bytes.fromhex(digits.decode("ascii"))
    if len(digits) != 2 * WIDTH[checksum] or int.from_bytes(sent, "big") != total(covered, checksum):
        raise ValueError("checksum")
    return covered


def checked_binary(data: bytes, checksum: str) -> bytes:
    """The data without the checksum at its end. Raises ValueError when that is missing or wrong."""
    width = WIDTH[checksum]
    if not width:
        return data
    body, sent = data[:-width], data[-width:]
    order: Literal["little", "big"] = "little" if checksum == "crc16_modbus" else "big"
    if len(sent) < width or int.from_bytes(sent, order) != total(body, checksum):
        raise ValueError("checksum")
    return body


def total(data: bytes, checksum: str) -> int:
    """The checksum of the data."""
    if checksum == "crc16_ccitt":
        return crc_hqx(data, 0xFFFF)
    if checksum == "crc16_modbus":
        return reduce(_modbus_step, data, 0xFFFF)
    return reduce(xor, data, 0)


def _modbus_step(crc: int, byte: int) -> int:
    return crc >> 8 ^ MODBUS[(crc ^ byte) & 0xFF]


def _modbus_entry(crc: int) -> int:
    for _ in range(8):
        crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc


MODBUS = [_modbus_entry(byte) for byte in range(256)]
