"""Tensors of the Open Inference Protocol as its messages describe them: names, types and sizes, all within bounds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np

from agent.data import Array

DTYPES = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
MAX_TENSORS, MAX_AXES, MAX_NAME = 64, 8, 256
MAX_TENSOR_BYTES = 1 << 28


class MessageError(ValueError):
    """Not a message of this protocol, or one beyond its bounds; the text names the mistake."""


class Described(NamedTuple):
    """A tensor in a model's metadata. shape: below 1 where the size is open."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "datatype": NAMES[self.dtype], "shape": list(self.shape)}

    def __str__(self) -> str:
        return f"'{self.name}' {NAMES[self.dtype]} {list(self.shape)}"


class ModelInfo(NamedTuple):
    """A model's metadata."""

    inputs: list[Described]
    outputs: list[Described]


def described(entry: Mapping[str, Any]) -> Described:
    """Of metadata. Raises MessageError."""
    shape = entry.get("shape")
    if not isinstance(shape, list) or len(shape) > MAX_AXES or any(type(size) is not int for size in shape):
        raise MessageError("a tensor's 'shape' is no list of whole numbers")
    return Described(name_of(entry), dtype_of(entry), tuple(shape))


def values_of(tensor: Described, entry: Mapping[str, Any], data: memoryview | None) -> Array:
    count = prod(tensor.shape)
    if any(size < 0 for size in tensor.shape) or count * tensor.dtype.itemsize > MAX_TENSOR_BYTES:
        raise MessageError(f"tensor {tensor} has more than {MAX_TENSOR_BYTES:,} bytes, or less than none")
    if data is None:
        return _from_json(tensor, entry.get("data"), count)
    if len(data) != count * tensor.dtype.itemsize:
        raise MessageError(f"tensor {tensor} has {len(data)} bytes")
    raw = np.frombuffer(data, np.uint8 if tensor.dtype.kind == "b" else tensor.dtype)
    values: Array = raw.astype(tensor.dtype, copy=False).reshape(tensor.shape)
    return values


def _from_json(tensor: Described, data: object, count: int) -> Array:
    """Numbers flat or nested. Raises MessageError where they are others than the type can store."""
    if not isinstance(data, list):
        raise MessageError(f"tensor {tensor} has neither 'data' nor 'binary_data_size'")
    try:
        given = np.array(data)
        if tensor.dtype.kind in "iu" and given.dtype.kind == "f":
            given = _whole_numbers(data)
        fits = given.dtype.kind in {"b": "b", "u": "biuO", "i": "biuO", "f": "biuf"}[tensor.dtype.kind]
        with np.errstate(over="ignore", invalid="ignore"):
            values: Array = given.astype(tensor.dtype)
        exact = tensor.dtype.kind == "f" or bool((values == given).all())
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise MessageError(f"tensor {tensor}: 'data' is no list of numbers") from error
    if given.size != count or count and not (fits and exact):
        raise MessageError(f"tensor {tensor}: 'data' has {given.size} values, or others than its type stores")
    return values.reshape(tensor.shape)


def _whole_numbers(data: list[Any]) -> Array:
    """NumPy makes floats of 0 and 1 << 63 together. Raises ValueError where some are no whole numbers."""
    numbers = np.array(data, object)
    if any(type(number) is not int for number in numbers.flat):
        raise ValueError("not whole")
    return numbers


def mapping(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = content.get(key)
    return value if isinstance(value, dict) else {}


def json_object(text: bytes) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MessageError("the message is no JSON") from error
    if not isinstance(content, dict):
        raise MessageError("the message is no JSON object")
    return content


def name_of(entry: Mapping[str, Any]) -> str:
    name = entry.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise MessageError(f"a tensor's 'name' is not 1 to {MAX_NAME} characters")
    return name


def dtype_of(entry: Mapping[str, Any]) -> np.dtype[Any]:
    name = entry.get("datatype")
    if not isinstance(name, str) or name not in DTYPES:
        raise MessageError(f"a tensor's 'datatype' is not one of {', '.join(DTYPES)}")
    return DTYPES[name]
