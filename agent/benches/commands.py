"""`reflexd bench ...`: each imports what it needs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from agent.options import json_option


@click.group()
def bench() -> None:
    """Measure on this machine."""


def _tell(result: dict[str, Any], text: Callable[[dict[str, Any]], str], as_json: bool) -> None:
    click.echo(json.dumps(result, indent=2) if as_json else text(result))


@bench.command("arc")
@click.option("--model", help="Package for the camera lane.  [default: person-coarse]")
@click.option("--samples", default=600, show_default=True, help="Counted samples of each program and lane, at least.")
@click.option("--busy", is_flag=True, help="Also with metrics scraped and configuration re-validated all the while.")
@click.option("--recorder", is_flag=True, help="Also with recorder and metrics against neither.")
@json_option
def bench_arc(**options: Any) -> None:
    """Camera and sensor lane against a bare script, in alternating runs: capture to applied in ms."""
    from agent.benches import arc

    as_json = options.pop("as_json")
    result = arc.measure(**options)
    _tell(result, arc.text, as_json)


@bench.command("soak")
@click.option("--samples", default=1_000_000, show_default=True, help="Through one lane, as fast as they go.")
@json_option
def bench_soak(samples: int, as_json: bool) -> None:
    """Memory, open files and threads of the daemon along a million samples."""
    from agent.benches import soak

    result = soak.measure(samples)
    _tell(result, soak.text, as_json)


@bench.command("faults")
@click.option("--times", default=100, show_default=True, help="Each simulated fault so often.")
@click.option("--seed", default=0, show_default=True, help="Of the random moments.")
@json_option
def bench_faults(times: int, seed: int, as_json: bool) -> int:
    """Inject every simulated fault at random. Exit code 1 if something did not come back, was lost, or was safe too late."""
    from agent.benches import faults

    result = faults.measure(times, seed)
    _tell(result, faults.text, as_json)
    return int(bool(result["lanes_not_back"] or result["decisions_uncounted"] or result["safe_too_late"]))


@bench.command("restart")
@click.option("--times", default=10, show_default=True, help="Kill it so often.")
@json_option
def bench_restart(times: int, as_json: bool) -> None:
    """kill -9 of the daemon until the actuator is safe, and until it decides again."""
    from agent.benches import restart

    result = restart.measure(times)
    _tell(result, restart.text, as_json)


@bench.command("senses")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Recordings, laid out like ../shared/data.  [default: those]"
)
@json_option
def bench_senses(data: Path | None, as_json: bool) -> None:
    """What gates, ladder, coarse-to-fine and fusion save and cost on real recordings."""
    from agent.benches import senses

    _tell(senses.measure(data or senses.DATA), senses.text, as_json)
