"""The contract of an inference engine; one file per engine, found by its name."""

from __future__ import annotations

import importlib
import inspect
from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from agent import section
from agent.data import Array
from agent.section import Kind
from agent.yamlfile import YamlError


class Tensor(NamedTuple):
    """real value = (stored - zero_point) * scale; scale 0 means not quantised.

    shape: with 1 where the size is unknown. unknown: these axes; of a package's outputs, those that may change from run
    to run.
    """

    name: str
    shape: tuple[int, ...]
    dtype: npt.DTypeLike
    scale: float = 0.0
    zero_point: int = 0
    unknown: tuple[int, ...] = ()


class EngineError(Exception):
    """The engine cannot load or run this model; the text is a sentence for a person."""


class Engine(ABC):
    """A loaded model. Used by one thread at a time."""

    inputs: list[Tensor]
    outputs: list[Tensor]

    @abstractmethod
    def __init__(self, path: Path, threads: int, provider: str = "") -> None:
        """Raises EngineError."""

    @abstractmethod
    def input(self, index: int) -> Array:
        """The input tensor itself, to be written in place. Release it before invoke."""

    @abstractmethod
    def invoke(self) -> None:
        """Run the model. Releases the GIL."""

    @abstractmethod
    def output(self, index: int) -> Array:
        """Raw output, valid until the next invoke."""

    @cached_property
    def tables(self) -> list[Array | None]:
        return [_dequantisation_table(tensor) for tensor in self.outputs]

    def real(self, index: int) -> Array:
        """Output as float32 real values."""
        raw, table = self.output(index), self.tables[index]
        if table is not None:
            real: Array = table[raw.view(np.uint8)]
            return real
        tensor = self.outputs[index]
        values: Array = raw.astype(np.float32, copy=False)
        return (values - tensor.zero_point) * np.float32(tensor.scale) if tensor.scale else values


def _dequantisation_table(tensor: Tensor) -> Array | None:
    """Real value of each stored byte, float32 [256]: one look-up per value; None for other types."""
    dtype = np.dtype(tensor.dtype)
    if not tensor.scale or dtype not in (np.int8, np.uint8):
        return None
    stored = np.arange(256, dtype=np.uint8).view(dtype).astype(np.float32)
    real: Array = (stored - np.float32(tensor.zero_point)) * np.float32(tensor.scale)
    return real


def load_parameters(path: Path, kind: type[Kind]) -> Kind:
    """The model file of an engine without a network: checked YAML. Raises EngineError with file:line."""
    try:
        return section.load(path, kind)
    except YamlError as error:
        raise EngineError(str(error)) from error


def load(backend: str, path: Path, threads: int = 1, provider: str = "") -> Engine:
    """The engine of agent/backends/<backend>.py with this model. Raises EngineError."""
    try:
        module = importlib.import_module(f"agent.backends.{backend}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("agent.backends."):
            raise EngineError(f"no backend '{backend}'") from error
        raise EngineError(f"backend '{backend}' needs the Python package '{error.name}'") from error
    kind: Any = getattr(module, "Engine", Engine)
    if inspect.isabstract(kind):
        raise EngineError(f"no backend '{backend}'")
    engine: Engine = kind(path, threads, provider)
    return engine
