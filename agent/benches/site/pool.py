"""A folder of pictures through MoveNet by one, two and four workers, and a simulation of more than this machine has."""

from __future__ import annotations

import heapq
import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np

from agent.errors import DataError
from agent.isolated import python

KEYS = ("pool",)
MODEL = "movenet"
PICTURES, SHORT_PICTURES = 2000, 200
DIFFERENT = 20  # pictures; the others are further names of these
WORKERS, PLANNED = (1, 2, 4), (4, 8, 16, 32, 64)
ROUNDS = 3
WINDOW = 4  # as in agent/pool


def measure(short: bool) -> dict[str, Any]:
    """For each number of workers its pictures a second, and the share of linear up to the cores that exist.

    A run with n workers has n cores for everything: reading, decoding, inference and the process that gives out work.
    of_processor_time: what one worker's run takes of it, by what this run takes: the share of linear where nothing else
    runs on these cores and no worker waits.
    """
    pictures, rounds = (SHORT_PICTURES, 1) if short else (PICTURES, ROUNDS)
    runs: dict[int, list[dict[str, Any]]] = {workers: [] for workers in WORKERS}
    with tempfile.TemporaryDirectory(prefix="reflexd-pool-") as name:
        folder = Path(name)
        _draw(folder, pictures)
        for number in range(rounds):
            for workers in WORKERS:
                click.echo(f"pool: round {number + 1} of {rounds}: {workers} workers", err=True)
                runs[workers].append(_run(folder, workers))
    return {"pool": _figures(runs, pictures)}


def _figures(runs: dict[int, list[dict[str, Any]]], pictures: int) -> dict[str, Any]:
    cores = len(os.sched_getaffinity(0))
    best = {workers: min(each, key=lambda run: run["seconds"]) for workers, each in runs.items()}
    alone, spent = best[1]["seconds"], {workers: run["workers_s"] + run["caller_s"] for workers, run in best.items()}
    rows = {
        str(workers): {
            "per_s": round(pictures / run["seconds"], 1),
            "of_linear": round(alone / run["seconds"] / min(workers, cores), 3),
            "of_processor_time": round(spent[1] / spent[workers], 3),
            "seconds": run["seconds"],
            "caller_s": run["caller_s"],
            "workers_s": run["workers_s"],
        }
        for workers, run in best.items()
    }
    work_s, caller_s = best[1]["workers_s"] / pictures, best[1]["caller_s"] / pictures
    planned = {str(workers): round(simulated(workers, work_s, caller_s), 3) for workers in PLANNED}
    return {**rows, "pictures": pictures, "cores": cores, "simulated_of_linear": planned}


def _draw(folder: Path, pictures: int) -> None:
    """JPEGs of 640 x 480 with the detail of a photograph, about 60 kB each."""
    random = np.random.default_rng(0)
    for number in range(DIFFERENT):
        coarse = random.integers(0, 256, (24, 32, 3), np.uint8)
        picture = cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC)
        noisy = np.clip(picture + random.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number:05}.jpg"), noisy)
    for number in range(DIFFERENT, pictures):
        os.link(folder / f"{number % DIFFERENT:05}.jpg", folder / f"{number:05}.jpg")


def _run(folder: Path, workers: int) -> dict[str, Any]:
    """The figures that `pool run` prints. Raises DataError."""
    cores = sorted(os.sched_getaffinity(0))[:workers]
    out = folder / f"{workers}.jsonl"
    options = ["--model", MODEL, "--out", str(out), "--workers", str(workers), "--json"]
    process = subprocess.run(
        python("agent", "pool", "run", str(folder), *options),
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    out.unlink(missing_ok=True)
    if process.returncode:
        raise DataError(f"'pool run' ended with {process.returncode}: see the lines above")
    figures: dict[str, Any] = json.loads(process.stdout)
    return figures


def simulated(workers: int, work_s: float, caller_s: float, pictures: int = 20_000) -> float:
    """Share of linear of so many workers of one core each and a caller of its own: discrete events, first come first.

    work_s, caller_s: of one picture. A worker's time varies by a fifth, and its next picture waits for the caller.
    """
    times = np.random.default_rng(0).normal(work_s, work_s / 5, pictures).clip(work_s / 2).tolist()
    caller = 0.0  # when it is free
    free = [0.0] * workers  # when a worker has done all that it was given
    answers: list[tuple[float, int]] = [(0.0, worker) for worker in range(workers) for _ in range(WINDOW)]
    for work in times:
        asked, worker = heapq.heappop(answers)
        caller = max(caller, asked) + caller_s
        free[worker] = max(free[worker], caller) + work
        heapq.heappush(answers, (free[worker], worker))
    return pictures * work_s / workers / max(free)


def text(result: dict[str, Any]) -> str:
    pool = result["pool"]
    lines = [f"{pool['pictures']:,} pictures through {MODEL}, {pool['cores']} cores"]
    for workers in _numbers(pool):
        row = pool[workers]
        spent = f"caller {row['caller_s']:.1f} s, workers {row['workers_s']:.1f} s of processor time"
        shares = f"{row['of_linear']:>7.0%} of linear, {row['of_processor_time']:.0%} by processor time"
        lines.append(f"{workers:>3} workers{row['per_s']:>9.1f}/s {shares}   ({spent})")
    planned = ", ".join(f"{workers}: {share:.0%}" for workers, share in pool["simulated_of_linear"].items())
    return "\n".join([*lines, f"simulation, a core for each worker and one for the caller: {planned}"])


def _numbers(pool: dict[str, Any]) -> Sequence[str]:
    return [key for key in pool if key.isdecimal()]
