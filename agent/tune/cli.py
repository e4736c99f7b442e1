"""`reflexd tune`: its options, its report as text or JSON, its exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from agent.errors import ConfigError
from agent.options import config_option, json_option


@click.command()
@config_option
@click.option("--budget-ms", type=float, help="From capture to decided, at p99.  [default: each lane's own]")
@click.option(
    "--recording",
    type=click.Path(path_type=Path),
    help="Measure on this file, or on a folder with LANE.mp4, LANE.csv or *.mcap, in place of the devices.",
)
@click.option("--seconds", type=float, default=20.0, show_default=True, help="Of each lane's recording or device.")
@click.option("--lane", help="Only this lane.")
@click.option("--late-ms", type=float, help="A decision may come this much later than now.  [default: not later]")
@click.option("--write", is_flag=True, help="Make the proposed change in the configuration; keeps a backup.")
@json_option
def tune(path: Path, write: bool, as_json: bool, **options: Any) -> int:
    """Find what costs most in each lane over its budget, and the cheapest change that meets it and loses no event.

    Changes are measured in turns with the lane as it is, on the same samples. Exit code 0: every lane meets the
    budget, or would with what is proposed. 1: a lane cannot. 2: something is wrong.
    """
    from agent.tune import text
    from agent.tune import write as writing
    from agent.tune.describe import described
    from agent.tune.run import Options, tune

    def progress(line: str) -> None:
        if not as_json:
            click.echo(line, err=True)

    chosen = Options(**options)
    report = tune(path, chosen, progress)
    command = text.command_line(path, chosen)
    try:
        written = writing.write(path, report.outcomes) if write else None
    except ConfigError:
        if not as_json:
            click.echo(text.text(report, None, command))  # what was measured for a minute is worth reading
        raise
    click.echo(json.dumps(described(report, written), indent=2) if as_json else text.text(report, written, command))
    return 0 if report.met else 1
