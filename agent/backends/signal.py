"""No network: the output is the input, and the decoder computes from the window itself.

The model file is YAML and has the window's shape: `input: [1, 2000, 1]`, real values as float32.
"""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
from pydantic import Field, StrictInt, field_validator

from agent.backends import base
from agent.backends.base import AS_IT_IS, Tensor, TensorSpec
from agent.data import Array
from agent.section import Section

MAX_VALUES = 10_000_000


class Parameters(Section):
    """The model file."""

    input: list[StrictInt] = Field(min_length=1, max_length=4, description="shape of the window")

    @field_validator("input")
    @classmethod
    def _sizes(cls, sizes: list[int]) -> list[int]:
        if min(sizes) < 1 or prod(sizes) > MAX_VALUES:
            raise ValueError(f"sizes are 1 or more and make at most {MAX_VALUES} values")
        return sizes


class Engine(base.Engine):
    """Input and output are one array: an output is valid until the next window is written."""

    def __init__(self, path: Path, threads: int, provider: str = "", spec: TensorSpec = AS_IT_IS) -> None:
        base.require_cpu("signal", provider)
        self.window = np.zeros(base.load_parameters(path, Parameters).input, np.float32)
        self.inputs = self.outputs = [Tensor("window", self.window.shape, np.float32)]

    def input(self, index: int) -> Array:
        return self.window

    def invoke(self) -> None:
        """Nothing to run."""

    def output(self, index: int) -> Array:
        return self.window
