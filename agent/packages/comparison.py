"""An engine that compares what a network computes with what it was given: the result is its only output.

So it is read, recorded and replayed like any other output, and the input itself is recorded only with `pictures: true`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from agent.backends.base import Engine, Tensor, real_values
from agent.data import Array

Compare = Callable[[Array, Sequence[Array]], Array]


class ComparingEngine(Engine):
    """Around the engine of a network."""

    def __init__(self, network: Engine, compare: Compare) -> None:
        """compare: input and outputs as real values, float32, to float32 of one shape. The network has run before.

        Raises what `compare` raises.
        """
        self.network = network
        self.compare = compare
        self.inputs, self.metadata = network.inputs, network.metadata
        self.result = self._compared(network.input(0).copy())
        self.outputs = [Tensor("comparison", self.result.shape, np.float32)]

    def input(self, index: int) -> Array:
        return self.network.input(index)

    def invoke(self) -> None:
        given = self.network.input(0).copy()  # an engine may use the input's memory for what it computes
        self.network.invoke()
        self.result = self._compared(given)

    def output(self, index: int) -> Array:
        return self.result

    def _compared(self, given: Array) -> Array:
        outputs = [self.network.real(number) for number in range(len(self.network.outputs))]
        with np.errstate(over="ignore", invalid="ignore"):  # such a result is not finite: a fault of the model
            return self.compare(real_values(given, self.network.inputs[0]), outputs)
