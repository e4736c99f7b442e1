"""`reflexd` with an engine that fails in turn in each way that a model can: not finite, another shape, an exception.

    python -m agent.benches.attacks._faulty_engine LOG run -c FILE

Only models in a folder named FAULTY fail: after GOOD good outputs, for LASTS_S. LOG gets the time of each beginning,
monotonic ns.
"""

from __future__ import annotations

import runpy
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agent.backends import litert
from agent.backends.base import AS_IT_IS, EngineError, TensorSpec
from agent.data import Array

FAULTY, GOOD, LASTS_S = "faulty", 200, 0.4


class FaultyEngine(litert.Engine):
    """A LiteRT engine whose outputs are wrong for some time, again and again."""

    log = Path()

    def __init__(self, path: Path, threads: int, provider: str = "", spec: TensorSpec = AS_IT_IS) -> None:
        super().__init__(path, threads, provider, spec)
        self.is_faulty = path.resolve().parent.name == FAULTY
        if self.is_faulty:  # computed, not looked up: as of a model in float, whose outputs can be NaN
            self.tables = [None] * len(self.outputs)
        self.good = 0  # outputs since the last fault
        self.faults = 0
        self.until = 0.0  # end of this fault

    def real(self, index: int) -> Array:
        values = super().real(index)
        if not self.is_faulty:
            return values
        now = time.monotonic()
        if self.good == GOOD:
            self.good, self.faults, self.until = 0, self.faults + 1, now + LASTS_S
            with self.log.open("a", encoding="utf-8") as file:
                file.write(f"{int(now * 1e9)}\n")
        if now < self.until:
            return self._wrong(values)
        self.good += 1
        return values

    def _wrong(self, values: Array) -> Array:
        kind = self.faults % 3
        if kind == 0:
            return np.full_like(values, np.nan)
        if kind == 1:
            return np.concatenate([values, values])
        raise EngineError("the engine failed, as this bench wants")


def run(arguments: Sequence[str]) -> None:
    """arguments: LOG and those of reflexd."""
    FaultyEngine.log = Path(arguments[0])
    litert.Engine = FaultyEngine  # type: ignore[misc]  # what agent.backends.base loads
    sys.argv[1:] = arguments[1:]
    runpy.run_module("agent", run_name="__main__")


if __name__ == "__main__":
    run(sys.argv[1:])
