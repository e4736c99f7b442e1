"""/metrics in a child process, from the ledgers of a running daemon."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest
from aiohttp.test_utils import TestClient, TestServer

from agent import ledger
from agent.benches.programs import free_port
from agent.metrics import LedgerCollector, application
from tests.waiting import until


def test_a_running_daemon_is_scraped_and_its_child_process_ends_with_it(tmp_path: Path) -> None:
    port = free_port()
    lane = {"source": {"driver": "sensor.sim_arm"}, "model": "arm-deviation"}
    config = {"node": "m", "run_dir": str(tmp_path), "metrics": {"port": port}, "lanes": {"arm": lane}}
    path = tmp_path / "reflexd.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")
    daemon = subprocess.Popen([sys.executable, "-m", "agent", "run", "-c", str(path)])
    try:
        until(lambda: 'reflexd_lane_events_total{event="samples",lane="arm"}' in fetch(port))
        text = fetch(port)
        assert 'reflexd_lane_running{lane="arm"} 1.0' in text
        assert 'reflexd_lane_dropped_total{lane="arm",reason="stale"} 0.0' in text
        first = sample_count(text)
        until(lambda: sample_count(fetch(port)) > first)
    finally:
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
    until(lambda: fetch(port) == "")  # the port is closed


def test_the_ledger_of_a_dead_daemon_can_still_be_read(tmp_path: Path) -> None:
    arm = ledger.Ledger(tmp_path / "arm.ledger", "arm", 2.0)
    arm.count[ledger.LATE] += 3
    arm.close()
    (tmp_path / "damaged.ledger").write_bytes(b"half a ledger")
    families = {family.name: family for family in LedgerCollector(tmp_path).collect()}
    dropped = families["reflexd_lane_dropped"].samples
    late = [sample.value for sample in dropped if sample.labels == {"lane": "arm", "reason": "late"}]
    assert late == [3.0]


def rows(arm: ledger.Ledger, *milliseconds: float) -> None:
    """Samples that took these times from capture to applied, half of it inference."""
    for number, ms in enumerate(milliseconds):
        at, end = arm.next_row(), 10**9 + int(ms * 1e6)
        arm.write(number, 10**9, 10**9, 10**9, 10**9, 10**9 + int(ms * 5e5), end, end)
        arm.record_applied(at, end)


def histogram(collector: LedgerCollector, part: str) -> dict[str, float]:
    families = {family.name: family for family in collector.collect()}
    samples = families["reflexd_lane_latency_seconds"].samples
    of_part = [sample for sample in samples if sample.labels["part"] == part]
    return {sample.labels.get("le", sample.name.rsplit("_", 1)[1]): sample.value for sample in of_part}


def test_a_histogram_counts_every_sample_once_around_the_budget(tmp_path: Path) -> None:
    arm, collector = ledger.Ledger(tmp_path / "arm.ledger", "arm", 2.0), LedgerCollector(tmp_path)
    rows(arm, 0.05, 1.9, 2.1)
    first = histogram(collector, "total")
    assert (first["0.0001"], first["0.002"], first["0.003"], first["+Inf"]) == (1, 2, 3, 3)
    assert first["sum"] == pytest.approx(0.00405)
    rows(arm, 100.0)
    second = histogram(collector, "total")
    assert (second["0.003"], second["0.02"], second["+Inf"], second["count"]) == (3, 3, 4, 4)
    assert histogram(collector, "inference")["0.001"] == 2


def test_rows_that_were_overwritten_before_a_scrape_are_counted(tmp_path: Path) -> None:
    arm, collector = ledger.Ledger(tmp_path / "arm.ledger", "arm", 2.0), LedgerCollector(tmp_path)
    collector.gather()
    arm.head = arm.cells[ledger.HEAD] = ledger.ROWS + 5
    families = {family.name: family for family in collector.collect()}
    assert [sample.value for sample in families["reflexd_lane_unmeasured"].samples] == [5]


def test_a_lane_that_restarts_begins_at_zero(tmp_path: Path) -> None:
    arm, collector = ledger.Ledger(tmp_path / "arm.ledger", "arm", 2.0), LedgerCollector(tmp_path)
    rows(arm, 1.0, 1.0)
    assert histogram(collector, "total")["count"] == 2
    rows(ledger.Ledger(tmp_path / "arm.ledger", "arm", 2.0), 1.0)
    assert histogram(collector, "total")["count"] == 1


@pytest.mark.parametrize(
    "state, critical, health, ready",
    [
        (ledger.RUNNING, True, 200, 200),
        (ledger.OPENING, True, 503, 503),
        (ledger.GONE, True, 503, 200),
        (ledger.GONE, False, 200, 200),
    ],
)
def test_probes_report_the_health_of_the_box(
    tmp_path: Path, state: int, critical: bool, health: int, ready: int
) -> None:
    arm = ledger.Ledger(tmp_path / "arm.ledger", "arm", 2.0, critical)
    arm.state, arm.cells[ledger.PROGRESS] = state, time.monotonic_ns()

    async def probes() -> tuple[int, int]:
        async with TestClient(TestServer(application(tmp_path))) as client:
            return (await client.get("/healthz")).status, (await client.get("/readyz")).status

    assert asyncio.run(probes()) == (health, ready)


def fetch(port: int) -> str:
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def sample_count(text: str) -> float:
    name = 'reflexd_lane_events_total{event="samples"'
    line = next((line for line in text.splitlines() if line.startswith(name)), "0")
    return float(line.split()[-1])
