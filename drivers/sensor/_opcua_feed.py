"""Values of OPC UA nodes as rows of numbers: from the thread that receives them to the one that reads."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from asyncua import ua

from drivers.base import DeviceError, DeviceFault, DeviceTimeout

FLOAT32_MAX = 3.4028234663852886e38
KEPT = 256  # rows that wait to be read


class Signal(NamedTuple):
    """One node's value times scale, plus offset."""

    name: str
    node: str
    scale: float = 1.0
    offset: float = 0.0


class Readings:
    """The newest value of every channel. Its errors name the channel."""

    def __init__(self, where: str, signals: Sequence[Signal], max_age_ms: float, uncertain: bool) -> None:
        """max_age_ms: in which each source time stamp must change; 0: it need not. uncertain: such values are used."""
        self.where = where
        self.signals = signals
        self.max_age_ns = int(max_age_ms * 1e6)
        self.uncertain = uncertain
        self.values = [math.nan] * len(signals)
        self.stamps: list[Any] = [None] * len(signals)
        self.advanced = [0] * len(signals)

    def update(self, number: int, value: ua.DataValue, now: int) -> None:
        """Raises DeviceFault for a bad status, and for what is no finite number."""
        if not 0 <= number < len(self.signals):
            raise DeviceFault(f"{self.where}: sent a value that was not asked for")
        self._check_status(number, value.StatusCode)
        self.values[number] = self._number(number, value.Value.Value if value.Value is not None else None)
        if self.max_age_ns and value.SourceTimestamp is None:
            raise DeviceFault(f"{self._name(number)}: has no source time stamp, which max_age_ms needs")
        if value.SourceTimestamp != self.stamps[number] or not self.advanced[number]:
            self.stamps[number], self.advanced[number] = value.SourceTimestamp, now

    def row(self, now: int) -> list[float]:
        """Empty until every channel has a value. Raises DeviceTimeout where a source no longer advances."""
        if not all(self.advanced):
            return []
        oldest = min(range(len(self.advanced)), key=self.advanced.__getitem__)
        if self.max_age_ns and now - self.advanced[oldest] > self.max_age_ns:
            raise DeviceTimeout(
                f"{self._name(oldest)}: its source has made no new value for {self.max_age_ns / 1e6:g} ms"
            )
        return list(self.values)

    def _name(self, number: int) -> str:
        return f"{self.where}: channel {self.signals[number].name} ({self.signals[number].node})"

    def _check_status(self, number: int, status: ua.StatusCode | None) -> None:
        if status is None or status.is_good() or (self.uncertain and status.is_uncertain()):
            return
        raise DeviceFault(f"{self._name(number)}: {status.name}")

    def _number(self, number: int, raw: Any) -> float:
        signal = self.signals[number]
        if not isinstance(raw, (bool, int, float)):
            raise DeviceFault(f"{self._name(number)}: is {type(raw).__name__}, not a number")
        value = raw * signal.scale + signal.offset
        if not math.isfinite(value) or abs(value) > FLOAT32_MAX:
            raise DeviceFault(f"{self._name(number)}: is not a finite number")
        return value


class Batch(NamedTuple):
    """rows: oldest first; the newest arrived at t_newest. passed: rows since the last batch, the lost ones included."""

    rows: list[list[float]]
    t_newest: int
    passed: int
    skipped: int


class Inbox:
    """Rows, or the error that ended them."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.rows: deque[list[float]] = deque(maxlen=KEPT)
        self.t_newest = time.monotonic_ns()
        self.put_count = self.lost_count = 0
        self.error: DeviceError | None = None

    def put(self, row: list[float], t_arrived: int, lost: int = 0) -> None:
        """lost: rows before this one that did not arrive."""
        with self.changed:
            self.rows.append(row)
            self.t_newest = t_arrived
            self.put_count += 1
            self.lost_count += lost
            self.changed.notify()

    def fail(self, error: DeviceError) -> None:
        with self.changed:
            self.error = self.error or error
            self.changed.notify()

    def take(self, wait_s: float) -> Batch | None:
        """All rows, after waiting for the first one. Raises the error once there are none before it."""
        with self.changed:
            self.changed.wait_for(lambda: self.rows or self.error, max(0.0, wait_s))
            if not self.rows:
                if self.error:
                    raise self.error
                return None
            rows, put, lost = list(self.rows), self.put_count, self.lost_count
            self.rows.clear()
            self.put_count = self.lost_count = 0
            return Batch(rows, self.t_newest, put + lost, put - len(rows))
