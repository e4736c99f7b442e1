"""`reflexd model list|bench`: which packages are installed and intact, and how long each takes on this machine."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from agent import redact
from agent.data import Array
from agent.errors import PackageError
from agent.packages import engines, package
from agent.packages.checksums import verify_files
from agent.packages.inputs import samples
from agent.packages.manifest import AUTO, Manifest
from agent.packages.outputs import ModelFault
from agent.packages.package import Package

ENGINES = ("name", "engine", "p50_ms", "chosen", "refused")
TIMES = ("name", "p50_ms", "p99_ms", "max_ms", "budget_ms", "verdict")
COLUMNS = ("name", "version", "backend", "bytes", "labels", "budget_ms", "state")
GOOD, DAMAGED, MISSING = "good", "damaged", "file missing"
WARM_UP, MIN_RUNS, MAX_RUNS, MAX_S = 20, 100, 2000, 1.5  # runs that are not timed; timed runs; seconds


def show_list(folders: Sequence[Path], as_json: bool) -> int:
    """0 when all are good, else 2; a bad package hides no other. Raises PackageError where a folder has no package."""
    rows = [_state(folder) for folder in _packages(folders)]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        click.echo(table(COLUMNS, rows))
        _print_mistakes(rows)
    return 2 if any(row["state"] != GOOD for row in rows) else 0


def _print_mistakes(rows: Iterable[dict[str, Any]]) -> None:
    for row in rows:
        if row.get("mistakes"):
            click.echo(f"\n{row['name']}: " + "\n".join(row["mistakes"]))


def _packages(folders: Iterable[Path]) -> list[Path]:
    """The bundled packages and those in `folders`: each is a package itself, or contains packages."""
    packages = sorted(path.parent for path in package.BUNDLED.glob("*/manifest.yaml"))
    for folder in folders:
        itself = [folder / "manifest.yaml"] if os.path.isfile(folder / "manifest.yaml") else []
        inside = [path.parent for path in itself or sorted(folder.glob("*/manifest.yaml"))]
        if not inside:
            raise PackageError(f"{folder}: no model package there: no manifest.yaml in it, nor in a folder of it")
        packages += inside
    return list(dict.fromkeys(packages))


def _state(folder: Path) -> dict[str, Any]:
    """What the manifest says, and whether the model file matches it. Nothing is loaded."""
    row: dict[str, Any] = {"name": folder.resolve().name, "folder": str(folder), **dict.fromkeys(COLUMNS[1:-1])}
    row |= {"state": GOOD, "mistakes": []}
    try:
        manifest = package.read(folder)
        path = folder / manifest.file
        row |= {"version": manifest.version, "backend": manifest.backend, "budget_ms": manifest.budget_ms}
        row["bytes"] = os.path.getsize(path) if os.path.isfile(path) else None
        row["labels"] = len(package.labels(folder))
        verify_files(folder, manifest)
    except (PackageError, OSError) as error:
        missing = row["version"] is not None and row["bytes"] is None
        row |= {"state": MISSING if missing else DAMAGED, "mistakes": redact.lines(error)}
    return row


def table(head: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    """Columns as wide as their widest cell; numbers right-aligned."""
    columns = []
    for key in head:
        values = [row.get(key) for row in rows]
        cells = [key, *map(_plain, values)]
        width = max(map(len, cells))
        right = any(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
        columns.append([cell.rjust(width) if right else cell.ljust(width) for cell in cells])
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns))


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def bench(names: Sequence[str], as_json: bool) -> int:
    """0 when every package runs, fast enough or not; 2 when one does not. Raises PackageError."""
    from agent.box.machine import machine

    folders = [package.find(name) for name in names] or _packages(())
    rows: list[dict[str, Any]] = []
    for folder in folders:
        try:
            rows.append(_measure(package.open_package(folder)))
        except (PackageError, ModelFault) as error:
            rows.append({"name": folder.resolve().name, "verdict": "does not run", "mistakes": redact.lines(error)})
    if as_json:
        click.echo(json.dumps({"machine": machine(), "packages": rows}, indent=2))
    else:
        click.echo(table(TIMES, rows))
        _print_mistakes(rows)
        click.echo(f"\ninvoke and decode, one thread, on {machine()}")
    return 2 if any("mistakes" in row for row in rows) else 0


def bench_engines(names: Sequence[str], as_json: bool) -> int:
    """0 when every package has an engine that runs it; 2 when one has none. Raises PackageError."""
    from agent.box.machine import machine

    rows: list[dict[str, Any]] = []
    for folder in [package.find(name) for name in names] or _packages(()):
        manifest = package.read(folder)
        if manifest.backend == AUTO:
            rows += _engine_rows(folder, manifest)
    if as_json:
        click.echo(json.dumps({"machine": machine(), "engines": rows}, indent=2))
    else:
        click.echo(table(ENGINES, rows) if rows else "no package has 'backend: auto'")
        click.echo(f"\nmedian of inference and decoding, one thread, in turns, on {machine()}")
    return 2 if any(row["chosen"] and row["refused"] for row in rows) else 0


def _engine_rows(folder: Path, manifest: Manifest) -> list[dict[str, Any]]:
    installed = engines.installed(folder, manifest)
    compared = engines.compare(folder, manifest, installed)
    return [
        {
            "name": folder.resolve().name,
            "engine": name,
            "p50_ms": compared.p50_ms.get(name),
            "chosen": name == compared.backend,
            "refused": compared.refused.get(name, ""),
        }
        for name in installed
    ]


def _measure(opened: Package) -> dict[str, Any]:
    """Milliseconds of invoke and decode, without filling the inputs."""
    inputs, kind = samples(opened)
    ms = np.array(_run_times(opened, inputs)) * 1e3
    p50, p99, largest = (round(float(value), 4) for value in (*np.percentile(ms, [50, 99]), ms.max()))
    budget = opened.manifest.budget_ms
    return {
        "name": opened.name,
        "samples": len(ms),
        "input": kind,
        "p50_ms": p50,
        "p99_ms": p99,
        "max_ms": largest,
        "budget_ms": budget,
        # Only at p99: perhaps because of other work on the machine
        "verdict": "fits" if p99 <= budget else "too slow" if p50 > budget else "too slow at p99",
    }


def _run_times(opened: Package, inputs: Array) -> list[float]:
    """Seconds of each timed run. inputs: [n, ...], which take turns."""
    seconds: list[float] = []
    end = time.monotonic() + MAX_S
    for number in range(WARM_UP + MAX_RUNS):
        opened.engine.fill(inputs[number % len(inputs)])
        start = time.perf_counter()
        with opened.network.own_inputs():
            opened.infer()
        seconds.append(time.perf_counter() - start)
        if number >= WARM_UP + MIN_RUNS and time.monotonic() > end:
            break
    return seconds[WARM_UP:]
