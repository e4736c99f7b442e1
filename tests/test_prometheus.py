"""A real Prometheus scrapes a running daemon, and its tools check the alert rules and the dashboard's queries."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import urlopen

import numpy as np
import pytest

from agent.benches.programs import free_port
from agent.drift import published, report
from agent.drift.detector import Limits
from agent.drift.lane import LaneDrift
from agent.update import progress
from agent.update.progress import Progress
from tests.processes import Cell, arm
from tests.shared import ROOT
from tests.waiting import until

FOLDER = ROOT / "systemd/prometheus"
DASHBOARDS = (FOLDER / "reflexd-dashboard.json", FOLDER / "reflexd-site-dashboard.json")


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with prometheus and promtool: the system's, or Debian's package, unpacked and not installed."""
    promtool = shutil.which("promtool")
    if promtool and shutil.which("prometheus"):
        return Path(promtool).parent
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        pytest.skip("no promtool here, and no apt-get to fetch Debian's package 'prometheus'")
    folder = tmp_path_factory.mktemp("prometheus")
    download = subprocess.run(["apt-get", "download", "prometheus"], cwd=folder, capture_output=True, text=True)
    packages = list(folder.glob("*.deb"))
    if not packages:
        last = download.stderr.strip().splitlines()[-1:]
        pytest.skip(f"no promtool here, and 'apt-get download prometheus' failed: {last}")
    subprocess.run(["dpkg-deb", "-x", str(packages[0]), str(folder)], check=True)
    return folder / "usr/bin"


def run(*command: str, **options: Any) -> str:
    process = subprocess.run(command, capture_output=True, text=True, **options)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.mark.slow
def test_the_rules_are_valid_and_fire_as_tested(tools: Path) -> None:
    assert "SUCCESS: 13 rules found" in run(
        str(tools / "promtool"), "check", "rules", str(FOLDER / "reflexd.rules.yml")
    )
    run(str(tools / "promtool"), "test", "rules", "reflexd.test.yml", "reflexd-days.test.yml", cwd=FOLDER)
    run(str(tools / "promtool"), "check", "config", "prometheus.yml", cwd=FOLDER)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[int]:
    """The port at which a daemon serves its metrics, its commands being applied."""
    with Cell(tmp_path, {"arm": arm(fault_every_s=1)}) as cell:
        port = free_port()
        cell.config["metrics"] = {"port": port}
        condition = {"lane": "arm", "label": "deviation", "score": 0.7, "hits": 2, "of": 3}
        cell.config["rules"] = {"off-plan": {"any": [condition], "actuator": "robot", "verb": "stop"}}
        cell.start_both()
        cell.wait_for_count("arm", "applied", 2)
        until(lambda: text(port), cell.logs)
        yield port


def text(port: int) -> bytes:
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as answer:
            return bytes(answer.read())
    except OSError:
        return b""


def test_names_and_help_follow_the_conventions_of_prometheus(tools: Path, served: int) -> None:
    process = subprocess.run([str(tools / "promtool"), "check", "metrics"], input=text(served), capture_output=True)
    assert process.returncode == 0, process.stderr


@pytest.mark.slow
def test_a_prometheus_that_scrapes_can_run_every_query_of_rules_and_dashboard(
    tools: Path, served: int, tmp_path: Path
) -> None:
    port = free_port()
    scrape = (FOLDER / "prometheus.yml").read_text().replace("9469", str(served)).replace("5s", "1s")
    (tmp_path / "prometheus.yml").write_text(scrape)
    shutil.copy(FOLDER / "reflexd.rules.yml", tmp_path)
    command = [
        str(tools / "prometheus"),
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data",
    ]
    with open(tmp_path / "prometheus.log", "wb") as log:
        server = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    try:
        until(lambda: query(port, 'up{job="reflexd"} == 1'), (tmp_path / "prometheus.log").read_text)
        until(lambda: query(port, 'rate(reflexd_lane_events_total{event="samples"}[1m]) > 0'), "two scrapes")
        assert query(port, 'sum(reflexd_health{level="good"})')[0]["value"][1] == "1"
        assert float(query(port, 'reflexd_lane_latency_seconds_count{part="total"}')[0]["value"][1]) >= 2
        for expression in dashboard_queries():
            query(port, expression)
    finally:
        server.terminate()
        server.wait()


def query(port: int, expression: str) -> list[dict[str, Any]]:
    """Raises where Prometheus does not understand it."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/api/v1/query?query={quote(expression)}", timeout=5) as answer:
            return list(json.load(answer)["data"]["result"])
    except HTTPError as error:
        assert error.code == 503, f"{expression}: {error.read().decode()}"  # it starts
        return []
    except URLError:
        return []  # it does not accept connections yet


def dashboard_queries() -> list[str]:
    """The queries of the panels of both dashboards, one box and the site, their variables filled in."""
    boards = [json.loads(path.read_text()) for path in DASHBOARDS]
    queries = [target["expr"] for board in boards for panel in board["panels"] for target in panel["targets"]]
    return [query.replace("$__rate_interval", "1m").replace("$box", "127.0.0.1:9469") for query in queries]


def test_rules_and_dashboard_name_only_existing_metrics(tmp_path: Path) -> None:
    from agent.commands import boxes
    from agent.commands.boxes import BoxesReport
    from agent.ledger import Ledger
    from agent.metrics import LedgerCollector
    from tests.test_merge import twins

    Ledger(tmp_path / "arm.ledger", "arm", 2.0).close()
    progress.write(tmp_path, Progress(state_dir=str(tmp_path), models=["arm-deviation"], reason="silent"))
    drift = LaneDrift(Limits())
    drift.add_sound(np.full((1, 3), 0.5, np.float32))
    watched = {"golden": {"state": "good", "causes": [], "age_s": 1.0}, "collected": None}
    published.write(tmp_path, {"arm": {**report.of_lane("arm", drift, {}), **watched}})
    BoxesReport(twins()[0], boxes.path(tmp_path, "belt")).look(0)
    metrics = {sample.name for family in LedgerCollector(tmp_path).collect() for sample in family.samples}
    families = list(LedgerCollector(tmp_path).collect())
    metrics |= {family.name for family in families if family.type == "gauge"}  # one without a sample now, as of a trial
    metrics |= {f"{family.name}_bucket" for family in families}
    text = "".join(path.read_text() for path in (FOLDER / "reflexd.rules.yml", *DASHBOARDS))
    named = set(re.findall(r"\breflexd_[a-z_]+", text))
    assert named <= metrics | {"reflexd_dashboard"}, named - metrics
