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
from drivers.resample import resample
from drivers.sensor import replay
from drivers.sensor._wfdb import MAX_HEADER, Record, Signal, checksum, read_header, real, samples


class Options(SourceOptions):
    path: str = Field(min_length=1, description="the header file; .hea may be left out")
    signals: dict[str, str] = Field(
        {}, description="channel: the record's signal, `ecg: MLII`; all as they are called if empty"
    )
    rate_hz: float | None = Field(None, ge=1, le=10_000, description="resample to this; the record's own if not given")
    start_s: float = Field(0.0, ge=0, description="begin here")
    pace: Literal["real", "fast"] = Field("real", description="fast: one row whenever asked, stamped as recorded")
    loop: bool = Field(False, description="begin again (at start_s) at the end")
    holes: Literal["refuse", "hold"] = Field(
        "refuse", description="of samples never taken: hold repeats the one before"
    )
    max_mb: float = Field(64.0, gt=0, le=1024, description="a larger signal file is refused: it is held in memory")


class Driver(replay.Driver):
    """real: a row is there when its time has come, and a late reader gets every row since. Ends with EOFError."""

    def open(self) -> None:
        header = Path(self.options.path if self.options.path.endswith(".hea") else f"{self.options.path}.hea")
        record = load_header(header)
        self.channels, rows = load(header, record, self.options)
        self.rate_hz = self.options.rate_hz or record.rate_hz
        self.rows = resample(rows, record.rate_hz, self.rate_hz)
        self.times = np.round(np.arange(len(self.rows)) * (1e9 / self.rate_hz)).astype(np.int64)
        self.lap_ns = round(len(self.rows) * 1e9 / self.rate_hz)
        self.begin = time.monotonic_ns()
        self.next = 0
        self.sequence = -1


def load_header(path: Path) -> Record:
    """Raises DeviceMissing, DeviceFault."""
    text = _read(path, MAX_HEADER).decode("latin-1")  # any byte is a character; comments carry names of patients' drugs
    try:
        return read_header(text)
    except ValueError as error:
        raise DeviceFault(f"{path}:{error}") from error


def load(header: Path, record: Record, options: Options) -> tuple[tuple[str, ...], Array]:
    """Channel names and float32 [n, channels] from start_s on, at the record's rate. Raises DeviceMissing, DeviceFault."""
    places = _chosen(header, record, options)
    columns = [_column(header, record, place, options) for place in places.values()]
    shortest = min(map(len, columns))
    first = round(options.start_s * record.rate_hz)
    if first >= shortest:
        raise DeviceFault(
            f"{header}: start_s {options.start_s:g} is behind its end at {shortest / record.rate_hz:.1f} s"
        )
    return tuple(places), np.ascontiguousarray(np.stack([one[first:shortest] for one in columns], axis=1))


def _chosen(header: Path, record: Record, options: Options) -> dict[str, int]:
    """The place in the record of each channel that is played."""
    names = [signal.name for signal in record.signals]
    wanted = options.signals or {name: name for name in names}
    for signal in wanted.values():
        if names.count(signal) != 1:
            many = "several signals" if signal in names else "no signal"
            raise DeviceFault(f"{header}: {many} '{signal}'; it has {', '.join(names)}")
    return {channel: names.index(signal) for channel, signal in wanted.items()}


def _column(header: Path, record: Record, place: int, options: Options) -> Array:
    """One signal of the record, float32 [n]."""
    signal = record.signals[place]
    together = [one for one in record.signals if one.file == signal.file]
    path = header.parent / signal.file
    if {one[1:3] for one in together} != {signal[1:3]}:
        raise DeviceFault(f"{header}: the signals in {signal.file} do not have the same format and offset")
    data = _read(path, int(options.max_mb * 1e6))[signal.offset :]
    stored = samples(data, signal.format, len(together))[:, together.index(signal)]
    _check(path, record, signal, stored)
    values = real(stored[: record.length or None], signal)
    holes = np.isnan(values)
    if holes.any():
        if options.holes == "refuse" or holes[0]:
            raise DeviceFault(
                f"{path}: '{signal.name}' has no sample at {np.argmax(holes) / record.rate_hz:.3f} s: holes: hold"
            )
        values = values[np.maximum.accumulate(np.where(holes, 0, np.arange(len(values))))]
    return values


def _check(path: Path, record: Record, signal: Signal, stored: Array) -> None:
    """Raises DeviceFault for a file that is cut or not the one that the header describes."""
    if not len(stored) or len(stored) < record.length:
        wanted = f"{record.length} samples" if record.length else "at least one sample"
        raise DeviceFault(f"{path}: cut short: '{signal.name}' has {len(stored)} of {wanted}")
    stored = stored[: record.length or None]
    if signal.checksum is not None and record.length and checksum(stored) != signal.checksum:
        raise DeviceFault(
            f"{path}: '{signal.name}' sums up to {checksum(stored)}, the header says {signal.checksum}: the file is damaged"
        )


def _read(path: Path, most: int) -> bytes:
    """The bytes of an ordinary file that is no larger. Raises DeviceMissing, DeviceFault."""
    try:
        # a pipe or a device has no end; opening it could wait for ever
        if not os.path.isfile(path):
            raise DeviceMissing(f"{path}: no such file")
        if os.path.getsize(path) > most:
            raise DeviceFault(f"{path}: larger than {most} bytes; a signal file may have max_mb")
        return path.read_bytes()
    except OSError as error:
        raise DeviceMissing(f"{path}: {error.strerror}") from error
