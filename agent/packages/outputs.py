"""A model's outputs as its decoder gets them: real values, finite, of the shape at load."""

from __future__ import annotations

import numpy as np

from agent.backends.base import Engine, Late, Tensor
from agent.data import Array
from agent.errors import first_line
from drivers.base import DeviceFault


class ModelFault(DeviceFault):
    """A loaded model fails at run time. A fault of its lane only, which tries again as with a device that fails."""


class Outputs:
    """Runs the engine of one model and reads what it computed."""

    def __init__(self, model: str, engine: Engine, stored: bool = False) -> None:
        """model: its name, for messages. stored: they are read as the model stores them, not as real values."""
        self._model = model
        self._stored = stored
        self._unbounded = [_unbounded(tensor, table) for tensor, table in zip(engine.outputs, engine.tables)]

    def invoke(self, engine: Engine) -> None:
        """Raises ModelFault; Late where an engine has no time for it, which only `Refine` allows one."""
        try:
            engine.invoke()
        except Late:
            raise
        except Exception as error:  # ONNX Runtime's exceptions share no public base class
            raise self.fault(f"the engine fails: {first_line(error)}") from error

    def read(self, engine: Engine) -> list[Array]:
        """Of the newest inference, float32, or as stored. Raises ModelFault."""
        try:
            get = engine.output if self._stored else engine.real
            outputs = [get(number) for number in range(len(engine.outputs))]
        except Exception as error:
            raise self.fault(f"its outputs cannot be read: {first_line(error)}") from error
        for values, tensor, unbounded in zip(outputs, engine.outputs, self._unbounded):
            if values.shape != tensor.shape and not _fits(values.shape, tensor):
                shapes = f"{list(values.shape)}, at load {list(tensor.shape)}"
                raise self.fault(f"output '{tensor.name}' has the shape {shapes}")
            # 3 us for the keypoints of a person, 5 us for 8400 values
            if unbounded and values.dtype.kind == "f" and not np.isfinite(values).all():
                raise self.fault(f"output '{tensor.name}' has values that are NaN or infinite")
        return outputs

    def fault(self, what: str) -> ModelFault:
        return ModelFault(f"model {self._model}: {what}")


def _unbounded(tensor: Tensor, table: Array | None) -> bool:
    """Its values may be NaN or infinite. An integer is finite, and so is what a look-up in a finite table gives."""
    if table is not None:
        return not np.isfinite(table).all()
    return bool(tensor.scale) or np.dtype(tensor.dtype).kind == "f"


def _fits(shape: tuple[int, ...], tensor: Tensor) -> bool:
    """It differs from the tensor's only where that is unknown."""
    return len(shape) == len(tensor.shape) and all(
        axis in tensor.unknown or size == expected for axis, (size, expected) in enumerate(zip(shape, tensor.shape))
    )
