"""An engine for versions on trial: LiteRT that, after so many runs, fails as the file `fault` beside the model says."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np

from agent.backends import litert
from agent.backends.base import AS_IT_IS, EngineError, TensorSpec
from agent.data import Array

SLOW_MS = 60.0


class Engine(litert.Engine):
    """fault: "KIND AFTER", where AFTER counts runs from the load on; the first four are the warm-up."""

    def __init__(self, path: Path, threads: int, provider: str = "", spec: TensorSpec = AS_IT_IS) -> None:
        super().__init__(path, threads, provider, spec)
        self.kind, after = path.with_name("fault").read_text().split()
        self.left = int(after)
        self.tables = [None] * len(self.outputs)  # as of a model in float, whose outputs can be NaN

    def invoke(self) -> None:
        super().invoke()
        self.left -= 1
        if self.left >= 0:
            return
        if self.kind == "slow":
            end = time.thread_time() + SLOW_MS / 1e3
            while time.thread_time() < end:
                pass
        elif self.kind == "exception":
            raise EngineError("it fails, as the test wants")
        elif self.kind == "crash":
            os.kill(os.getpid(), signal.SIGKILL)

    def output(self, index: int) -> Array:
        stored = super().output(index)
        return ~stored if self.left < 0 and self.kind == "other" else stored  # of int8: the other end of its range

    def real(self, index: int) -> Array:
        values = super().real(index)
        return np.full_like(values, np.nan) if self.left < 0 and self.kind == "nan" else values
