"""Lanes in one process with the rules over them: loaded, started, changed, ended. The daemon has them, or a worker."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from agent.box.worker import Worker
from agent.build import rules_of
from agent.config.models import Config
from agent.lane import Lane
from agent.overload import WatchedLane
from agent.packages.loaded import LoadedModel, loaded
from agent.reload import LOAD_S, Plan, compare, not_loaded, with_other_files
from agent.report import DecisionLog, report
from agent.rules.scene import Scene
from agent.runner import RETIRE_TIMEOUT_S, Runner
from agent.update.probation.trials import Trials, count_starts
from agent.update.stored import StoredModels

Answer = dict[str, Any]
Models = dict[str, list[LoadedModel]]  # of each lane


class Group(Protocol):
    """What the daemon needs of lanes, wherever they run."""

    config: Config

    @property
    def ended(self) -> bool:
        """None of its lanes runs any more, nor will."""

    @property
    def failed(self) -> bool:
        """A lane ended with a bug, and only a restart of the daemon brings it back."""

    @property
    def models(self) -> Models: ...

    async def load(self) -> None:
        """Raises ConfigError, PackageError, OSError."""

    async def start(self) -> None: ...

    def check(self) -> None:
        """Once a second."""

    def watched(self) -> list[WatchedLane]: ...

    def overdue(self) -> dict[str, str]:
        """Of each lane that makes no progress, "stalled" or "hung"."""

    async def status(self) -> Answer: ...

    async def swap(self, request: Mapping[str, Any]) -> Answer: ...

    async def prepare(self, new: Config) -> Plan:
        """Load what changes, while lanes run; then `stop_changed` and `start_changed`, or `keep`. Raises as load."""

    async def stop_changed(self) -> None: ...

    async def start_changed(self) -> None: ...

    async def keep(self) -> None:
        """Go on as before, after a `prepare` that failed here or elsewhere."""

    async def retire(self, within_s: float) -> None: ...


class _Change(NamedTuple):
    plan: Plan
    config: Config
    started: dict[str, Runner]


class LaneGroup:
    """Those of this process."""

    def __init__(
        self, config: Config, path: Path, samples: int, changed: Callable[[], None], worker: tuple[int, int] = (0, 1)
    ) -> None:
        """path: of the configuration. samples: end after so many on every lane; 0: no such limit.

        changed: called in the loop when a lane has ended, or another version of a model decides. worker: its number, of
        how many: each has cores of its own.
        """
        self.config = config
        self.failed = False
        self._runners: dict[str, Runner] = {}
        self._path, self._samples, self._changed, self._number, self._of = path, samples, changed, *worker
        self._loop = asyncio.get_running_loop()
        self._worker = Worker(config.realtime)
        # Of this process: for an actuator the decisions of each begin at one.
        self._session = secrets.randbits(32)
        self._scene = Scene(rules_of(config))
        self._trials = Trials(config, path.resolve().parent, self._lanes, self._worker, changed)
        self._log_decisions = DecisionLog()
        self._change: _Change | None = None
        # Of each lane, as of Runner: one that restarts goes on counting, or its actuators would refuse as replayed what
        # it sends until it has counted as far as before.
        self._sequences: dict[str, dict[str, int]] = {}

    def _lanes(self) -> list[Lane]:
        return [runner.lane for runner in self._runners.values()]

    @property
    def ended(self) -> bool:
        return all(runner.ended for runner in self._runners.values())

    @property
    def ended_lanes(self) -> list[str]:
        return [name for name, runner in self._runners.items() if runner.ended]

    @property
    def models(self) -> Models:
        return {lane.name: [loaded(package) for package in lane.perception.packages] for lane in self._lanes()}

    async def load(self) -> None:
        """Raises PackageError, OSError."""
        count_starts(self.config)
        self._runners = self._loaded(list(self.config.lanes), self.config)

    def _loaded(self, names: Sequence[str], config: Config) -> dict[str, Runner]:
        stored = StoredModels(config)
        cores = {name: self._number + place * self._of for place, name in enumerate(config.lanes)}
        return {name: Runner(name, config, self._path, self._samples, stored, cores[name]) for name in names}

    async def start(self) -> None:
        self._start(self._runners)
        self._trials.start(self.config)

    def _start(self, runners: Mapping[str, Runner]) -> None:
        for name, runner in runners.items():
            runner.start(self._scene, self._session, self._lane_ends, self._sequences.get(name))

    def _lane_ends(self, runner: Runner) -> None:
        """Called on the lane's thread, which may live a moment longer."""
        self._loop.call_soon_threadsafe(self._lane_ended, runner)

    def _lane_ended(self, runner: Runner) -> None:
        runner.ended = True
        self.failed |= runner.error is not None
        if runner.error or not runner.retired:
            self._changed()

    def check(self) -> None:
        self._log_decisions(self._lanes())

    def watched(self) -> list[WatchedLane]:
        return [
            WatchedLane(lane.name, lane.ledger.memory, lane.limits.timeout_ns / 1e6, partial(_infer_every, lane))
            for lane in self._lanes()
        ]

    def overdue(self) -> dict[str, str]:
        return {name: kind for name, runner in self._runners.items() if (kind := runner.overdue)}

    async def status(self) -> Answer:
        return {"updates": self._trials.status(), **report(self.config, self._scene, self._runners)}

    async def swap(self, request: Mapping[str, Any]) -> Answer:
        return await self._trials.request(request)

    async def prepare(self, new: Config) -> Plan:
        await self._trials.stop()
        try:
            replaced = await self._worker.run(LOAD_S, lambda: with_other_files(self._lanes(), new, self._path))
            plan = compare(self.config, new, replaced)
            started = await self._worker.run(LOAD_S, lambda: self._loaded(plan.start, new))
        except asyncio.TimeoutError:
            raise not_loaded(self._path) from None
        self._change = _Change(plan, new, started)
        return plan

    async def keep(self) -> None:
        self._change = None
        self._trials.start(self.config)

    async def stop_changed(self) -> None:
        """Their goodbyes make their actuators safe; they leave that state when the new lanes decide."""
        assert self._change
        for name in self._change.plan.stop:
            runner = self._runners.pop(name)
            await runner.retire()
            self._sequences[name] = self._sequences.get(name, {}) | runner.sequences

    async def start_changed(self) -> None:
        assert self._change
        _, self.config, started = self._change
        self._change = None
        self._scene.replace(rules_of(self.config))
        self._runners = {name: started.get(name) or self._runners[name] for name in self.config.lanes}
        self._start(started)
        self._trials.start(self.config)

    async def retire(self, within_s: float = RETIRE_TIMEOUT_S) -> None:
        self._trials.cancel()
        await asyncio.gather(*(runner.retire(within_s) for runner in self._runners.values()))


def _infer_every(lane: Lane, number: int) -> None:
    lane.perception.every = lane.perception.configured_every * number
