"""ONNX Runtime with the CPU, CUDA, TensorRT or CANN provider.

On this project's machines only the CPU provider was run; the others follow their documentation (tests/test_onnx_hardware.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from agent.backends import base
from agent.backends.base import EngineError, Tensor
from agent.data import Array

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "cann": "CANNExecutionProvider",
}
DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}


class Engine(base.Engine):
    def __init__(self, path: Path, threads: int, provider: str = "") -> None:
        providers = _choose(provider, path)
        try:
            self.session = ort.InferenceSession(str(path), _settings(threads), providers=providers, enable_fallback=0)
        except Exception as error:  # onnxruntime's own exceptions share no public base class
            said = re.sub(
                r"^/\S+:\d+ .*?\) ", "", str(error).strip().splitlines()[0]
            )  # without its place in their source
            raise EngineError(f"ONNX Runtime refuses {path.name}: {said[:160]}") from error
        _refuse_stand_in(provider, self.session.get_providers())
        self.inputs = [_tensor(node) for node in self.session.get_inputs()]
        self.outputs = [_tensor(node) for node in self.session.get_outputs()]
        self.binding = self.session.io_binding()
        self.arrays = [np.zeros(one.shape, one.dtype) for one in self.inputs]
        self._bind_inputs()
        self.far = provider not in ("", "cpu")
        for one in self.outputs:
            self.binding.bind_output(one.name, "cpu")
        self.results: list[Array] = []

    def input(self, index: int) -> Array:
        return self.arrays[index]

    def _bind_inputs(self) -> None:
        """On the CPU a binding shares the arrays' memory: writing them is setting the input. Elsewhere it is a copy."""
        for one, array in zip(self.inputs, self.arrays):
            self.binding.bind_cpu_input(one.name, array)

    def invoke(self) -> None:
        if self.far:
            self._bind_inputs()
        self.session.run_with_iobinding(self.binding)
        self.results = []

    def output(self, index: int) -> Array:
        if not self.results:
            self.results = self.binding.copy_outputs_to_cpu()
        return self.results[index]


def _settings(threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning workers win microseconds and take a whole core from the lanes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options


def _choose(provider: str, path: Path) -> list[Any]:
    """The provider asked for, or the best one present; the CPU takes what it leaves over."""
    present = ort.get_available_providers()
    if not provider:
        return ["CPUExecutionProvider"]
    if provider not in PROVIDERS:
        raise EngineError(f"no provider '{provider}': use one of {', '.join(PROVIDERS)}")
    name = PROVIDERS[provider]
    if name not in present:
        raise EngineError(f"this ONNX Runtime has no {name}; it has {', '.join(present)}")
    # TensorRT builds its engine on the first run, for minutes: keep it beside the model.
    extra = (
        {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(path.parent / "trt")}
        if provider == "tensorrt"
        else {}
    )
    return [(name, extra), "CPUExecutionProvider"]


def _refuse_stand_in(provider: str, running: Sequence[str]) -> None:
    """Raises EngineError where ONNX Runtime took the CPU because the provider's libraries or its device are missing."""
    if provider and PROVIDERS[provider] not in running:
        raise EngineError(
            f"provider '{provider}' does not start here, and {', '.join(running)} shall not stand in for it unnoticed:"
            f" ONNX Runtime {ort.__version__} says above what it misses (libraries of another version, no device)"
        )


def _tensor(node: Any) -> Tensor:
    if node.type not in DTYPES:
        raise EngineError(f"tensor '{node.name}' is {node.type}, which no lane can fill")
    # A named size (batch, length) is 1 on a lane.
    shape = tuple(size if isinstance(size, int) and size > 0 else 1 for size in node.shape)
    return Tensor(node.name, shape, DTYPES[node.type])
