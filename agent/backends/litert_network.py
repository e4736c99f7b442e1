"""A LiteRT model loaded, as what `litert.Engine` needs of it, by LiteRT's Python class.

Its `allocate_tensors` keeps the GIL, so `litert_compiled.py` is the usual road; this one serves models with open sizes
and LiteRTs whose C API was not tested, and says what is wrong with a model that neither loads.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agent.backends import base
from agent.backends.base import EngineError, Tensor
from agent.backends.input_shape import input_shape, require_one_input
from agent.data import Array


class Network(NamedTuple):
    """inputs, outputs: in the file's order. arrays: the memory of each input.

    run: raises EngineError, RuntimeError. read: an output by its number, valid until the next run.
    """

    inputs: list[Tensor]
    outputs: list[Tensor]
    arrays: list[Array]
    run: Callable[[], None]
    read: Callable[[int], Array]


def interpreted(interpreter: Any, shape: Sequence[int]) -> Network:
    """interpreter: of `verified`. Raises EngineError, ValueError, RuntimeError."""
    _allocate(interpreter, shape)
    signatures = _signature_names(interpreter)
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    numbers, get = [detail["index"] for detail in outputs], interpreter.get_tensor
    return Network(
        inputs=[_tensor(detail, signatures) for detail in inputs],
        outputs=[_tensor(detail, signatures) for detail in outputs],
        arrays=[_in_place(interpreter, detail["index"]) for detail in inputs],
        run=interpreter.invoke,
        read=lambda number: get(numbers[number]),
    )


def verified(path: Path, threads: int) -> Any:
    """Its interpreter, without memory yet. Raises ValueError for a file that is no whole model: the C API would follow
    its offsets out of the memory.

    Only `allocate_tensors` keeps the GIL for long: this takes under 1 ms. Its library has 18 MB: it is loaded where it
    is needed.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ModuleNotFoundError:
        from tflite_runtime.interpreter import Interpreter
    return Interpreter(model_path=str(path), num_threads=threads)


def _allocate(interpreter: Any, shape: Sequence[int]) -> None:
    """The input gets its shape before any memory is allocated. Raises EngineError, ValueError, RuntimeError."""
    inputs = interpreter.get_input_details()
    require_one_input([str(_tensor(detail, {})) for detail in inputs])
    declared = _tensor(inputs[0], {})
    # A size that may change, but which the file has, is that one.
    sizes = [size if axis not in declared.unknown or size > 1 else None for axis, size in enumerate(declared.shape)]
    target = base.check_bytes(declared._replace(shape=input_shape(declared.name, sizes, shape)))
    if target.shape != declared.shape:
        interpreter.resize_tensor_input(inputs[0]["index"], list(target.shape))
    interpreter.allocate_tensors()


def _in_place(interpreter: Any, index: int) -> Array:
    """The tensor's memory, which stays where it is once allocated.

    `invoke` refuses to run while an array of `tensor()` exists, and to make another for each sample takes 14 us.
    """
    view = interpreter.tensor(index)()
    memory: Any = (ctypes.c_uint8 * view.nbytes).from_address(view.ctypes.data)
    memory.interpreter = interpreter  # it lives as long as the array
    array: Array = np.frombuffer(memory, view.dtype).reshape(view.shape)
    return array


def _signature_names(interpreter: Any) -> dict[int, str]:
    """Names of tensors by their index. Raises EngineError."""
    signatures = interpreter.get_signature_list()
    if len(signatures) > 1:
        raise EngineError(f"the model has {len(signatures)} signatures ({', '.join(signatures)}): export one of them")
    if not signatures:
        return {}
    runner = interpreter.get_signature_runner()
    return {
        detail["index"]: name
        for details in (runner.get_input_details(), runner.get_output_details())
        for name, detail in details.items()
    }


def _tensor(detail: dict[str, Any], signatures: dict[int, str]) -> Tensor:
    scale, zero_point = detail["quantization"]
    shape = tuple(int(size) for size in detail["shape"])
    unknown = tuple(axis for axis, size in enumerate(detail["shape_signature"]) if size < 0)
    signature = signatures.get(detail["index"], "")
    return Tensor(detail["name"], shape, detail["dtype"], float(scale), int(zero_point), unknown, signature)
