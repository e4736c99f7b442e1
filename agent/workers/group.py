"""A group of lanes in a worker process, as the daemon has it: started again when the process ends."""

from __future__ import annotations

import asyncio
import logging
import mmap
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from agent import health, ledger, ledger_text, redact
from agent.box.child import FIRST_PAUSE_S, LAST_PAUSE_S, STEADY_S, Spawn
from agent.config.models import Config
from agent.errors import ConfigError, PackageError
from agent.group import Answer, Models
from agent.overload import WatchedLane
from agent.packages.loaded import LoadedModel
from agent.reload import Plan
from agent.workers.channel import Message
from agent.workers.remote import RemoteProcess
from agent.workers.unanswered import unanswered

log = logging.getLogger("reflexd")
ANSWER_S = 0.5  # to a question about its state; who asks the daemon waits for a second
SWAP_S = 10.0
END_S = 1.0


class WorkerGroup:
    """A `Group`. Where it has no lanes there is no process."""

    failed = False  # a lane with a bug ends its worker, which is started again

    def __init__(
        self,
        worker: tuple[int, int],
        config: Config,
        path: Path,
        samples: int,
        changed: Callable[[], None],
        spawn: Spawn,
    ) -> None:
        """config: of these lanes alone. spawn: starts a task of the event loop. The rest: as LaneGroup."""
        self.config = config
        self.models: Models = {}
        self._changed, self._spawn = changed, spawn
        self._given = {"path": str(path), "samples": samples, "worker": worker}
        self._name = f"worker {worker[0]}"
        self._process: RemoteProcess | None = None
        self._keeper: asyncio.Task[Any] | None = None
        self._changing = asyncio.Lock()  # from `prepare` to `start_changed` or `keep`, and while it is started again
        self._new: Config | None = None
        self._fresh = False  # the process was started for the change
        self._retired = False
        self._timeouts: dict[str, float] = {}
        self._ended: list[str] = []  # lanes
        self._memories: dict[str, mmap.mmap] = {}  # of the ledgers

    @property
    def _running(self) -> RemoteProcess | None:
        return self._process if self._process and self._process.alive else None

    @property
    def pid(self) -> int:
        """0 where there is no process."""
        return self._running.pid if self._running else 0

    @property
    def ended(self) -> bool:
        return set(self._ended) >= self.config.lanes.keys()

    # -- its process ---------------------------------------------------------------

    async def load(self) -> None:
        if self.config.lanes:
            await self._launch(self.config)

    async def _launch(self, config: Config) -> RemoteProcess:
        """A process with these lanes, loaded and not yet started. Raises ConfigError, PackageError, OSError."""
        process = self._process = await RemoteProcess.start(self._spawn, self._set_state)
        try:
            await process.change({"do": "load", **_given(config), **self._given})
        except (ConfigError, PackageError, OSError):
            process.kill()
            raise
        return process

    def _set_state(self, message: Message) -> None:
        self.models = {lane: [LoadedModel(*model) for model in each] for lane, each in message["models"].items()}
        self._timeouts, self._ended = message["timeouts"], message["ended"]
        for lane in self._timeouts:
            with suppress(OSError):  # somebody removed it
                self._memories[lane] = ledger.mapped(self.config.run_dir / f"{lane}.ledger")
        self._memories = {lane: memory for lane, memory in self._memories.items() if lane in self._timeouts}
        self._changed()

    async def start(self) -> None:
        if self._process and self.config.lanes:
            await self._process.change({"do": "start"})
            self._keep()

    def _keep(self) -> None:
        if self._keeper is None or self._keeper.done():
            self._keeper = self._spawn(self._keep_running())

    async def _keep_running(self) -> None:
        """Started again at once, and after a pause where it does not live long. Until it is retired."""
        pause = 0.0
        while process := self._process:
            began = time.monotonic()
            code = await process.ended()
            if self._retired or not self.config.lanes:
                return
            pause = 0.0 if time.monotonic() - began > STEADY_S else pause
            self._log_end(code, pause)
            await asyncio.sleep(pause)
            pause = min(max(2 * pause, FIRST_PAUSE_S), LAST_PAUSE_S)
            async with self._changing:
                if not self._running and not self._retired:
                    await self._restart()

    def _log_end(self, code: int, pause: float) -> None:
        """With what its ledgers counted, which the next ones begin at nothing."""
        when = f"in {pause:g} s" if pause else "at once"
        log.error("%s (lanes %s) ended with %s; starting it again %s", self._name, self._lanes, code, when)
        for memory in self._memories.values():
            log.info("until then: %s", ledger_text.stats_line(memory))

    @property
    def _lanes(self) -> str:
        return ", ".join(self.config.lanes)

    async def _restart(self) -> None:
        try:
            process = await self._launch(self.config)
            await process.change({"do": "start"})
        except (ConfigError, PackageError, OSError) as error:
            for line in redact.lines(error):
                log.error("%s: %s", self._name, line)

    async def retire(self, within_s: float) -> None:
        self._retired = True
        process = self._process
        if process is None:
            return
        with suppress(OSError, asyncio.TimeoutError):
            await process.ask({"do": "retire", "within_s": within_s}, within_s + END_S)
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(process.ended(), END_S)
        process.kill()
        await process.ended()

    # -- its lanes -----------------------------------------------------------------

    def check(self) -> None:
        """It does that itself."""

    def watched(self) -> list[WatchedLane]:
        return [
            WatchedLane(lane, memory, self._timeouts[lane], partial(self._infer_every, lane))
            for lane, memory in self._memories.items()
        ]

    def _infer_every(self, lane: str, number: int) -> None:
        if self._process:
            self._process.send({"do": "infer_every", "lane": lane, "number": number})

    def overdue(self) -> dict[str, str]:
        """None of a worker that is started again, or changed."""
        if not self._running or self._changing.locked():
            return {}
        now = time.monotonic_ns()
        snapshots = [ledger.snapshot(memory, 0) for memory in self._memories.values()]
        kinds = {each.lane: health.overdue(each.state, each.t_progress, each.t_deadline, now) for each in snapshots}
        return {lane: kind for lane, kind in kinds.items() if kind and lane not in self._ended}

    async def status(self) -> Answer:
        process = self._process
        if process:
            with suppress(OSError, asyncio.TimeoutError):
                return dict(await process.ask({"do": "status"}, ANSWER_S))
        return unanswered(self.config, f"its process, {self._name}, {'does not answer' if self.pid else 'has ended'}")

    async def swap(self, request: Mapping[str, Any]) -> Answer:
        if self._process:
            with suppress(OSError, asyncio.TimeoutError):
                return dict(await self._process.ask({"do": "swap", "request": dict(request)}, SWAP_S))
        return {"ok": False, "error": f"{self._name} does not answer"}

    # -- another configuration -----------------------------------------------------

    async def prepare(self, new: Config) -> Plan:
        await self._changing.acquire()
        self._new, running = new, self._running
        self._fresh = running is None
        if running:
            return Plan(*await running.change({"do": "prepare", **_given(new)}))
        if new.lanes:
            await self._launch(new)
        return Plan([], list(new.lanes), [])

    async def keep(self) -> None:
        if not self._changing.locked():
            return
        if self._fresh and self._process:
            self._process.kill()
        elif self._process:
            with suppress(OSError):
                await self._process.change({"do": "keep"})
        self._changing.release()

    async def stop_changed(self) -> None:
        """A worker that ends here is started again with the new configuration."""
        if self._process and not self._fresh:
            with suppress(OSError):
                await self._process.change({"do": "stop_changed"})

    async def start_changed(self) -> None:
        assert self._new
        self.config = self._new
        if self._process:
            with suppress(OSError):
                await self._process.change({"do": "start" if self._fresh else "start_changed"})
        self._changing.release()
        if self.config.lanes:
            self._keep()
        elif self._process:
            await self._dismiss()

    async def _dismiss(self) -> None:
        """It has no lane any more, until another configuration gives it one."""
        await self.retire(END_S)
        self._process, self._retired, self._memories = None, False, {}


def _given(config: Config) -> Message:
    """What a worker needs of the configuration, and what must not be in its log."""
    return {"config": config.model_dump(mode="json"), "secrets": redact.known()}
