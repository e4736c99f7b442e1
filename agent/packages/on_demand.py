"""An engine that is in memory only while it is needed: loaded and freed on a thread beside the lanes."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np

from agent.backends import base as backends
from agent.backends.base import Engine, EngineError, TensorSpec
from agent.box.worker import Worker
from agent.data import Array
from agent.errors import PackageError, first_line
from agent.open_inference.release import Release
from agent.packages.checksums import verify_files
from agent.packages.manifest import Manifest
from agent.packages.package import Package, warm


class OnDemandEngine(Engine):
    """Its tensors are known all the time, as it was loaded once. All methods are for the lane's thread.

    `engine` is set by the worker and removed by the lane: what the lane has read it may use to the end of its sample.
    """

    def __init__(self, engine: Engine, load: Callable[[], Engine], worker: Worker) -> None:
        """load: the same again, warm. Raises PackageError."""
        self.inputs, self.outputs, self.metadata = engine.inputs, engine.outputs, engine.metadata
        self.engine: Engine | None = None
        self.loads, self.load_ms = 0, 0.0  # how often, and how long the newest took
        self._load, self._worker = load, worker
        self._requested = False
        self._release: Release | None = None
        self.fault = ""  # why the newest request failed; the lane takes note and clears it
        self._empty = [np.zeros(tensor.shape, tensor.dtype) for tensor in engine.outputs]

    def request(self) -> None:
        """Load it where it is neither loaded nor about to be."""
        if self.engine is None and not self._requested:
            self._requested = True
            self._worker.submit(self._bring)

    def load_now(self) -> None:
        """On the lane's thread, for a lane that may wait. Raises PackageError."""
        if self.engine is None:
            self._install(self._load())

    def unload(self) -> None:
        """Its memory is freed by the worker, since a model takes its time to go."""
        held = [self.engine]
        self.engine = None
        self._worker.submit(held.clear)

    def _bring(self) -> None:
        start = time.monotonic()
        try:
            self._install(self._load())
            self.load_ms = (time.monotonic() - start) * 1e3
        except Exception as error:  # of any engine: the lane says it
            self.fault = first_line(error)
        finally:
            self._requested = False

    def _install(self, engine: Engine) -> None:
        self.loads += 1
        if self._release is not None:
            engine.permit(self._release)
        self.engine = engine

    def input(self, index: int) -> Array:
        assert self.engine
        return self.engine.input(index)

    def invoke(self) -> None:
        assert self.engine
        self.engine.deadline = self.deadline
        self.engine.invoke()

    def output(self, index: int) -> Array:
        """Zeros while it is not loaded: a recording has a place for it in every sample."""
        return self.engine.output(index) if self.engine else self._empty[index]

    def permit(self, release: Release) -> None:
        self._release = release
        if self.engine:
            self.engine.permit(release)


def make_on_demand(opened: Package, threads: int, on_time: bool) -> None:
    """From now on the package's engine is in memory only after a request. on_time: the lanes are on SCHED_FIFO.

    Raises PackageError for a model that remembers earlier samples, which it would forget.
    """
    if opened.network.has_memory:
        raise PackageError(f"{opened.folder}: it remembers earlier samples: it cannot load on demand, remove 'when'")
    load = partial(_load, opened.folder, opened.manifest, opened.backend, threads)
    engine = OnDemandEngine(opened.network, load, _worker(on_time))
    opened.put_around(engine)


def _load(folder: Path, manifest: Manifest, backend: str, threads: int) -> Engine:
    """Verified and warm; its golden outputs were compared at the start. Raises PackageError."""
    path = verify_files(folder, manifest)
    try:
        spec = TensorSpec(manifest.shape, manifest.outputs)
        engine = backends.load(backend, path, threads, manifest.provider, spec)
    except EngineError as error:
        raise PackageError(f"{folder}: {error}") from error
    warm(folder, engine)
    return engine


@cache
def _worker(on_time: bool) -> Worker:
    """Of the process. Its own, so that a model which an update loads for half a minute keeps no head waiting."""
    return Worker(on_time)
