"""How badly a network repeats its input: one that has learnt only the good state repeats nothing else well.

The error is the mean of the squared differences of input and output, as in the baseline of DCASE 2020 task 2
(arXiv:2006.05822), in the square of the input's unit. The score is error / (2 * threshold), at most 1: 0.5 is the
threshold itself, which `reflexd model fit` learns, and 1 twice as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from agent.data import Array
from agent.decoders import base
from agent.decoders.base import DecoderError, DecoderOptions, Finding

LABELS = ("anomaly",)


class Options(DecoderOptions):
    """From which error on it is not the good state."""

    threshold: float | None = Field(None, gt=0, description="error with the score 0.5: reflexd model fit writes it")


class Decoder(base.Decoder):
    """Output [1]: the error, which `compare` makes of input and output. Reports `anomaly` each time, with its score."""

    Options = Options
    NEEDS = "one output as large as the input"
    reads_input: ClassVar[bool] = True

    def __init__(self, labels: Sequence[str], options: Any, shapes: Sequence[tuple[int, ...]]) -> None:
        super().__init__(labels, options, shapes)
        if len(shapes) != 1:
            raise DecoderError(f"reconstruction needs {self.NEEDS}, the model gives {list(shapes)}")
        if options.threshold is None:
            raise DecoderError(
                "options.threshold is missing: learn it from recordings of the good state, with reflexd model fit"
                " PACKAGE --good FILES"
            )
        self.threshold: float = options.threshold

    def compare(self, given: Array, outputs: Sequence[Array]) -> Array:
        if given.size != outputs[0].size:
            shapes = f"its input is {list(given.shape)}, its output {list(outputs[0].shape)}"
            raise DecoderError(f"reconstruction needs {self.NEEDS}: {shapes}")
        difference = given.reshape(-1) - outputs[0].reshape(-1)
        return np.array([np.dot(difference, difference) / difference.size], np.float32)

    def __call__(self, outputs: Sequence[Array]) -> list[Finding]:
        error = float(outputs[0].reshape(-1)[0])
        if not isfinite(error) or error < 0:
            return []
        return [Finding(LABELS[0], min(error / (2 * self.threshold), 1.0), mark=f"error {error:.3g}")]
