"""Answers that cost much, kept for inputs that come again to the bit: of a still camera, a paused or repeated clip."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

import numpy as np
from cachetools import TTLCache

from agent.backends.base import Engine
from agent.data import Array
from agent.errors import PackageError
from agent.open_inference.release import Release
from agent.packages.package import Package

ENTRIES, KEPT_S = 10_000, 300.0
UNIT = 6_400  # bytes: a larger answer counts as several, so that all of them take 64 MB at most


class Answer(NamedTuple):
    """outputs: as the engine stores them, never written to. cost_ns: the time that it took."""

    outputs: list[Array]
    cost_ns: int


class Answers:
    """One cache for all lanes of a process: the least recently used answer goes first, each after KEPT_S."""

    def __init__(self, timer: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()  # held for some microseconds
        self._cache: TTLCache[bytes, Answer] = TTLCache(ENTRIES, KEPT_S, timer, getsizeof=_units)

    def get(self, key: bytes) -> Answer | None:
        with self._lock:
            answer: Answer | None = self._cache.get(key)
            return answer

    def put(self, key: bytes, answer: Answer) -> None:
        """One that is larger than all of the cache is not kept."""
        if _units(answer) <= ENTRIES:
            with self._lock:
                self._cache[key] = answer

    def __len__(self) -> int:
        return len(self._cache)


def _units(answer: Answer) -> int:
    return max(1, -(-sum(output.nbytes for output in answer.outputs) // UNIT))


ANSWERS = Answers()


class CachedEngine(Engine):
    """Around the engine of a network without a memory: the same input has the same outputs, so they change nothing."""

    def __init__(self, network: Engine, model: str, answers: Answers = ANSWERS) -> None:
        """model: its weights and what runs it; another engine's answer may differ in the last bit."""
        self.network, self._answers = network, answers
        self.inputs, self.outputs, self.metadata = network.inputs, network.outputs, network.metadata
        self.hits = self.misses = self.saved_ns = 0
        self._model = hashlib.blake2b(model.encode(), digest_size=16)
        self._results = [np.zeros(tensor.shape, tensor.dtype) for tensor in network.outputs]

    def input(self, index: int) -> Array:
        return self.network.input(index)

    def invoke(self) -> None:
        start = time.monotonic_ns()
        key = self._key()
        answer = self._answers.get(key)
        if answer is None:
            answer = self._infer(key)
            self.misses += 1
        else:
            self.hits += 1
            self.saved_ns += max(0, answer.cost_ns - (time.monotonic_ns() - start))
        self._results = answer.outputs

    def permit(self, release: Release) -> None:
        self.network.permit(release)

    def own_inputs(self) -> AbstractContextManager[None]:
        return self.network.own_inputs()

    def _key(self) -> bytes:
        """Large inputs are hashed without the GIL."""
        content = self._model.copy()
        for index in range(len(self.inputs)):
            content.update(np.ascontiguousarray(self.network.input(index)).data)
        return content.digest()

    def _infer(self, key: bytes) -> Answer:
        self.network.deadline, start = self.deadline, time.monotonic_ns()
        self.network.invoke()
        cost_ns = time.monotonic_ns() - start
        outputs = [self.network.output(index).copy() for index in range(len(self.outputs))]
        for output in outputs:
            output.flags.writeable = False
        answer = Answer(outputs, cost_ns)
        self._answers.put(key, answer)
        return answer

    def output(self, index: int) -> Array:
        return self._results[index]


def keep_answers(opened: Package) -> None:
    """From now on the package computes nothing twice. Raises PackageError for one that remembers earlier samples."""
    if opened.network.has_memory:
        raise PackageError(f"{opened.folder}: its outputs depend on earlier samples, too: remove 'cache'")
    network = CachedEngine(opened.network, f"{opened.manifest.checksum} {opened.backend} {opened.manifest.provider}")
    opened.put_around(network)
