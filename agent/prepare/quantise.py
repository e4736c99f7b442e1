"""Stored values of an input tensor for pixel values."""

from __future__ import annotations

import numpy as np

from agent.backends.base import Tensor
from agent.data import Array
from agent.packages.manifest import Picture


def lookup_table(picture: Picture, tensor: Tensor) -> Array | None:
    """Stored input value of each pixel value, [256] or [1, 256, 3]; None when a pixel is stored as it is.

    stored = round((pixel - mean) / std / scale + zero_point), clipped to the type (quantised), else the real value.
    """
    pixel = np.arange(256, dtype=np.float64)[:, None]
    real = (pixel - np.atleast_1d(picture.mean)) / np.atleast_1d(picture.std)
    table = stored(real, tensor)
    if table.dtype == np.uint8 and (table == pixel.astype(np.uint8)).all():
        return None
    return table[:, 0] if table.shape[1] == 1 else np.ascontiguousarray(table[None])


def stored(real: Array, tensor: Tensor) -> Array:
    """Real values as the tensor stores them: rounded and clipped for integers."""
    dtype = np.dtype(tensor.dtype)
    if dtype.kind not in "iu":
        return real.astype(dtype)
    limits = np.iinfo(dtype)
    scaled = np.rint(real / (tensor.scale or 1.0) + tensor.zero_point)
    return np.asarray(np.clip(scaled, limits.min, limits.max).astype(dtype))
