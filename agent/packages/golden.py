"""Golden outputs: what a package's model must compute from given inputs, read within bounds."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np
from numpy.lib import format as npy

from agent.backends.base import Engine
from agent.box import files
from agent.box.files import BadFile
from agent.data import Array
from agent.errors import PackageError
from agent.packages.outputs import ModelFault, Outputs

STEPS = 8  # quantisation steps of 256; kernels with and without VNNI differ by 5 in the bundled models
REAL = 0.02  # the same for outputs that are not quantised
MAX_FILE_BYTES, MAX_ARRAY_BYTES = 1 << 26, 1 << 28
MAX_ROWS = 256  # each is an inference
MAX_DIRECTORY_BYTES = 1 << 16  # of the archive; each of its entries takes ten times its size in memory
# What zipfile and NumPy raise on a file that is damaged, or not .npz
UNREADABLE = (
    *(OSError, ValueError, EOFError, TypeError, LookupError, MemoryError, RuntimeError, ArithmeticError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
)
END, END64 = b"PK\x05\x06", b"PK\x06\x07"


def load(path: Path, engine: Engine) -> dict[str, Array]:
    """Arrays input_0 and output_0, output_1 ..., [rows, ...], of those that are there. Raises PackageError."""
    names = ["input_0", *(f"output_{index}" for index in range(len(engine.outputs)))]
    try:
        with files.open_regular(path, MAX_FILE_BYTES) as file:
            _check_directory(file)
            with zipfile.ZipFile(file) as archive:
                entries = set(archive.namelist())
                arrays = {name: _read(archive, name) for name in names if f"{name}.npy" in entries}
    except BadFile as error:
        raise PackageError(f"{path}: {error}") from error
    except UNREADABLE as error:
        raise PackageError(f"{path}: cannot be read: {error}") from error
    if not arrays.get("input_0", np.empty(0)).size or not any(name.startswith("output_") for name in arrays):
        raise PackageError(f"{path}: no golden outputs: it needs arrays input_0 and output_0, a row for each sample")
    return arrays


def _check_directory(file: BinaryIO) -> None:
    """Before zipfile reads all of it. Raises ValueError."""
    size = file.seek(0, 2)
    file.seek(max(0, size - 66_000))  # the longest comment has 65,535 bytes
    tail = file.read()
    at = tail.rfind(END)
    if at < 0 or at + 16 > len(tail):
        raise ValueError("not an archive of arrays (.npz)")
    (directory,) = struct.unpack_from("<I", tail, at + 12)
    if directory > MAX_DIRECTORY_BYTES or tail[max(0, at - 20) : at].startswith(END64):
        raise ValueError("an archive with too many entries")


def _read(archive: zipfile.ZipFile, name: str) -> Array:
    """Raises ValueError, and others of UNREADABLE."""
    with archive.open(f"{name}.npy") as file:
        shape, dtype = _header(file)
        if dtype.hasobject:
            raise ValueError(f"{name} has Python objects, which are never loaded (allow_pickle=False)")
        size = prod(shape) * dtype.itemsize
        if size > MAX_ARRAY_BYTES or (shape and shape[0] > MAX_ROWS):
            limits = f"at most {MAX_ROWS} rows and {MAX_ARRAY_BYTES:,} bytes are read"
            raise ValueError(f"{name} has the shape {list(shape)}, {size:,} bytes; {limits}")
    with archive.open(f"{name}.npy") as file:
        array: Array = npy.read_array(file, allow_pickle=False)
        return array


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    version = npy.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = npy.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = npy.read_array_header_2_0(file)
    else:
        raise ValueError(f"an array of format {version[0]}.{version[1]}")
    return shape, dtype


def compare(path: Path, engine: Engine, outputs: Outputs, tolerance: Sequence[float] = ()) -> float:
    """The worst difference in units of the tolerance. Raises PackageError.

    tolerance: for each value of the last axis of outputs that are not quantised; empty: REAL for all.
    """
    arrays = load(path, engine)
    try:
        return difference(engine, outputs, arrays, tolerance)
    except (LookupError, ValueError, TypeError, ModelFault) as error:
        raise PackageError(f"{path}: does not fit the model: {error}") from error


def difference(engine: Engine, outputs: Outputs, arrays: dict[str, Array], tolerance: Sequence[float] = ()) -> float:
    """As `compare`. arrays: as of `load`. Raises LookupError, ValueError, TypeError, ModelFault."""
    real = np.array(tolerance or [REAL])
    with engine.own_inputs():
        return max(_row(engine, outputs, arrays, row, real) for row in range(len(arrays["input_0"])))


def _row(engine: Engine, outputs: Outputs, arrays: dict[str, Array], row: int, real: Array) -> float:
    engine.fill(arrays["input_0"][row])
    outputs.invoke(engine)
    worst = 0.0
    for index, tensor in enumerate(engine.outputs):
        if f"output_{index}" not in arrays:
            continue
        distance = np.abs(engine.output(index)[0].astype(np.float64) - arrays[f"output_{index}"][row])
        share = (distance / (STEPS if tensor.scale else real)).max()
        worst = max(worst, float(np.nan_to_num(share, nan=np.inf)))  # NaN would compare as a match
    return worst
