"""The control plane: starts lanes, supervises them, changes them, stops them. No lane ever waits for it."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Coroutine
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from agent import children, health, ledger, ledger_text, redact
from agent.box import realtime
from agent.box.child import ChildProcesses
from agent.box.lockfile import lock
from agent.box.signals import LoopSignals
from agent.box.systemd import notify
from agent.children import Running
from agent.config.models import Config
from agent.control.client import Answer
from agent.control.server import ControlServer, Handler
from agent.errors import ConfigError, PackageError
from agent.group import Models
from agent.overload import LoadShedder
from agent.reload import Plan, read_changed, summary
from agent.report import actuator, troubles
from agent.workers.groups import Groups

log = logging.getLogger("reflexd")
STATS_S = 60.0
SHUTDOWN_S = 1.0  # for lanes whose driver is in a call; the child processes have as long after them
VERSION = version("reflexd")  # reads files: not while lanes run


class Daemon:
    """Startup, main loop, shutdown."""

    def __init__(self, config: Config, path: Path, samples: int = 0, seconds: float = 0.0) -> None:
        """samples, seconds: end after this many samples on every lane, or after this time; 0: no such limit."""
        self.config, self.path = config, path
        self.samples = samples
        self.seconds = seconds
        self.session = secrets.randbits(32)
        self.models: Models = {}  # that the child processes know
        self.exit_code = 0
        self.children = ChildProcesses(self._spawn)
        self.tasks: set[asyncio.Task[Any]] = set()
        self.overdue: dict[str, str] = {}
        self.next_reload: asyncio.Task[Answer] | None = None
        self.signals: LoopSignals | None = None
        self.started = time.monotonic()

    async def serve(self) -> int:
        """Run until asked to stop. The exit code: 0, or 1 after a bug."""
        self.stop = asyncio.Event()
        self.changing = asyncio.Lock()
        self.lanes = Groups(self.config, self.path, self.samples, self._lanes_changed, self._spawn)
        handlers: dict[str, Handler] = {
            "status": lambda _: self.status(),
            "reload": lambda _: self.reload(),
            "swap": self.lanes.swap,
        }
        self.control = ControlServer(self.config.run_dir, handlers)
        # One daemon per run_dir: two would fight for the sockets and ledgers.
        run_dir = self.config.run_dir
        taken = f"another reflexd already runs in {run_dir}: stop it, or give this one its own run_dir"
        run_dir_lock = lock(run_dir / "reflexd.lock", taken)
        try:
            async with self.changing:  # a SIGHUP that came meanwhile is carried out afterwards
                await self._startup()
            self._lanes_changed()
            await self._main_loop()
        finally:
            await self._shutdown()
            run_dir_lock.release()
        return self.exit_code

    async def _startup(self) -> None:
        """Models, keys, ledgers: what only a person can fix fails here, before READY."""
        self.settings = realtime.set_process() + ([realtime.fifo_setting()] if self.config.realtime else [])
        for setting in self.settings:
            if not setting.on:
                log.warning("%s is off: %s", setting.name, setting.remedy)
        realtime.raise_control_threads(self.config.realtime)
        await self.lanes.load()
        self.models = self.lanes.models
        self.shedder = LoadShedder(self.lanes.watched(), self.config)
        realtime.freeze_objects()
        self.signals = LoopSignals(asyncio.get_running_loop(), self.stop.set, lambda: self._spawn(self.reload()))
        await self.lanes.start()
        children.start_all(self.children, self.config, self._running())
        await self.control.start()
        notify("READY=1")
        log.info("%s runs: lanes %s", self.config.node, ", ".join(self.config.lanes) or "none")

    def _running(self) -> Running:
        """For the child processes."""
        return Running(self.path, self.models, self.lanes.together, self.session)

    async def _main_loop(self) -> None:
        """Check the lanes; log their figures once a minute, or once a second with -v."""
        watchdog_s = int(os.environ.get("WATCHDOG_USEC", "0")) / 2e6 or 1.0
        last_stats = time.monotonic()
        while not self.stop.is_set():
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.stop.wait(), min(watchdog_s, 1.0))
            if self.seconds and time.monotonic() - self.started >= self.seconds:
                self.stop.set()
            self.lanes.check()
            self.shedder.check()
            if log.isEnabledFor(logging.DEBUG) or time.monotonic() - last_stats >= STATS_S:
                last_stats = time.monotonic()
                for lane in self.lanes.watched():
                    log.info("%s", ledger_text.stats_line(lane.memory))
            if self._watchdog_ok():
                notify("WATCHDOG=1")

    def _watchdog_ok(self) -> bool:
        """False while the loop of a critical lane is stalled: only a new process releases its device.

        To open a source may take long, and has a deadline of its own: past it the other lanes still go on.
        """
        overdue = self.lanes.overdue()
        memories = {lane.name: lane.memory for lane in self.lanes.watched()}
        for name in overdue.keys() - self.overdue.keys():
            progress = ledger.snapshot(memories[name], 0).t_progress
            advice = "; the other lanes continue, a restart of reflexd releases it" if overdue[name] == "hung" else ""
            log.error("lane %s %s%s", name, health.reason(overdue[name], progress, time.monotonic_ns()), advice)
        for name in self.overdue.keys() - overdue.keys():
            log.error("lane %s makes progress again", name)
        self.overdue = overdue
        return not any(self.config.lanes[name].critical for name, kind in overdue.items() if kind == "stalled")

    def _lanes_changed(self) -> None:
        """Lanes have ended, another version of a model decides, or a worker was started again."""
        if self.lanes.failed:
            self.exit_code = 1
            self.stop.set()
        if self.changing.locked():
            return  # afterwards
        if self.lanes.ended:
            self.stop.set()
        watched = self.lanes.watched()
        if [lane.memory for lane in watched] != [lane.memory for lane in self.shedder.lanes]:
            self.shedder = LoadShedder(watched, self.config)
        if self.models != self.lanes.models:
            self.models = self.lanes.models
            children.models_changed(self.children, self.config, self._running())

    def _spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task that nothing awaits: referenced here, or it would be collected, and logged when it fails."""
        task = asyncio.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and task.exception():
            log.error("a bug in the control plane; the lanes continue", exc_info=task.exception())

    async def reload(self) -> Answer:
        """Apply the configuration file where it is valid. Requests during a reload share the next one."""
        self.next_reload = self.next_reload or self._spawn(self._reload())
        return await asyncio.shield(self.next_reload)

    async def _reload(self) -> Answer:
        async with self.changing:
            self.next_reload = None  # a request from now on needs another one
            answer = await self._apply_file()
        self._lanes_changed()
        return answer

    async def _apply_file(self) -> Answer:
        """Only what changed restarts. The old configuration stays where the new one is wrong."""
        old = self.config
        try:
            new = await read_changed(self.path, old)
            plan = await self.lanes.prepare(new)
        except (ConfigError, PackageError, OSError) as error:
            mistakes = redact.lines(error)
            for mistake in mistakes:
                log.error("configuration rejected: %s", mistake)
            return {"ok": False, "mistakes": mistakes}
        await self._apply(plan, new)
        log.info("configuration reloaded: %s", summary(plan, old, new))
        return {"ok": True, "started": plan.start, "stopped": plan.stop}

    async def _apply(self, plan: Plan, new: Config) -> None:
        """The old lanes' goodbyes make their actuators safe; they leave that state when the new lanes decide."""
        await self.lanes.stop_changed()
        for name in set(plan.stop) - set(plan.start):
            (self.config.run_dir / f"{name}.ledger").unlink(missing_ok=True)
        if self.stop.is_set():
            return  # no lane starts after the others' goodbyes
        old, self.config = self.config, new
        await self.lanes.start_changed()
        self.models = self.lanes.models
        self.shedder = LoadShedder(self.lanes.watched(), new)
        await children.change_all(self.children, old, new, self._running())

    async def status(self) -> Answer:
        """What only the daemon knows, of unused actuators, too; rates and times are in the ledgers."""
        lanes = await self.lanes.status()
        lanes["actuators"] = {name: actuator(name, self.config) for name in self.config.actuators} | lanes["actuators"]
        snapshots = [ledger.snapshot(lane.memory, 0) for lane in self.lanes.watched()]
        return {
            "node": self.config.node,
            "version": VERSION,
            "pid": os.getpid(),
            "config": str(self.path),
            "uptime_s": round(time.monotonic() - self.started, 1),
            "ready": True,
            "realtime": [setting.as_json() for setting in self.settings],
            "workers": self.lanes.pids,
            **health.judge(snapshots, troubles=[*self.shedder.troubles, *troubles(lanes["actuators"])])._asdict(),
            **lanes,
        }

    async def _shutdown(self) -> None:
        """Lanes first: their goodbye makes the actuators safe at once."""
        notify("STOPPING=1")
        await self.lanes.retire(SHUTDOWN_S)
        self.control.close()
        await self.children.stop_all()
        if self.signals:
            log.info("%s stopped", self.config.node)
            self.signals.finish()


def run(config: Config, path: Path, samples: int, seconds: float) -> int:
    """`reflexd run`; the exit code. Raises ConfigError, PackageError, OSError before anything moves."""
    if not config.lanes:
        raise ConfigError([f"{path}: no lanes: there is nothing to do"])
    daemon = Daemon(config, path, samples, seconds)
    return asyncio.run(daemon.serve())
