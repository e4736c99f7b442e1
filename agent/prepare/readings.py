"""The newest readings of a sensor as the model's window, quantised once when they arrive."""

from __future__ import annotations

from math import isfinite
from struct import Struct

import numpy as np

from agent.backends.base import Tensor
from agent.data import Array
from agent.manifest import Window
from agent.prepare.base import Preparation
from drivers.base import DeviceFault


class Readings(Preparation):
    """The newest `length` readings as the model's window."""

    rows = True

    def __init__(self, window: Window, tensor: Tensor, channels: tuple[str, ...]) -> None:
        """channels: what the source delivers. Raises DeviceFault when one that the model needs is not among them."""
        missing = [name for name in window.channels if name not in channels]
        if missing:
            raise DeviceFault(f"the model needs channel '{missing[0]}'; the source has {', '.join(channels)}")
        self.window = window
        self.channels = channels
        self.columns = [channels.index(channel) for channel in window.channels]
        self.as_they_come = tuple(window.channels) == channels
        quantum = tensor.scale or 1.0
        self.gain = [1.0 / (std * quantum) for std in window.std]
        self.shift = [tensor.zero_point - mean * gain for mean, gain in zip(window.mean, self.gain)]
        dtype = np.dtype(tensor.dtype)
        self.integer = dtype.kind in "iu"
        self.lowest, self.highest = (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)) if self.integer else (0, 0)
        # Each row is written twice, `length` apart, so that the newest window is always one piece of memory.
        self.ring = np.zeros((2 * window.length, len(window.channels)), dtype)
        self.memory = self.ring.data.cast("B")
        self.row = Struct(f"={len(window.channels)}{dtype.char}")
        self.seen = 0

    def channel(self, name: str) -> int:
        """Its column. Raises DeviceFault when the source has none of that name."""
        if name not in self.channels:
            raise DeviceFault(f"the gate watches channel '{name}'; the source has {', '.join(self.channels)}")
        return self.channels.index(name)

    def reset(self) -> None:
        self.seen = 0

    def __call__(self, readings: Array, view: Array) -> bool:
        """Append float32 [k, channels]; fill the tensor and say True when an inference is due."""
        length, hop = self.window.length, self.window.hop
        before = max(self.seen, length - 1) // hop  # a hop before the window is full is none
        # Row by row in plain floats: for the usual one row this takes half the time of array operations.
        for row in readings.tolist():
            stored = self.row.pack(
                *self.quantised(row if self.as_they_come else [row[column] for column in self.columns])
            )
            at, size = self.seen % length * self.row.size, length * self.row.size
            self.memory[at : at + self.row.size] = self.memory[at + size : at + size + self.row.size] = stored
            self.seen += 1
        if self.seen // hop <= before:
            return False
        start = self.seen % length
        view[0] = self.ring[start : start + length]
        return True

    def quantised(self, row: list[float]) -> list[float]:
        """stored = reading / std / scale - mean / std / scale + zero point, rounded and clipped for integer tensors."""
        total = sum(row)
        if total - total != 0.0 and (broken := self.broken(row)):
            raise DeviceFault(f"channel '{broken}' is not a number")
        values = [reading * gain + shift for reading, gain, shift in zip(row, self.gain, self.shift)]
        if not self.integer:
            return values
        low, high = self.lowest, self.highest
        return [low if value < low else high if value > high else round(value) for value in values]

    def broken(self, row: list[float]) -> str:
        """The first channel with NaN or infinity; nothing where only their sum was too large."""
        return next((name for name, reading in zip(self.window.channels, row) if not isfinite(reading)), "")
