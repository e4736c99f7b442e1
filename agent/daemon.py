"""The control plane: open lanes, watch over them, stop them. Nothing here is ever awaited by a lane."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import sys
import threading
import time
from pathlib import Path

from agent import keys, ledger, package, realtime, reference
from agent.config import Config, ConfigError, LaneConfig
from agent.lane import Lane, Limits
from agent.ledger import Ledger
from agent.lockfile import lock
from agent.outbox import Address, Outbox
from agent.poses import SecondModel
from agent.rules import Rules
from agent.scene import Scene
from agent.systemd import notify
from drivers.base import open_source

log = logging.getLogger("reflexd")


class Runner:
    """A lane with its thread and what belongs to it."""

    def __init__(self, lane: Lane, config: LaneConfig) -> None:
        self.lane = lane
        self.config = config
        self.thread: threading.Thread | None = None
        self.error: BaseException | None = None
        self.ended = False


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
        self.helper: asyncio.Task[None] | None = None

    async def serve(self) -> int:
        """Run until told to stop; the exit code: 0 in order, 1 after a bug."""
        self.stop = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        # One daemon per run_dir: two would fight for the sockets and ledgers.
        run_dir = self.config.run_dir
        alone = lock(
            run_dir / "reflexd.lock", f"another reflexd already runs in {run_dir}: stop it, or give this one its own run_dir"
        )
        try:
            self.startup()
            await self.main_loop()
        finally:
            await self.shutdown()
            alone.release()
        return self.exit_code

    # -- start --------------------------------------------------------------------------------------------------------

    def startup(self) -> None:
        """Everything that can fail for good fails here, before READY: models, keys, ledgers."""
        for knob in realtime.process() + ([realtime.fifo_knob()] if self.config.realtime else []):
            if not knob.on:
                log.warning("%s is off: %s", knob.name, knob.note)
        self.scene = Scene(Rules(self.config.rules, {name: one.rest for name, one in self.config.actuators.items()}))
        for name, lane in self.config.lanes.items():
            self.runners[name] = Runner(self.make_lane(name, lane), lane)
        realtime.settle()
        for sign in (signal.SIGINT, signal.SIGTERM):
            self.loop.add_signal_handler(sign, self.stop.set)
        for runner in self.runners.values():
            self.start_lane(runner)
        if self.config.metrics.port:
            self.helper = asyncio.create_task(self.serve_metrics(), name="metrics")
        notify("READY=1")
        log.info("%s runs: lanes %s", self.config.node, ", ".join(self.runners) or "none")

    def make_lane(self, name: str, lane: LaneConfig) -> Lane:
        beside = self.path.resolve().parent
        opened = package.open_package(package.find(lane.model, beside), lane.threads)
        second = SecondModel(package.open_package(package.find(lane.then, beside))) if lane.then else None
        good = reference.read(beside / lane.reference) if lane.reference else None
        source = open_source(lane.source.driver, lane.source.options, name)
        budget = lane.budget_ms or opened.manifest.budget_ms
        timeout_ns = int(getattr(source.options, "timeout_ms", 500.0) * 1e6)
        drop = frozenset(rule for rule, config in self.config.rules.items() if config.late == "drop")
        limits = Limits(timeout_ns, budget, lane.critical, drop, self.samples)
        account = Ledger(self.config.run_dir / f"{name}.ledger", name, budget)
        return Lane(name, source, opened, limits, account, reference=good, second=second)

    def start_lane(self, runner: Runner) -> None:
        runner.thread = threading.Thread(target=self.lane_thread, args=(runner,), name=runner.lane.name, daemon=True)
        runner.thread.start()

    def lane_thread(self, runner: Runner) -> None:
        """A lane's whole life, on its own thread."""
        context = None
        try:
            cores = realtime.place(list(self.runners.values()).index(runner), runner.config.cores, self.config.realtime)
            realtime.thread(cores, self.config.realtime)
            context = realtime.context(self.config.realtime, cores)
            where, node = self.addresses(runner.lane.name), self.node_of(runner)
            runner.lane.run(self.scene, Outbox(context, where, node, self.session, runner.lane.ledger))
        except Exception as error:
            # A bug. No heart-beats any more: the actuators go safe; the daemon ends with 1 and systemd starts it anew.
            runner.error = error
            runner.lane.ledger.state = ledger.FAILED
            log.exception("lane %s: a bug", runner.lane.name)
        if context:
            context.destroy()  # also closes what a bug left open
        self.loop.call_soon_threadsafe(self.lane_ended, runner)

    def addresses(self, lane: str) -> list[Address]:
        """Where the decisions go that this lane may bring."""
        found = []
        for name in self.scene.rules.feeds.get(lane, ()):
            one = self.config.actuators[name]
            curve = keys.curve(self.config.keys, one.server_key)
            found.append(Address(name, self.config.endpoint(name), one.safe_after_ms, curve))
        return found

    def node_of(self, runner: Runner) -> str:
        return f"{self.config.node}/{runner.lane.name}"

    # -- run ----------------------------------------------------------------------------------------------------------

    async def main_loop(self) -> None:
        """Watch the lanes; once a minute a line of figures."""
        watchdog_s = int(os.environ.get("WATCHDOG_USEC", "0")) / 2e6 or 1.0
        started, said = time.monotonic(), time.monotonic()
        while not self.stop.is_set():
            try:
                await asyncio.wait_for(self.stop.wait(), min(watchdog_s, 1.0))
            except asyncio.TimeoutError:
                pass
            if self.seconds and time.monotonic() - started >= self.seconds:
                self.stop.set()
            if time.monotonic() - said >= 60.0:
                said = time.monotonic()
                for runner in self.runners.values():
                    log.info("%s", stats_line(runner.lane.ledger))
            notify("WATCHDOG=1")

    async def serve_metrics(self) -> None:
        """Keep the metrics process alive: it reads the ledgers and never takes our GIL."""
        metrics = self.config.metrics
        where = [str(self.config.run_dir), "--host", metrics.host, "--port", str(metrics.port)]
        while True:
            child = await asyncio.create_subprocess_exec(sys.executable, "-m", "agent.metrics", *where)
            try:
                code = await child.wait()
            except asyncio.CancelledError:
                child.terminate()
                await child.wait()
                raise
            log.warning("metrics process ended with %s: is port %s taken? starting it again in 10 s", code, metrics.port)
            await asyncio.sleep(10)

    def lane_ended(self, runner: Runner) -> None:
        """Called on the loop when a lane's thread has come to its end."""
        runner.ended = True  # its thread may still be alive for a moment
        if runner.error:
            self.exit_code = 1
        if runner.error or all(one.ended for one in self.runners.values()):
            self.stop.set()

    async def shutdown(self) -> None:
        """Lanes first: their good-bye makes the actuators safe at once."""
        notify("STOPPING=1")
        if self.helper:
            self.helper.cancel()
            await asyncio.gather(self.helper, return_exceptions=True)
        for runner in self.runners.values():
            runner.lane.stopping.set()
        for runner in self.runners.values():
            if runner.thread:
                await asyncio.to_thread(runner.thread.join, 2.0)
        if self.runners:
            log.info("%s stopped", self.config.node)


def stats_line(account: Ledger) -> str:
    """key=value, for the log."""
    told = ledger.account(account.memory)
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
