"""Plays a PhysioNet record (RECORD.hea with its .dat files, formats 16 and 212) as a sensor, in mV."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from agent.data import Array
from drivers.base import DeviceFault, DeviceMissing, SourceOptions
from drivers.options import FilePath
from drivers.resample import resample
from drivers.sensor import replay
from drivers.sensor._wfdb import MAX_HEADER, Record, Signal, checksum, read_header, samples, to_physical


class Options(SourceOptions):
    """The record, its signals and the pace at which it is played."""

    path: FilePath = Field(description="the header file, with or without .hea")
    signals: dict[str, str] = Field(
        {}, description="channel: the record's signal, `ecg: MLII`; empty: all, under their own names"
    )
    rate_hz: float | None = Field(
        None, ge=1, le=10_000, description="resample to this rate; default: the record's rate"
    )
    start_s: float = Field(0.0, ge=0, description="start here")
    pace: Literal["real", "fast"] = Field("real", description="fast: one row per read, stamped as recorded")
    loop: bool = Field(False, description="restart (at start_s) at the end")
    holes: Literal["refuse", "hold"] = Field(
        "refuse", description="missing samples: refuse the file, or hold: repeat the previous sample"
    )
    max_mb: float = Field(64.0, gt=0, le=1024, description="a larger signal file is refused: it is kept in memory")

    def input_files(self) -> list[Path]:
        return [self.header]

    @property
    def header(self) -> Path:
        """The header file."""
        return self.path if self.path.suffix == ".hea" else self.path.with_name(f"{self.path.name}.hea")


class Driver(replay.Driver):
    """real: a row is delivered when it is due, and a late reader gets every row since. Ends with EOFError."""

    def open(self) -> None:
        header = self.options.header
        record = load_header(header)
        self.channels, rows = load(header, record, self.options)
        self.rate_hz = self.options.rate_hz or record.rate_hz
        self.rows = resample(rows, record.rate_hz, self.rate_hz)
        self.times = np.round(np.arange(len(self.rows)) * (1e9 / self.rate_hz)).astype(np.int64)
        self.lap_ns = round(len(self.rows) * 1e9 / self.rate_hz)
        self.start = time.monotonic_ns()
        self.next = 0
        self.sequence = -1


def load_header(path: Path) -> Record:
    """The header file's content. Raises DeviceMissing, DeviceFault."""
    text = _read(path, MAX_HEADER).decode("latin-1")  # decodes any byte; comments are free text
    try:
        return read_header(text)
    except ValueError as error:
        raise DeviceFault(f"{path}:{error}") from error


def load(header: Path, record: Record, options: Options) -> tuple[tuple[str, ...], Array]:
    """Channel names and float32 [n, channels] from start_s, at the record's rate. Raises DeviceMissing, DeviceFault."""
    indices = _signal_indices(header, record, options)
    columns = [_column(header, record, index, options) for index in indices.values()]
    shortest = min(map(len, columns))
    first = round(options.start_s * record.rate_hz)
    if first >= shortest:
        raise DeviceFault(
            f"{header}: start_s {options.start_s:g} is after its end at {shortest / record.rate_hz:.1f} s"
        )
    return tuple(indices), np.ascontiguousarray(np.stack([column[first:shortest] for column in columns], axis=1))


def _signal_indices(header: Path, record: Record, options: Options) -> dict[str, int]:
    """For each channel that is played, the index of its signal in the record."""
    names = [signal.name for signal in record.signals]
    wanted = options.signals or {name: name for name in names}
    for signal in wanted.values():
        if names.count(signal) != 1:
            many = "several signals" if signal in names else "no signal"
            raise DeviceFault(f"{header}: {many} '{signal}'; it has {', '.join(names)}")
    return {channel: names.index(signal) for channel, signal in wanted.items()}


def _column(header: Path, record: Record, index: int, options: Options) -> Array:
    """One signal of the record, float32 [n]."""
    signal = record.signals[index]
    interleaved = [other for other in record.signals if other.file == signal.file]
    path = header.parent / signal.file
    if {(other.format, other.offset) for other in interleaved} != {(signal.format, signal.offset)}:
        raise DeviceFault(f"{header}: the signals in {signal.file} do not have the same format and offset")
    data = _read(path, int(options.max_mb * 1e6))[signal.offset :]
    stored = samples(data, signal.format, len(interleaved))[:, interleaved.index(signal)]
    _check(path, record, signal, stored)
    values = to_physical(stored[: record.length or None], signal)
    holes = np.isnan(values)
    if holes.any():
        if options.holes == "refuse" or holes[0]:
            raise DeviceFault(
                f"{path}: '{signal.name}' has no sample at {np.argmax(holes) / record.rate_hz:.3f} s: set 'holes: hold'"
            )
        values = values[np.maximum.accumulate(np.where(holes, 0, np.arange(len(values))))]
    return values


def _check(path: Path, record: Record, signal: Signal, stored: Array) -> None:
    """Raises DeviceFault for a file that is cut short or does not match its header."""
    if not len(stored) or len(stored) < record.length:
        expected = f"{record.length} samples" if record.length else "at least one sample"
        raise DeviceFault(f"{path}: cut short: '{signal.name}' has {len(stored)} of {expected}")
    stored = stored[: record.length or None]
    if signal.checksum is not None and record.length and checksum(stored) != signal.checksum:
        raise DeviceFault(
            f"{path}: '{signal.name}' has checksum {checksum(stored)}, not {signal.checksum}: the file is damaged"
        )


def _read(path: Path, max_bytes: int) -> bytes:
    """The content of a regular file of at most max_bytes. Raises DeviceMissing, DeviceFault."""
    try:
        # a pipe or a device has no end; opening it could wait for ever
        if not os.path.isfile(path):
            raise DeviceMissing(f"{path}: no such file")
        if os.path.getsize(path) > max_bytes:
            raise DeviceFault(f"{path}: larger than {max_bytes} bytes; max_mb is the limit of a signal file")
        return path.read_bytes()
    except OSError as error:
        raise DeviceMissing(f"{path}: {error.strerror}") from error
