"""/metrics, /healthz and /readyz from the ledgers, in a child process: a scrape never takes the lanes' GIL."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from agent import health, ledger
from agent.box import realtime
from agent.commands import boxes
from agent.drift import published
from agent.drift.metrics import families
from agent.http_server import serve
from agent.ledger import LedgerSnapshot
from agent.site import metrics as site_metrics
from agent.site import published as site_published

log = logging.getLogger("reflexd.metrics")

SHARES = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 5.0, 10.0)  # bucket limits as shares of the lane's budget
EVENTS_HELP = "Samples and what became of them."
DROPPED_HELP = "Samples and decisions that went no further, by reason."
LATENCY_HELP = "Latency by part; decision and total only of commands that were applied."
DISAGREE_HELP = "Seconds for which redundant boxes command different things; 0: they agree, or did a moment ago."
REUSE_HELP = "Answers found in the cache or not, heads loaded on demand, ahead, and ahead in vain."
SAVED_HELP = "Inference time that answers from the cache saved."
SAVED_US = "cache_saved_us"
GATHER_S = 5.0  # a ledger keeps its newest 32,768 rows: half a minute at 1 kHz
MAX_CONNECTIONS = 64  # more than scrape a box
Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


class Histogram:
    """One latency part of one lane, over all samples since the lane started."""

    def __init__(self, budget_ms: float) -> None:
        self.limits = [budget_ms * share for share in SHARES]
        self.counts = np.zeros(len(SHARES) + 1, np.int64)
        self.sum_s = 0.0

    def add(self, values_ms: npt.NDArray[np.float64]) -> None:
        self.counts += np.bincount(np.searchsorted(self.limits, values_ms), minlength=len(self.counts))
        self.sum_s += float(values_ms.sum()) / 1e3

    def buckets(self) -> list[tuple[str, float]]:
        sums = np.cumsum(self.counts)
        names = [f"{limit / 1e3:.6g}" for limit in self.limits] + ["+Inf"]
        return [(name, float(count)) for name, count in zip(names, sums)]


class LaneHistograms:
    """A histogram of each latency part of one lane, filled from the ledger's new rows."""

    def __init__(self, snapshot: LedgerSnapshot) -> None:
        self.started = snapshot.started
        self.head = 0
        self.missed = 0
        self.parts = {part: Histogram(snapshot.budget_ms) for part in (*ledger.PARTS, "total")}

    def gather(self, snapshot: LedgerSnapshot) -> None:
        written = snapshot.head - self.head
        count = min(written, len(snapshot.rows))
        self.missed += written - count
        self.head = snapshot.head
        rows = snapshot.rows[len(snapshot.rows) - count :]
        if not len(rows):
            return
        applied = rows["applied"] > 0
        for part, values in ledger.parts(rows).items():
            self.parts[part].add(values[applied] if part in ("decision", "total") else values)


class LedgerCollector(Collector):
    """Metric families of every ledger of a run_dir."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.histograms: dict[str, LaneHistograms] = {}

    def gather(self) -> list[LedgerSnapshot]:
        """Add the new rows of every lane to its histograms; a lane that restarted begins at zero, as counters may."""
        snapshots = list(ledger.read_all(self.run_dir))
        histograms = {}
        for snapshot in snapshots:
            lane = self.histograms.get(snapshot.lane)
            if lane is None or lane.started != snapshot.started:
                lane = LaneHistograms(snapshot)
            lane.gather(snapshot)
            histograms[snapshot.lane] = lane
        self.histograms = histograms
        return snapshots

    def collect(self) -> Iterator[Family]:
        snapshots = self.gather()
        yield from self._counters(snapshots)
        yield from self._gauges(snapshots)
        yield from self._reuse(snapshots)
        yield self._latency()
        yield from families(published.read(self.run_dir))
        yield from site_metrics.families(site_published.read(self.run_dir))
        yield from _of_boxes(self.run_dir)
        if os.path.exists(self.run_dir / "update.json"):
            from agent.update import metrics as update_metrics  # pydantic, which a box without updates is spared

            yield from update_metrics.families(self.run_dir)

    def _counters(self, snapshots: list[LedgerSnapshot]) -> Iterator[Family]:
        events = CounterMetricFamily("reflexd_lane_events", EVENTS_HELP, labels=["lane", "event"])
        dropped = CounterMetricFamily("reflexd_lane_dropped", DROPPED_HELP, labels=["lane", "reason"])
        missed = CounterMetricFamily("reflexd_lane_unmeasured", "Samples that are in no histogram.", labels=["lane"])
        for snapshot in snapshots:
            for name, count in snapshot.counts.items():
                (dropped if name in ledger.DROPS else events).add_metric([snapshot.lane, name], count)
            missed.add_metric([snapshot.lane], self.histograms[snapshot.lane].missed)
        yield from (events, dropped, missed)

    def _gauges(self, snapshots: list[LedgerSnapshot]) -> Iterator[Family]:
        running = GaugeMetricFamily("reflexd_lane_running", "1 while the lane reads its source.", labels=["lane"])
        budget = GaugeMetricFamily("reflexd_lane_budget_seconds", "Capture to applied, as configured.", labels=["lane"])
        level = GaugeMetricFamily("reflexd_health", "1 for the level the box is at.", labels=["level"])
        for snapshot in snapshots:
            running.add_metric([snapshot.lane], float(snapshot.state == "running"))
            budget.add_metric([snapshot.lane], snapshot.budget_ms / 1e3)
        current = health.judge(snapshots).health
        for name in health.SEVERITY:
            level.add_metric([name], float(name == current))
        yield from (running, budget, level)

    def _reuse(self, snapshots: list[LedgerSnapshot]) -> Iterator[Family]:
        """Of lanes that keep answers, or load heads on demand."""
        reuse = CounterMetricFamily("reflexd_lane_reuse", REUSE_HELP, labels=["lane", "event"])
        saved = CounterMetricFamily("reflexd_lane_saved_seconds", SAVED_HELP, labels=["lane"])
        for snapshot in (each for each in snapshots if any(each.reuse.values())):
            for name, count in snapshot.reuse.items():
                if name != SAVED_US:
                    reuse.add_metric([snapshot.lane, name], count)
            saved.add_metric([snapshot.lane], snapshot.reuse[SAVED_US] / 1e6)
        yield from (reuse, saved)

    def _latency(self) -> Family:
        latency = HistogramMetricFamily("reflexd_lane_latency_seconds", LATENCY_HELP, labels=["lane", "part"])
        for lane, histograms in self.histograms.items():
            for part, histogram in histograms.parts.items():
                latency.add_metric([lane, part], histogram.buckets(), histogram.sum_s)
        return latency


def _of_boxes(run_dir: Path) -> Iterator[Family]:
    """Of actuators here that redundant boxes command; none: no families."""
    shown = boxes.read_all(run_dir)
    if not shown:
        return
    alive = GaugeMetricFamily("reflexd_actuator_box_alive", "1 while the box commands.", labels=["actuator", "box"])
    disagree = GaugeMetricFamily("reflexd_actuator_boxes_disagree_seconds", DISAGREE_HELP, labels=["actuator"])
    for actuator, said in shown.items():
        disagree.add_metric([actuator], said.disagree_s or 0.0)
        for box in said.state.boxes:
            alive.add_metric([actuator, box.name], float(box.alive))
    yield from (alive, disagree)


class Endpoints:
    """The HTTP handlers for the ledgers of a run_dir."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.collector = LedgerCollector(run_dir)
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(self.collector)

    async def metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(self, _: web.Request) -> web.Response:
        """503 when the actuators are safe because of a lane; 200 with the reasons while the box is only degraded."""
        judged = health.judge(ledger.read_all(self.run_dir))
        text = "\n".join(judged.reasons or ["good"]) + "\n"
        return web.Response(text=text, status=503 if judged.health == health.SAFE else 200)

    async def readyz(self, _: web.Request) -> web.Response:
        """200 once every lane has its model loaded and its source opened, whatever happens later."""
        states = {snapshot.lane: snapshot.state for snapshot in ledger.read_all(self.run_dir)}
        waiting = [lane for lane, state in states.items() if state in ("closed", "opening")]
        text = f"waiting for lanes {', '.join(waiting)}" if waiting else "ready" if states else "no lane yet"
        return web.Response(text=text + "\n", status=200 if text == "ready" else 503)

    async def gathering(self, _: web.Application) -> AsyncIterator[None]:
        """Gather between scrapes, too, so that no row is overwritten before it is counted."""
        task = asyncio.create_task(self._gather())
        yield
        task.cancel()

    async def _gather(self) -> None:
        while True:
            self.collector.gather()
            await asyncio.sleep(GATHER_S)


def application(run_dir: Path) -> web.Application:
    endpoints = Endpoints(run_dir)
    app = web.Application()
    app.cleanup_ctx.append(endpoints.gathering)
    app.router.add_get("/metrics", endpoints.metrics)
    app.router.add_get("/healthz", endpoints.healthz)
    app.router.add_get("/readyz", endpoints.readyz)
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9469)
    options = parser.parse_args()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # agent/box/child.py blocked it
    realtime.die_with_parent()
    os.nice(10)  # never ahead of a lane
    logging.basicConfig(format="%(asctime)s.%(msecs)03d %(levelname)-7s metrics: %(message)s", datefmt="%H:%M:%S")
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing to finish: Ctrl-C and SIGTERM end it at once
    asyncio.run(serve(application(options.run_dir), options.host, options.port, log, MAX_CONNECTIONS))


if __name__ == "__main__":
    main()
