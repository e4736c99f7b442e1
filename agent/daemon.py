"""The control plane: open lanes, watch over them, change them, stop them. Nothing here is ever awaited by a lane."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import time
from collections import deque
from collections.abc import Coroutine
from importlib.metadata import version
from pathlib import Path
from typing import Any

from agent import health, ledger
from agent.box import realtime
from agent.box.child import ChildProcess
from agent.box.lockfile import lock
from agent.box.systemd import notify
from agent.build import rules_of
from agent.config.models import Config
from agent.control import Answer, Control
from agent.data import Decision
from agent.errors import ConfigError, PackageError
from agent.ledger import Ledger
from agent.reload import Plan, compare, read_checked, with_other_files
from agent.rules.fusion import explain
from agent.rules.scene import Scene
from agent.runner import Runner

log = logging.getLogger("reflexd")
STATS_S, STATS_ROWS = 60.0, 2000
VERSION = version("reflexd")  # reads files: not while lanes run


class Daemon:
    """reads as: startup, main_loop, shutdown."""

    def __init__(self, config: Config, path: Path, samples: int = 0, seconds: float = 0.0) -> None:
        """samples, seconds: end by itself after so many samples on every lane, or so long; 0 = never."""
        self.config = config
        self.path = path
        self.samples = samples
        self.seconds = seconds
        self.session = secrets.randbits(32)
        self.runners: dict[str, Runner] = {}
        self.exit_code = 0
        self.children: dict[str, tuple[ChildProcess, asyncio.Task[Any]]] = {}
        self.tasks: set[asyncio.Task[Any]] = set()
        self.stalled: set[str] = set()
        self.logged: dict[str, tuple[str, str]] = {}  # rule and verb of each actuator, as last logged
        self.started = time.monotonic()

    async def serve(self) -> int:
        """Run until asked to stop; the exit code: 0 in order, 1 after a bug."""
        self.stop = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.changing = asyncio.Lock()
        self.control = Control(self.config.run_dir, {"status": self.status, "reload": self.reload})
        # One daemon per run_dir: two would fight for the sockets and ledgers.
        run_dir = self.config.run_dir
        alone = lock(
            run_dir / "reflexd.lock",
            f"another reflexd already runs in {run_dir}: stop it, or give this one its own run_dir",
        )
        try:
            await self._startup()
            await self._main_loop()
        finally:
            await self.shutdown()
            alone.release()
        return self.exit_code

    # -- start --------------------------------------------------------------------------------------------------------

    async def _startup(self) -> None:
        """Everything that can fail for good fails here, before READY: models, keys, ledgers."""
        self.settings = realtime.process() + ([realtime.fifo_setting()] if self.config.realtime else [])
        for setting in self.settings:
            if not setting.on:
                log.warning("%s is off: %s", setting.name, setting.note)
        self.scene = Scene(rules_of(self.config))
        self.runners = {name: Runner(name, self.config, self.path, self.samples) for name in self.config.lanes}
        realtime.settle()
        for sign in (signal.SIGINT, signal.SIGTERM):
            self.loop.add_signal_handler(sign, self.stop.set)
        self.loop.add_signal_handler(signal.SIGHUP, lambda: self.spawn(self.reload()))
        for runner in self.runners.values():
            runner.start(self.scene, self.session, self._lane_ends)
        self._start_metrics()
        if self.config.recorder.enabled:
            self._start_child("agent.recorder.recorder", str(self.path), advice="is the disk full?")
        await self.control.start()
        notify("READY=1")
        log.info("%s runs: lanes %s", self.config.node, ", ".join(self.runners) or "none")

    def _start_metrics(self) -> None:
        metrics = self.config.metrics
        if metrics.port:
            where = [str(self.config.run_dir), "--host", metrics.host, "--port", str(metrics.port)]
            self._start_child("agent.metrics", *where, advice=f"is port {metrics.port} taken?")

    def _start_child(self, module: str, *arguments: str, advice: str) -> None:
        child = ChildProcess(module, *arguments, advice=advice)
        self.children[module] = child, self.spawn(child.keep())

    async def _stop_child(self, module: str) -> None:
        if module in self.children:
            _, task = self.children.pop(module)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # -- run ----------------------------------------------------------------------------------------------------------

    async def _main_loop(self) -> None:
        """Watch the lanes; a line of figures a minute, or a second with -v."""
        watchdog_s = int(os.environ.get("WATCHDOG_USEC", "0")) / 2e6 or 1.0
        last_stats = time.monotonic()
        while not self.stop.is_set():
            try:
                await asyncio.wait_for(self.stop.wait(), min(watchdog_s, 1.0))
            except asyncio.TimeoutError:
                pass
            if self.seconds and time.monotonic() - self.started >= self.seconds:
                self.stop.set()
            for runner in self.runners.values():
                self._log_decisions(runner.lane.decided)
            if log.isEnabledFor(logging.DEBUG) or time.monotonic() - last_stats >= STATS_S:
                last_stats = time.monotonic()
                for runner in self.runners.values():
                    log.info("%s", _stats_line(runner.lane.ledger))
            if self._watchdog_ok():
                notify("WATCHDOG=1")

    def _log_decisions(self, decided: deque[Decision]) -> None:
        """Why an actuator does what it does, when that changes: off the lanes, within a second."""
        while decided:
            decision = decided.popleft()
            actuator, verb, rule = decision.actuator, decision.verb, decision.rule
            if self.logged.get(actuator) != (rule, verb):
                self.logged[actuator] = rule, verb
                log.info("actuator %s: %s by %s: %s", actuator, verb, rule or "rest", explain(decision))

    def _watchdog_ok(self) -> bool:
        """May the watchdog be fed? Not while a critical lane is stalled: only a new process gets its device free."""
        stalled = {name for name, runner in self.runners.items() if runner.stalled}
        for name in stalled - self.stalled:
            log.error("lane %s stalled: driver call does not return", name)
        for name in self.stalled - stalled:
            log.error("lane %s makes progress again", name)
        self.stalled = stalled
        return not any(self.runners[name].section.critical for name in stalled)

    def _lane_ends(self, runner: Runner) -> None:
        """Called on the lane's thread, which may stay alive for a moment."""
        self.loop.call_soon_threadsafe(self._lane_ended, runner)

    def _lane_ended(self, runner: Runner) -> None:
        runner.ended = True
        if runner.error:
            self.exit_code = 1
        if runner.error or (not runner.retired and all(other.ended for other in self.runners.values())):
            self.stop.set()

    # -- change, answer -----------------------------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start work that nothing awaits: kept here, or it would be collected, and logged when it fails."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.done)
        return task

    def done(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and task.exception():
            log.error("a bug beside the lanes, which go on", exc_info=task.exception())

    async def reload(self) -> Answer:
        """Load the configuration file if it is good: only what changed restarts. Else the old one stays."""
        async with self.changing:
            try:
                new = await read_checked(self.path)
                lanes = [runner.lane for runner in self.runners.values()]
                replaced = await asyncio.to_thread(with_other_files, lanes, new, self.path)
                plan = compare(self.config, new, replaced)
                if plan.fixed:
                    raise ConfigError([f"{self.path}: a change of {', '.join(plan.fixed)} needs a restart of reflexd"])
                fresh = {
                    name: await asyncio.to_thread(Runner, name, new, self.path, self.samples) for name in plan.start
                }
            except (ConfigError, PackageError, OSError) as error:
                mistakes = str(error).splitlines()
                for mistake in mistakes:
                    log.error("configuration rejected: %s", mistake)
                return {"ok": False, "mistakes": mistakes}
            await self.change(plan, new, fresh)
        log.info("configuration reloaded: lanes %s started, %s stopped", _names(plan.start), _names(plan.stop))
        return {"ok": True, "started": plan.start, "stopped": plan.stop}

    async def change(self, plan: Plan, new: Config, fresh: dict[str, Runner]) -> None:
        """The old lanes' good-byes make their actuators safe; they leave that state when the new lanes decide."""
        for name in plan.stop:
            await self.runners.pop(name).retire()
            if name not in fresh:
                (self.config.run_dir / f"{name}.ledger").unlink(missing_ok=True)
        served, self.config = self.config.metrics, new
        self.scene.replace(rules_of(new))
        self.runners = {name: fresh.get(name) or self.runners[name] for name in new.lanes}
        for runner in fresh.values():
            runner.start(self.scene, self.session, self._lane_ends)
        if served != new.metrics:
            await self._stop_child("agent.metrics")
            self._start_metrics()
        for child, _ in self.children.values():
            child.reload()

    async def status(self) -> Answer:
        """What only the daemon knows; rates and times are in the ledgers."""
        snapshots = [ledger.snapshot(runner.lane.ledger.memory, 0) for runner in self.runners.values()]
        return {
            "node": self.config.node,
            "version": VERSION,
            "pid": os.getpid(),
            "config": str(self.path),
            "uptime_s": round(time.monotonic() - self.started, 1),
            "ready": True,
            **health.judge(snapshots)._asdict(),
            "realtime": [setting._asdict() for setting in self.settings],
            "lanes": {name: runner.status() for name, runner in self.runners.items()},
            "actuators": {name: _in_force(self.scene, name) for name in self.config.actuators},
        }

    # -- stop ---------------------------------------------------------------------------------------------------------

    async def shutdown(self) -> None:
        """Lanes first: their good-bye makes the actuators safe at once."""
        notify("STOPPING=1")
        await asyncio.gather(*(runner.retire() for runner in self.runners.values()))
        self.control.close()
        await asyncio.gather(*map(self._stop_child, list(self.children)))
        if self.runners:
            log.info("%s stopped", self.config.node)


def _names(lanes: list[str]) -> str:
    return ", ".join(lanes) or "none"


def _in_force(scene: Scene, actuator: str) -> Answer:
    """The decision in force there; empty before the first."""
    decision = scene.current(actuator)
    if not decision:
        return {"verb": "", "rule": "", "since_s": None}
    since = (time.monotonic_ns() - decision.t_capture) / 1e9
    return {"verb": decision.verb, "rule": decision.rule, "since_s": round(since, 1)}


def _stats_line(of: Ledger) -> str:
    """key=value, for the log."""
    snapshot = ledger.snapshot(of.memory, STATS_ROWS)
    timed = snapshot.rows[snapshot.rows["applied"] > 0]
    ms = ledger.quantiles(ledger.parts(timed)["total"])
    drops = " ".join(f"{name}={snapshot.counts[name]}" for name in ledger.DROPS if snapshot.counts[name])
    figures = f"p50_ms={ms['p50']:.2f} p99_ms={ms['p99']:.2f}" if ms else ""
    kept = f"samples={snapshot.counts['samples']} decisions={snapshot.counts['decisions']}"
    return f"lane={snapshot.lane} state={snapshot.state} {kept} {figures} {drops}".rstrip()


def run(config: Config, path: Path, samples: int, seconds: float) -> int:
    """`reflexd run`. Raises ConfigError, PackageError, OSError before anything moves."""
    if not config.lanes:
        raise ConfigError([f"{path}: no lanes: there is nothing to do"])
    daemon = Daemon(config, path, samples, seconds)
    return asyncio.run(daemon.serve())
