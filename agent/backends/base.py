"""The contract of an inference engine; one file per engine, found by its name."""

from __future__ import annotations

import importlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from math import prod
from pathlib import Path
from struct import Struct
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from agent import section
from agent.data import Array
from agent.open_inference.release import Release
from agent.section import Kind
from agent.yamlfile import YamlError

SMALL = 64  # values of an output
MAX_TENSOR_BYTES = 1 << 28  # of an input or output: more is no model for a lane
INSTALL = {  # Python package that is missing -> the command that installs it
    "onnxruntime": "scripts/setup onnx, or pip install 'reflexd[onnx]'",
    "openvino": "scripts/setup openvino, or pip install 'reflexd[openvino]'",
    "tritonclient": "scripts/setup remote, or pip install 'reflexd[remote]'",
}


class Tensor(NamedTuple):
    """real value = (stored - zero_point) * scale; scale 0 means not quantised.

    shape: with 1 where the size is unknown. unknown: these axes; of a package's outputs, those that may change from run
    to run. signature: its name there, where the file has a signature.
    """

    name: str
    shape: tuple[int, ...]
    dtype: npt.DTypeLike
    scale: float = 0.0
    zero_point: int = 0
    unknown: tuple[int, ...] = ()
    signature: str = ""

    @property
    def planar(self) -> bool:
        """Of a picture: [1, channels, height, width], not [1, height, width, channels]."""
        return self.shape[3] not in (1, 2, 3)

    @property
    def sides(self) -> tuple[int, int]:
        """Of a picture: height and width."""
        _, first, second, third = self.shape
        return (second, third) if self.planar else (first, second)

    def __str__(self) -> str:
        return f"'{self.name}' {list(self.shape)} {np.dtype(self.dtype).name}"


class TensorSpec(NamedTuple):
    """What a manifest says of the tensors.

    shape: of the input, where the file leaves sizes open. outputs: names in the decoder's order; empty: all, as there.
    """

    shape: Sequence[int] = ()
    outputs: Sequence[str] = ()


AS_IT_IS = TensorSpec()


class EngineError(Exception):
    """The engine cannot load or run this model; the text is a sentence for a person."""


class EngineAway(EngineError):
    """What computes for it cannot be reached now: it may be later."""


class Late(EngineError):
    """There was no time for it; the caller has another answer."""


class Engine(ABC):
    """A loaded model. Used by one thread at a time."""

    inputs: list[Tensor]
    outputs: list[Tensor]
    metadata: Mapping[str, str] = MappingProxyType({})  # texts that the model file has about itself, by name
    has_memory: ClassVar[bool] = False  # its outputs depend on the inputs before, too
    sends_input: ClassVar[bool] = False  # to another box, which computes it
    decides: ClassVar[bool] = False  # whether there is time for it, and raises Late
    deadline = 0  # of the sample, CLOCK_MONOTONIC ns; a lane sets it before each inference
    away = ""  # why it cannot compute now, although it may later

    @abstractmethod
    def __init__(self, path: Path, threads: int, provider: str = "", spec: TensorSpec = AS_IT_IS) -> None:
        """Raises EngineError."""

    @abstractmethod
    def input(self, index: int) -> Array:
        """The input tensor itself, to be written in place. Release it before invoke."""

    def fill(self, row: Array) -> None:
        """Write one sample into the input. row: of its shape, but for axes of size 1: sound is [n] or [1, n]."""
        self.input(0).reshape(row.shape)[...] = row

    @abstractmethod
    def invoke(self) -> None:
        """Run the model. Releases the GIL."""

    @abstractmethod
    def output(self, index: int) -> Array:
        """Raw output, valid until the next invoke."""

    def permit(self, release: Release) -> None:
        """To whom its input may leave, where it sends that elsewhere; before: to nobody."""
        return

    def own_inputs(self) -> AbstractContextManager[None]:
        """While its input holds the package's own golden inputs, noise or zeros, nothing that a source delivered."""
        return nullcontext()

    @cached_property
    def tables(self) -> list[Array | None]:
        return [_dequantisation_table(tensor) for tensor in self.outputs]

    @cached_property
    def _small(self) -> list[_SmallOutput | None]:
        return [
            _SmallOutput(tensor, table) if table is not None and prod(tensor.shape) <= SMALL else None
            for tensor, table in zip(self.outputs, self.tables)
        ]

    def real(self, index: int) -> Array:
        """Output as float32 real values, valid until the next call."""
        raw, table, small = self.output(index), self.tables[index], self._small[index]
        if small and raw.shape == small.real.shape:
            return small(raw)
        if table is not None:
            real: Array = table[raw.view(np.uint8)]
            return real
        return real_values(raw, self.outputs[index])


class _SmallOutput:
    """A few quantised scores as real values without an indexing operation of numpy.

    That takes 4 us for any size, and 17 us once a millisecond, when the processor's caches have lost its code.
    """

    def __init__(self, tensor: Tensor, table: Array) -> None:
        self.table: list[float] = table.tolist()
        self.real = np.zeros(tensor.shape, np.float32)
        self.memory = self.real.data.cast("B")
        self.values = Struct(f"={self.real.size}f")

    def __call__(self, raw: Array) -> Array:
        table = self.table
        self.values.pack_into(self.memory, 0, *[table[byte] for byte in raw.tobytes()])
        return self.real


def _dequantisation_table(tensor: Tensor) -> Array | None:
    """Real value of each stored byte, float32 [256]: one look-up per value; None for other types."""
    dtype = np.dtype(tensor.dtype)
    if not tensor.scale or dtype not in (np.int8, np.uint8):
        return None
    return real_values(np.arange(256, dtype=np.uint8).view(dtype), tensor)


def real_values(stored: Array, tensor: Tensor) -> Array:
    """What the tensor stores as float32 real values."""
    values: Array = stored.astype(np.float32, copy=False)
    return (values - np.float32(tensor.zero_point)) * np.float32(tensor.scale) if tensor.scale else values


def require_cpu(backend: str, provider: str) -> None:
    """Raises EngineError."""
    if provider not in ("", "cpu"):
        raise EngineError(f"backend {backend} runs on the CPU, not on '{provider}'")


def load_parameters(path: Path, kind: type[Kind]) -> Kind:
    """The model file of an engine without a network: checked YAML. Raises EngineError with file:line."""
    try:
        return section.load(path, kind)
    except YamlError as error:
        raise EngineError(str(error)) from error


def load(backend: str, path: Path, threads: int = 1, provider: str = "", spec: TensorSpec = AS_IT_IS) -> Engine:
    """The engine of agent/backends/<backend>.py, or of a dotted path, with this model. Raises EngineError."""
    engine = _kind(backend)(path, threads, provider, spec)
    if spec.shape and engine.inputs[0].shape != tuple(spec.shape):
        raise EngineError(f"shape {list(spec.shape)} is not that of the input {engine.inputs[0]}")
    return engine


def check(backend: str) -> None:
    """Raises EngineError where there is no such backend, or its library is not installed."""
    _kind(backend)


def _kind(backend: str) -> type[Engine]:
    """Raises EngineError."""
    module = backend if "." in backend.lstrip(".") else f"agent.backends.{backend}"
    try:
        kind: Any = getattr(importlib.import_module(module), "Engine", Engine)
    except ModuleNotFoundError as error:
        missing = error.name or module
        if module.startswith(missing):
            raise EngineError(f"no backend '{backend}'") from error
        command = INSTALL.get(missing, "scripts/setup")
        raise EngineError(f"backend '{backend}' needs the Python package '{missing}': {command}") from error
    except (ValueError, TypeError) as error:  # a name that cannot be one of a file
        raise EngineError(f"no backend '{backend!r}'") from error
    except (ImportError, SyntaxError) as error:
        raise EngineError(f"backend '{backend}' cannot be loaded: {error}") from error
    if not isinstance(kind, type) or not issubclass(kind, Engine) or inspect.isabstract(kind):
        raise EngineError(f"no backend '{backend}'")
    return kind


def check_bytes(tensor: Tensor) -> Tensor:
    """The same, before its memory is allocated. Raises EngineError."""
    size = prod(tensor.shape) * np.dtype(tensor.dtype).itemsize
    if size > MAX_TENSOR_BYTES:
        raise EngineError(f"tensor {tensor} has {size:,} bytes; at most {MAX_TENSOR_BYTES:,} are allowed")
    return tensor


def choose(names: Sequence[Sequence[str]], wanted: Sequence[str]) -> list[int]:
    """Indices of the outputs that are wanted, by any of their names, or by their number. Raises EngineError."""
    if not wanted:
        return list(range(len(names)))
    indices = [_index(names, name) for name in wanted]
    if len(set(indices)) < len(indices):
        raise EngineError(f"outputs {', '.join(wanted)}: one of them appears twice")
    return indices


def _index(names: Sequence[Sequence[str]], name: str) -> int:
    index = next((number for number, each in enumerate(names) if name in each), None)
    if index is None and name.isdecimal() and int(name) < len(names):
        index = int(name)
    if index is None:
        known = ", ".join(" or ".join(dict.fromkeys(filter(None, each))) for each in names)
        raise EngineError(f"no output '{name}'; the model has {known}")
    return index
