"""`reflexd bench ...`: the options of each; a bench is imported when it runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from agent.options import json_option

MISSING = "reflexd bench needs psutil: scripts/setup bench, or pip install 'reflexd[bench]'"
short_option = click.option("--short", is_flag=True, help="Fewer repeats: two minutes at most.")


def _with_psutil(command: Callable[..., int | None]) -> Callable[..., int | None]:
    """The command, with one clear message where the extra is not installed."""

    @wraps(command)
    def checked(**options: Any) -> int | None:
        try:
            return command(**options)
        except ModuleNotFoundError as error:
            if error.name != "psutil":
                raise
            raise click.ClickException(MISSING) from error

    return checked


@click.group()
def bench() -> None:
    """Measure on this machine."""


def _report(result: dict[str, Any], text: Callable[[dict[str, Any]], str], as_json: bool) -> None:
    click.echo(json.dumps(result, indent=2) if as_json else text(result))


@bench.command("arc")
@click.option("--model", help="Package for the camera lane.  [default: person-coarse]")
@click.option("--samples", default=600, show_default=True, help="Counted samples of each program and lane, at least.")
@click.option("--busy", is_flag=True, help="Also with metrics scraped and configuration validated all the time.")
@click.option("--recorder", is_flag=True, help="Also with recorder and metrics against neither.")
@short_option
@json_option
@_with_psutil
def bench_arc(**options: Any) -> None:
    """Camera and sensor lane against a bare script, in alternating runs: capture to applied in ms."""
    from agent.benches import arc

    as_json = options.pop("as_json")
    result = arc.measure(**options)
    _report(result, arc.text, as_json)


@bench.command("floor")
@click.option("--seconds", default=20.0, show_default=True, help="That each arrangement is measured.")
@click.option("--workers", default="auto", show_default=True, help="As in the configuration; 0: one process.")
@short_option
@json_option
@_with_psutil
def bench_floor(seconds: float, workers: str, short: bool, as_json: bool) -> None:
    """Ten robots at 1 kHz, sixteen cameras; the most of both that this machine carries. Eight minutes."""
    from agent.benches import floor

    given = workers if workers == "auto" else int(workers)
    _report(floor.measure(seconds, short, given), floor.text, as_json)


@bench.command("throughput")
@short_option
@json_option
@_with_psutil
def bench_throughput(short: bool, as_json: bool) -> None:
    """Inferences a second of four lanes that share an engine (`share: true`), and the memory that it saves."""
    from agent.benches import throughput

    _report(throughput.measure(short), throughput.text, as_json)


@bench.command("heads")
@short_option
@json_option
@_with_psutil
def bench_heads(short: bool, as_json: bool) -> None:
    """Two heads on one backbone against two whole models: time, memory, and what loading a head costs the lanes."""
    from agent.benches import heads

    _report(heads.measure(short), heads.text, as_json)


@bench.command("soak")
@click.option("--samples", default=1_000_000, show_default=True, help="Through one lane, as fast as possible.")
@short_option
@json_option
@_with_psutil
def bench_soak(samples: int, short: bool, as_json: bool) -> None:
    """Memory, open files and threads of the daemon over a million samples."""
    from agent.benches import soak

    result = soak.measure(samples, short)
    _report(result, soak.text, as_json)


@bench.command("faults")
@click.option("--times", default=100, show_default=True, help="How often each simulated fault is injected.")
@click.option("--seed", default=0, show_default=True, help="Of the random moments.")
@click.option("--attack", "chosen", multiple=True, metavar="NAME", help="Only this attack; 'simulated' for the faults.")
@short_option
@json_option
@_with_psutil
def bench_faults(times: int, seed: int, chosen: tuple[str, ...], short: bool, as_json: bool) -> int:
    """Every simulated fault at random, then every attack. Exit code 1: a lane or decision lost, or safe too late."""
    from agent.benches import faults
    from agent.benches.attacks import run as attacks

    result: dict[str, Any] = {}
    if not chosen or faults.SIMULATED in chosen:
        result = faults.measure(times, seed, short)
    known = attacks.names()
    for name in chosen:
        if name not in (faults.SIMULATED, *known):
            raise click.UsageError(f"no attack '{name}': there are {', '.join(known)}")
    result["attacks"] = {}
    for outcome in attacks.measure([name for name in known if not chosen or name in chosen], times, short):
        result["attacks"][outcome.name] = outcome.row()
        click.echo(outcome.line(), err=True)
    _report(result, faults.text, as_json)
    return int(faults.failed(result))


@bench.command("hostile")
@click.option("--times", default=10, show_default=True, help="How often each load is tried.")
@short_option
@json_option
@_with_psutil
def bench_hostile(times: int, short: bool, as_json: bool) -> int:
    """A lane at 1 kHz under idle and flooding peers, and hogs on its cores. Exit code 1: lane lost or safe too late."""
    from agent.benches import hostile

    result = hostile.measure(times, short)
    _report(result, hostile.text, as_json)
    return int(hostile.failed(result))


@bench.command("twins")
@short_option
@json_option
@_with_psutil
def bench_twins(short: bool, as_json: bool) -> int:
    """Two boxes for one actuator: 1,000 events while either dies 150 times. Exit code 1: lost, doubled or a safe stop.

    Half an hour. With cables that are cut only as root.
    """
    from agent.benches.twins import bench as twins

    result = twins.measure(short)
    _report(result, twins.text, as_json)
    return int(twins.failed(result))


@bench.command("restart")
@click.option("--times", default=10, show_default=True, help="How often the daemon is killed.")
@short_option
@json_option
@_with_psutil
def bench_restart(times: int, short: bool, as_json: bool) -> None:
    """Kill the daemon (kill -9): time until the actuator is safe, and until the new daemon decides."""
    from agent.benches import restart

    result = restart.measure(times, short)
    _report(result, restart.text, as_json)


@bench.command("senses")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Recordings, laid out like the default.  [default: ../shared/data]"
)
@short_option
@json_option
@_with_psutil
def bench_senses(data: Path | None, short: bool, as_json: bool) -> None:
    """What gates, reduced decoding, coarse models and fusion save and cost on real recordings."""
    from agent.benches import senses

    _report(senses.measure(data, short), senses.text, as_json)


@bench.command("io")
@click.option("--times", default=2000, show_default=True, help="Commands of each protocol.")
@short_option
@json_option
@_with_psutil
def bench_io(times: int, short: bool, as_json: bool) -> None:
    """Commands over Modbus, OPC UA, MQTT, HTTP, CAN and GPIO, first RTSP pictures, against real counterparts."""
    from agent.benches.io import bench as io

    _report(io.measure(times, short), io.text, as_json)


@bench.command("objects")
@click.option("--clips", type=click.Path(path_type=Path), help="Folder with the clips.  [default: ../shared/data]")
@click.option(
    "--labels", type=click.Path(path_type=Path), help="Labelled frames.  [default: tests/data/objects/labels.json]"
)
@click.option("--model", default="objects", show_default=True, help="Package of a detector.")
@short_option
@json_option
@_with_psutil
def bench_objects(clips: Path | None, labels: Path | None, model: str, short: bool, as_json: bool) -> None:
    """What a detector finds on labelled frames: recall, false boxes a frame, time."""
    from agent.benches import objects
    from agent.benches.recordings import LABELS, SHARED

    result = objects.measure(clips or SHARED, labels or LABELS, model, short)
    _report(result, objects.text, as_json)


@bench.command("drift")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Recordings, laid out like the default.  [default: ../shared/data]"
)
@short_option
@json_option
def bench_drift(data: Path | None, short: bool, as_json: bool) -> int:
    """A day of looped recordings without a false alarm, and how soon changes are reported. Exit code 1: not so."""
    from agent.benches.drift import bench as drift

    result = drift.measure(data, short)
    _report(result, drift.text, as_json)
    return int(drift.failed(result))


@bench.command("web")
@short_option
@json_option
@_with_psutil
def bench_web(short: bool, as_json: bool) -> None:
    """The live view: age of a picture on the canvas of a real Chromium, first paint, and its cost to a lane."""
    from agent.benches.web import bench as web

    _report(web.measure(short), web.text, as_json)


@bench.command("tune")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Recordings, for a clip in place of the simulated camera."
)
@short_option
@json_option
def bench_tune(data: Path | None, short: bool, as_json: bool) -> int:
    """`reflexd tune` on a robot cell over 10 ms and on a lane that cannot be met. Exit code 1: the cell ends above."""
    from agent.benches import tune

    result = tune.measure(data, short)
    _report(result, tune.text, as_json)
    return int(result["cell"]["verdict"] == "cannot be met")


@bench.command("swap")
@click.option("--swaps", default=100, show_default=True, help="How often MoveNet is loaded and exchanged.")
@short_option
@json_option
@_with_psutil
def bench_swap(swaps: int, short: bool, as_json: bool) -> None:
    """What a lane at 1 kHz notices while another lane's model is loaded and exchanged, against runs without."""
    from agent.benches.swap import bench as swap

    _report(swap.measure(swaps, short), swap.text, as_json)


@bench.command("site")
@click.option("--only", "chosen", multiple=True, metavar="PART", help="Only this part; may be given several times.")
@short_option
@json_option
def bench_site(chosen: tuple[str, ...], short: bool, as_json: bool) -> None:
    """Several boxes that share work, in parts; one that cannot run here says why."""
    from agent.benches.site import bench as site

    _report(site.measure(chosen, short), site.text, as_json)
