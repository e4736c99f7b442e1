"""Tensors on their way to another box: quantised as coarsely as the allowed error permits, then zstd.

A tensor or a crop is the picture in another form, and so are these bytes: they leave only where the lane's `release`
allows it, which is not decided here.
"""

from __future__ import annotations

from math import isfinite, prod, sqrt
from typing import Any

import msgpack
import numpy as np
import zstandard

from agent.data import Array

VERSION = 1
LEVEL = 3  # of zstd; `reflexd bench site --only compression` measures the others
MAX_VALUES, MAX_AXES = 1 << 24, 8
MIN_TARGET, MAX_TARGET = 1e-4, 0.5
MARGIN = 0.99  # of the step: else the error of a finite tensor is above the target half of the time
FINER = 0.9, 0.985  # times the step where it is above: least and most
BIAS = {1: 0, 2: 0x80, 4: 0x808080}  # by bytes of a code: so that the higher bytes of small codes are all the same
EXACT = 1e-15, 1e15  # largest values between which the sums of squares stay inside float32


class CompressionError(ValueError):
    """These values cannot be packed, or these bytes are no packed values; the text gives the reason."""


def pack(values: Array, target: float, level: int = LEVEL) -> bytes:
    """float32 values of any shape; the rms of what is lost is at most `target` times that of the values.

    A fine quantiser errs uniformly within half a step, with the variance step^2 / 12 (Bennett, "Spectra of quantized
    signals", Bell System Technical Journal 27, 1948), so the step for a relative error is target x rms x sqrt(12).
    Values on a grid of their own, as an INT8 network computes them, may err more: where they do the step is made finer.
    Raises CompressionError.
    """
    if not MIN_TARGET <= target <= MAX_TARGET:
        raise CompressionError(f"an error of {target:g}: expected {MIN_TARGET:g} to {MAX_TARGET:g}")
    if values.ndim > MAX_AXES or not 0 < values.size <= MAX_VALUES:
        raise CompressionError(f"shape {list(values.shape)}: 1 to {MAX_VALUES:,} values on {MAX_AXES} axes are packed")
    flat = np.ascontiguousarray(values, np.float32).reshape(-1)
    peak = max(float(flat.max()), -float(flat.min()))
    if not isfinite(peak):
        raise CompressionError("values that are NaN or infinite are not packed")
    codes, step = _quantised(flat, peak, target)
    packed = zstandard.ZstdCompressor(level=level).compress(_planes(codes))
    return bytes(msgpack.packb((VERSION, values.shape, codes.itemsize, step, packed)))


def _quantised(flat: Array, peak: float, target: float) -> tuple[Array, float]:
    """(whole numbers of steps, the step)."""
    if not peak:
        return np.zeros(flat.size, np.int8), 1.0
    if not EXACT[0] < peak < EXACT[1]:
        flat = flat.astype(np.float64)
    squares = float(np.dot(flat, flat))
    step = MARGIN * target * sqrt(12.0 * squares / flat.size)
    while True:  # ends: an error of half a step is below the target once the step is 2 x target x rms
        steps = np.rint(flat * (1.0 / step))
        rest = flat - steps * step
        excess = sqrt(float(np.dot(rest, rest)) / squares) / target
        if excess <= 1.0:
            return steps.astype(_kind(peak / step)), step
        step *= min(max(FINER[0], MARGIN / excess), FINER[1])


def _kind(most: float) -> str:
    """The smallest signed integer for this many steps. An outlier of 9 rms at 2 % still fits a byte."""
    return next((kind for kind, limit in (("<i1", 127), ("<i2", 32000)) if most < limit), "<i4")


def _planes(codes: Array) -> bytes:
    """All lowest bytes, then the next ones."""
    biased = codes + codes.dtype.type(BIAS[codes.itemsize])
    planes: bytes = biased.view(np.uint8).reshape(-1, codes.itemsize).T.tobytes()
    return planes


def unpack(data: bytes, most: int = MAX_VALUES) -> Array:
    """float32, in its shape; at most so many values. Raises CompressionError, whatever the bytes are."""
    shape, width, step, packed = _fields(data)
    size = prod(shape)
    if not 0 < size <= most:
        raise CompressionError(f"{size:,} values: 1 to {most:,} are taken")
    planes = np.frombuffer(_decompressed(packed, size * width), np.uint8).reshape(width, size)
    biased = np.ascontiguousarray(planes.T).view(f"<i{width}").reshape(shape)
    codes = biased.astype(np.float64) - BIAS[width]
    with np.errstate(over="ignore"):
        values: Array = (codes * step).astype(np.float32)
    if not np.isfinite(values).all():
        raise CompressionError("values beyond float32")
    return values


def _fields(data: bytes) -> tuple[tuple[int, ...], int, float, bytes]:
    """Shape, bytes of a code, step, packed codes. Raises CompressionError."""
    try:
        message = msgpack.unpackb(data, use_list=False, max_array_len=MAX_AXES, max_map_len=0, max_ext_len=0)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise CompressionError(f"not packed values: {type(error).__name__}") from None
    if not isinstance(message, tuple) or len(message) != 5 or type(message[0]) is not int:
        raise CompressionError("not packed values")
    version, shape, width, step, packed = message
    if version != VERSION:
        raise CompressionError(f"packed by version {version}, this is {VERSION}: update the older box")
    if not _is_shape(shape) or type(width) is not int or width not in (1, 2, 4) or type(packed) is not bytes:
        raise CompressionError("not packed values: shape, width or content")
    if type(step) is not float or not isfinite(step) or step <= 0.0:
        raise CompressionError("not packed values: the step is no positive number")
    return shape, width, step, packed


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, tuple) and all(type(size) is int and 0 < size <= MAX_VALUES for size in shape)


def _decompressed(packed: bytes, size: int) -> bytes:
    """Raises CompressionError, before any memory is taken for another size than that."""
    try:
        if zstandard.frame_content_size(packed) != size:
            raise CompressionError(f"the content is not {size:,} bytes")
        codes: bytes = zstandard.ZstdDecompressor().decompress(packed)
    except zstandard.ZstdError as error:
        raise CompressionError(f"the content does not unpack: {error}") from None
    if len(codes) != size:
        raise CompressionError(f"the content is not {size:,} bytes")
    return codes
