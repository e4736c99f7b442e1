"""LiteRT (the successor of tflite-runtime), on the CPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

try:
    from ai_edge_litert.interpreter import Interpreter
except ModuleNotFoundError:
    from tflite_runtime.interpreter import Interpreter

from agent.backends import base
from agent.backends.base import EngineError, Tensor
from agent.data import Array


class Engine(base.Engine):
    """Interpreter, not CompiledModel: only Interpreter.invoke releases the GIL."""

    def __init__(self, path: Path, threads: int, provider: str = "") -> None:
        if provider not in ("", "cpu"):
            raise EngineError(f"backend litert runs on the CPU, not on '{provider}'")
        try:
            with _without_delegate_notice():
                self.interpreter = Interpreter(model_path=str(path), num_threads=threads)
                self.interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise EngineError(f"LiteRT refuses {path.name}: {_first_line(error)}") from error
        inputs, outputs = self.interpreter.get_input_details(), self.interpreter.get_output_details()
        self.inputs = [_tensor(detail) for detail in inputs]
        self.outputs = [_tensor(detail) for detail in outputs]
        # tensor(i) is a function; the array it returns must be released before invoke, so each access makes a new one.
        self.input_views = [self.interpreter.tensor(detail["index"]) for detail in inputs]
        self.output_numbers = [detail["index"] for detail in outputs]
        self.run = self.interpreter.invoke
        self.get = self.interpreter.get_tensor

    def input(self, index: int) -> Array:
        view: Array = self.input_views[index]()
        return view

    def invoke(self) -> None:
        self.run()

    def output(self, index: int) -> Array:
        copy: Array = self.get(self.output_numbers[index])
        return copy


@contextmanager
def _without_delegate_notice() -> Iterator[None]:
    """Drops the notice about its delegate that LiteRT writes to stderr at every load; other lines pass."""
    stderr, captured = os.dup(2), os.memfd_create("stderr")
    os.dup2(captured, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.lseek(captured, 0, os.SEEK_SET)
        lines = os.read(captured, 1 << 20).splitlines(keepends=True)
        os.write(2, b"".join(line for line in lines if not line.startswith(b"INFO: Created TensorFlow Lite")))
        os.close(captured)
        os.close(stderr)


def _tensor(detail: dict[str, Any]) -> Tensor:
    scale, zero_point = detail["quantization"]
    shape = tuple(int(size) for size in detail["shape"])
    unknown = tuple(axis for axis, size in enumerate(detail["shape_signature"]) if size < 0)
    return Tensor(detail["name"], shape, detail["dtype"], float(scale), int(zero_point), unknown)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
