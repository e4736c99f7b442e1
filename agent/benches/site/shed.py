"""`reflexd bench site`, part shed: a box that is pushed to 90 % hands a lane's model to one at 20 %.

Both are whole daemons on this machine, each pinned to a core of its own, and a spinner keeps each core at its load.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from agent import ledger
from agent.benches.programs import free_port
from agent.control import client as control
from agent.errors import DataError
from agent.isolated import python
from agent.offload.busy import BusyMeter

KEYS = ("shed_s", "moved_lanes_late", "shed")
PUSHED, FREE = 0.9, 0.2
BUDGET_MS, FPS = 100.0, 10
CALM_S, SHORT_S, LONG_S = 3.0, 15.0, 60.0
START_S = 60.0
SPIN_S = 0.02  # a period of the spinner
LANE = {
    "source": {"driver": "camera.sim", "width": 320, "height": 240, "fps": FPS, "timeout_ms": 1000},
    "model": "movenet",
    "critical": False,
    "budget_ms": BUDGET_MS,
}


def measure(short: bool) -> dict[str, Any]:
    """shed_s: from the push to the first inference of the peer. moved_lanes_late: samples past the budget since."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise DataError("two boxes need a core each, and this process may use one")
    with tempfile.TemporaryDirectory() as name, ExitStack() as ended:
        folder = Path(name)
        port = free_port()
        ended.enter_context(_box(folder / "free", cores[1], {"offload": {"serve": _serve(port)}}))
        ended.enter_context(_spinner(cores[1], FREE))
        lane = {**LANE, "release": ["free"], "offload": {}}
        peers = {"free": {"url": f"http://127.0.0.1:{port}"}}
        pushed = folder / "pushed"
        ended.enter_context(_box(pushed, cores[0], {"lanes": {"yard": lane}, "offload": {"peers": peers}}))
        _until(lambda: _counts(pushed)["inferences"] > FPS, "the lane infers")
        time.sleep(CALM_S)
        before, t_push = _counts(pushed), time.monotonic_ns()
        ended.enter_context(_spinner(cores[0], PUSHED))
        _until(lambda: _status(pushed)["handed"] > 0, "an inference is handed over")
        t_shed = time.monotonic_ns()
        time.sleep(SHORT_S if short else LONG_S)
        return _figures(pushed, before, t_push, t_shed)


def _figures(box: Path, before: dict[str, int], t_push: int, t_shed: int) -> dict[str, Any]:
    snapshot, status = ledger.read(box / "yard.ledger"), _status(box)
    total = ledger.parts(snapshot.rows)["total"]
    since, moved = (total[snapshot.rows["capture"] > start] for start in (t_push, t_shed))
    lost = {name: snapshot.counts[name] - before[name] for name in ("lost", "skipped", "undelivered", "late")}
    return {
        "shed_s": round((t_shed - t_push) / 1e9, 2),
        "moved_lanes_late": int((moved > BUDGET_MS).sum()),
        "shed": {
            "samples": len(moved),
            "p50_ms": round(float(np.percentile(moved, 50)), 2),
            "p99_ms": round(float(np.percentile(moved, 99)), 2),
            "p99_since_push_ms": round(float(np.percentile(since, 99)), 2),
            "budget_ms": BUDGET_MS,
            "handed": status["handed"],
            "missed": status["missed"],
            "lost": sum(lost.values()),
        },
    }


def text(result: dict[str, Any]) -> str:
    """A line for each figure."""
    shed = result["shed"]
    return (
        f"shed: a box pushed to {PUSHED:.0%} hands its lane to one at {FREE:.0%} after {result['shed_s']:g} s;"
        f" {shed['handed']} inferences handed, {shed['missed']} missed;\n"
        f"      capture to applied p50 {shed['p50_ms']:g} ms, p99 {shed['p99_ms']:g} ms of {shed['budget_ms']:g} ms;"
        f" {result['moved_lanes_late']} of {shed['samples']} late, {shed['lost']} lost"
    )


def _serve(port: int) -> dict[str, Any]:
    return {"port": port, "models": [LANE["model"]]}


@contextmanager
def _box(folder: Path, core: int, changes: dict[str, Any]) -> Iterator[None]:
    """A daemon on one core, until the end. A box that only serves has a lane, too."""
    folder.mkdir()
    arm = {"source": {"driver": "sensor.sim_arm", "timeout_ms": 500}, "model": "arm-deviation", "critical": False}
    config = {
        "run_dir": str(folder),
        "state_dir": str(folder / "state"),
        "lanes": {"arm": arm},
        "recorder": {"enabled": False},
        **changes,
    }
    (folder / "reflexd.yaml").write_text(json.dumps(config))
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            python("agent", "run", "-c", str(folder / "reflexd.yaml")), stdout=log, stderr=log, cwd=folder
        )
    os.sched_setaffinity(process.pid, {core})
    try:
        _until(lambda: process.poll() is None and control.ask(folder, {"do": "status"}), f"{folder.name} runs", folder)
        yield
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def _spinner(core: int, share: float) -> Iterator[None]:
    """Keeps the core as busy as this in all, until the end."""
    process = subprocess.Popen(python("agent.benches.site.shed", str(core), str(share)))
    try:
        yield
    finally:
        process.kill()
        process.wait()


def spin(core: int, share: float) -> None:
    """Without end: adds what is missing to the share."""
    os.sched_setaffinity(0, {core})
    meter, duty = BusyMeter([core]), share
    while True:
        duty = min(max(duty + 0.05 * (share - meter()), 0.0), 1.0)
        end = time.monotonic() + SPIN_S
        while time.monotonic() < end - (1 - duty) * SPIN_S:
            pass
        time.sleep(max(0.0, end - time.monotonic()))


def _counts(box: Path) -> dict[str, int]:
    try:
        return ledger.read(box / "yard.ledger").counts
    except OSError:
        return {"inferences": 0}


def _status(box: Path) -> dict[str, Any]:
    answer = control.ask(box, {"do": "status"}) or {}
    status: dict[str, Any] = answer["lanes"]["yard"]["offload"][LANE["model"]]
    return status


def _until(condition: Callable[[], object], awaited: str, folder: Path | None = None) -> None:
    """Raises DataError."""
    end = time.monotonic() + START_S
    while not condition():
        if time.monotonic() > end:
            log = (folder / "log").read_text(errors="replace")[-500:] if folder else ""
            raise DataError(f"not within {START_S:g} s: {awaited} {log}")
        time.sleep(0.01)


if __name__ == "__main__":
    spin(int(sys.argv[1]), float(sys.argv[2]))
