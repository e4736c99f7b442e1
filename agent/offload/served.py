"""Inference for other boxes, whatever link leads here: admitted only while this box's own lanes have the time.

One worker at SCHED_IDLE: it runs when no lane wants its core, and a job that would end too late is refused, not begun.
"""

from __future__ import annotations

import heapq
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from agent.data import Array
from agent.offload.links import join, wire_names
from agent.open_inference.tensors import Described
from agent.packages.package import Package

NEWEST = 200  # inferences of a model whose times are known
TRIES = 5


class Refused(Exception):
    """Not computed; the text says why. busy: it may be later, or elsewhere."""

    def __init__(self, text: str, busy: bool = False) -> None:
        super().__init__(text)
        self.busy = busy


class Admission(NamedTuple):
    """busy: share of this box's cores, used by others than this process, above which nothing is admitted.

    queue: jobs that wait at most.
    """

    busy: float = 0.7
    queue: int = 8


BY_DEFAULT = Admission()


class ServedModel:
    """A loaded model, with its tensors as the protocol describes them."""

    def __init__(self, name: str, opened: Package) -> None:
        self.name, self.version = name, opened.manifest.version
        self.checksum = opened.manifest.checksum
        self._engine, self._outputs = opened.network, opened.network_outputs
        tensors = opened.network.inputs[:1], opened.network.outputs
        self.inputs, self.outputs = (
            [
                Described(name, np.dtype(tensor.dtype).newbyteorder("<"), tensor.shape)
                for name, tensor in zip(wire_names(each, kind), each)
            ]
            for each, kind in zip(tensors, ("input", "output"))
        )
        self._ms: deque[float] = deque(maxlen=NEWEST)
        for _ in range(TRIES):
            self._timed()

    @property
    def p99_ms(self) -> float:
        return float(np.percentile(list(self._ms), 99))

    def infer(self, array: Array) -> list[Array]:
        """Raises ModelFault."""
        self._engine.input(0)[...] = array
        self._timed()
        return [np.array(self._engine.output(index)) for index in range(len(self.outputs))]

    def _timed(self) -> None:
        start = time.perf_counter()
        self._outputs.invoke(self._engine)
        self._ms.append((time.perf_counter() - start) * 1e3)


@dataclass(order=True)
class _Job:
    """By its deadline, CLOCK_MONOTONIC ns; number: in the order of arrival."""

    deadline: int
    number: int
    model: ServedModel = field(compare=False)
    array: Array = field(compare=False)
    result: Future[list[Array]] = field(compare=False, default_factory=Future)


class Served:
    """Models that this box computes for others. Safe from any thread."""

    def __init__(
        self, models: Mapping[str, ServedModel], busy: Callable[[], float], admission: Admission = BY_DEFAULT
    ) -> None:
        """models: by name. busy: of this box without this process, 0..1."""
        self.models = {**{model.checksum: model for model in models.values()}, **models}
        self.named = dict(models)
        self.busy, self.admission = busy, admission
        self.served = self.refused = 0
        self._jobs: list[_Job] = []
        self._changed = threading.Condition()
        self._count = 0
        self._ended = False
        self._thread = threading.Thread(target=self._work, name="served", daemon=True)
        self._thread.start()

    def infer(self, model_sha256: str, inputs: bytes, shape: Sequence[int], dtype: str, deadline_ns: int) -> bytes:
        """All outputs, as `links.join` writes them. Raises Refused, ModelFault. dtype: in NumPy's words."""
        model = self._model(model_sha256)
        stated = model.inputs[0]
        if tuple(shape) != stated.shape or dtype not in (stated.dtype.str, stated.dtype.name):
            raise Refused(f"model {model.name} takes {stated}")
        if len(inputs) != stated.size_bytes:
            raise Refused(f"model {model.name} takes {stated.size_bytes} bytes, not {len(inputs)}")
        array = np.frombuffer(inputs, stated.dtype).reshape(stated.shape)
        left_s = (deadline_ns - time.monotonic_ns()) / 1e9
        result = self.submit(model_sha256, array, deadline_ns)
        try:
            return join(result.result(max(left_s, 0.0)))
        except FutureTimeout as error:
            raise Refused("not computed in time", busy=True) from error

    def submit(self, name: str, array: Array, deadline: int) -> Future[list[Array]]:
        """array: as the model's input is described. Its result raises Refused, ModelFault. Raises Refused."""
        model = self._model(name)
        if array.shape != model.inputs[0].shape or array.dtype != model.inputs[0].dtype:
            raise Refused(f"model {model.name} takes {model.inputs[0]}")
        busy = self.busy()
        if busy > self.admission.busy:
            self.refused += 1
            raise Refused(f"this box is {busy:.0%} busy with its own lanes", busy=True)
        with self._changed:
            self._count += 1
            job = _Job(deadline, self._count, model, array)
            heapq.heappush(self._jobs, job)
            self._drop_last()
            self._changed.notify()
        return job.result

    def close(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join()

    def _model(self, name: str) -> ServedModel:
        model = self.models.get(name)
        if model is None:
            known = ", ".join(self.named) or "none"
            raise Refused(f"no model '{name[:64]}' with these files is served here: {known}")
        return model

    def _drop_last(self) -> None:
        """Of a queue that is too long the job goes that has the most time to be computed elsewhere."""
        if len(self._jobs) > self.admission.queue:
            last = max(self._jobs)
            self._jobs.remove(last)
            heapq.heapify(self._jobs)
            self._refuse(last, f"{self.admission.queue} jobs wait already")

    def _refuse(self, job: _Job, text: str) -> None:
        self.refused += 1
        if job.result.set_running_or_notify_cancel():
            job.result.set_exception(Refused(text, busy=True))

    def _work(self) -> None:
        with suppress(OSError):  # where that is not allowed, its process is at nice 10
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        while job := self._next():
            if job.deadline < time.monotonic_ns() + job.model.p99_ms * 1e6:
                self._refuse(job, "it would not be computed in time")
            elif job.result.set_running_or_notify_cancel():
                self._compute(job)

    def _next(self) -> _Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._ended)
            return heapq.heappop(self._jobs) if self._jobs and not self._ended else None

    def _compute(self, job: _Job) -> None:
        try:
            outputs = job.model.infer(job.array)
        except Exception as error:  # of an engine: the caller's
            job.result.set_exception(error)
            return
        self.served += 1
        job.result.set_result(outputs)
