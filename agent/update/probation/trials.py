"""The daemon's side of updates: tries a version when the updater asks, goes on after a restart, says how it stands."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from agent.box.worker import Worker
from agent.config.models import Config
from agent.errors import PackageError
from agent.lane import Lane
from agent.packages import package
from agent.update.probation.replacement import open_like
from agent.update.probation.trial import LOAD_S, Trial
from agent.update.probation.verdict import Waiting
from agent.update.probation.visitor import Visitor, done
from agent.update.store import Store, StoreError
from agent.update.stored import StoredModels

log = logging.getLogger("reflexd.update")
MAX_STARTS = 2  # of the daemon while a version is on trial
RETRY_S = 10.0  # where the lanes are not ready for a trial
REASONS = 3  # rejected versions that `status` shows


def count_starts(config: Config) -> None:
    """The daemon starts. A version that ended it twice, or let it not start, is taken back before it is loaded."""
    for name in config.updatable:
        store = Store(config.state_dir, name)
        try:
            starts = store.count_start()
            if starts >= MAX_STARTS:
                trial = store.state().trial
                reason = f"reflexd started {starts} times while it was on trial"
                store.rollback(reason)
                log.error("model %s: version %s is rejected: %s", name, trial and trial.version, reason)
        except (OSError, StoreError) as error:
            log.error("model %s: its versions cannot be kept, nothing is updated: %s", name, error)


class Trials:
    """One trial at a time: two models of one lane must not change at once, or nobody could say which failed."""

    def __init__(
        self,
        config: Config,
        base_folder: Path,
        lanes: Callable[[], list[Lane]],
        worker: Worker,
        exchanged: Callable[[], None],
    ) -> None:
        """lanes: those that run. worker: loads. exchanged: called when another version decides in a lane."""
        self._config, self._base_folder, self._lanes, self._exchanged = config, base_folder, lanes, exchanged
        self._worker = worker
        self._wake = asyncio.Event()
        self._follow: set[str] = set()  # models that must follow the store
        self._trial: Trial | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, config: Config) -> None:
        """Go on with what the store says is on trial. config: the one in force from now on."""
        self._config = config
        if config.updatable:
            self._wake.set()
            self._task = asyncio.create_task(self._run())

    def cancel(self) -> None:
        """The daemon ends; the next one goes on."""
        if self._task:
            self._task.cancel()

    async def stop(self) -> None:
        """Until the next `start`: the lanes go back to the version in use, and the trial keeps its stage."""
        trial, task, self._task = self._trial, self._task, None
        if task:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if trial:
            await done(trial.leaving)
            self._exchanged()

    async def request(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """{"do": "swap", "model": NAME, "version": VERSION}; without a version: what the store says is in use."""
        name, version = message.get("model"), message.get("version")
        if not isinstance(name, str) or name not in self._config.updatable:
            return {"ok": False, "error": f"model '{name}' is not updated here: 'update' in the configuration"}
        if version is not None and not isinstance(version, str):
            return {"ok": False, "error": "expected a version, as text"}
        try:
            self._begin(Store(self._config.state_dir, name), version)
        except (StoreError, OSError) as error:
            return {"ok": False, "error": str(error)}
        self._wake.set()
        return {"ok": True}

    def _begin(self, store: Store, version: str | None) -> None:
        """Raises StoreError, OSError."""
        state = store.state()
        if version is None or version == state.current and not state.trial:
            self._follow.add(store.name)
        elif state.trial and state.trial.version != version:
            raise StoreError(f"model {store.name}: version {state.trial.version} is on trial")
        elif not state.trial:
            store.begin_trial(version)

    async def _run(self) -> None:
        """Forever: one trial after the other."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                for name in self._config.updatable:
                    await self._one(Store(self._config.state_dir, name))
            except Waiting as reason:
                log.debug("a trial waits: %s", reason)
                await asyncio.sleep(RETRY_S)
                self._wake.set()
            except (StoreError, OSError) as error:
                log.error("a trial was given up: %s", error)
            except Exception:
                log.exception("a bug in a trial; the lanes continue")

    async def _one(self, store: Store) -> None:
        """Raises Waiting, StoreError, OSError."""
        users = [lane for lane in self._lanes() if store.name in self._config.lanes[lane.name].models]
        if store.name in self._follow:
            self._follow.discard(store.name)
            await self._follow_store(store, users)
        if store.state().trial:
            self._trial = Trial(store, self._config, users, self._worker, self._exchanged)
            try:
                await self._trial.run()
            finally:
                self._trial = None

    async def _follow_store(self, store: Store, users: list[Lane]) -> None:
        """After a person's rollback: the lanes run what the store says."""
        folder = StoredModels(self._config).folder(store.name) or package.find(store.name, self._base_folder)
        for lane in users:
            section = self._config.lanes[lane.name]
            old = lane.perception.packages[section.models.index(store.name)]
            if old.folder.resolve() == folder.resolve():
                continue
            try:
                load = partial(open_like, old, folder, section)
                new = await self._worker.run(LOAD_S, load)
            except (PackageError, OSError, asyncio.TimeoutError) as error:
                log.error("model %s, lane %s: %s", store.name, lane.name, error)
                continue
            visitor = Visitor(lane, old)
            visitor.attach()
            await done([visitor.leave(new)])
            log.info("model %s: version %s decides in lane %s", store.name, new.manifest.version, lane.name)
        self._exchanged()

    def status(self) -> dict[str, Any]:
        """Of each model that is updated."""
        return {name: self._status(Store(self._config.state_dir, name)) for name in self._config.updatable}

    def _status(self, store: Store) -> dict[str, Any]:
        state, trial = store.state(), self._trial
        running = trial.status() if trial and trial.name == store.name else None
        return {
            "current": state.current,
            "hold": state.hold,
            "trial": running or (state.trial.model_dump() if state.trial else None),
            "rejected": dict(list(state.rejected.items())[-REASONS:]),
        }
