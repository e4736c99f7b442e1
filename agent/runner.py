"""A lane with its models, its thread and its links to the actuators: made, started, supervised, retired."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agent import health, ledger, redact
from agent.box import realtime
from agent.build import addresses, make_lane
from agent.commands.outbox import Outbox
from agent.config.models import Config
from agent.offload.lanes import status as offload_status
from agent.rules.scene import Scene
from agent.update.stored import StoredModels

log = logging.getLogger("reflexd")
RETIRE_TIMEOUT_S = 2.0  # a lane checks for the request every few ms, but its driver may be in a call


class Runner:
    """One lane on a thread of its own."""

    def __init__(
        self,
        name: str,
        config: Config,
        path: Path,
        samples: int = 0,
        stored_models: StoredModels | None = None,
        core: int | None = None,
    ) -> None:
        """Check and load the models. path: of the configuration. core: as `realtime.choose_cores` counts them; default:
        the lane's place there.

        Raises PackageError, OSError.
        """
        self.name = name
        self.core = list(config.lanes).index(name) if core is None else core
        self.config = config
        self.section = config.lanes[name]
        self.addresses = addresses(config, name)
        self.lane = make_lane(name, config, path.resolve().parent, samples, stored_models)
        self.outbox: Outbox | None = None  # once its thread runs
        self.thread: threading.Thread | None = None
        self.error: BaseException | None = None
        self.ended = False
        self.retired = False  # it was asked to end

    def start(
        self, scene: Scene, session: int, ended: Callable[[Runner], None], sequences: Mapping[str, int] | None = None
    ) -> None:
        """ended: called on the lane's thread, last of all. sequences: as of Outbox."""
        arguments = scene, session, ended, sequences
        self.thread = threading.Thread(target=self._run, args=arguments, name=self.name, daemon=True)
        self.thread.start()

    def _run(
        self, scene: Scene, session: int, ended: Callable[[Runner], None], sequences: Mapping[str, int] | None
    ) -> None:
        """The body of the thread."""
        context = None
        try:
            cores = realtime.choose_cores(self.core, self.section.cores, self.config.realtime)
            realtime.set_thread(cores, self.config.realtime)
            context = realtime.zmq_context(self.config.realtime, cores)
            node = f"{self.config.node}/{self.name}"
            self.outbox = Outbox(context, self.addresses, node, session, self.lane.ledger, sequences)
            self.lane.run(scene, self.outbox)
        except BaseException as error:  # SystemExit of a driver ends no process, only this thread
            # A bug. No more heartbeats: the actuators go safe; the process ends with 1 and is restarted.
            self.error = error
            self.lane.ledger.state = ledger.FAILED
            end = "its actuators go safe, its process ends with 1: send `reflexd diag`"
            log.exception("lane %s: internal error; %s", self.name, end)
        if context:
            context.destroy()  # closes what a bug left open, too
        ended(self)

    @property
    def overdue(self) -> str:
        """As health.overdue: "stalled" or "hung"; empty while it makes progress, opens in time, or has ended."""
        if self.thread is None or self.ended or self.retired:
            return ""
        cells = self.lane.ledger.cells
        state = ledger.STATES[cells[ledger.STATE]]
        return health.overdue(state, cells[ledger.PROGRESS], cells[ledger.DEADLINE], time.monotonic_ns())

    async def retire(self, within_s: float = RETIRE_TIMEOUT_S) -> None:
        """End it, or leave it after this time; its goodbye makes its actuators safe."""
        self.retired = True
        self.lane.stopping.set()
        end = time.monotonic() + within_s
        while self.thread and self.thread.is_alive() and time.monotonic() < end:
            await asyncio.sleep(0.002)  # not asyncio's threads: a dozen stuck lanes would wait for one another

    @property
    def sequences(self) -> dict[str, int]:
        """Of each actuator, the newest that was sent there."""
        return {name: link.sequence for name, link in self.outbox.links.items()} if self.outbox else {}

    def status(self) -> dict[str, Any]:
        """For `reflexd status`."""
        lane, section = self.lane, self.section
        return {
            "state": ledger.STATES[lane.ledger.state],
            "healthy": lane.healthy,
            "reason": "" if lane.healthy else redact.message(lane.reason),
            "model": section.model,
            "versions": {
                model: opened.manifest.version for model, opened in zip(section.models, lane.perception.packages)
            },
            "then": section.then,
            "heads": lane.perception.heads.status() if lane.perception.heads else {},
            "offload": offload_status(lane.perception),
            "reuse": dict(zip(ledger.REUSE, lane.perception.reuse)),
            "driver": section.source.driver,
            "critical": section.critical,
            "budget_ms": lane.limits.budget_ms,
        }
