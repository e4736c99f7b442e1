"""The heads of a backbone: it runs once a sample, and each head reads its output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from agent.backends.base import Engine
from agent.decoders.base import Finding
from agent.errors import PackageError
from agent.packages.heads import output_of
from agent.packages.on_demand import OnDemandEngine
from agent.packages.outputs import ModelFault
from agent.packages.package import Package
from agent.packages.recorded import RecordedEngine, RecordedPart
from agent.vision.config import HeadConfig
from agent.vision.foresight import Foresight

LONG_AGO = -(1 << 62)


class Head:
    """A loaded head, or one that loads on demand."""

    def __init__(self, package: Package, config: HeadConfig, backbone: Package, bit: int) -> None:
        """bit: its own among the heads of the lane. Raises PackageError where it does not fit the backbone."""
        self.config, self.bit = config, bit
        self.output = output_of(backbone, package)  # of the backbone
        self.t_needed = LONG_AGO
        self.foresight = Foresight(config.prefetch_s) if config.when and config.prefetch_s else None
        self.prefetches = self.wrong_prefetches = 0
        self._t_ahead: int | None = None  # when it was asked for ahead, until its label has come or not
        self._failed = False
        self.set_package(package)

    def set_package(self, package: Package) -> None:
        self.package, self.engine = package, package.engine
        self.on_demand = package.network if isinstance(package.network, OnDemandEngine) else None

    def infer(self, backbone: Engine) -> list[Finding]:
        """backbone: as its newest run left it. Raises ModelFault."""
        if not isinstance(self.engine, RecordedEngine):  # in a replay its outputs are there already
            np.copyto(self.engine.input(0), backbone.output(self.output))
        return self.package.infer()

    def due(self, t_capture: int, findings: Sequence[Finding], patient: bool) -> bool:
        """Is it in memory? It is requested, and freed, by what the others find. Raises ModelFault.

        patient: wait until it is loaded, as no clock runs.
        """
        engine, config = self.on_demand, self.config
        if engine is None:
            return True
        came = any(finding.label == config.when and finding.score >= config.score for finding in findings)
        if came:
            self.t_needed = t_capture
            self._request(engine, patient)
        ahead = self._foresee(engine, t_capture, findings, came) if self.foresight else False
        idle = t_capture - self.t_needed > config.idle_s * 1e9
        if idle and not ahead and engine.engine is not None:
            engine.unload()
        return not idle and engine.engine is not None

    def _foresee(self, engine: OnDemandEngine, t_capture: int, findings: Sequence[Finding], came: bool) -> bool:
        """Is it wanted in memory because its label will probably come? It does not run before that has come."""
        assert self.foresight
        self.foresight.learn(t_capture, findings, came)
        if self._t_ahead is not None:
            late = not came and t_capture - self._t_ahead > self.foresight.ahead_ns
            self.wrong_prefetches += late
            self._t_ahead = None if came or late else self._t_ahead
        elif not came and engine.engine is None and self.foresight.likely(findings):
            self._t_ahead = t_capture
            self.prefetches += 1
            engine.request()
        return self._t_ahead is not None

    def _request(self, engine: OnDemandEngine, patient: bool) -> None:
        """To infer without it would be to overlook what only this head finds, so its fault is one of the lane."""
        if engine.fault:
            reason, engine.fault, self._failed = engine.fault, "", True
            raise self._fault(reason)
        if not patient and not self._failed:
            engine.request()
            return
        try:
            engine.load_now()  # a lane that was at fault has nothing better to do: it is not healthy in between
        except PackageError as error:
            raise self._fault(str(error)) from error
        self._failed = False

    def _fault(self, reason: str) -> ModelFault:
        return ModelFault(f"model {self.package.name}: it cannot be loaded again: {reason}")


class Heads:
    """All heads of a lane. Pure but for when one is loaded, and which of them ran is recorded."""

    def __init__(self, backbone: Package, heads: Sequence[tuple[Package, HeadConfig]]) -> None:
        """heads: as the configuration orders them. Raises PackageError where one does not fit."""
        self.backbone = backbone
        self.all = [Head(package, config, backbone, 1 << bit) for bit, (package, config) in enumerate(heads)]
        # What the others find decides on those that load on demand.
        self._order = sorted(self.all, key=lambda head: head.config.when != "")
        self.ran = 0  # bits of those that read the newest sample
        self.recorded: int | None = None  # in a replay: bits of those that read this sample

    def __call__(self, t_capture: int, patient: bool) -> list[Finding]:
        """What they find in the sample that the backbone has just read. Raises ModelFault."""
        findings: list[Finding] = []
        self.ran = 0
        for head in self._order:
            if head.due(t_capture, findings, patient) if self.recorded is None else self.recorded & head.bit:
                findings += head.infer(self.backbone.network)
                self.ran |= head.bit
        return findings

    @property
    def packages(self) -> list[Package]:
        return [head.package for head in self.all]

    @property
    def recorded_parts(self) -> list[Engine]:
        """Of the backbone the input, of each head the outputs."""
        heads = [RecordedPart(head.engine, inputs=False) for head in self.all]
        return [RecordedPart(self.backbone.engine, inputs=True), *heads]

    @property
    def counts(self) -> tuple[int, int, int]:
        """Of all: loads on demand; heads asked for ahead, and of these in vain."""
        loads = sum(head.on_demand.loads for head in self.all if head.on_demand)
        return loads, sum(head.prefetches for head in self.all), sum(head.wrong_prefetches for head in self.all)

    def exchange(self, old: Package, new: Package) -> None:
        """Another version of a head, with the same input."""
        for head in self.all:
            if head.package is old:
                head.set_package(new)

    def status(self) -> Mapping[str, Any]:
        """For `reflexd status`, by name; read while the lane's thread may change it."""
        return {head.package.name: _status(head.on_demand) for head in self.all}


def _status(engine: OnDemandEngine | None) -> dict[str, Any]:
    """load_ms: of the newest load beside the lane."""
    if engine is None:
        return {"loaded": True, "on_demand": False}
    loads, load_ms = engine.loads, round(engine.load_ms, 1)
    return {"loaded": engine.engine is not None, "on_demand": True, "loads": loads, "load_ms": load_ms}
