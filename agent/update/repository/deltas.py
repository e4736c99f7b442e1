"""One file as bytes to download: whole, or as the difference from the file of an older version; read within bounds.

subtract: (new - old) mod 256, then zstd: weights that moved by a step become small numbers. It saves nothing where an
offset shifts; bsdiff4 does there. A model that was trained from scratch is smallest whole.
"""

from __future__ import annotations

import bz2
import io
import struct

import numpy as np
import zstandard

SAME, FULL, SUBTRACT, BSDIFF = "same", "full", "subtract", "bsdiff"
LEVEL = 19
MAX_WINDOW = 1 << 27  # bytes: what a decoder sets aside because a file says so
MAX_BSDIFF = 1 << 26  # bytes: making the difference takes 17 times as much memory
_HEADER = struct.Struct("<8s3q")  # of a BSDIFF40 file: lengths of control and difference as stored, and of the result
_CONTROL = 24  # bytes of a step


class DeltaError(Exception):
    """Bytes that are no such file, or that would unpack into more than they say; the end of a sentence."""


def encode(new: bytes, old: bytes | None) -> dict[str, bytes]:
    """By method; the smallest is worth sending. old: None where the other side has no such file."""
    compressor = zstandard.ZstdCompressor(LEVEL)
    if new == old:
        return {SAME: b""}
    made = {FULL: compressor.compress(new)}
    if old:
        made[SUBTRACT] = compressor.compress(_subtracted(new, old))
        if max(len(new), len(old)) <= MAX_BSDIFF:
            import bsdiff4

            made[BSDIFF] = bsdiff4.diff(old, new)
    return made


def decode(how: str, payload: bytes, old: bytes, size: int) -> bytes:
    """size: bytes of the result, never more. Raises DeltaError."""
    if how == SAME:
        new = old
    elif how == FULL:
        new = _decompressed(payload, size)
    elif how == SUBTRACT:
        new = _added(_decompressed(payload, size), old)
    elif how == BSDIFF:
        new = _patched(payload, old, size)
    else:
        raise DeltaError(f"is made by '{how[:20]}', which this reflexd does not know: install a newer one")
    if len(new) != size:
        raise DeltaError(f"unpacks into {len(new):,} bytes, not {size:,}")
    return new


def _subtracted(new: bytes, old: bytes) -> bytes:
    return (np.frombuffer(new, np.uint8) - _fitted(old, len(new))).tobytes()


def _added(difference: bytes, old: bytes) -> bytes:
    return (np.frombuffer(difference, np.uint8) + _fitted(old, len(difference))).tobytes()


def _fitted(old: bytes, size: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Cut, or with zeros behind."""
    return np.frombuffer(old[:size].ljust(size, b"\0"), np.uint8)


def _decompressed(payload: bytes, size: int) -> bytes:
    """At most one byte more than `size` is ever unpacked. Raises DeltaError."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    try:
        with decompressor.stream_reader(io.BytesIO(payload)) as reader:
            unpacked: bytes = reader.read(size + 1)
    except zstandard.ZstdError as error:
        raise DeltaError(f"cannot be unpacked: {error}") from error
    if len(unpacked) > size:
        raise DeltaError(f"would unpack into more than the {size:,} bytes that it says")
    return unpacked


def _patched(payload: bytes, old: bytes, size: int) -> bytes:
    """bsdiff4's own reader unpacks bz2 without a limit: a bomb. Raises DeltaError."""
    import bsdiff4.core

    if len(payload) < _HEADER.size:
        raise DeltaError("is no BSDIFF40 difference")
    magic, control, difference, result = _HEADER.unpack_from(payload)
    if magic != b"BSDIFF40" or min(control, difference) < 0 or result != size:
        raise DeltaError("is no BSDIFF40 difference, or one of another file")
    blocks = payload[_HEADER.size :]
    # A step has at least a byte of the result, but for the last ones.
    steps = _unzipped(blocks[:control], (size + 2) * _CONTROL)
    added = _unzipped(blocks[control : control + difference], size)
    extra = _unzipped(blocks[control + difference :], size)
    try:
        patched: bytes = bsdiff4.core.patch(old, size, steps, added, extra)
    except (ValueError, OverflowError, MemoryError) as error:
        raise DeltaError(f"does not fit the older version: {error}") from error
    return patched


def _unzipped(block: bytes, limit: int) -> bytes:
    """Raises DeltaError."""
    decompressor = bz2.BZ2Decompressor()
    try:
        unpacked = decompressor.decompress(block, limit + 1)
    except (OSError, EOFError) as error:
        raise DeltaError(f"cannot be unpacked: {error}") from error
    if len(unpacked) > limit:
        raise DeltaError(f"would unpack into more than {limit:,} bytes")
    if not decompressor.eof:
        raise DeltaError("ends too early")
    return unpacked
