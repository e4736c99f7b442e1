"""OpenVINO, on Intel's processors, graphics and neural processors: .tflite and .onnx as they are.

Only the CPU is tested; `provider: gpu` and `npu` follow OpenVINO's documentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from agent.backends import base
from agent.backends.base import AS_IT_IS, EngineError, Tensor, TensorSpec
from agent.backends.input_shape import input_shape, require_one_input
from agent.data import Array

# One for all engines, which is never destroyed. The plugin of the CPU gives the thread that loads it a signal stack of
# its own and frees that at its end, though another one had been set meanwhile, or by another thread: the next signal
# to the thread, such as SIGTERM to the daemon, then finds no stack, and the kernel ends the process with SIGSEGV.
_CORE = ov.Core()
PROVIDERS = {"": "CPU", "cpu": "CPU", "gpu": "GPU", "npu": "NPU"}


class Engine(base.Engine):
    """One infer request, whose tensors are read and written in place; `infer` runs on the lane's own thread."""

    def __init__(self, path: Path, threads: int, provider: str = "", spec: TensorSpec = AS_IT_IS) -> None:
        device = _device(provider)
        # OpenVINO converts quantisation into operators and forgets scales and zero points: LiteRT reads them.
        described = _described_by_litert(path, spec) if path.suffix == ".tflite" else {}
        try:
            model = _CORE.read_model(path)
            self.inputs = [_input(model, spec.shape, described)]
            model.reshape(list(self.inputs[0].shape))
            self.numbers = base.choose([sorted(port.names) for port in model.outputs], spec.outputs)
            self.outputs = [_tensor(model.outputs[number], described) for number in self.numbers]
            self.request = _CORE.compile_model(model, device, _settings(device, threads)).create_infer_request()
        except RuntimeError as error:
            raise EngineError(f"OpenVINO refuses {path.name}: {_reason(error)}") from error
        self.array: Array = self.request.get_input_tensor(0).data

    def input(self, index: int) -> Array:
        return self.array

    def invoke(self) -> None:
        try:
            self.request.infer({}, share_inputs=True, share_outputs=True)
        except RuntimeError as error:
            raise EngineError(_reason(error)) from error

    def output(self, index: int) -> Array:
        values: Array = self.request.get_output_tensor(self.numbers[index]).data
        return values


def _device(provider: str) -> str:
    """Raises EngineError; MemoryError where this box is too short of memory for it."""
    if provider not in PROVIDERS:
        raise EngineError(f"no provider '{provider}': use one of {', '.join(filter(None, PROVIDERS))}")
    device = PROVIDERS[provider]
    present = _CORE.available_devices
    if not present:  # its libraries for the devices were not loaded
        raise MemoryError("OpenVINO finds not even the CPU")
    if not any(each.split(".")[0] == device for each in present):
        raise EngineError(f"OpenVINO finds no {device} here; it finds {', '.join(present)}")
    return device


def _settings(device: str, threads: int) -> dict[str, Any]:
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if device == "CPU":
        # f32: processors with AMX would compute in bfloat16. Which core a thread runs on is the lane's business.
        settings |= {"INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False}
        settings |= {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    return settings


def _described_by_litert(path: Path, spec: TensorSpec) -> dict[str, Tensor]:
    """Each input and output by its name. Raises EngineError."""
    from agent.backends import litert

    engine = litert.Engine(path, 1, spec=TensorSpec(spec.shape))
    return {tensor.name: tensor for tensor in (*engine.inputs, *engine.outputs)}


def _input(model: Any, shape: Sequence[int], described: dict[str, Tensor]) -> Tensor:
    """Raises EngineError."""
    require_one_input([str(_tensor(port, described)) for port in model.inputs])
    (port,) = model.inputs
    tensor = _tensor(port, described)
    return base.check_bytes(tensor._replace(shape=input_shape(tensor.name, _sizes(port), shape), unknown=()))


def _tensor(port: Any, described: dict[str, Tensor]) -> Tensor:
    """With 1 where a size is open."""
    known = next((described[name] for name in port.names if name in described), None)
    sizes = _sizes(port)
    shape = tuple(size or 1 for size in sizes)
    unknown = tuple(axis for axis, size in enumerate(sizes) if not size)
    dtype = np.dtype(port.element_type.to_dtype())
    if known is None:
        return Tensor(port.any_name, shape, dtype, unknown=unknown)
    return known._replace(shape=shape, dtype=dtype, unknown=unknown)


def _sizes(port: Any) -> list[int]:
    """0 where a size is open."""
    return [0 if size.is_dynamic else size.get_length() for size in port.partial_shape]


def _reason(error: Exception) -> str:
    """The last line of its message that says something: the first ones are places in OpenVINO's source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:160]
