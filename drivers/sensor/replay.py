"""Plays a recorded CSV file as a sensor."""

from __future__ import annotations

import csv
import logging
import os
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from agent.data import Sample
from drivers.base import DeviceFault, DeviceMissing, SensorStream, SourceOptions
from drivers.options import FilePath

log = logging.getLogger(__name__)

TIME = "t_s"
FLOAT32_MAX = float(np.finfo(np.float32).max)


class Options(SourceOptions):
    """The file, its columns and the pace at which it is played."""

    path: FilePath = Field(description="CSV with a header; column t_s: seconds, never decreasing")
    rate_hz: float | None = Field(None, gt=0, le=10_000, description="rows a second; required without a column t_s")
    channels: tuple[str, ...] = Field((), description="columns to play; all but t_s when empty")
    pace: Literal["real", "fast"] = Field("real", description="fast: one row per read, stamped as recorded")
    loop: bool = Field(False, description="restart at the end")
    holes: Literal["refuse", "hold"] = Field(
        "refuse", description="cells that are empty or NaN: refuse the file, or hold: repeat the column's last value"
    )
    separator: Literal[",", ";", "|", "\t"] = ","
    decimal: Literal[".", ","] = Field(".", description="of numbers; a comma needs another separator")
    max_mb: float = Field(64.0, gt=0, le=1024, description="a larger file is refused: it is kept in memory")

    @model_validator(mode="after")
    def _two_marks(self) -> Options:
        if self.decimal == self.separator:
            raise ValueError("decimal: ',' needs another separator between cells: set separator, such as ';'")
        return self

    def input_files(self) -> list[Path]:
        return [self.path]


class Driver(SensorStream):
    """real: a row is delivered when it is due, and a late reader gets every row since. Ends with EOFError."""

    def open(self) -> None:
        self.channels, self.times, self.rows = load_csv(self.options)
        steps = np.diff(self.times)
        step_ns = int(np.median(steps)) if len(steps) else 0
        self.rate_hz = self.options.rate_hz or (1e9 / step_ns if step_ns else 0.0)
        # the next lap starts one step after the last row
        self.lap_ns = int(self.times[-1]) + max(step_ns, 1)
        self.start = time.monotonic_ns()
        self.next = 0
        self.sequence = -1

    def read(self, wait_s: float) -> Sample | None:
        if self.next == len(self.rows):
            if not self.options.loop:
                raise EOFError(f"{self.options.path}: end of the recording")
            self.next = 0
            self.start += self.lap_ns
        due = self.start + int(self.times[self.next])
        if self.options.pace == "fast":
            return self._deliver(self.next + 1)
        self.t_next = due
        ahead = (due - time.monotonic_ns()) / 1e9
        if ahead > 0:
            time.sleep(min(ahead, wait_s))
        if ahead > wait_s:
            return None
        passed = time.monotonic_ns() - self.start
        return self._deliver(max(self.next + 1, int(np.searchsorted(self.times, passed, "right"))))

    def close(self) -> None:
        self.next = 0

    def _deliver(self, end: int) -> Sample:
        first, self.next = self.next, end
        self.sequence += end - first
        return Sample(self.name, self.sequence, self.start + int(self.times[end - 1]), self.rows[first:end])


def load_csv(options: Options) -> tuple[tuple[str, ...], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Channel names, times in ns from the first row, rows float32 [n, channels]. Raises DeviceMissing, DeviceFault."""
    path = options.path
    try:
        # a pipe or a device has no end; opening it could wait for ever
        if not path.is_file():
            raise DeviceMissing(f"{path}: no such file")
        if os.path.getsize(path) > options.max_mb * 1e6:
            raise DeviceFault(f"{path}: larger than max_mb {options.max_mb:g}")
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _parse(csv.reader(file, delimiter=options.separator), options)
    except OSError as error:
        raise DeviceMissing(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DeviceFault(f"{path}: not a CSV file, {error}") from error


def _parse(
    lines: Iterator[list[str]], options: Options
) -> tuple[tuple[str, ...], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    header = [name.strip() for name in next(lines, [])]
    names = options.channels or tuple(name for name in header if name != TIME)
    absent = [name for name in names if name not in header]
    if absent or not names or len(set(header)) < len(header):
        reason = f"no column {absent[0]!r}" if absent else "not a header of distinct names"
        raise DeviceFault(f"{options.path}:1: {reason}")
    if TIME not in header and not options.rate_hz:
        raise DeviceFault(f"{options.path}:1: no column {TIME}; give rate_hz")
    columns = [header.index(name) for name in names]
    clock = header.index(TIME) if TIME in header else -1
    times, values = array("d"), array("f")  # lists of floats would take eight times the memory
    filled, last = 0, dict.fromkeys(columns, "")
    for number, line in enumerate(lines, 2):
        if not line:
            continue
        try:
            if options.holes == "hold" and len(line) == len(header):
                filled += _fill(line, last)
            values.extend(_numbers(line, columns, len(header), options.decimal))
            times.append(_seconds(line, clock, times, options))
        except ValueError as error:
            raise DeviceFault(f"{options.path}:{number}: {error}") from error
    if not times:
        raise DeviceFault(f"{options.path}: no rows")
    table = np.array(values, np.float32).reshape(len(times), len(columns))
    table.flags.writeable = False
    if filled:
        log.warning("%s: %d empty cells of %d repeat the value above", options.path, filled, table.size)
    return names, np.round((np.array(times) - times[0]) * 1e9).astype(np.int64), table


def _fill(line: list[str], last: dict[int, str]) -> int:
    """Fills empty cells with the column's last text; how many. last: by column, updated here."""
    filled = 0
    for column, before in last.items():
        if line[column].strip().lower() not in ("", "nan"):
            last[column] = line[column]
        elif not before:
            raise ValueError("an empty cell, and no value above it to hold")
        else:
            line[column], filled = before, filled + 1
    return filled


def _seconds(line: list[str], clock: int, before: array[float], options: Options) -> float:
    if clock < 0:
        return len(before) / (options.rate_hz or 1.0)
    now = _finite(line[clock], options.decimal)
    if before and now < before[-1]:
        raise ValueError(f"{TIME} decreases from {before[-1]:g} to {now:g}")
    if now - (before[0] if before else now) > 1e9:
        raise ValueError(f"{TIME} spans more than 30 years: is it in seconds?")
    return now


def _numbers(line: list[str], columns: list[int], width: int, decimal: str) -> list[float]:
    if len(line) != width:
        raise ValueError(f"{len(line)} fields where the header has {width}")
    return [_finite(line[column], decimal) for column in columns]


def _finite(text: str, decimal: str) -> float:
    # with a decimal comma a dot would mark thousands
    try:
        value = float(text if decimal == "." else text.replace(".", "?").replace(",", "."))
    except ValueError:
        value = np.nan
    if not -FLOAT32_MAX <= value <= FLOAT32_MAX:
        raise ValueError(f"'{text[:40]}' is not a finite number")
    return value
