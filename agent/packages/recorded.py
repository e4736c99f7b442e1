"""What a recording keeps of an engine, and an engine that computes nothing, as its outputs were computed elsewhere."""

from __future__ import annotations

import numpy as np

from agent.backends.base import Engine
from agent.data import Array


class RecordedEngine(Engine):
    """recorded: the outputs, as the other engine stores them."""

    def __init__(self, engine: Engine) -> None:
        self.inputs, self.outputs = engine.inputs, engine.outputs
        self.recorded: list[Array] = []

    def input(self, index: int) -> Array:
        return np.zeros(0, np.uint8)  # nothing is written to it

    def invoke(self) -> None:
        pass

    def output(self, index: int) -> Array:
        return self.recorded[index]


class RecordedPart(Engine):
    """Of a backbone a recording keeps the input, of its heads the outputs: the tensor between them follows from these.

    It would be 28 kB a sample, and a picture could be made from it again.
    """

    def __init__(self, engine: Engine, *, inputs: bool) -> None:
        """inputs: these, not the outputs."""
        self._engine = engine
        self.inputs, self.outputs = (engine.inputs, []) if inputs else ([], engine.outputs)

    def input(self, index: int) -> Array:
        return self._engine.input(index)

    def invoke(self) -> None:
        pass

    def output(self, index: int) -> Array:
        return self._engine.output(index)
