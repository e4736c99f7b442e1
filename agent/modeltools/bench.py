"""`reflexd model list|bench`: which packages are here and whole, and how long each takes on this machine."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from agent import package
from agent.backends.base import Tensor
from agent.data import Array
from agent.errors import PackageError
from agent.manifest import Manifest
from agent.package import UNREADABLE, Package

TIMES = ("name", "p50_ms", "p99_ms", "max_ms", "budget_ms", "verdict")
COLUMNS = ("name", "version", "backend", "bytes", "labels", "budget_ms", "state")
GOOD, DAMAGED, MISSING = "good", "damaged", "file missing"
WARM, LEAST, MOST, MOST_S = 20, 100, 2000, 1.5  # runs before the clock counts, at least, at most, and for how long
NOISE = 8  # inputs that take turns where the package brings none


def show_list(folders: Sequence[Path], as_json: bool) -> int:
    """0 when all are good, 2 when one is not. One bad package hides no other. Raises PackageError: no package in a folder."""
    told = [_state(folder) for folder in _found(folders)]
    if as_json:
        click.echo(json.dumps(told, indent=2))
    else:
        click.echo(table(COLUMNS, told))
        for each in told:
            if each["mistakes"]:
                click.echo(f"\n{each['name']}: " + "\n".join(each["mistakes"]))
    return 2 if any(each["state"] != GOOD for each in told) else 0


def _found(folders: Iterable[Path]) -> list[Path]:
    """Bundled packages and those in `folders`: each is a package, or has packages below it."""
    places = sorted(path.parent for path in package.BUNDLED.glob("*/manifest.yaml"))
    for folder in folders:
        itself = [folder / "manifest.yaml"] if os.path.isfile(folder / "manifest.yaml") else []
        inside = [path.parent for path in itself or sorted(folder.glob("*/manifest.yaml"))]
        if not inside:
            raise PackageError(f"{folder}: no model package there: no manifest.yaml in it, nor in a folder of it")
        places += inside
    return list(dict.fromkeys(places))


def _state(folder: Path) -> dict[str, Any]:
    """What the manifest says, and whether the file is the one it speaks of. Nothing is loaded."""
    told: dict[str, Any] = {"name": folder.resolve().name, "folder": str(folder), **dict.fromkeys(COLUMNS[1:-1])}
    told |= {"state": GOOD, "mistakes": []}
    try:
        manifest = package.read(folder)
        path = folder / manifest.file
        told |= {"version": manifest.version, "backend": manifest.backend, "budget_ms": manifest.budget_ms}
        told["bytes"] = os.path.getsize(path) if os.path.isfile(path) else None
        told["labels"] = len(package.labels(folder))
        package.verify_file(folder, manifest)
    except (PackageError, OSError) as error:
        missing = told["version"] is not None and told["bytes"] is None
        told |= {"state": MISSING if missing else DAMAGED, "mistakes": str(error).splitlines()}
    return told


def table(head: Sequence[str], told: Sequence[dict[str, Any]]) -> str:
    """Columns as wide as their widest cell; numbers to the right."""
    columns = []
    for key in head:
        values = [each.get(key) for each in told]
        cells = [key, *map(_plain, values)]
        width = max(map(len, cells))
        right = any(isinstance(value, (int, float)) for value in values)
        columns.append([cell.rjust(width) if right else cell.ljust(width) for cell in cells])
    return "\n".join("  ".join(row).rstrip() for row in zip(*columns))


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def bench(names: Sequence[str], as_json: bool) -> int:
    """0 when every package runs, fast enough or not; 2 when one does not. Raises PackageError."""
    from agent.box.machine import machine

    folders = [package.find(name) for name in names] or _found(())
    told: list[dict[str, Any]] = []
    for folder in folders:
        try:
            told.append(measure(package.open_package(folder)))
        except PackageError as error:
            told.append({"name": folder.resolve().name, "verdict": "does not run", "mistakes": str(error).splitlines()})
    if as_json:
        click.echo(json.dumps({"machine": machine(), "packages": told}, indent=2))
    else:
        click.echo(table(TIMES, told))
        for each in told:
            if "mistakes" in each:
                click.echo(f"\n{each['name']}: " + "\n".join(each["mistakes"]))
        click.echo(f"\ninvoke and decode, one thread, on {machine()}")
    return 2 if any("mistakes" in each for each in told) else 0


def measure(opened: Package) -> dict[str, Any]:
    """ms of invoke and decode, without getting data in."""
    rows, kind = _samples(opened)
    taken: list[float] = []
    end = time.monotonic() + MOST_S
    for number in range(WARM + MOST):
        for place, values in enumerate(rows):
            row = values[number % len(values)]
            opened.engine.input(place).reshape(row.shape)[...] = row  # [1, ...], or of sound [n]
        before = time.perf_counter()
        opened.engine.invoke()
        opened.findings()
        taken.append(time.perf_counter() - before)
        if number >= WARM + LEAST and time.monotonic() > end:
            break
    ms = np.array(taken[WARM:]) * 1e3
    p50, p99, most = (round(float(value), 4) for value in (*np.percentile(ms, [50, 99]), ms.max()))
    budget = opened.manifest.budget_ms
    verdict = (
        "fits" if p99 <= budget else "too slow" if p50 > budget else "too slow at p99"
    )  # other work on the machine?
    return {
        "name": opened.name,
        "samples": len(ms),
        "input": kind,
        "p50_ms": p50,
        "p99_ms": p99,
        "max_ms": most,
        "budget_ms": budget,
        "verdict": verdict,
    }


def _samples(opened: Package) -> tuple[list[Array], str]:
    """For each input [n, ...], and where they are from."""
    inputs = opened.engine.inputs
    if opened.manifest.golden:
        try:
            with np.load(opened.folder / opened.manifest.golden, allow_pickle=False) as golden:
                return [golden[f"input_{place}"] for place in range(len(inputs))], "golden"
        except UNREADABLE as error:
            raise PackageError(f"{opened.folder}: golden outputs cannot be read: {error}") from error
    random = np.random.default_rng(0)
    return [noise(tensor, opened.manifest, random) for tensor in inputs], "noise"


def noise(tensor: Tensor, manifest: Manifest, random: np.random.Generator) -> Array:
    """[NOISE, ...]: every stored value of an integer type alike; of a float one pixels, or readings around their mean."""
    row = tensor.shape[1:] or tensor.shape
    shape, kind = (NOISE, *row), np.dtype(tensor.dtype)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        return random.integers(limits.min, limits.max, shape, kind, endpoint=True)
    if manifest.picture and np.ndim(manifest.picture.std) == 0:
        return ((random.uniform(0, 255, shape) - manifest.picture.mean) / manifest.picture.std).astype(kind)
    return random.normal(0.0, 1.0, shape).astype(kind)
