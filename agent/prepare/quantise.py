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
    dtype = np.dtype(tensor.dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        scale = tensor.scale or 1.0
        table = np.clip(np.rint(real / scale + tensor.zero_point), limits.min, limits.max).astype(dtype)
    else:
        table = real.astype(dtype)
    if dtype == np.uint8 and (table == pixel.astype(np.uint8)).all():
        return None
    return table[:, 0] if table.shape[1] == 1 else np.ascontiguousarray(table[None])
