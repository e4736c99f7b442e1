"""Decodes a packet of the Bluetooth Heart Rate Service (Heart Rate Measurement); pure."""

from __future__ import annotations

from typing import NamedTuple

UNKNOWN, OFF, ON = -1.0, 0.0, 1.0  # sensor contact: not reported, none, skin

WIDE_RATE, ENERGY, INTERVALS = 0x01, 0x08, 0x10
CONTACT_SHIFT = 1


class Measurement(NamedTuple):
    """heart_rate_bpm: as counted by the strap, 0 without a beat. contact: UNKNOWN, OFF or ON. rr_ms: oldest first."""

    heart_rate_bpm: float
    contact: float
    rr_ms: tuple[float, ...]


def parse_measurement(packet: bytes) -> Measurement:
    """Characteristic 0x2A37, Bluetooth SIG, Heart Rate Service 1.0, section 3.1. Raises ValueError.

    Little-endian: flags (1 byte), heart rate (1 or 2), energy expended (2, where bit 3 is set; ignored), then beat to
    beat intervals of 1/1024 s (2 each, where bit 4 is set). Bits 5 to 7 are reserved: a receiver ignores them.
    """
    if len(packet) < 2:
        raise ValueError("no heart rate in the packet")
    flags = packet[0]
    at = 3 if flags & WIDE_RATE else 2
    rate = int.from_bytes(packet[1:at], "little")
    if flags & ENERGY:
        at += 2
    rest = packet[at:]
    if len(packet) < at or len(rest) % 2 or (rest and not flags & INTERVALS):
        raise ValueError("the packet's length does not match its flags")
    intervals = tuple(int.from_bytes(rest[i : i + 2], "little") * (1000 / 1024) for i in range(0, len(rest), 2))
    # 0b00 and 0b01: contact is not supported; 0b10: no contact; 0b11: contact
    contact = (UNKNOWN, UNKNOWN, OFF, ON)[flags >> CONTACT_SHIFT & 3]
    return Measurement(float(rate), contact, intervals)
