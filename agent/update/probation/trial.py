"""One version of one model on trial in the lanes that use it: shadow, probation, and then it stays or goes.

It goes by itself: back to the version before, whose engine is still loaded, before the next sample.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from agent import ledger
from agent.box.worker import Worker
from agent.config.models import Config
from agent.errors import PackageError
from agent.lane import Lane
from agent.packages.package import Package
from agent.update.probation.agreement import asked_scores
from agent.update.probation.replacement import open_like
from agent.update.probation.shadow import Shadow
from agent.update.probation.verdict import Failed, Use, Waiting, check_alone, check_beside
from agent.update.probation.visitor import Exchange, Visitor, done
from agent.update.store import Store

log = logging.getLogger("reflexd.update")
LOAD_S = 60.0
EXCHANGE_S = 30.0  # a lane whose source is gone cannot exchange: the version is tried another time
POLL_S = 0.05
CHECK_S = 0.5  # between two checks of what costs more: the ledger's p99, the store
ENDS = (ledger.ENDED, ledger.CLOSED, ledger.FAILED)


class Trial:
    """Made for one run of the daemon; what must outlive that is in the store."""

    def __init__(
        self, store: Store, config: Config, lanes: Sequence[Lane], worker: Worker, exchanged: Callable[[], None]
    ) -> None:
        """lanes: that use the model. worker: loads. exchanged: called when another version decides in a lane."""
        assert config.update
        self._store, self._config, self._lanes, self._exchanged = store, config, list(lanes), exchanged
        self._worker = worker
        self._limits = {"shadow": config.update.shadow_samples, "probation": config.update.probation_samples}
        self.name = store.name
        self.version, self.stage, self.done = "", "loading", 0
        self.uses: list[Use] = []
        self.leaving: list[Exchange] = []  # the last of each lane
        self._checked_at = 0.0

    def status(self) -> dict[str, Any]:
        """done, of: samples of the stage, in the lane that has the fewest."""
        shadows = [use.visitor.shadow for use in self.uses if use.visitor.shadow]
        agreement = min((shadow.agreement for shadow in shadows if shadow.compared), default=None)
        return {
            "version": self.version,
            "stage": self.stage,
            "done": self.done,
            "of": self._limits.get(self.stage, 0),
            "agreement": None if agreement is None else round(agreement, 4),
        }

    async def run(self) -> None:
        """Until the store has the outcome. Raises Waiting, StoreError, OSError."""
        trial = self._store.state().trial
        if trial is None:
            return
        self.version = trial.version
        accepted = False
        try:
            await self._load()
            if trial.stage == "shadow":
                await self._run_beside()
                self._store.stage("probation")
            await self._run_alone()
            self._store.commit()
            accepted = True
            log.info("model %s: version %s is accepted", self.name, self.version)
        except Failed as failed:
            await self._take_back(str(failed))
        finally:  # also where it waits for better times, or the daemon reloads
            self.leaving = [use.visitor.leave(use.new if accepted else use.old) for use in self.uses]

    async def _load(self) -> None:
        """The new version for each lane, warm and compared with its golden outputs. Raises Failed, Waiting."""
        if not self._lanes:
            raise Waiting("no lane uses it")
        folder = self._store.folder(self.version)
        try:
            self.uses = await self._worker.run(LOAD_S, lambda: self._opened(folder))
        except asyncio.TimeoutError:
            raise Failed(f"it was not loaded within {LOAD_S:g} s") from None
        except (PackageError, OSError) as error:
            raise Failed(str(error)) from error
        for use in self.uses:
            use.visitor.attach()

    def _opened(self, folder: Path) -> list[Use]:
        """On the worker. Raises PackageError, OSError."""
        return [self._use(lane, folder) for lane in self._lanes]

    def _use(self, lane: Lane, folder: Path) -> Use:
        section = self._config.lanes[lane.name]
        old = lane.perception.packages[section.models.index(self.name)]
        new = open_like(old, folder, section)
        return Use(Visitor(lane, old), new, asked_scores(self._config, lane.name))

    async def _run_beside(self) -> None:
        """The new version beside the old one. Raises Failed, Waiting."""
        before = ", ".join(f"{use.old.manifest.version} in lane {use.lane.name}" for use in self.uses)
        log.info("model %s: version %s runs beside %s", self.name, self.version, before)
        self._begin("shadow")
        for use in self.uses:
            self._compare(use, use.old, use.new)
        limit = self._limits["shadow"]
        while self._progress([use.compared for use in self.uses]) < limit:
            await asyncio.sleep(POLL_S)
            self._check_due()
            for use in self.uses:
                check_beside(use, limit)
        for use in self.uses:
            check_beside(use, limit)
            use.note_time()

    async def _run_alone(self) -> None:
        """The new version decides; the old one computes beside it. Raises Failed, Waiting."""
        log.info("model %s: version %s decides, on probation", self.name, self.version)
        self._begin("probation")
        await self._exchange([use.visitor.exchange(use.new) for use in self.uses])
        self._begin("probation")
        for use in self.uses:
            self._compare(use, use.new, use.old)
        limit = self._limits["probation"]
        while self._progress([use.inferred for use in self.uses]) < limit:
            await asyncio.sleep(POLL_S)
            due = self._check_due()
            for use in self.uses:
                check_alone(use, limit, due)
        for use in self.uses:
            check_alone(use, limit, with_p99=True)

    def _begin(self, stage: str) -> None:
        self.stage, self.done = stage, 0
        for use in self.uses:
            use.begin()

    def _progress(self, samples: Sequence[int]) -> int:
        """Samples of this stage so far. Raises Waiting where a lane has ended."""
        for lane in self._lanes:
            if lane.stopping.is_set() or lane.ledger.state in ENDS:
                raise Waiting(f"lane {lane.name} has ended")
        self.done = min(samples)
        return self.done

    def _check_due(self) -> bool:
        """True where CHECK_S have passed. Raises Failed where the trial was ended from outside."""
        now = time.monotonic()
        if now - self._checked_at < CHECK_S:
            return False
        self._checked_at = now
        if not self._on_trial():
            raise Failed("its trial was ended")
        return True

    def _on_trial(self) -> bool:
        trial = self._store.state().trial
        return trial is not None and trial.version == self.version

    async def _exchange(self, exchanges: Sequence[Exchange]) -> None:
        """Wait until the lanes have carried it out. Raises Failed, Waiting."""
        if not await done(exchanges, EXCHANGE_S):
            raise Waiting("a lane delivers no samples")
        self._exchanged()
        for each in exchanges:
            if each.error:
                raise Failed(each.error)

    async def _take_back(self, reason: str) -> None:
        """First in the lanes: a faulty model must not decide a moment longer. Raises StoreError, OSError."""
        decides = [use for use in self.uses if use.visitor.package is use.new]
        try:
            if decides:
                await self._exchange([use.visitor.exchange(use.old) for use in decides])
        except (Failed, Waiting) as error:
            log.error("model %s: version %s still decides: %s", self.name, self.version, error)
        log.error("model %s: version %s is rejected: %s", self.name, self.version, reason)
        if self._on_trial():
            (self._store.rollback if decides else self._store.reject)(reason)

    def _compare(self, use: Use, live: Package, other: Package) -> None:
        """From now on, beside the lane. Raises PackageError."""
        if use.visitor.shadow:
            use.visitor.shadow.stop()
        shadow = Shadow(live, other, use.asked, self._config.realtime)
        shadow.start()
        use.visitor.shadow = shadow
