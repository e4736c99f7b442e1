"""LiteRT (the successor of tflite-runtime), on the CPU."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

try:
    from ai_edge_litert.interpreter import Interpreter
except ModuleNotFoundError:
    from tflite_runtime.interpreter import Interpreter

from agent.backends import base
from agent.backends.base import AS_IT_IS, EngineError, Tensor, TensorSpec
from agent.data import Array

STDERR = threading.Lock()  # held while standard error leads elsewhere
NOTICES = (b"INFO: Created TensorFlow Lite",)
FAILURES = (*NOTICES, b"ERROR: ")


class Engine(base.Engine):
    """Interpreter, not CompiledModel: only Interpreter.invoke releases the GIL."""

    def __init__(self, path: Path, threads: int, provider: str = "", spec: TensorSpec = AS_IT_IS) -> None:
        if provider not in ("", "cpu"):
            raise EngineError(f"backend litert runs on the CPU, not on '{provider}'")
        self.failing = False  # the newest invoke raised
        try:
            with _filtered_stderr(NOTICES):
                self.interpreter = Interpreter(model_path=str(path), num_threads=threads)
                self._allocate(spec.shape)
        except (ValueError, RuntimeError) as error:
            raise EngineError(f"LiteRT refuses {path.name}: {_first_line(error)}") from error
        signatures = self._signature_names()
        inputs, outputs = self.interpreter.get_input_details(), self.interpreter.get_output_details()
        outputs = [outputs[n] for n in base.choose([_names(detail, signatures) for detail in outputs], spec.outputs)]
        self.inputs = [_tensor(detail, signatures) for detail in inputs]
        self.outputs = [_tensor(detail, signatures) for detail in outputs]
        self.arrays = [_in_place(self.interpreter, detail["index"]) for detail in inputs]
        self.output_numbers = [detail["index"] for detail in outputs]
        self.run = self.interpreter.invoke
        self.get = self.interpreter.get_tensor

    def _allocate(self, shape: Sequence[int]) -> None:
        """The input gets its shape before any memory is allocated. Raises EngineError, ValueError, RuntimeError."""
        inputs = self.interpreter.get_input_details()
        base.require_one_input([str(_tensor(detail, {})) for detail in inputs])
        declared = _tensor(inputs[0], {})
        # A size that may change, but which the file has, is that one.
        sizes = [size if axis not in declared.unknown or size > 1 else None for axis, size in enumerate(declared.shape)]
        target = base.check_bytes(declared._replace(shape=base.input_shape(declared.name, sizes, shape)))
        if target.shape != declared.shape:
            self.interpreter.resize_tensor_input(inputs[0]["index"], list(target.shape))
        self.interpreter.allocate_tensors()

    def _signature_names(self) -> dict[int, str]:
        """Names of tensors by their index. Raises EngineError."""
        signatures = self.interpreter.get_signature_list()
        if len(signatures) > 1:
            raise EngineError(
                f"the model has {len(signatures)} signatures ({', '.join(signatures)}): export one of them"
            )
        if not signatures:
            return {}
        runner = self.interpreter.get_signature_runner()
        return {
            detail["index"]: name
            for details in (runner.get_input_details(), runner.get_output_details())
            for name, detail in details.items()
        }

    def input(self, index: int) -> Array:
        return self.arrays[index]

    def invoke(self) -> None:
        """A failure is printed by LiteRT itself, too: only the first until it works again."""
        if self.failing:
            with _filtered_stderr(FAILURES):
                self.run()
            self.failing = False
            return
        try:
            self.run()
        except Exception:
            self.failing = True
            raise

    def output(self, index: int) -> Array:
        copy: Array = self.get(self.output_numbers[index])
        return copy


@contextmanager
def _filtered_stderr(dropped: tuple[bytes, ...]) -> Iterator[None]:
    """Drops the lines that LiteRT writes to stderr and that begin like these; other lines pass."""
    with STDERR:
        stderr, captured = os.dup(2), os.memfd_create("stderr")
        os.dup2(captured, 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.lseek(captured, 0, os.SEEK_SET)
            lines = os.read(captured, 1 << 20).splitlines(keepends=True)
            os.write(2, b"".join(line for line in lines if not line.startswith(dropped)))
            os.close(captured)
            os.close(stderr)


def _in_place(interpreter: Any, index: int) -> Array:
    """The tensor's memory, which stays where it is once allocated.

    `invoke` refuses to run while an array of `tensor()` exists, and to make another for each sample takes 14 us.
    """
    view = interpreter.tensor(index)()
    memory = (ctypes.c_uint8 * view.nbytes).from_address(view.ctypes.data)
    memory.interpreter = interpreter  # it lives as long as the array
    array: Array = np.frombuffer(memory, view.dtype).reshape(view.shape)
    return array


def _tensor(detail: dict[str, Any], signatures: dict[int, str]) -> Tensor:
    scale, zero_point = detail["quantization"]
    shape = tuple(int(size) for size in detail["shape"])
    unknown = tuple(axis for axis, size in enumerate(detail["shape_signature"]) if size < 0)
    signature = signatures.get(detail["index"], "")
    return Tensor(detail["name"], shape, detail["dtype"], float(scale), int(zero_point), unknown, signature)


def _names(detail: dict[str, Any], signatures: dict[int, str]) -> list[str]:
    return [detail["name"], signatures.get(detail["index"], "")]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
