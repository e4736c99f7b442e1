"""A LiteRT model loaded through the C API, during whose calls other lanes run."""

from __future__ import annotations

import ctypes
import mmap
import struct
import weakref
from collections.abc import Iterator, Sequence
from ctypes import byref, c_int, c_uint32, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.backends import base, litert_api
from agent.backends.base import EngineError, Tensor
from agent.backends.litert_api import MAX_RANK, PER_TENSOR, RANKED, Api, ApiError, Quantisation, RankedType
from agent.backends.litert_network import Network
from agent.data import Array

# As TfLiteType; no lane fills or reads others.
_DTYPES: dict[int, npt.DTypeLike] = {
    1: np.float32,
    2: np.int32,
    3: np.uint8,
    4: np.int64,
    6: np.bool_,
    7: np.int16,
    9: np.int8,
    10: np.float16,
    11: np.float64,
    13: np.uint64,
    16: np.uint32,
    17: np.uint16,
}
_UNNAMED = "<placeholder signature>"  # of a file without one
_PADDING = 64  # bytes by which a buffer may be larger than its tensor


class _Unsuitable(Exception):
    """The model has what only the interpreter handles."""


def compiled(path: Path, threads: int) -> Network | None:
    """None where the other road must be taken, and says what is wrong with a model that neither can load."""
    api = litert_api.load()
    if api is None:
        return None
    try:
        model = _Compiled(api, path, threads)  # which verifies the file
        if _has_open_sizes(path):
            return None
    except (ApiError, _Unsuitable):
        return None
    return Network(model.inputs, model.outputs, [model.input_array], model.run, model.output)


class _Compiled:
    """A model with its buffers, whose memory is that of the arrays."""

    def __init__(self, api: Api, path: Path, threads: int) -> None:
        """Raises ApiError, _Unsuitable."""
        self._api, self._handles = api, _Handles(api)
        self._model = self._owned("Model", api.made("CreateModelFromFile", api.environment, str(path).encode()))
        self._signature = self._only_signature()
        signed_inputs, signed_outputs = self._described("Input"), self._described("Output")
        if len(signed_inputs) != 1 or _nbytes(signed_inputs[0][1]) > base.MAX_TENSOR_BYTES:
            raise _Unsuitable
        options = self._owned("Options", api.options(threads))
        self._compiled = self._owned(
            "CompiledModel", api.made("CreateCompiledModel", api.environment, self._model, options)
        )
        ((_, tensor, kind),) = signed_inputs
        self._input_buffer, self.input_array = self._buffer("Input", 0, tensor, kind)
        buffers = [self._buffer("Output", n, tensor, kind) for n, (_, tensor, kind) in enumerate(signed_outputs)]
        order = self._file_order([index for index, *_ in signed_outputs])
        self.inputs, self.outputs = [tensor], [signed_outputs[number][1] for number in order]
        self._output_arrays = [buffers[number][1] for number in order]
        self._prepare_run([handle for handle, _ in buffers])
        self.input_array[...] = 0
        if self._run(*self._arguments):  # tensors are allocated by the first run
            raise _Unsuitable

    def _prepare_run(self, outputs: Sequence[int]) -> None:
        """All arguments of a run are made once."""
        inputs_array, outputs_array = (c_void_p * 1)(self._input_buffer), (c_void_p * len(outputs))(*outputs)
        self._run = self._api.function("RunCompiledModel")
        self._arguments = self._compiled, 0, 1, inputs_array, len(outputs), outputs_array

    def run(self) -> None:
        """Raises EngineError."""
        if self._run(*self._arguments):
            lines = self._api.error_messages(self._compiled).splitlines()
            raise EngineError((lines or ["LiteRT gives no reason"])[0][:160])

    def output(self, number: int) -> Array:
        return self._output_arrays[number]

    def _owned(self, kind: str, handle: int) -> int:
        self._handles.all.insert(0, (kind, handle))
        return handle

    def _only_signature(self) -> int:
        if self._api.number("GetNumModelSignatures", self._model) != 1:
            raise _Unsuitable
        return self._api.made("GetModelSignature", self._model, 0)

    def _described(self, side: str) -> list[tuple[int, Tensor, RankedType]]:
        """Of each tensor of a side, in the signature's order: its index in the file, what it is, its type."""
        api, signature = self._api, self._signature
        signed = api.text("GetSignatureKey", signature) != _UNNAMED
        rows = []
        for number in range(api.number(f"GetNumSignature{side}s", signature)):
            handle = api.made(f"GetSignature{side}TensorByIndex", signature, number)
            name = api.text(f"GetSignature{side}Name", signature, number) if signed else ""
            kind = self._ranked_type(handle)
            rows.append((api.number("GetTensorIndex", handle, c_uint32), self._tensor(handle, kind, name), kind))
        return rows

    def _ranked_type(self, tensor: int) -> RankedType:
        """Raises _Unsuitable where a size is open, or only known after a run."""
        if self._api.number("GetTensorTypeId", tensor, c_int) != RANKED:
            raise _Unsuitable
        kind = RankedType()
        self._api.call("GetRankedTensorType", tensor, byref(kind))
        shape = _shape(kind)
        if not 0 < len(shape) <= MAX_RANK or min(shape) < 1 or kind.element not in _DTYPES:
            raise _Unsuitable
        return kind

    def _tensor(self, handle: int, kind: RankedType, signature: str) -> Tensor:
        quantisation = Quantisation()
        if self._api.number("GetQuantizationTypeId", handle, c_int) == PER_TENSOR:
            self._api.call("GetPerTensorQuantization", handle, byref(quantisation))
        name, dtype = self._api.text("GetTensorName", handle), _DTYPES[kind.element]
        scale, zero_point = float(quantisation.scale), int(quantisation.zero_point)
        return Tensor(name, _shape(kind), dtype, scale, zero_point, (), signature)

    def _buffer(self, side: str, number: int, tensor: Tensor, kind: RankedType) -> tuple[int, Array]:
        """Its handle, and its memory as an array."""
        api, dtype = self._api, np.dtype(tensor.dtype)
        needs = api.made(f"GetCompiledModel{side}BufferRequirements", self._compiled, 0, number)
        size, nbytes = api.number("GetTensorBufferRequirementsBufferSize", needs), _nbytes(tensor)
        if not nbytes <= size <= nbytes + _PADDING:
            raise _Unsuitable  # its size at run time is another one than the file says
        handle = self._owned(
            "TensorBuffer", api.made("CreateManagedTensorBufferFromRequirements", api.environment, byref(kind), needs)
        )
        memory: Any = (ctypes.c_uint8 * nbytes).from_address(api.made("GetTensorBufferHostMemory", handle))
        memory.owner = self._handles  # the memory stays as long as an array of it
        array: Array = np.frombuffer(memory, dtype).reshape(tensor.shape)
        return handle, array

    def _file_order(self, indices: list[int]) -> list[int]:
        """Positions in the signature, which sorts by name, of the outputs in the file's order."""
        api, graph = self._api, self._api.made("GetSignatureSubgraph", self._signature)
        count = api.number("GetNumSubgraphOutputs", graph)
        in_file = [
            api.number("GetTensorIndex", api.made("GetSubgraphOutput", graph, n), c_uint32) for n in range(count)
        ]
        if sorted(in_file) != sorted(indices):
            raise _Unsuitable
        return [indices.index(index) for index in in_file]


class _Handles:
    """What the library must free, in that order, once nothing uses it: without the GIL, as a model takes its time."""

    def __init__(self, api: Api) -> None:
        self.all: list[tuple[str, int]] = []
        weakref.finalize(self, _destroy, api, self.all).atexit = False


def _destroy(api: Api, handles: list[tuple[str, int]]) -> None:
    for kind, handle in handles:
        api.destroy(kind, handle)


def _shape(kind: RankedType) -> tuple[int, ...]:
    return tuple(kind.layout.dimensions[: kind.layout.rank & 127])


def _nbytes(tensor: Tensor) -> int:
    return int(np.prod(tensor.shape)) * np.dtype(tensor.dtype).itemsize


def _has_open_sizes(path: Path) -> bool:
    """An input or output has a size below 0 in its shape_signature, which the C API does not show.

    Walks the file itself (schema.fbs of LiteRT): loading its generated classes would take 50 ms of the GIL.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(size < 0 for sizes in _signatures(content) for size in sizes)


def _signatures(content: mmap.mmap) -> Iterator[tuple[int, ...]]:
    """shape_signature of each input and output; empty where a tensor has none."""
    graphs = _vector(content, _table(content, 0), 2)
    graph = _table(content, graphs[0])
    tensors = _vector(content, graph, 0)
    for side in (1, 2):
        for at in _vector(content, graph, side):
            (index,) = struct.unpack_from("<i", content, at)
            signature = _vector(content, _table(content, tensors[index]), 7)
            yield tuple(struct.unpack_from("<i", content, place)[0] for place in signature)


def _table(content: mmap.mmap, at: int) -> int:
    """Where the table is to which an offset at this place leads."""
    (offset,) = struct.unpack_from("<I", content, at)
    return at + int(offset)


def _vector(content: mmap.mmap, table: int, field: int) -> range:
    """Places of the items, of 4 bytes, in a vector of a table; empty where the table lacks it."""
    (back,) = struct.unpack_from("<i", content, table)
    vtable, slot = table - back, 4 + 2 * field
    (size,) = struct.unpack_from("<H", content, vtable)
    (offset,) = struct.unpack_from("<H", content, vtable + slot) if slot < size else (0,)
    if not offset:
        return range(0)
    start = _table(content, table + offset)
    (count,) = struct.unpack_from("<I", content, start)
    return range(start + 4, start + 4 + 4 * count, 4)
