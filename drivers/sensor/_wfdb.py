"""Reads header and signal files of a PhysioNet record (WFDB formats 16 and 212); every size is limited and checked.

Source: G. Moody, WFDB Applications Guide, header(5) and signal(5).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from agent.data import Array

MAX_HEADER = 65_536  # bytes
MAX_SIGNALS = 64
MAX_RATE_HZ = 10_000.0
GAIN = 200.0  # where the header gives none, or 0
FORMATS = {16: 2.0, 212: 1.5}  # bytes a sample
ABSENT = {16: -32_768, 212: -2048}  # the code of a missing sample
MILLI = {"": 1.0, "mV": 1.0, "uV": 1e-3, "V": 1e3}  # other units are kept: mmHg, bpm
FILE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
NUMBER = r"[+-]?(?:\d{1,12}(?:\.\d{0,12})?|\.\d{1,12})(?:[eE][+-]?\d{1,2})?"
RECORD = re.compile(rf"\S{{1,64}}\s+(\d{{1,4}})(?:\s+({NUMBER})(?:/\S{{1,40}})?(?:\s+(\d{{1,12}}))?.*)?")
LAYOUT = re.compile(r"(\d{1,3})(?:x(\d{1,4}))?(?::(\d{1,9}))?(?:\+(\d{1,9}))?")
SCALE = re.compile(rf"({NUMBER})(?:\(([+-]?\d{{1,9}})\))?(?:/(\S{{1,20}}))?")


class Signal(NamedTuple):
    """value = (stored - baseline) / gain * milli. checksum: sum of the stored samples as int16, None if not given."""

    file: str
    format: int
    offset: int
    gain: float
    baseline: int
    milli: float
    checksum: int | None
    name: str


class Record(NamedTuple):
    """length: samples of each signal; 0 if the header does not give it."""

    rate_hz: float
    length: int
    signals: tuple[Signal, ...]


def read_header(text: str) -> Record:
    """Raises ValueError with the line's number."""
    lines = [
        (n, line.strip()) for n, line in enumerate(text.splitlines(), 1) if line.strip() and not line.startswith("#")
    ]
    if not lines:
        raise ValueError("1: no record line")
    number, first = lines[0]
    match = RECORD.fullmatch(first)
    if "/" in first.split()[0]:
        raise ValueError(f"{number}: a record of several segments is not supported; play its segments")
    if not match:
        raise ValueError(f"{number}: not a record line (name, signals, rate, samples): '{first[:40]}'")
    count, rate, length = int(match[1]), float(match[2] or 250.0), int(match[3] or 0)
    if not 1 <= count <= MAX_SIGNALS or not 0 < rate <= MAX_RATE_HZ:
        raise ValueError(
            f"{number}: {count} signals at {rate:g} Hz; expected 1 to {MAX_SIGNALS}, up to {MAX_RATE_HZ:g} Hz"
        )
    if len(lines) < 1 + count:
        raise ValueError(f"{lines[-1][0]}: {count} signals announced, {len(lines) - 1} described")
    return Record(rate, length, tuple(_read_signal(*line, index) for index, line in enumerate(lines[1 : 1 + count])))


def _read_signal(number: int, line: str, index: int) -> Signal:
    """FILE FORMAT [GAIN(BASELINE)/UNITS [BITS [ZERO [FIRST [CHECKSUM [BLOCK [NAME]]]]]]]. Raises ValueError."""
    fields = line.split(None, 8)
    layout = LAYOUT.fullmatch(fields[1]) if len(fields) > 1 else None
    scale = SCALE.fullmatch(fields[2] if len(fields) > 2 else "0")
    if not FILE.fullmatch(fields[0]) or not layout or not scale:
        raise ValueError(f"{number}: not a signal line (file in the same folder, format, gain): '{line[:40]}'")
    kind = int(layout[1])
    if kind not in FORMATS or int(layout[2] or 1) != 1 or int(layout[3] or 0):
        raise ValueError(f"{number}: format '{fields[1]}' is not supported: 16 or 212, one sample a frame, no skew")
    zero, checksum = (_whole(fields, column, number) for column in (4, 6))
    baseline = int(scale[2]) if scale[2] else zero or 0
    name = fields[8].strip()[:64] if len(fields) > 8 else f"signal-{index}"
    gain, units = float(scale[1]) or GAIN, scale[3] or ""
    if not 1e-6 <= abs(gain) <= 1e9:
        raise ValueError(f"{number}: gain {gain:g} is not plausible")
    return Signal(
        file=fields[0],
        format=kind,
        offset=int(layout[4] or 0),
        gain=gain,
        baseline=baseline,
        milli=MILLI.get(units, 1.0),
        checksum=checksum,
        name=name,
    )


def _whole(fields: Sequence[str], index: int, number: int) -> int | None:
    if len(fields) <= index:
        return None
    if not re.fullmatch(r"[+-]?\d{1,9}", fields[index]):
        raise ValueError(f"{number}: '{fields[index][:40]}' is not a whole number")
    return int(fields[index])


def samples(data: bytes, kind: int, signals: int) -> Array:
    """Stored values int16 [n, signals] of a file with interleaved signals; an incomplete row at the end is dropped."""
    if kind == 16:
        flat = np.frombuffer(data, "<i2", len(data) // 2)
    else:
        flat = unpack212(data)
    n = len(flat) // signals
    return np.asarray(flat[: n * signals].reshape(n, signals))


def unpack212(data: bytes) -> Array:
    """Pairs of 12-bit two's complement numbers in three bytes: low byte, both high halves, low byte of the second."""
    whole_pairs = len(data) // 3
    low, halves, second = np.frombuffer(data, np.uint8, 3 * whole_pairs).reshape(-1, 3).astype(np.int16).T
    pairs = np.stack([low | (halves & 0x0F) << 8, second | (halves & 0xF0) << 4], axis=1)
    if len(data) % 3 == 2:  # the first of a pair; the second was not written
        tail = np.array([[data[-2] | (data[-1] & 0x0F) << 8]], np.int16)
        flat = np.concatenate([pairs.ravel(), tail.ravel()])
    else:
        flat = pairs.ravel()
    return np.where(flat > 2047, flat - 4096, flat).astype(np.int16)


def checksum(stored: Array) -> int:
    """The sum as a signed 16-bit number, as in the header."""
    return (int(stored.sum(dtype=np.int64)) + 32_768) % 65_536 - 32_768


def to_physical(stored: Array, signal: Signal) -> Array:
    """float32 [n] in mV (or the signal's own unit); NaN where a sample is missing."""
    values = (stored.astype(np.float64) - signal.baseline) / signal.gain * signal.milli
    values[stored == ABSENT[signal.format]] = np.nan
    return values.astype(np.float32)
