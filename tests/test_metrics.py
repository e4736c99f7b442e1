"""/metrics in a process of its own, from the ledgers of a running daemon."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

from agent import ledger
from agent.benches.programs import free_port
from agent.metrics import Ledgers


def test_a_running_daemon_is_scraped_and_its_helper_ends_with_it(tmp_path: Path) -> None:
    port = free_port()
    lane = {"source": {"driver": "sensor.sim_arm"}, "model": "arm-deviation"}
    config = {"node": "m", "run_dir": str(tmp_path), "metrics": {"port": port}, "lanes": {"arm": lane}}
    path = tmp_path / "reflexd.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")
    daemon = subprocess.Popen([sys.executable, "-m", "agent", "run", "-c", str(path)])
    try:
        text = until(lambda: fetch(port), lambda text: 'reflexd_lane_events_total{event="samples",lane="arm"}' in text)
        assert 'reflexd_lane_running{lane="arm"} 1.0' in text
        assert 'reflexd_lane_dropped_total{lane="arm",reason="stale"} 0.0' in text
        first = sample(text)
        assert until(lambda: fetch(port), lambda text: sample(text) > first)
    finally:
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
    until(lambda: fetch(port), lambda text: text == "")  # nobody listens any more


def test_the_ledger_of_a_dead_daemon_can_still_be_read(tmp_path: Path) -> None:
    book = ledger.Ledger(tmp_path / "arm.ledger", "arm", 2.0)
    book.count[ledger.LATE] += 3
    book.close()
    (tmp_path / "torn.ledger").write_bytes(b"half a ledger")
    families = {family.name: family for family in Ledgers(tmp_path).collect()}
    late = [one.value for one in families["reflexd_lane_dropped"].samples if one.labels == {"lane": "arm", "reason": "late"}]
    assert late == [3.0]


def fetch(port: int) -> str:
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def sample(text: str) -> float:
    line = next((one for one in text.splitlines() if one.startswith('reflexd_lane_events_total{event="samples"')), "0")
    return float(line.split()[-1])


def until(ask, enough, seconds: float = 20.0):
    """Ask again until the answer is enough."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = ask()
        if enough(answer):
            return answer
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s; pid {os.getpid()}")
