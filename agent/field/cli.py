"""The commands for diagnostics in the field; what they import is imported on call, so `reflexd --help` stays quick."""

from __future__ import annotations

from pathlib import Path

import click

from agent.options import config_option, json_option

OUTPUT_HELP = "The archive.  [default: reflexd-diag-NODE-TIME.tar.gz]"


@click.command()
@config_option
@json_option
def status(path: Path, as_json: bool) -> int:
    """The daemon, its lanes, actuators and board on one screen.

    Exit code 0: every lane runs. 1: degraded. 3: the daemon does not run; figures are of its last run.
    4: this user may not read its files.
    """
    from drivers.board._load import Load

    load = Load(Path("/"))
    load.read()  # its counters need 0.2 s, during which the rest is imported and read
    from agent.field import status as field

    return field.show(path, as_json, load)


@click.command()
@config_option
@click.option("--once", is_flag=True, help="Print the screen once and exit.")
def top(path: Path, once: bool) -> int:
    """The status, updated once a second, with each lane's p99 of the newest seconds. q quits."""
    from agent.field import top as field

    return field.show(path, once)


@click.command()
@config_option
@json_option
def doctor(path: Path, as_json: bool) -> int:
    """Check this box: engines and models, rights, clocks, devices, disk, heat, keys, timers. Takes ten seconds.

    Each check reports its cause, its effect and the command that fixes it. Exit code 0: good. 1: warnings. 2: bad.
    """
    from agent.field import doctor as field

    return field.show(path, as_json)


@click.command()
@config_option
@click.option("--lane", help="Only this lane.")
@click.option("--worst", default=5, show_default=True, type=click.IntRange(1, 1000), help="Number of samples.")
@click.option(
    "--minutes", default=5.0, show_default=True, type=click.FloatRange(0.01), help="Only samples of the last minutes."
)
@click.option("--perfetto", type=click.Path(path_type=Path), help="Write a trace for ui.perfetto.dev instead.")
@json_option
def trace(path: Path, lane: str | None, worst: int, minutes: float, perfetto: Path | None, as_json: bool) -> int:
    """The slowest samples of the last minutes, stage by stage."""
    from agent.field import trace as field

    return field.show(path, lane, worst, minutes, perfetto, as_json)


@click.command()
@config_option
@click.option("-o", "--output", type=click.Path(path_type=Path), help=OUTPUT_HELP)
@click.option(
    "--recording/--no-recording", help="With the newest recording, which may show people; left out by default."
)
def diag(path: Path, output: Path | None, recording: bool) -> int:
    """One archive for a support ticket, without secrets: configuration, log, ledgers, doctor."""
    from agent.field import diag as field

    return field.show(path, output, recording)


@click.command()
@config_option
@click.option("--relearn", metavar="LANE", help="What this lane delivers now is normal: learn it again.")
@click.option(
    "--unseal", type=click.Path(path_type=Path), metavar="FOLDER", help="Decrypt collected cases, with --key."
)
@click.option("--key", type=click.Path(path_type=Path), help="Secret key file, for --unseal.")
@json_option
def drift(path: Path, relearn: str | None, unseal: Path | None, key: Path | None, as_json: bool) -> int:
    """What has drifted: inputs, scores, golden outputs of each lane. Exit code 1: something has."""
    from agent.field import drift as field

    if (unseal is None) != (key is None):
        raise click.UsageError("--unseal FOLDER and --key FILE go together")
    if unseal and key:
        return field.unseal(unseal, key)
    return field.relearn(path, relearn) if relearn else field.show(path, as_json)


@click.command()
@config_option
@json_option
def site(path: Path, as_json: bool) -> int:
    """The boxes of the site as this one sees them: who is there, round trips, load. Exit code 1: one is missing."""
    from agent.field import site as field

    return field.show(path, as_json)


COMMANDS = (status, top, doctor, drift, site, trace, diag)
