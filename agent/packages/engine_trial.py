"""Times the engines of one package in turn. Its process may end as it likes: `engines.py` reads what it printed."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from agent.data import Array
from agent.errors import PackageError
from agent.packages import golden, package
from agent.packages.checksums import file_inside
from agent.packages.noise import noise
from agent.packages.outputs import ModelFault
from agent.packages.package import Package

ROUNDS = 12  # in which the engines take turns, so that a busy moment slows them all
ROUND_S, MIN_RUNS = 0.04, 3  # of each engine


def trial(folder: Path, threads: int, names: Sequence[str]) -> dict[str, Any]:
    """p50_ms of the engines that compute what the package promises, and why the others are out."""
    opened: dict[str, Package] = {}
    refused: dict[str, str] = {}
    for name in names:
        try:
            opened[name] = _opened(folder, threads, name, next(iter(opened.values()), None))
        except (PackageError, ModelFault) as error:
            refused[name] = str(error).removeprefix(f"{folder}: ").splitlines()[0]
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
        _fill(opened, row)
        opened.network_outputs.invoke(opened.network)
        rows.append([opened.network.output(index)[0].copy() for index in range(len(opened.network.outputs))])
    return {"input_0": inputs, **{f"output_{index}": np.array(values) for index, values in enumerate(zip(*rows))}}


def _times(opened: dict[str, Package]) -> dict[str, float]:
    """Median milliseconds of inference and decoding."""
    ms: dict[str, list[float]] = {name: [] for name in opened}
    inputs = {name: _inputs(each) for name, each in opened.items()}
    for _ in range(ROUNDS):
        for name, each in opened.items():
            ms[name] += _round(each, inputs[name])
    return {name: round(median(times), 4) for name, times in ms.items()}


def _round(opened: Package, inputs: Array) -> Iterator[float]:
    end, number = time.perf_counter() + ROUND_S, 0
    while number < MIN_RUNS or time.perf_counter() < end:
        _fill(opened, inputs[number % len(inputs)])
        start = time.perf_counter()
        opened.infer()
        yield (time.perf_counter() - start) * 1e3
        number += 1


def _inputs(opened: Package) -> Array:
    if opened.manifest.golden:
        return golden.load(file_inside(opened.folder, opened.manifest.golden), opened.engine)["input_0"]
    return noise(opened.engine.inputs[0], opened.manifest, np.random.default_rng(0))


def _fill(opened: Package, row: Array) -> None:
    opened.engine.input(0).reshape(row.shape)[...] = row


if __name__ == "__main__":
    print(json.dumps(trial(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])))
