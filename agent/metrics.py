"""/metrics, /healthz and /readyz from the ledgers: a process of its own, so that a scrape never takes the lanes' GIL."""

from __future__ import annotations

import argparse
import asyncio
import os
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
from agent.ledger import LedgerSnapshot

SHARES = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 5.0, 10.0)  # bucket limits as shares of the lane's budget
GATHER_S = 5.0  # a ledger keeps its newest 32,768 rows: half a minute at 1 kHz
Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


class Histogram:
    """A histogram of one lane and part of the way, over all samples since the lane started."""

    def __init__(self, budget_ms: float) -> None:
        self.limits = [budget_ms * share for share in SHARES]
        self.counts = np.zeros(len(SHARES) + 1, np.int64)
        self.sum_s = 0.0

    def add(self, values_ms: npt.NDArray[np.float64]) -> None:
        self.counts += np.bincount(np.searchsorted(self.limits, values_ms), minlength=len(self.counts))
        self.sum_s += float(values_ms.sum()) / 1e3

    def _buckets(self) -> list[tuple[str, float]]:
        sums = np.cumsum(self.counts)
        names = [f"{limit / 1e3:.6g}" for limit in self.limits] + ["+Inf"]
        return [(name, float(count)) for name, count in zip(names, sums)]


class LaneHistograms:
    """What was gathered of one lane."""

    def __init__(self, told: LedgerSnapshot) -> None:
        self.started = told.started
        self.head = 0
        self.missed = 0
        self.stages = {part: Histogram(told.budget_ms) for part in (*ledger.PARTS, "total")}

    def gather(self, told: LedgerSnapshot) -> None:
        new = told.head - self.head
        self.missed += new - min(new, len(told.rows))
        self.head = told.head
        rows = told.rows[len(told.rows) - min(new, len(told.rows)) :]
        if not len(rows):
            return
        answered = rows["applied"] > 0
        for part, values in ledger.parts(rows).items():
            self.stages[part].add(values[answered] if part in ("decision", "total") else values)


class LedgerCollector(Collector):
    """Every ledger of a run_dir."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.books: dict[str, LaneHistograms] = {}

    def gather(self) -> list[LedgerSnapshot]:
        """Add the new rows of every lane to its histograms; a lane that started anew begins at none, as counters may."""
        snapshots = list(ledger.read_all(self.run_dir))
        for one in snapshots:
            if one.lane not in self.books or self.books[one.lane].started != one.started:
                self.books[one.lane] = LaneHistograms(one)
            self.books[one.lane].gather(one)
        self.books = {one.lane: self.books[one.lane] for one in snapshots}
        return snapshots

    def collect(self) -> Iterator[Family]:
        snapshots = self.gather()
        yield from self.counters(snapshots)
        yield from self.levels(snapshots)
        latency = HistogramMetricFamily(
            "reflexd_lane_latency_seconds",
            "Each part of the way; decision and total of commands that were applied.",
            labels=["lane", "part"],
        )
        for lane, histograms in self.books.items():
            for part, stage in histograms.stages.items():
                latency.add_metric([lane, part], stage._buckets(), stage.sum_s)
        yield latency

    def counters(self, snapshots: list[LedgerSnapshot]) -> Iterator[Family]:
        counted = CounterMetricFamily(
            "reflexd_lane_events", "Samples and what became of them.", labels=["lane", "event"]
        )
        dropped = CounterMetricFamily(
            "reflexd_lane_dropped", "What went no further, by reason.", labels=["lane", "reason"]
        )
        missed = CounterMetricFamily("reflexd_lane_unmeasured", "Samples that are in no histogram.", labels=["lane"])
        for one in snapshots:
            for name, count in one.counts.items():
                (dropped if name in ledger.DROPS else counted).add_metric([one.lane, name], count)
            missed.add_metric([one.lane], self.books[one.lane].missed)
        yield from (counted, dropped, missed)

    def levels(self, snapshots: list[LedgerSnapshot]) -> Iterator[Family]:
        running = GaugeMetricFamily("reflexd_lane_running", "1 while the lane reads its source.", labels=["lane"])
        budget = GaugeMetricFamily("reflexd_lane_budget_seconds", "Capture to applied, as configured.", labels=["lane"])
        level = GaugeMetricFamily("reflexd_health", "1 for the level the box is at.", labels=["level"])
        for one in snapshots:
            running.add_metric([one.lane], float(one.state == "running"))
            budget.add_metric([one.lane], one.budget_ms / 1e3)
        found = health.judge(snapshots).health
        for name in health.WORSE:
            level.add_metric([name], float(name == found))
        yield from (running, budget, level)


def application(run_dir: Path) -> web.Application:
    registry = CollectorRegistry(auto_describe=False)
    ledgers = LedgerCollector(run_dir)
    registry.register(ledgers)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(_: web.Request) -> web.Response:
        """503 when the actuators are safe because of a lane; 200 with the reasons while the box is only degraded."""
        found = health.judge(ledger.read_all(run_dir))
        return web.Response(
            text="\n".join(found.reasons or ["good"]) + "\n", status=503 if found.health == health.SAFE else 200
        )

    async def readyz(_: web.Request) -> web.Response:
        """200 once every lane has its model loaded and its source opened, whatever happens later."""
        states = {one.lane: one.state for one in ledger.read_all(run_dir)}
        waiting = [lane for lane, state in states.items() if state in ("closed", "opening")]
        text = f"waiting for lanes {', '.join(waiting)}" if waiting else "ready" if states else "no lane yet"
        return web.Response(text=text + "\n", status=200 if text == "ready" else 503)

    async def gathering(_: web.Application) -> AsyncIterator[None]:
        """Between scrapes, too, so that no row is overwritten unseen."""

        async def gather() -> None:
            while True:
                ledgers.gather()
                await asyncio.sleep(GATHER_S)

        task = asyncio.create_task(gather())
        yield
        task.cancel()

    app = web.Application()
    app.cleanup_ctx.append(gathering)
    for path, answer in (("/metrics", metrics), ("/healthz", healthz), ("/readyz", readyz)):
        app.router.add_get(path, answer)
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9469)
    options = parser.parse_args()
    realtime.die_with_parent()
    os.nice(10)  # never ahead of a lane
    web.run_app(application(options.run_dir), host=options.host, port=options.port, print=None, access_log=None)


if __name__ == "__main__":
    main()
