"""One engine for several lanes: they run in turns, the earliest deadline first, and the model is in memory once."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Hashable
from weakref import WeakValueDictionary

import numpy as np

from agent.backends.base import Engine, EngineError
from agent.data import Array


class Turns:
    """A lock that goes to the waiting thread with the earliest deadline."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # held for a few microseconds
        self._taken = False
        self._count = 0  # of those that waited: equal deadlines in the order of arrival
        self._waiting: list[tuple[int, int, threading.Lock]] = []

    def take(self, deadline: int, gate: threading.Lock) -> None:
        """Wait for the turn. gate: of the calling thread, held by it."""
        with self._lock:
            if not self._taken:
                self._taken = True
                return
            self._count += 1
            heapq.heappush(self._waiting, (deadline, self._count, gate))
        gate.acquire()  # by `give`: the turn is ours, and the gate held again

    def give(self) -> None:
        with self._lock:
            if self._waiting:
                heapq.heappop(self._waiting)[2].release()
            else:
                self._taken = False


class Loaded:
    """An engine that lives as long as a lane uses it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.turns = Turns()


_LOADED: WeakValueDictionary[Hashable, Loaded] = WeakValueDictionary()
_LOADING = threading.Lock()


class SharedEngine(Engine):
    """A lane's end of it: input and outputs of its own, copied in its turn."""

    def __init__(self, loaded: Loaded) -> None:
        """Raises EngineError where the model remembers earlier samples, which would be those of other lanes."""
        network = loaded.engine
        if network.has_memory:
            raise EngineError("share: its outputs depend on earlier samples, so each lane needs one of its own")
        if network.sends_input:
            raise EngineError("share: a server computes it for all lanes already: remove 'share'")
        self.loaded = loaded
        self.inputs, self.outputs, self.metadata = network.inputs, list(network.outputs), network.metadata
        self._arrays = [np.zeros(tensor.shape, tensor.dtype) for tensor in network.inputs]
        self._results: list[Array] = []
        self._gate = threading.Lock()
        self._gate.acquire()

    def input(self, index: int) -> Array:
        return self._arrays[index]

    def invoke(self) -> None:
        network, turns = self.loaded.engine, self.loaded.turns
        turns.take(self.deadline, self._gate)
        try:
            for index, array in enumerate(self._arrays):
                network.input(index)[...] = array
            network.invoke()
            self._results = [network.output(index).copy() for index in range(len(self.outputs))]
        finally:
            turns.give()

    def output(self, index: int) -> Array:
        return self._results[index]


def share(key: Hashable, load: Callable[[], Engine]) -> SharedEngine:
    """The engine of this key, loaded where no lane has it yet. Raises what `load` raises, EngineError."""
    with _LOADING:
        loaded = _LOADED.get(key)
        if loaded is None:
            loaded = _LOADED[key] = Loaded(load())
    return SharedEngine(loaded)
