"""LiteRT's C API through ctypes, which releases the GIL during each call: so does no method of its Python classes
but `invoke`, and allocating MoveNet's tensors would stall every other lane for 8 to 12 ms.

Declared as in LiteRT 2.3 (litert/c/*.h). Other versions have other signatures under the same names, and a wrong call
ends the process: `litert_network.py` keeps to LiteRT's Python class there.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import sys
from ctypes import POINTER, byref, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint32, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

TESTED = ("2.3.",)  # versions of ai-edge-litert with these signatures
CPU, RANKED, PER_TENSOR = 1, 0, 1
MAX_RANK = 8
# Operators write their errors into a buffer, where `error_messages` reads them, instead of to stderr.
REPORT_INTO_BUFFER = 2


class Layout(ctypes.Structure):
    """rank: the lower 7 bits; the next says whether there are strides. dimensions below 0 are open."""

    _fields_ = [("rank", c_uint32), ("dimensions", c_int32 * MAX_RANK), ("strides", c_uint32 * MAX_RANK)]


class RankedType(ctypes.Structure):
    """Of a tensor: its element type and shape."""

    _fields_ = [("element", c_int32), ("layout", Layout)]


class Quantisation(ctypes.Structure):
    """Of a whole tensor."""

    _fields_ = [("scale", ctypes.c_float), ("zero_point", c_int64)]


Deleter = ctypes.CFUNCTYPE(None, c_void_p)
_keep = Deleter(lambda _: None)  # the options' texts belong to Python

_POINTER, _OUT = c_void_p, POINTER(c_void_p)
_ARGUMENTS: dict[str, list[Any]] = {
    "CreateEnvironment": [c_int, _POINTER, _OUT],
    "CreateModelFromFile": [_POINTER, c_char_p, _OUT],
    "GetNumModelSignatures": [_POINTER, POINTER(c_size_t)],
    "GetModelSignature": [_POINTER, c_size_t, _OUT],
    "GetSignatureKey": [_POINTER, POINTER(c_char_p)],
    "GetSignatureSubgraph": [_POINTER, _OUT],
    "GetNumSignatureInputs": [_POINTER, POINTER(c_size_t)],
    "GetNumSignatureOutputs": [_POINTER, POINTER(c_size_t)],
    "GetSignatureInputName": [_POINTER, c_size_t, POINTER(c_char_p)],
    "GetSignatureOutputName": [_POINTER, c_size_t, POINTER(c_char_p)],
    "GetSignatureInputTensorByIndex": [_POINTER, c_size_t, _OUT],
    "GetSignatureOutputTensorByIndex": [_POINTER, c_size_t, _OUT],
    "GetNumSubgraphOutputs": [_POINTER, POINTER(c_size_t)],
    "GetSubgraphOutput": [_POINTER, c_size_t, _OUT],
    "GetTensorIndex": [_POINTER, POINTER(c_uint32)],
    "GetTensorName": [_POINTER, POINTER(c_char_p)],
    "GetTensorTypeId": [_POINTER, POINTER(c_int)],
    "GetRankedTensorType": [_POINTER, POINTER(RankedType)],
    "GetQuantizationTypeId": [_POINTER, POINTER(c_int)],
    "GetPerTensorQuantization": [_POINTER, POINTER(Quantisation)],
    "CreateOptions": [_OUT],
    "SetOptionsHardwareAccelerators": [_POINTER, c_int],
    "CreateOpaqueOptions": [c_char_p, _POINTER, Deleter, _OUT],
    "AddOpaqueOptions": [_POINTER, _POINTER],
    "CreateCompiledModel": [_POINTER, _POINTER, _POINTER, _OUT],
    "GetCompiledModelInputBufferRequirements": [_POINTER, c_size_t, c_size_t, _OUT],
    "GetCompiledModelOutputBufferRequirements": [_POINTER, c_size_t, c_size_t, _OUT],
    "GetTensorBufferRequirementsBufferSize": [_POINTER, POINTER(c_size_t)],
    "CreateManagedTensorBufferFromRequirements": [_POINTER, POINTER(RankedType), _POINTER, _OUT],
    "GetTensorBufferHostMemory": [_POINTER, _OUT],
    "RunCompiledModel": [_POINTER, c_size_t, c_size_t, _POINTER, c_size_t, _POINTER],
    "CompiledModelGetErrorMessages": [_POINTER, _OUT],
    "CompiledModelClearErrors": [_POINTER],
}
_DESTROYED = ("Model", "Options", "CompiledModel", "TensorBuffer")


class ApiError(Exception):
    """A call was refused; the reason is on stderr."""


class Api:
    """The library's functions, by their names without "LiteRt"."""

    def __init__(self, library: ctypes.CDLL) -> None:
        """Raises AttributeError where the library lacks one, ApiError where it does not start."""
        self._functions = {name: _declared(library, name, types) for name, types in _ARGUMENTS.items()}
        self._destroy = {kind: _destroyer(library, kind) for kind in _DESTROYED}
        self._free = ctypes.CDLL(None).free
        self._free.argtypes, self._free.restype = [c_void_p], None
        # One for all models, which is never destroyed.
        self.environment = self.made("CreateEnvironment", 0, None)

    def call(self, name: str, *arguments: Any) -> None:
        """Raises ApiError."""
        if status := self._functions[name](*arguments):
            raise ApiError(f"LiteRt{name} returns {status}")

    def made(self, name: str, *arguments: Any) -> int:
        """The handle or address that the call gives. Raises ApiError."""
        handle = c_void_p()
        self.call(name, *arguments, byref(handle))
        return handle.value or 0

    def number(self, name: str, handle: int, kind: type[Any] = c_size_t) -> int:
        """Raises ApiError."""
        value = kind()
        self.call(name, handle, byref(value))
        return int(value.value)

    def text(self, name: str, *arguments: Any) -> str:
        """Raises ApiError."""
        value = c_char_p()
        self.call(name, *arguments, byref(value))
        return (value.value or b"").decode(errors="replace")

    def function(self, name: str) -> Any:
        """The call itself, for the hot path: it returns a status, 0 where all is well."""
        return self._functions[name]

    def destroy(self, kind: str, handle: int) -> None:
        self._destroy[kind](handle)

    def error_messages(self, compiled: int) -> str:
        """Of the newest run, one line each; the buffer is then empty."""
        address = self.made("CompiledModelGetErrorMessages", compiled)
        text = ctypes.string_at(address).decode(errors="replace") if address else ""
        self._free(address)
        self.call("CompiledModelClearErrors", compiled)
        return text

    def options(self, threads: int) -> int:
        """Of a model to be compiled. Raises ApiError."""
        options = self.made("CreateOptions")
        self.call("SetOptionsHardwareAccelerators", options, CPU)
        for name, text in (
            (b"xnnpack", f"num_threads = {threads}\n"),
            (b"runtime_options_string", f"error_reporter_mode = {REPORT_INTO_BUFFER}\n"),
        ):
            self.call("AddOpaqueOptions", options, self.made("CreateOpaqueOptions", name, _lasting(text), _keep))
        return options


@cache
def _lasting(text: str) -> bytes:
    """The library keeps the address of an option's text."""
    return text.encode()


def _declared(library: ctypes.CDLL, name: str, arguments: list[Any]) -> Any:
    function = getattr(library, f"LiteRt{name}")
    function.argtypes, function.restype = arguments, c_int
    return function


def _destroyer(library: ctypes.CDLL, kind: str) -> Any:
    function = getattr(library, f"LiteRtDestroy{kind}")
    function.argtypes, function.restype = [c_void_p], None
    return function


@cache
def load() -> Api | None:
    """None where this box has no LiteRT of a tested version. Loads a library of 8 MB, once."""
    if sys.maxsize < 1 << 32:
        return None  # the structures are those of 64 bits
    try:
        if not importlib.metadata.version("ai-edge-litert").startswith(TESTED):
            return None
        spec = importlib.util.find_spec("ai_edge_litert")
        assert spec and spec.origin
        return Api(ctypes.CDLL(str(Path(spec.origin).with_name("libLiteRt.so"))))
    except (importlib.metadata.PackageNotFoundError, AssertionError, OSError, AttributeError, ApiError):
        return None
