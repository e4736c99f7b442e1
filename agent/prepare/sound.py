"""The newest values of a microphone as the model's window."""

from __future__ import annotations

import numpy as np

from agent.backends.base import Tensor
from agent.data import Array
from agent.packages.manifest import SoundInput
from agent.prepare.base import Preparation
from drivers.base import DeviceFault


class Sound(Preparation):
    """A ring of the window's length, stored as the tensor needs it, so that each value is converted once."""

    rows = True

    def __init__(self, sound: SoundInput, tensor: Tensor, rate_hz: float) -> None:
        """rate_hz: what the source delivers. Raises DeviceFault when it is not the model's."""
        if rate_hz != sound.rate_hz:
            raise DeviceFault(
                f"the microphone gives {rate_hz:g} values a second, the model wants {sound.rate_hz}: set the source's"
                f" 'rate_hz: {sound.rate_hz}'"
            )
        self.length, self.hop = sound.length, sound.hop
        dtype = np.dtype(tensor.dtype)
        self.gain = np.float32(sound.full_scale / (tensor.scale or 1.0))
        self.zero_point = np.float32(tensor.zero_point if tensor.scale else 0)
        self.limits = np.iinfo(dtype) if dtype.kind in "iu" else None
        self.ring = np.zeros(self.length, dtype)
        self.work = np.zeros(self.length, np.float32)
        self.reset()

    def reset(self) -> None:
        self.at = 0  # index of the next value, which is that of the oldest
        self.remaining = self.length  # values until the next inference

    def carry_over(self, other: Preparation) -> None:
        if not isinstance(other, Sound) or len(other.ring) != self.length:
            return
        values = (other.ring.astype(np.float32) - other.zero_point) / other.gain * self.gain
        self.ring[...] = values if self.limits is None else self._rounded(values)
        self.at, self.remaining = other.at, other.remaining

    def __call__(self, payload: Array, view: Array) -> bool:
        """payload: float32 [k], -1..1; view: [length] or [1, length(, 1)]. Due when it is full, then every hop."""
        if payload.ndim != 1:
            raise DeviceFault(f"sound of shape {list(payload.shape)}: a microphone gives one channel, [values]")
        self.remaining -= len(payload)
        self._append(self._quantise(payload[-self.length :]))
        if self.remaining > 0:
            return False
        self.remaining += (-self.remaining // self.hop + 1) * self.hop
        self._fill(view)
        return True

    def _fill(self, view: Array) -> None:
        flat, rest = view.reshape(-1), self.length - self.at
        flat[:rest] = self.ring[self.at :]
        flat[rest:] = self.ring[: self.at]

    def _append(self, values: Array) -> None:
        """values: at most a window of them."""
        first = min(len(values), self.length - self.at)
        self.ring[self.at : self.at + first] = values[:first]
        self.ring[: len(values) - first] = values[first:]
        self.at = (self.at + len(values)) % self.length

    def _quantise(self, values: Array) -> Array:
        """Stored = value * full_scale / scale + zero point, rounded and clipped for integer tensors."""
        work: Array = np.multiply(values, self.gain, out=self.work[: len(values)])
        if not np.isfinite(work).all():
            raise DeviceFault("a value of the microphone is not a number")
        return work if self.limits is None else self._rounded(work)

    def _rounded(self, work: Array) -> Array:
        """In place: for an integer tensor."""
        assert self.limits
        work += self.zero_point
        np.rint(work, out=work)
        rounded: Array = np.clip(work, self.limits.min, self.limits.max, out=work)
        return rounded
