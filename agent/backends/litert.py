"""LiteRT (the successor of tflite-runtime), on the CPU."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.backends import base, litert_compiled, litert_network
from agent.backends.base import AS_IT_IS, EngineError, TensorSpec
from agent.backends.litert_network import Network
from agent.data import Array
from agent.errors import first_line

STDERR = threading.Lock()  # held while standard error leads elsewhere
NOTICES = (b"INFO: ", b"WARNING: [npu_registry", b"WARNING: [gpu_registry")
FAILURES = (*NOTICES, b"ERROR: ")


class Engine(base.Engine):
    """A network of `litert_compiled.py` or `litert_network.py` with the outputs that the manifest chooses."""

    def __init__(self, path: Path, threads: int, provider: str = "", spec: TensorSpec = AS_IT_IS) -> None:
        base.require_cpu("litert", provider)
        self.failing = False  # the newest invoke raised
        network = _load(path, threads, spec)
        self.numbers = base.choose([[tensor.name, tensor.signature] for tensor in network.outputs], spec.outputs)
        self.inputs, self.outputs = network.inputs, [network.outputs[number] for number in self.numbers]
        self.arrays, self.run, self.read = network.arrays, network.run, network.read

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
        return self.read(self.numbers[index])


def _load(path: Path, threads: int, spec: TensorSpec) -> Network:
    """Raises EngineError."""
    try:
        with _filtered_stderr(NOTICES):
            interpreter = litert_network.verified(path, threads)
        if not spec.shape:
            with _filtered_stderr(FAILURES):  # the other road says it again
                if network := litert_compiled.compiled(path, threads):
                    return network
        with _filtered_stderr(NOTICES):
            return litert_network.interpreted(interpreter, spec.shape)
    except (ValueError, RuntimeError) as error:
        raise EngineError(f"LiteRT refuses {path.name}: {first_line(error)}") from error


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
