"""ONNX Runtime with the CPU, CUDA, TensorRT or CANN provider.

Only the CPU provider is tested regularly; the others follow their documentation (tests/test_onnx_hardware.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from agent.backends import base
from agent.backends.base import AS_IT_IS, EngineError, Tensor, TensorSpec
from agent.backends.input_shape import input_shape, require_one_input
from agent.data import Array
from agent.errors import first_line

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
    "tensor(double)": np.float64,
    "tensor(bool)": np.bool_,
}
INPUT_TYPES = set(DTYPES) - {"tensor(double)", "tensor(bool)"}


class Engine(base.Engine):
    """A session with its inputs bound once; on the CPU the tensors are the arrays of the binding."""

    def __init__(self, path: Path, threads: int, provider: str = "", spec: TensorSpec = AS_IT_IS) -> None:
        providers = _providers(provider, path)
        try:
            self.session = ort.InferenceSession(str(path), _settings(threads), providers=providers, enable_fallback=0)
        except Exception as error:  # onnxruntime's own exceptions share no public base class
            raise EngineError(f"ONNX Runtime refuses {path.name}: {_reason(error)}") from error
        _refuse_fallback(provider, self.session.get_providers())
        self.inputs = [_input(self.session.get_inputs(), spec.shape)]
        outputs = self.session.get_outputs()
        self.outputs = [_tensor(outputs[index]) for index in base.choose([[o.name] for o in outputs], spec.outputs)]
        self.metadata = self.session.get_modelmeta().custom_metadata_map
        self.binding = self.session.io_binding()
        self.arrays = [np.zeros(tensor.shape, tensor.dtype) for tensor in self.inputs]
        self._bind_inputs()
        self.copies_inputs = provider not in ("", "cpu")
        self._bind_outputs()
        self.varies = any(tensor.unknown for tensor in self.outputs)
        self.options = ort.RunOptions()
        self.options.log_severity_level = 4  # a run that fails raises; printing it, too, would flood the journal
        self.results: list[Array] = []

    def input(self, index: int) -> Array:
        return self.arrays[index]

    def _bind_inputs(self) -> None:
        """On the CPU a binding shares the arrays' memory: writing them is setting the input. Elsewhere it is a copy."""
        for tensor, array in zip(self.inputs, self.arrays):
            self.binding.bind_cpu_input(tensor.name, array)

    def _bind_outputs(self) -> None:
        """The session keeps the memory of the first run, and refuses to run when an output then has another shape."""
        self.binding.clear_binding_outputs()
        for tensor in self.outputs:
            self.binding.bind_output(tensor.name, "cpu")

    def invoke(self) -> None:
        if self.copies_inputs:
            self._bind_inputs()
        if self.varies:
            self._bind_outputs()
        self.results = []
        try:
            self.session.run_with_iobinding(self.binding, self.options)
        except Exception as error:
            raise EngineError(_reason(error)) from error

    def output(self, index: int) -> Array:
        if not self.results:
            self.results = self.binding.copy_outputs_to_cpu()
        return self.results[index]


def _reason(error: Exception) -> str:
    """The first line of its message, without the place in ONNX Runtime's source."""
    line = first_line(error, length=1000).rsplit("Status Message: ", 1)[-1]
    return re.sub(r"^/\S+:\d+ .*?\) (\[ONNXRuntimeError\] : \d+ : \w+ : )?", "", line)[:160]


def _settings(threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning workers win microseconds and take a whole core from the lanes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options


def _providers(provider: str, path: Path) -> list[Any]:
    """The provider asked for, if any, and the CPU for the operators it lacks. Raises EngineError."""
    present = ort.get_available_providers()
    if not provider:
        return ["CPUExecutionProvider"]
    if provider not in PROVIDERS:
        raise EngineError(f"no provider '{provider}': use one of {', '.join(PROVIDERS)}")
    name = PROVIDERS[provider]
    if name not in present:
        raise EngineError(f"this ONNX Runtime has no {name}; it has {', '.join(present)}")
    # TensorRT builds its engine on the first run, for minutes: keep it beside the model.
    cache = {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(path.parent / "trt")}
    return [(name, cache if provider == "tensorrt" else {}), "CPUExecutionProvider"]


def _refuse_fallback(provider: str, running: Sequence[str]) -> None:
    """Raises EngineError where ONNX Runtime fell back to the CPU: the provider's libraries or device are missing."""
    if provider and PROVIDERS[provider] not in running:
        raise EngineError(
            f"provider '{provider}' does not start here, and {', '.join(running)} must not replace it unnoticed:"
            f" ONNX Runtime {ort.__version__} reports above what is missing (libraries of another version, no device)"
        )


def _input(nodes: Sequence[Any], shape: Sequence[int]) -> Tensor:
    require_one_input([f"'{node.name}' {node.shape} {node.type}" for node in nodes])
    if nodes[0].type not in INPUT_TYPES:
        raise EngineError(f"input '{nodes[0].name}' is {nodes[0].type}, which no lane can fill")
    return base.check_bytes(_tensor(nodes[0])._replace(shape=input_shape(nodes[0].name, nodes[0].shape, shape)))


def _tensor(node: Any) -> Tensor:
    """With 1 where a size is open; that of an output may be the number of detections."""
    if node.type not in DTYPES:
        raise EngineError(f"output '{node.name}' is {node.type}, which no decoder reads: choose others ('outputs')")
    sizes = [size if isinstance(size, int) and size > 0 else 0 for size in node.shape or ()]
    unknown = tuple(axis for axis, size in enumerate(sizes) if not size)
    return Tensor(node.name, tuple(size or 1 for size in sizes), DTYPES[node.type], unknown=unknown)
