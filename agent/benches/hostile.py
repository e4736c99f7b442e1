"""`reflexd bench hostile`: a lane and its actuator while others take the cores and the network."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import click

from agent import ledger
from agent.benches import hostile_load
from agent.benches.programs import free_port, spawn, start_host, stop, wait_for_verb
from agent.benches.soak import arm_configuration
from agent.box.machine import machine
from agent.box.realtime import fifo_setting

BOUND_MS = 100.0
NEVER_MS = 1e6  # in JSON, which has no infinity
MEASURED_S = 3.0
IDLE_PEERS, FLOODING_PEERS, HOGS_PER_CORE = 5000, 20, 2
SHORT_TIMES = 1


class Row(NamedTuple):
    """name: of the load. programs: arguments of hostile_load, each for a process. may_lose: lanes may stop."""

    name: str
    programs: list[list[str]]
    may_lose: bool = False


class Observed(NamedTuple):
    """One repetition. p99_ms: captured to applied. safe_ms: from the sender's kill to the device's safe state.

    lanes_lost: 1 where the lane did not run any more, or its commands were not applied at the end of the load.
    """

    p99_ms: float
    safe_ms: float
    lanes_lost: int


def rows(port: int) -> list[Row]:
    """The loads. Only a program of higher real-time priority may stop a lane, on a core that the lane cannot leave."""
    address, cores = str(port), sorted(os.sched_getaffinity(0))
    return [
        Row("nothing", []),
        Row("idle_peers", [["idle", address, str(IDLE_PEERS)]]),
        Row("flooding_peers", [["flood", address, str(FLOODING_PEERS // 2)]] * 2),
        *(Row(f"fifo_hog_on_core_{core}", [["hog", str(core), str(hostile_load.PRIORITY)]], True) for core in cores),
        Row("normal_hogs", [["hog", str(core), "0"] for core in cores for _ in range(HOGS_PER_CORE)]),
    ]


def measure(times: int, short: bool = False) -> dict[str, Any]:
    """Each load `times` times: a row with the worst figures of all repetitions."""
    times = min(times, SHORT_TIMES) if short else times
    result: dict[str, Any] = {"machine": machine(), "short": short, "times": times, "bound_ms": BOUND_MS, "rows": {}}
    port = free_port()
    for row in rows(port):
        if row.may_lose and not fifo_setting().on:
            result["rows"][row.name] = {"skipped": "SCHED_FIFO is not allowed here"}
            continue
        observed = [_observe(row, port) for _ in range(times)]
        result["rows"][row.name] = worst = {
            "lane_p99_ms": round(max(each.p99_ms for each in observed), 2),
            "safe_ms": round(max(each.safe_ms for each in observed), 1),
            "lanes_lost": 0 if row.may_lose else sum(each.lanes_lost for each in observed),
        }
        click.echo(f"{row.name}: {worst}", err=True)
    return result


def failed(result: dict[str, Any]) -> bool:
    measured = [row for row in result["rows"].values() if "skipped" not in row]
    return any(row["safe_ms"] > BOUND_MS or row["lanes_lost"] for row in measured)


def _observe(row: Row, port: int) -> Observed:
    with tempfile.TemporaryDirectory(prefix="reflexd-hostile-") as name:
        folder = Path(name)
        record, path = folder / "robot.jsonl", folder / "hostile.yaml"
        path.write_text(json.dumps(_configuration(folder, record, port)), encoding="utf-8")
        host = start_host(path)
        daemon = spawn(["agent", "run", "-c", str(path)], stderr=subprocess.DEVNULL)
        try:
            wait_for_verb(record, "go", 0)
            with _loaded(row.programs):
                loaded_at = time.monotonic_ns()
                time.sleep(MEASURED_S)
                snapshot = ledger.read(folder / "arm.ledger")
                moving = _newest(record) == "go"
                lost = int(snapshot.state != "running" or daemon.poll() is not None or not moving)
                killed = time.monotonic_ns()
                os.kill(daemon.pid, signal.SIGKILL)
                safe = wait_for_verb(record, "safe", killed) if moving else killed  # safe already
                safe_ms = (safe - killed) / 1e6 if safe else NEVER_MS
        finally:
            daemon.kill()
            daemon.wait()
            stop(host)
    applied = snapshot.rows[(snapshot.rows["read"] > loaded_at) & (snapshot.rows["applied"] > 0)]
    p99 = ledger.quantiles(ledger.parts(applied)["total"]).get("p99", NEVER_MS)
    return Observed(p99, safe_ms, lost)


def _configuration(folder: Path, record: Path, port: int) -> dict[str, Any]:
    """A lane at 1 kHz, of which every reading becomes a command over TCP."""
    config = arm_configuration(folder)
    config["lanes"]["arm"]["source"] = {"driver": "sensor.sim_arm", "timeout_ms": 500}
    device = {"driver": "actuator.log", "path": str(record)}
    robot = {"device": device, "rest": "rest", "verbs": ["rest", "go"], "endpoint": f"tcp://127.0.0.1:{port}"}
    always = [{"lane": "arm", "label": "normal", "absent": absent} for absent in (False, True)]
    rule = {"any": always, "actuator": "robot", "verb": "go", "every_sample": True, "deadline_ms": 1000}
    return {**config, "actuators": {"robot": robot}, "rules": {"always": rule}}


@contextmanager
def _loaded(programs: list[list[str]]) -> Iterator[None]:
    """The programs run, and have begun, until the block ends."""
    running = [spawn(["agent.benches.hostile_load", *program], stdout=subprocess.PIPE) for program in programs]
    try:
        for process in running:
            assert process.stdout is not None
            process.stdout.readline()
        yield
    finally:
        for process in running:
            process.kill()
        for process in running:
            process.communicate()


def _newest(record: Path) -> str:
    """The verb of the newest complete line."""
    lines = record.read_text().splitlines(keepends=True)
    return str(json.loads([line for line in lines if line.endswith("\n")][-1])["verb"])


def text(result: dict[str, Any]) -> str:
    lines = [result["machine"], f"{'LOAD':<20} {'LANE P99 MS':>12} {'SAFE MS':>8} {'LANES LOST':>11}"]
    for name, row in result["rows"].items():
        if "skipped" in row:
            lines.append(f"{name:<20} skipped: {row['skipped']}")
        else:
            lines.append(f"{name:<20} {row['lane_p99_ms']:>12} {row['safe_ms']:>8} {row['lanes_lost']:>11}")
    return "\n".join(lines)
