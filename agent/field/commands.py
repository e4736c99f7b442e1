"""The commands of the field engineer: thin, so that `reflexd --help` stays quick."""

from __future__ import annotations

from pathlib import Path

import click

from agent.options import config_option, json_option


@click.command()
@config_option
@json_option
def status(path: Path, as_json: bool) -> int:
    """The daemon, its lanes, actuators and board on one screen.

    Exit code 0: every lane runs. 1: degraded. 3: the daemon does not run; figures are of its last run.
    4: this user may not see it.
    """
    from agent.field import status as field

    return field.show(path, as_json)


@click.command()
@config_option
@click.option("--once", is_flag=True, help="Print one look and leave.")
def top(path: Path, once: bool) -> int:
    """The same, live: once a second, with each lane's p99 of the newest seconds. q quits."""
    from agent.field import top as field

    return field.show(path, once)


@click.command()
@config_option
@json_option
def doctor(path: Path, as_json: bool) -> int:
    """Check this box: engines and models, rights, clocks, devices, disk, heat, keys, timers. Takes ten seconds.

    Each finding says its cause, its effect and the command that mends it. Exit code 0: good. 1: warnings. 2: bad.
    """
    from agent.field import doctor as field

    return field.show(path, as_json)


@click.command()
@config_option
@click.option("--lane", help="Only this lane.")
@click.option("--worst", default=5, show_default=True, type=click.IntRange(1, 1000), help="So many samples.")
@click.option("--minutes", default=5.0, show_default=True, type=click.FloatRange(0.01), help="Of the newest samples.")
@click.option("--perfetto", type=click.Path(path_type=Path), help="Write a trace for ui.perfetto.dev instead.")
@json_option
def trace(path: Path, lane: str | None, worst: int, minutes: float, perfetto: Path | None, as_json: bool) -> int:
    """The slowest samples of the last minutes, stage by stage."""
    from agent.field import trace as field

    return field.show(path, lane, worst, minutes, perfetto, as_json)


@click.command()
@config_option
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="The file.  [default: reflexd-diag-NODE-TIME.tar.gz]"
)
@click.option("--no-recording", is_flag=True, help="Leave the newest recording out: it may show people.")
def diag(path: Path, output: Path | None, no_recording: bool) -> int:
    """One archive for a support ticket, without secrets: configuration, log, ledgers, doctor, newest recording."""
    from agent.field import diag as field

    return field.show(path, output, not no_recording)


COMMANDS = (status, top, doctor, trace, diag)
