"""/metrics for Prometheus, from the ledgers: a process of its own, so that a scrape never takes the lanes' GIL."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from agent import ledger, realtime
from agent.ledger import Account


class Ledgers(Collector):
    """Reads every ledger of a run_dir anew at each scrape."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir

    def accounts(self) -> Iterator[Account]:
        for path in sorted(self.run_dir.glob("*.ledger")):
            try:
                yield ledger.read(path)
            except (OSError, ValueError):
                continue  # being made, or of another version

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        counted = CounterMetricFamily("reflexd_lane_events", "Samples and what became of them.", labels=["lane", "event"])
        dropped = CounterMetricFamily("reflexd_lane_dropped", "What went no further, by reason.", labels=["lane", "reason"])
        running = GaugeMetricFamily("reflexd_lane_running", "1 while the lane reads its source.", labels=["lane"])
        latency = GaugeMetricFamily(
            "reflexd_lane_latency_seconds", "Of the newest samples, by part of the way.", labels=["lane", "part", "quantile"]
        )
        for one in self.accounts():
            for name, count in one.counts.items():
                if name in ledger.DROPS:
                    dropped.add_metric([one.lane, name], count)
                else:
                    counted.add_metric([one.lane, name], count)
            running.add_metric([one.lane], float(one.state == "running"))
            for part, values in ledger.parts(one.rows).items():
                for quantile, value in ledger.quantiles(values).items():
                    latency.add_metric([one.lane, part, quantile], value / 1e3)
        yield from (counted, dropped, running, latency)


def application(run_dir: Path) -> web.Application:
    registry = CollectorRegistry()
    registry.register(Ledgers(run_dir))

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/metrics", metrics)
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
