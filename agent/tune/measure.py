"""Runs a lane's samples through several settings of it in turn, and keeps what each took and found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from agent.box import realtime
from agent.build import open_models, rules_of
from agent.config.models import Config, LaneConfig
from agent.data import Sample
from agent.errors import PackageError, first_line
from agent.lane import Lane, Limits
from agent.ledger import Ledger
from agent.packages.outputs import ModelFault
from agent.perception import Perception
from agent.rules.scene import Scene
from agent.tune.footage import Footage
from agent.tune.trace import Step, Trace
from agent.vision import reference
from drivers.base import DeviceError, Stream

BLOCK_BYTES = 48 << 20  # read ahead before anything is timed: a video's decoder runs on another core meanwhile
NO_END = 1 << 60

Changes = Mapping[tuple[str, ...], Any]  # below the lane's section: {("gate", "motion", "min_area"): 0.01}
Measured = Trace | str  # a text: why these settings do not run
# lane, settings by their name -> what was measured of each, in turn with all the others
Measure = Callable[[str, Mapping[str, Changes]], dict[str, Measured]]


def with_changes(section: LaneConfig, changes: Changes) -> LaneConfig:
    """Raises pydantic.ValidationError."""
    data = section.model_dump(exclude_unset=True)
    for place, value in changes.items():
        inner = data
        for key in place[:-1]:
            if not isinstance(inner.get(key), dict):
                inner[key] = {}
            inner = inner[key]
        inner[place[-1]] = value
    return LaneConfig.model_validate(data)


class Measurement:
    """Measures lanes on their footage; models stay open for the next comparison."""

    def __init__(self, config: Config, base_folder: Path, as_lane: bool) -> None:
        """as_lane: with the priority and the core that the daemon gives a lane; not while it runs beside this."""
        self._config = config
        self.base_folder = base_folder
        self._realtime = as_lane and config.realtime
        self._opened: dict[str, Perception] = {}
        self.footage: dict[str, Footage] = {}

    def open_models(self, lane: str, changes: Changes) -> Perception:
        """Of a lane with these changes. Raises PackageError."""
        section = with_changes(self._config.lanes[lane], changes)
        key = f"{lane} {section!r}"
        if key not in self._opened:
            good_part = reference.read(self.base_folder / section.reference) if section.reference else None
            self._opened[key] = open_models(section, self.base_folder, good_part)
        return self._opened[key]

    def __call__(self, lane: str, settings: Mapping[str, Changes]) -> dict[str, Measured]:
        """Raises DataError where the source fails."""
        results: dict[str, Measured] = {}
        runs: dict[str, _Run] = {}
        with self.footage[lane].played() as (source, samples):
            for name, changes in settings.items():
                try:
                    runs[name] = _Run(lane, source, self.open_models(lane, changes), self._config)
                except (PackageError, DeviceError) as error:
                    results[name] = first_line(error, length=1000)
            self._play(samples, runs, results)
        return {name: results.get(name) or runs[name].trace() for name in settings}

    def _play(self, samples: Iterator[tuple[Sample, int]], runs: dict[str, _Run], results: dict[str, Measured]) -> None:
        """Samples are read on this thread and run on another, which has the settings of a lane's."""
        if not runs:
            return
        cores = realtime.choose_cores(0, [], self._realtime)
        with ThreadPoolExecutor(1, initializer=lambda: realtime.set_thread(cores, self._realtime)) as lane_thread:
            for block in _read_ahead(samples):
                lane_thread.submit(_run_block, block, runs, results).result()


def _run_block(block: Sequence[tuple[Sample, int]], runs: dict[str, _Run], results: dict[str, Measured]) -> None:
    for number, (sample, transport) in enumerate(block):
        names = list(runs)
        turn = number % max(1, len(names))  # the first one finds the sample out of the cache
        for name in (*names[turn:], *names[:turn]):
            try:
                runs[name].step(sample, transport)
            except (ModelFault, DeviceError) as error:
                results[name] = first_line(error, length=1000)
                del runs[name]


def _read_ahead(samples: Iterator[tuple[Sample, int]]) -> Iterator[list[tuple[Sample, int]]]:
    block: list[tuple[Sample, int]] = []
    size = 0
    for sample, transport in samples:
        block.append((sample._replace(payload=sample.payload.copy()), transport))
        size += sample.payload.nbytes
        if size > BLOCK_BYTES:
            yield block
            block, size = [], 0
    yield block


class _Run:
    """A lane without its thread and its actuators: its step is the daemon's."""

    def __init__(self, name: str, source: Stream, perception: Perception, config: Config) -> None:
        """source: open, or captured. Raises DeviceFault where it delivers something else than the models take."""
        self.lane = Lane(name, source, perception, Limits(NO_END, 1.0), Ledger(None, name, 1.0))
        self.lane.recorded_time = self.lane.arrivals.recorded_time = True
        self.lane.arrivals.restart(healthy=True)
        perception.start(source)
        self._scene = Scene(rules_of(config))
        self._steps: list[Step] = []
        self._first = -1
        self._frame: tuple[int, int] | None = None

    def step(self, sample: Sample, transport: int) -> None:
        """Raises ModelFault, DeviceTimeout where the picture is frozen."""
        clock = time.monotonic_ns
        read = clock()
        if not self.lane.arrivals.accept(sample, sample.t_capture):
            return
        self.lane.step(sample, self._scene)
        decided = clock()
        prepared, inferred = self.lane.stamps
        evidence = self.lane.evidence
        if self._first < 0:
            self._first = sample.t_capture
            self._frame = _sides(sample.payload.shape) if self.lane.perception.package.manifest.picture else None
        self._steps.append(
            Step(
                t_capture=sample.t_capture - self._first,
                transport=transport,
                preprocess=prepared - read,
                inference=inferred - prepared,
                decision=decided - inferred,
                evidence=None if evidence is None else tuple(evidence),
            )
        )

    def trace(self) -> Trace:
        package = self.lane.perception.package
        size = package.picture_size
        int8 = np.dtype(package.engine.inputs[0].dtype).itemsize == 1
        return Trace(self.lane.name, self._steps, self._frame, (size[1], size[0]) if size else None, int8)


def _sides(shape: Sequence[int]) -> tuple[int, int]:
    return shape[0], shape[1]
