"""`reflexd top`: the look of `status` once a second, with the p99 of the newest seconds; `--once` prints it and leaves."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import click

from agent.field import board, format, status
from agent.field.lanes import SPARK_S, LaneNow
from agent.field.status import Status

MISSING = "reflexd top needs textual: pip install 'reflexd[top]' (without it: reflexd top --once)"
BAR = 8
PLAIN_SPARKS = " .:-=+*#"  # a serial console has no block elements


class Line(NamedTuple):
    """tone: "", "head", "bad" or "dim"."""

    text: str
    tone: str = ""


def show(path: Path, once: bool) -> int:
    if once or not sys.stdout.isatty():
        status_now = status.take(path, board.Board())
        click.echo("\n".join(printable(line.text for line in lines(status_now))))
        return status.exit_code(status_now)
    try:
        from agent.field import top_view
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("textual", "rich"):
            raise
        raise click.ClickException(MISSING) from error
    return top_view.run(path)


def printable(texts: Iterable[str]) -> list[str]:
    """Blocks as plain characters where the terminal's encoding has none."""
    encoding = (sys.stdout.encoding or "ascii").lower()
    table = {} if "utf" in encoding else str.maketrans(format.SPARKS, PLAIN_SPARKS)
    return [text.translate(table) for text in texts]


def lines(now: Status) -> list[Line]:
    """At most 80 columns; two lines a lane, so that eight lanes fit on 24 lines."""
    head, config, _ = status.head(now)
    well = now.view.pid and now.health == "good"
    found = [Line(head, "head" if well else "bad"), Line(board.line(now.board), "dim"), Line(HEAD, "head")]
    for one in now.lanes:
        found += _lane_lines(one)
    found += [Line(format.clip(format.plain(f"! {reason}")), "bad") for reason in now.reasons]
    if now.actuators:
        found.append(Line(status.ACTUATOR_HEAD, "head"))
        found += [Line(status.actuator_line(one), "bad" if one.host == 0 else "") for one in now.actuators]
    off = ", ".join(setting.name for setting in now.settings if not setting.on)
    if off:
        found.append(Line(format.clip(f"off    {off}: see 'reflexd doctor'"), "dim"))
    found += [
        Line(format.clip(format.plain(f"note   {text}")), "dim") for text in (*now.view.mistakes, *now.view.troubles)
    ]
    return [*found, Line(config, "dim")]


HEAD = f"{status.LANE_HEAD:<{61}} P99 OF {SPARK_S} s"


def _lane_lines(one: LaneNow) -> list[Line]:
    slow = one.budget_ms > 0 and (one.p99_ms or 0.0) > one.budget_ms
    first = f"{status.figures(one, BAR)} {format.sparkline(one.spark, one.budget_ms or 1.0)}"
    second = f"  {status.evidence(one)}; {status.drops(one)}"
    return [
        Line(first.rstrip(), "" if one.state == "running" and not slow else "bad"),
        Line(format.clip(second), "dim"),
    ]
