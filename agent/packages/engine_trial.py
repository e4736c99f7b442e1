"""Times the engines of one package in turn. Its process may end as it likes: `engines.py` reads what it printed."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from agent.data import Array
from agent.errors import PackageError, first_line
from agent.packages import golden, package
from agent.packages.inputs import noise, samples
from agent.packages.outputs import ModelFault
from agent.packages.package import Package

# One run of each in turn, so that a busy moment slows them all, and with a pause, as a lane waits for its source: in a
# loop the caches stay warm, and OpenVINO was 10 % faster with a network with which it was 16 % slower in a lane.
PAUSE_S = 0.01
MIN_ROUNDS, MAX_ROUNDS, LONGEST_S = 20, 80, 3.0


def trial(folder: Path, threads: int, names: Sequence[str]) -> dict[str, Any]:
    """p50_ms of the engines that compute what the package promises, and why the others are out."""
    opened: dict[str, Package] = {}
    refused: dict[str, str] = {}
    for name in names:
        try:
            opened[name] = _opened(folder, threads, name, next(iter(opened.values()), None))
        except (PackageError, ModelFault) as error:
            refused[name] = first_line(error, length=1000).removeprefix(f"{folder}: ")
    return {"p50_ms": _times(opened), "refused": refused}


def _opened(folder: Path, threads: int, name: str, other: Package | None) -> Package:
    """Raises PackageError where its outputs are not the golden ones or, without those, not the other engine's."""
    opened = package.open_package(folder, threads, name)
    if opened.golden is None and other:
        inputs = noise(opened.engine.inputs[0], opened.manifest, np.random.default_rng(0))
        worst = golden.difference(
            opened.network, opened.network_outputs, _arrays(other, inputs), opened.manifest.tolerance
        )
        if worst > 1:
            text = f"no golden outputs, and on noise it differs from {other.backend}"
            raise PackageError(f"{text} by {worst:.1f} times the tolerance")
    return opened


def _arrays(opened: Package, inputs: Array) -> dict[str, Array]:
    """As a file of golden outputs has them."""
    rows: list[list[Array]] = []
    for row in inputs:
        opened.network.fill(row)
        opened.network_outputs.invoke(opened.network)
        rows.append([opened.network.output(index)[0].copy() for index in range(len(opened.network.outputs))])
    return {"input_0": inputs, **{f"output_{index}": np.array(values) for index, values in enumerate(zip(*rows))}}


def _times(opened: dict[str, Package]) -> dict[str, float]:
    """Median milliseconds of inference and decoding."""
    ms: dict[str, list[float]] = {name: [] for name in opened}
    inputs = {name: samples(each)[0] for name, each in opened.items()}
    end = time.perf_counter() + LONGEST_S
    for number in range(MAX_ROUNDS):
        if number >= MIN_ROUNDS and time.perf_counter() > end:
            break
        for name, each in opened.items():
            time.sleep(PAUSE_S)
            ms[name].append(_run(each, inputs[name][number % len(inputs[name])]))
    return {name: round(median(times), 4) for name, times in ms.items()}


def _run(opened: Package, row: Array) -> float:
    opened.engine.fill(row)
    start = time.perf_counter()
    opened.infer()
    return (time.perf_counter() - start) * 1e3


if __name__ == "__main__":
    print(json.dumps(trial(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])))
