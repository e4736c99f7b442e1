"""All lanes of the daemon: in one group of its own process, or in several, each in a worker process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agent.box.child import Spawn
from agent.config.groups import spread, worker_count
from agent.config.models import Config
from agent.group import Answer, Group, LaneGroup, Models
from agent.overload import WatchedLane
from agent.reload import Plan
from agent.workers.group import WorkerGroup

ANSWERED = ("lanes", "actuators", "updates")  # by each group, about its own


class Groups:
    """What concerns each group goes to each; what they answer is put together."""

    def __init__(self, config: Config, path: Path, samples: int, changed: Callable[[], None], spawn: Spawn) -> None:
        """path: of the configuration. changed: as of LaneGroup, also when a worker was started again.

        spawn: starts a task of the event loop.
        """
        count = worker_count(config)
        self.workers = [
            WorkerGroup((number, count), part, path, samples, changed, spawn)
            for number, part in enumerate(spread(config, count) if count else [])
        ]
        self._all: list[Group] = [*self.workers] or [LaneGroup(config, path, samples, changed)]

    @property
    def ended(self) -> bool:
        return all(group.ended for group in self._all)

    @property
    def failed(self) -> bool:
        return any(group.failed for group in self._all)

    @property
    def models(self) -> Models:
        return {lane: models for group in self._all for lane, models in group.models.items()}

    @property
    def together(self) -> list[list[str]]:
        """Lanes whose rules run in one process; empty: all do."""
        return [list(worker.config.lanes) for worker in self.workers]

    @property
    def pids(self) -> list[int]:
        """Of the workers; 0: it has no lanes, or has ended and is started again."""
        return [worker.pid for worker in self.workers]

    async def load(self) -> None:
        """Raises ConfigError, PackageError, OSError."""
        await asyncio.gather(*(group.load() for group in self._all))

    async def start(self) -> None:
        await asyncio.gather(*(group.start() for group in self._all))

    def check(self) -> None:
        """Once a second."""
        for group in self._all:
            group.check()

    def watched(self) -> list[WatchedLane]:
        return [lane for group in self._all for lane in group.watched()]

    def overdue(self) -> dict[str, str]:
        """Of each lane that makes no progress, "stalled" or "hung"."""
        return {name: kind for group in self._all for name, kind in group.overdue().items()}

    async def status(self) -> Answer:
        answers = await asyncio.gather(*(group.status() for group in self._all))
        return {key: {name: value for each in answers for name, value in each[key].items()} for key in ANSWERED}

    async def swap(self, request: Mapping[str, Any]) -> Answer:
        """The lanes of a model that is updated are in one group."""
        model = request.get("model")
        return await next((each for each in self._all if model in each.config.updatable), self._all[0]).swap(request)

    async def prepare(self, new: Config) -> Plan:
        """Every group loads what changes in it, or nothing changes. Raises ConfigError, PackageError, OSError."""
        parts = [new]
        if self.workers:
            where = {lane: number for number, lanes in enumerate(self.together) for lane in lanes}
            parts = spread(new, len(self.workers), where)
        loading = (group.prepare(part) for group, part in zip(self._all, parts))
        plans = await asyncio.gather(*loading, return_exceptions=True)
        for error in plans:
            if isinstance(error, BaseException):
                await asyncio.gather(*(group.keep() for group in self._all))
                raise error
        made = [plan for plan in plans if isinstance(plan, Plan)]
        return Plan([name for plan in made for name in plan.stop], [name for plan in made for name in plan.start], [])

    async def stop_changed(self) -> None:
        """All before any starts: the next lane of a device or an actuator may be in another process."""
        await asyncio.gather(*(group.stop_changed() for group in self._all))

    async def start_changed(self) -> None:
        await asyncio.gather(*(group.start_changed() for group in self._all))

    async def retire(self, within_s: float) -> None:
        await asyncio.gather(*(group.retire(within_s) for group in self._all))
