"""`reflexd top`: `status` once a second, with the p99 of each of the newest seconds; `--once` prints it and exits."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import click

from agent.field import board, format, status
from agent.field.board import BoardMonitor
from agent.field.lanes import SPARK_S, LaneStatus
from agent.field.status import ActuatorStatus, Status

MISSING = "reflexd top needs textual: pip install 'reflexd[top]' (without it: reflexd top --once)"
BAR = 8
PLAIN_SPARKS = " .:-=+*#"  # a serial console has no block elements
HEAD = f"{status.LANE_HEAD:<{61}} P99 OF {SPARK_S} s"


class Line(NamedTuple):
    """tone: "", "head", "bad" or "dim"."""

    text: str
    tone: str = ""


def show(path: Path, once: bool) -> int:
    if once or not sys.stdout.isatty():
        current = status.read_status(path, BoardMonitor())
        click.echo("\n".join(printable(line.text for line in lines(current))))
        return status.exit_code(current)
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


def lines(current: Status) -> list[Line]:
    """At most 80 columns; two lines a lane, so that eight lanes fit on 24 lines."""
    head, config = status.head(current)
    good = current.view.pid and current.health == "good"
    screen = [Line(head, "head" if good else "bad"), Line(board.line(current.board), "dim"), Line(HEAD, "head")]
    for lane in current.lanes:
        screen += _lane_lines(lane)
    screen += [_clipped(f"! {reason}", "bad") for reason in current.reasons]
    if current.actuators:
        screen.append(Line(status.ACTUATOR_HEAD, "head"))
        screen += [_actuator_line(actuator) for actuator in current.actuators]
    off = ", ".join(setting.name for setting in current.settings if not setting.on)
    if off:
        screen.append(_clipped(f"off    {off}: see 'reflexd doctor'", "dim"))
    screen += [_clipped(f"note   {text}", "dim") for text in (*current.view.mistakes, *current.view.troubles)]
    return [*screen, Line(config, "dim")]


def _clipped(text: str, tone: str) -> Line:
    return Line(format.clip(format.plain(text)), tone)


def _actuator_line(actuator: ActuatorStatus) -> Line:
    return Line(status.actuator_line(actuator), "bad" if actuator.host == 0 else "")


def _lane_lines(lane: LaneStatus) -> list[Line]:
    slow = lane.budget_ms > 0 and (lane.p99_ms or 0.0) > lane.budget_ms
    first = f"{status.figures(lane, BAR)} {format.sparkline(lane.spark, lane.budget_ms or 1.0)}"
    second = f"  {status.evidence(lane)}; {status.drops(lane)}"
    tone = "" if lane.state == "running" and not slow else "bad"
    return [Line(first.rstrip(), tone), Line(format.clip(second), "dim")]
