"""`reflexd bench throughput`: inferences a second of four lanes with one engine or one each, and their memory."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from typing import Any

import click
import numpy as np
import psutil

from agent import ledger
from agent.box import realtime
from agent.box.machine import machine
from agent.data import Array, Sample
from agent.isolated import python
from agent.lane import Lane
from agent.offline import offline_lane
from agent.packages import package
from agent.perception import Perception
from agent.rules.engine import Rules
from agent.rules.scene import Scene

MODEL, MEMORY_MODEL = "person-coarse", "movenet"
LANES = 4
FRAMES = 64
# Of a MobileNet-0.25-class model behind a server that collects batches: what users compare with.
PUBLISHED = {"per_s": 1120, "p99_ms": 87}


def measure(short: bool) -> dict[str, Any]:
    """As fast as they go; ms from a picture to its decision, the wait for the engine included."""
    realtime.set_process()
    seconds, rounds = (2.0, 1) if short else (5.0, 3)
    runs: dict[bool, list[dict[str, float]]] = {True: [], False: []}
    for number in range(rounds):
        for shared in runs:
            click.echo(f"round {number + 1} of {rounds}: {'one engine' if shared else 'four engines'}", err=True)
            runs[shared].append(_run([_lane(shared) for _ in range(LANES)], seconds))
    return {
        "machine": machine(),
        "short": short,
        "model": MODEL,
        **_median(runs[False]),
        "shared": _median(runs[True]),
        "published": PUBLISHED,
        "memory": _memory(),
    }


def _median(runs: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(float(np.median([run[key] for run in runs])), 2) for key in runs[0]}


def _lane(shared: bool) -> Lane:
    perception = Perception(package.open_package(package.find(MODEL), shared=shared))
    return offline_lane("camera", "camera.sim", {"width": 320, "height": 240, "pictures": 8}, perception)


def _run(lanes: list[Lane], seconds: float) -> dict[str, float]:
    taken: list[list[int]] = [[] for _ in lanes]
    scene = Scene(Rules({}, {}))
    frames = [_frames(lane) for lane in lanes]
    end = time.monotonic() + seconds
    threads = [
        threading.Thread(target=_step, args=(lane, frames[n], scene, end, taken[n])) for n, lane in enumerate(lanes)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ms = np.concatenate([np.array(each) for each in taken]) / 1e6
    return {"per_s": len(ms) / seconds, "p99_ms": ledger.quantiles(ms)["p99"]}


def _frames(lane: Lane) -> list[Array]:
    lane.open()
    frames = []
    for sample in lane.source.remaining_samples():
        frames.append(sample.payload.copy())
        if len(frames) == FRAMES:
            break
    lane.source.close()
    return frames


def _step(lane: Lane, frames: list[Array], scene: Scene, end: float, taken: list[int]) -> None:
    number = 0
    while time.monotonic() < end:
        start = time.monotonic_ns()
        lane.step(Sample("camera", number, start, frames[number % len(frames)]), scene)
        taken.append(time.monotonic_ns() - start)
        number += 1


def _memory() -> dict[str, Any]:
    """Resident MB that the engines of one lane, and of four lanes that share, add to a process."""
    single_mb, shared_mb = _engines_mb(1), _engines_mb(LANES)
    return {
        "model": MEMORY_MODEL,
        "one_mb": single_mb,
        "four_shared_mb": shared_mb,
        "ratio": round(shared_mb / single_mb, 2),
    }


def _engines_mb(lanes: int) -> float:
    """In a process of its own: memory that was freed before would be used again."""
    run = subprocess.run(python("agent.benches.throughput", str(lanes)), check=True, capture_output=True, text=True)
    return float(json.loads(run.stdout))


def main(lanes: int) -> None:
    """Print how much the packages of so many lanes add, MB."""
    package.open_package(package.find(MODEL))  # the engine's own libraries
    process = psutil.Process()
    before = process.memory_info().rss
    opened = [package.open_package(package.find(MEMORY_MODEL), shared=lanes > 1) for _ in range(lanes)]
    for each in opened:
        each.infer()
    click.echo(json.dumps(round((process.memory_info().rss - before) / 1e6, 2)))


def text(result: dict[str, Any]) -> str:
    """The same as a table."""
    shared, published, memory = result["shared"], result["published"], result["memory"]
    return "\n".join(
        [
            result["machine"],
            f"{LANES} lanes with {result['model']}, as fast as they go",
            f"  an engine each   {result['per_s']:8.0f} inferences/s   p99 {result['p99_ms']:.2f} ms",
            f"  one engine       {shared['per_s']:8.0f} inferences/s   p99 {shared['p99_ms']:.2f} ms",
            f"  published        {published['per_s']:8.0f} inferences/s   at  {published['p99_ms']} ms",
            f"memory of {memory['model']}: one lane {memory['one_mb']} MB, four sharing {memory['four_shared_mb']} MB",
        ]
    )


if __name__ == "__main__":
    import sys

    main(int(sys.argv[1]))
