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

from agent import health, ledger, realtime
from agent.config import Config, ConfigError
from agent.control import Answer, Control
from agent.data import Decision
from agent.fusion import because
from agent.helper import Helper
from agent.ledger import Ledger
from agent.lockfile import lock
from agent.package import PackageError
from agent.reload import Plan, compare, read_checked, with_other_files
from agent.runner import Runner, rules_of
from agent.scene import Scene
from agent.systemd import notify

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
        self.helpers: dict[str, tuple[Helper, asyncio.Task[Any]]] = {}
        self.works: set[asyncio.Task[Any]] = set()
        self.hung: set[str] = set()
        self.told: dict[str, tuple[str, str]] = {}  # rule and verb of each actuator, as the log has it
        self.started = time.monotonic()

    async def serve(self) -> int:
        """Run until told to stop; the exit code: 0 in order, 1 after a bug."""
        self.stop = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.changing = asyncio.Lock()
        self.control = Control(self.config.run_dir, {"status": self.status, "reload": self.reload})
        # One daemon per run_dir: two would fight for the sockets and ledgers.
        run_dir = self.config.run_dir
        alone = lock(
            run_dir / "reflexd.lock", f"another reflexd already runs in {run_dir}: stop it, or give this one its own run_dir"
        )
        try:
            await self.startup()
            await self.main_loop()
        finally:
            await self.shutdown()
            alone.release()
        return self.exit_code

    # -- start --------------------------------------------------------------------------------------------------------

    async def startup(self) -> None:
        """Everything that can fail for good fails here, before READY: models, keys, ledgers."""
        self.knobs = realtime.process() + ([realtime.fifo_knob()] if self.config.realtime else [])
        for knob in self.knobs:
            if not knob.on:
                log.warning("%s is off: %s", knob.name, knob.note)
        self.scene = Scene(rules_of(self.config))
        self.runners = {name: Runner(name, self.config, self.path, self.samples) for name in self.config.lanes}
        realtime.settle()
        for sign in (signal.SIGINT, signal.SIGTERM):
            self.loop.add_signal_handler(sign, self.stop.set)
        self.loop.add_signal_handler(signal.SIGHUP, lambda: self.begin(self.reload()))
        for runner in self.runners.values():
            runner.start(self.scene, self.session, self.lane_ends)
        self.start_metrics()
        if self.config.recorder.enabled:
            self.start_helper("agent.record", str(self.path), advice="is the disk full?")
        await self.control.start()
        notify("READY=1")
        log.info("%s runs: lanes %s", self.config.node, ", ".join(self.runners) or "none")

    def start_metrics(self) -> None:
        metrics = self.config.metrics
        if metrics.port:
            where = [str(self.config.run_dir), "--host", metrics.host, "--port", str(metrics.port)]
            self.start_helper("agent.metrics", *where, advice=f"is port {metrics.port} taken?")

    def start_helper(self, module: str, *arguments: str, advice: str) -> None:
        helper = Helper(module, *arguments, advice=advice)
        self.helpers[module] = helper, self.begin(helper.keep())

    async def stop_helper(self, module: str) -> None:
        if module in self.helpers:
            _, task = self.helpers.pop(module)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # -- run ----------------------------------------------------------------------------------------------------------

    async def main_loop(self) -> None:
        """Watch the lanes; a line of figures a minute, or a second with -v."""
        watchdog_s = int(os.environ.get("WATCHDOG_USEC", "0")) / 2e6 or 1.0
        said = time.monotonic()
        while not self.stop.is_set():
            try:
                await asyncio.wait_for(self.stop.wait(), min(watchdog_s, 1.0))
            except asyncio.TimeoutError:
                pass
            if self.seconds and time.monotonic() - self.started >= self.seconds:
                self.stop.set()
            for runner in self.runners.values():
                self.tell(runner.lane.decided)
            if log.isEnabledFor(logging.DEBUG) or time.monotonic() - said >= STATS_S:
                said = time.monotonic()
                for runner in self.runners.values():
                    log.info("%s", stats_line(runner.lane.ledger))
            if self.watch():
                notify("WATCHDOG=1")

    def tell(self, decided: deque[Decision]) -> None:
        """Why an actuator does what it does, when that changes: off the lanes, within a second."""
        while decided:
            one = decided.popleft()
            if self.told.get(one.actuator) != (one.rule, one.verb):
                self.told[one.actuator] = one.rule, one.verb
                log.info("actuator %s: %s by %s: %s", one.actuator, one.verb, one.rule or "rest", because(one))

    def watch(self) -> bool:
        """May the watchdog be fed? Not while a critical lane hangs: only a new process gets its device free."""
        hung = {name for name, runner in self.runners.items() if runner.hung}
        for name in hung - self.hung:
            log.error("lane %s does not come round: its driver hangs in a call", name)
        for name in self.hung - hung:
            log.error("lane %s comes round again", name)
        self.hung = hung
        return not any(self.runners[name].section.critical for name in hung)

    def lane_ends(self, runner: Runner) -> None:
        """Called on the lane's thread, which may stay alive for a moment."""
        self.loop.call_soon_threadsafe(self.lane_ended, runner)

    def lane_ended(self, runner: Runner) -> None:
        runner.ended = True
        if runner.error:
            self.exit_code = 1
        if runner.error or (not runner.retired and all(one.ended for one in self.runners.values())):
            self.stop.set()

    # -- change, answer -----------------------------------------------------------------------------------------------

    def begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start work that nobody waits for; somebody must hold it, or it is collected, and tell when it fails."""
        task = asyncio.create_task(work)
        self.works.add(task)
        task.add_done_callback(self.done)
        return task

    def done(self, task: asyncio.Task[Any]) -> None:
        self.works.discard(task)
        if not task.cancelled() and task.exception():
            log.error("a bug beside the lanes, which go on", exc_info=task.exception())

    async def reload(self) -> Answer:
        """Take over the configuration file if it is good: only what changed restarts. Else the old one stays."""
        async with self.changing:
            try:
                new = await read_checked(self.path)
                lanes = [runner.lane for runner in self.runners.values()]
                replaced = await asyncio.to_thread(with_other_files, lanes, new, self.path)
                plan = compare(self.config, new, replaced)
                if plan.fixed:
                    raise ConfigError([f"{self.path}: a change of {', '.join(plan.fixed)} needs a restart of reflexd"])
                fresh = {name: await asyncio.to_thread(Runner, name, new, self.path, self.samples) for name in plan.start}
            except (ConfigError, PackageError, OSError) as error:
                mistakes = str(error).splitlines()
                for mistake in mistakes:
                    log.error("configuration not taken over: %s", mistake)
                return {"ok": False, "mistakes": mistakes}
            await self.change(plan, new, fresh)
        log.info("configuration taken over: lanes %s started, %s stopped", names(plan.start), names(plan.stop))
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
            runner.start(self.scene, self.session, self.lane_ends)
        if served != new.metrics:
            await self.stop_helper("agent.metrics")
            self.start_metrics()
        for helper, _ in self.helpers.values():
            helper.reload()

    async def status(self) -> Answer:
        """What only the daemon knows; rates and times are in the ledgers."""
        accounts = [ledger.account(runner.lane.ledger.memory, 0) for runner in self.runners.values()]
        return {
            "node": self.config.node, "version": VERSION, "pid": os.getpid(), "config": str(self.path),
            "uptime_s": round(time.monotonic() - self.started, 1), "ready": True,
            **health.judge(accounts)._asdict(),
            "realtime": [knob._asdict() for knob in self.knobs],
            "lanes": {name: runner.told() for name, runner in self.runners.items()},
            "actuators": {name: standing(self.scene, name) for name in self.config.actuators},
        }  # fmt: skip

    # -- stop ---------------------------------------------------------------------------------------------------------

    async def shutdown(self) -> None:
        """Lanes first: their good-bye makes the actuators safe at once."""
        notify("STOPPING=1")
        await asyncio.gather(*(runner.retire() for runner in self.runners.values()))
        self.control.close()
        await asyncio.gather(*map(self.stop_helper, list(self.helpers)))
        if self.runners:
            log.info("%s stopped", self.config.node)


def names(some: list[str]) -> str:
    return ", ".join(some) or "none"


def standing(scene: Scene, actuator: str) -> Answer:
    """What is in force there; nothing before the first decision."""
    decision = scene.current(actuator)
    if not decision:
        return {"verb": "", "rule": "", "since_s": None}
    since = (time.monotonic_ns() - decision.t_capture) / 1e9
    return {"verb": decision.verb, "rule": decision.rule, "since_s": round(since, 1)}


def stats_line(account: Ledger) -> str:
    """key=value, for the log."""
    told = ledger.account(account.memory, STATS_ROWS)
    timed = told.rows[told.rows[:, 8] > 0]
    ms = ledger.quantiles(ledger.parts(timed)["total"])
    drops = " ".join(f"{name}={told.counts[name]}" for name in ledger.DROPS if told.counts[name])
    figures = f"p50_ms={ms['p50']:.2f} p99_ms={ms['p99']:.2f}" if ms else ""
    kept = f"samples={told.counts['samples']} decisions={told.counts['decisions']}"
    return f"lane={told.lane} state={told.state} {kept} {figures} {drops}".rstrip()


def run(config: Config, path: Path, samples: int, seconds: float) -> int:
    """`reflexd run`. Raises ConfigError, PackageError, OSError before anything moves."""
    if not config.lanes:
        raise ConfigError([f"{path}: no lanes: there is nothing to do"])
    daemon = Daemon(config, path, samples, seconds)
    return asyncio.run(daemon.serve())
