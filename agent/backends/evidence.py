"""No network: what other boxes have found goes through as it is, to be recorded and decoded like a model's outputs.

The model file is YAML: `bytes: 1024`, the size of a sample.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import Field

from agent.backends import base
from agent.backends.base import AS_IT_IS, Tensor, TensorSpec
from agent.data import Array
from agent.section import Section


class Parameters(Section):
    """The model file."""

    bytes: int = Field(ge=64, le=65_536, description="of a sample")


class Engine(base.Engine):
    """Input and output are one array, uint8 [1, bytes]: MessagePack, then zeros."""

    def __init__(self, path: Path, threads: int, provider: str = "", spec: TensorSpec = AS_IT_IS) -> None:
        base.require_cpu("evidence", provider)
        size = base.load_parameters(path, Parameters).bytes
        self.evidence = np.zeros((1, size), np.uint8)
        self.evidence[0, 0] = EMPTY
        self.inputs = self.outputs = [Tensor("evidence", self.evidence.shape, np.uint8)]

    def input(self, index: int) -> Array:
        return self.evidence

    def invoke(self) -> None:
        """Nothing to run."""

    def output(self, index: int) -> Array:
        return self.evidence


EMPTY = 0x90  # an empty array in MessagePack
