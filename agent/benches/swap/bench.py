"""`reflexd bench swap`: MoveNet is loaded and exchanged in a camera lane; what a sensor lane at 1 kHz notices of it.

Blocks with exchanges and equally long ones without alternate in one daemon. A lane's thread has SCHED_FIFO, so that
other programs on a busy box do not hide what the daemon itself does.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agent import ledger
from agent.benches.programs import Milliseconds, spawn, start_host, stop
from agent.benches.soak import arm_configuration
from agent.box import realtime
from agent.box.machine import machine
from agent.control.client import ask
from agent.packages import package
from agent.update.store import Store

MODEL, LANES = "movenet", ("arm", "camera")
VERSIONS = ("1.0.1", "1.0.2")
SWAPS, SHORT_SWAPS, BLOCK = 100, 20, 10  # in a block
START_S, SWAP_S, POLL_S = 60.0, 30.0, 0.05
SETTLE_S = 2.0  # after the start, before anything counts


class Block(NamedTuple):
    """A stretch of time. ms: of the sensor lane's samples, capture to decision."""

    seconds: float
    ms: Milliseconds


def measure(swaps: int, short: bool = False) -> dict[str, Any]:
    """worst_stall_ms: the sensor lane's worst sample while models are exchanged, less its worst without."""
    swaps = min(swaps, SHORT_SWAPS) if short else swaps
    with tempfile.TemporaryDirectory(prefix="reflexd-swap-") as name, _daemon(Path(name)) as folder:
        before = _lost(folder)
        pairs = [_pair(folder, first, min(BLOCK, swaps - first)) for first in range(0, swaps, BLOCK)]
        lost = _lost(folder) - before
    with_swaps = np.concatenate([block.ms for block, _ in pairs])
    control = np.concatenate([block.ms for _, block in pairs])
    return {
        "machine": machine(),
        "short": short,
        "fifo": realtime.fifo_setting().on,
        "swaps": swaps,
        "swap_s": round(sum(block.seconds for block, _ in pairs) / swaps, 3),
        "with_swaps_ms": _figures(with_swaps),
        "control_ms": _figures(control),
        "worst_stall_ms": round(float(with_swaps.max() - control.max()), 3),
        "lost": lost,
    }


def _figures(ms: Milliseconds) -> dict[str, float]:
    return {name: round(value, 3) for name, value in ledger.quantiles(ms).items()}


@contextmanager
def _daemon(folder: Path) -> Iterator[Path]:
    """One that runs both lanes, and has both versions of the model in its store."""
    path = folder / "swap.yaml"
    path.write_text(json.dumps(_configuration(folder)), encoding="utf-8")
    store = Store(folder / "state", MODEL)
    for version in VERSIONS:
        store.add(_copy(folder, version), version)
    host = start_host(path)
    daemon = spawn(["agent", "run", "-c", str(path)], stderr=subprocess.DEVNULL)
    try:
        _until(lambda: _version(folder) != "", START_S, "the lanes to run")
        time.sleep(SETTLE_S)
        yield folder
    finally:
        stop(daemon)
        stop(host)


def _configuration(folder: Path) -> dict[str, Any]:
    config = arm_configuration(folder)
    config["lanes"]["arm"]["source"] = {"driver": "sensor.sim_arm"}
    camera = {"driver": "camera.sim", "width": 640, "height": 480, "fps": 10, "frozen_ms": 0}
    config["lanes"]["camera"] = {"source": camera, "model": MODEL, "critical": False}
    update = {"url": "file:///nowhere", "root": "root.json", "models": [MODEL], "every_s": 86400}
    folders = {"run_dir": str(folder / "run"), "state_dir": str(folder / "state")}
    return {**config, **folders, "update": update}


def _copy(folder: Path, version: str) -> Path:
    """The bundled package under another version."""
    copy = Path(shutil.copytree(package.find(MODEL), folder / version))
    manifest = package.read(copy).model_copy(update={"version": version})
    (copy / "manifest.yaml").write_text(manifest.model_dump_json(exclude_defaults=True), encoding="utf-8")
    return copy


def _pair(folder: Path, first: int, swaps: int) -> tuple[Block, Block]:
    """With exchanges, and as long without."""

    def exchange() -> None:
        for number in range(first, first + swaps):
            _swap(folder, VERSIONS[number % 2])

    def wait() -> None:
        end = time.monotonic() + block.seconds
        while time.monotonic() < end:
            time.sleep(POLL_S)
            _version(folder)  # as often as during the exchanges

    block = _block(folder, exchange)
    return block, _block(folder, wait)


def _block(folder: Path, work: Callable[[], None]) -> Block:
    start = time.monotonic_ns()
    work()
    end = time.monotonic_ns()
    rows = ledger.read(folder / "run" / "arm.ledger").rows
    rows = rows[(rows["capture"] >= start) & (rows["decided"] <= end)]
    return Block((end - start) / 1e9, (rows["decided"] - rows["capture"]) / 1e6)


def _swap(folder: Path, version: str) -> None:
    """As after a person's decision: the version is in use from now on, and the lane takes it."""
    store = Store(folder / "state", MODEL)
    store.begin_trial(version)
    store.commit()
    ask(folder / "run", {"do": "swap", "model": MODEL})
    _until(lambda: _version(folder) == version, SWAP_S, f"version {version} to decide")


def _version(folder: Path) -> str:
    """That decides in the camera's lane; empty while it does not run."""
    lanes = (ask(folder / "run", {"do": "status"}) or {}).get("lanes", {})
    running = all(lanes.get(name, {}).get("state") == "running" for name in LANES)
    return str(lanes["camera"]["versions"][MODEL]) if running else ""


def _until(condition: Callable[[], bool], limit_s: float, awaited: str) -> None:
    """Raises RuntimeError."""
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"waited {limit_s:g} s in vain for {awaited}")
        time.sleep(POLL_S)


def _lost(folder: Path) -> int:
    return sum(ledger.read(folder / "run" / f"{lane}.ledger").counts["lost"] for lane in LANES)


def text(result: dict[str, Any]) -> str:
    rows = [("with exchanges", result["with_swaps_ms"]), ("without", result["control_ms"])]
    lines = [f"{name}: " + ", ".join(f"{key} {value} ms" for key, value in row.items()) for name, row in rows]
    head = f"{result['machine']}{'' if result['fifo'] else '; without SCHED_FIFO: other programs are in the figures'}"
    stall = f"{result['swaps']} exchanges of {MODEL}, {result['swap_s']} s each: the sensor lane's worst sample is"
    return "\n".join([head, *lines, f"{stall} {result['worst_stall_ms']} ms later; {result['lost']} samples lost"])
