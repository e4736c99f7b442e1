"""`reflexd pool run`: a folder of pictures through a model, by several workers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from agent.options import json_option


@click.group()
def pool() -> None:
    """Heavy work beside the lanes, shared by several workers."""


@pool.command("run")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--model", required=True, help="Bundled package, or a folder with a manifest.yaml.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Results, JSON lines; an unfinished file goes on.",
)
@click.option("--workers", type=click.IntRange(1, 256), help="Worker processes.  [default: one for each core]")
@json_option
def run_command(folder: Path, model: str, out: Path, workers: int | None, as_json: bool) -> int:
    """Find what MODEL finds in every picture (PNG, JPEG) of FOLDER. Exit code 1: some pictures are bad."""
    summary = run(folder, model, out, workers or len(os.sched_getaffinity(0)))
    click.echo(json.dumps(summary) if as_json else _text(summary))
    return int(summary["bad"] > 0)


def run(folder: Path, model: str, out: Path, workers: int) -> dict[str, Any]:
    """Figures of the run. seconds: on the wall, with the loading of the model. Raises DataError, PackageError."""
    import resource
    import time

    from agent.packages import package
    from agent.pool.pool import Pool, pictures
    from agent.pool.results import Results

    names = pictures(folder)
    found = package.find(model).resolve()
    results = Results(out, model, package.read(found).checksum)
    before, begun = len(results.done), time.monotonic()
    cores = sorted(os.sched_getaffinity(0))
    work = Pool(folder.resolve(), found, [cores[number % len(cores)] for number in range(workers)], results)
    caller = time.process_time()
    try:
        work.run(names)
    finally:
        results.close()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "pictures": len(names),
        "computed": len(results.done) - before,
        "bad": results.bad,
        "workers": workers,
        "restarts": work.restarts,
        "seconds": round(time.monotonic() - begun, 3),
        "started_s": round(work.started_s, 3),
        "caller_s": round(time.process_time() - caller, 3),
        "workers_s": round(children.ru_utime + children.ru_stime, 3),
        "out": str(out),
    }


def _text(summary: dict[str, Any]) -> str:
    line = f"{summary['pictures']:,} pictures, {summary['computed']:,} of them computed now"
    rate = summary["computed"] / max(summary["seconds"], 1e-3)
    line += f" in {summary['seconds']:.1f} s ({rate:.0f}/s) by {summary['workers']} workers; {summary['bad']} bad"
    return f"{line}: {summary['out']}"
