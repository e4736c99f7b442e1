"""The newest readings of a sensor as the model's window, at the model's rate, quantised once when they arrive."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from struct import Struct

import numpy as np

from agent.backends.base import Tensor
from agent.data import Array
from agent.packages.manifest import Window
from agent.prepare.base import Preparation
from agent.prepare.decimate import make_decimator
from drivers.base import DeviceFault


class Readings(Preparation):
    """A ring of the newest `length` readings, stored as the tensor needs them."""

    rows = True

    def __init__(self, window: Window, tensor: Tensor, channels: tuple[str, ...], rate_hz: float = 0.0) -> None:
        """channels, rate_hz: what the source delivers; 0: at the model's rate.

        Raises DeviceFault when the model needs a channel that is not among them.
        """
        missing = [name for name in window.channels if name not in channels]
        if missing:
            raise DeviceFault(f"the model needs channel '{missing[0]}'; the source has {', '.join(channels)}")
        self.window = window
        self.channels = channels
        self.columns = [channels.index(channel) for channel in window.channels]
        self.same_order = tuple(window.channels) == channels
        self.decimator = make_decimator(window.rate_hz, rate_hz, len(channels))
        quantum = tensor.scale or 1.0
        self.gain = [1.0 / (std * quantum) for std in window.std]
        self.shift = [tensor.zero_point - mean * gain for mean, gain in zip(window.mean, self.gain)]
        dtype = np.dtype(tensor.dtype)
        self.integer = dtype.kind in "iu"
        self.lowest, self.highest = (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)) if self.integer else (0, 0)
        # Each row is written twice, `length` apart, so that the newest window is always contiguous.
        self.ring = np.zeros((2 * window.length, len(window.channels)), dtype)
        self.memory = self.ring.data.cast("B")
        self.row = Struct(f"={len(window.channels)}{dtype.char}")
        self.row_bytes, self.window_bytes = self.row.size, window.length * self.row.size
        self.view: Array | None = None  # the input tensor that `target` is the memory of
        self.target = memoryview(b"")
        self.count = 0  # readings at the model's rate since the start or the last gap

    def channel(self, name: str) -> int:
        """Its column. Raises DeviceFault when the source has none of that name."""
        if name not in self.channels:
            raise DeviceFault(f"the gate watches channel '{name}'; the source has {', '.join(self.channels)}")
        return self.channels.index(name)

    def reset(self) -> None:
        self.count = 0
        if self.decimator:
            self.decimator.reset()

    def carry_over(self, other: Preparation) -> None:
        if not isinstance(other, Readings) or (other.window, other.channels) != (self.window, self.channels):
            return
        if (other.gain, other.shift, other.ring.dtype) == (self.gain, self.shift, self.ring.dtype):
            self.ring[...] = other.ring
        else:
            values = (other.ring.astype(np.float64) - other.shift) / other.gain * self.gain + self.shift
            self.ring[...] = np.clip(np.rint(values), self.lowest, self.highest) if self.integer else values
        self.count, self.decimator = other.count, other.decimator

    @property
    def position(self) -> Sequence[int]:
        """Where the newest reading is between two inferences, and between two outputs of the filter."""
        phase, wait = (self.decimator.phase, self.decimator.wait) if self.decimator else (0, 0)
        return self.count % self.window.hop, phase, wait, 0

    def resume(self, position: Sequence[int]) -> None:
        """Where a recording begins in the middle: the next inference and output are due when they were in the lane."""
        in_hop, phase, wait, _ = position
        if self.count % self.window.hop != in_hop:
            self.count = in_hop
        if self.decimator:
            self.decimator.phase, self.decimator.wait = phase, wait

    def __call__(self, readings: Array, view: Array) -> bool:
        """Append float32 [k, channels]; fill the tensor and return True when an inference is due."""
        length, hop, size, memory = self.window.length, self.window.hop, self.row_bytes, self.memory
        hops_before = max(self.count, length - 1) // hop  # hops before the window is full do not count
        # Row by row in plain floats: for the usual single row this takes half the time of array operations.
        for row in self.decimator(readings) if self.decimator else readings.tolist():
            stored = self.row.pack(
                *self._quantise(row if self.same_order else [row[column] for column in self.columns])
            )
            at = self.count % length * size
            again = at + self.window_bytes
            memory[at : at + size] = memory[again : again + size] = stored
            self.count += 1
        if self.count // hop <= hops_before:
            return False
        if view is not self.view:
            self.view, self.target = view, view.data.cast("B")
        at = self.count % length * size
        self.target[:] = memory[at : at + self.window_bytes]
        return True

    def _quantise(self, row: list[float]) -> list[float]:
        """Stored = reading / std / scale - mean / std / scale + zero point, rounded and clipped for integer tensors."""
        total = sum(row)
        if total - total != 0.0 and (channel := self._not_finite(row)):
            raise DeviceFault(f"channel '{channel}' is not a number")
        factors = zip(row, self.gain, self.shift)
        if not self.integer:
            return [reading * gain + shift for reading, gain, shift in factors]
        low, high = self.lowest, self.highest
        return [
            low if (value := reading * gain + shift) < low else high if value > high else round(value)
            for reading, gain, shift in factors
        ]

    def _not_finite(self, row: list[float]) -> str:
        """The first channel with NaN or infinity; empty where only their sum was too large."""
        return next((name for name, reading in zip(self.window.channels, row) if not isfinite(reading)), "")
