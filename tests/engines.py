"""Engines for tests of `backend: auto`, found by their dotted path: LiteRT with a fault."""

from __future__ import annotations

import os
import time

from agent.backends import litert
from agent.data import Array


class Ends(litert.Engine):
    def invoke(self) -> None:
        os._exit(9)  # as an illegal instruction of another processor would


class Other(litert.Engine):
    """Computes another model."""

    def output(self, index: int) -> Array:
        return ~super().output(index)


class Slow(litert.Engine):
    def invoke(self) -> None:
        time.sleep(0.005)
        super().invoke()
