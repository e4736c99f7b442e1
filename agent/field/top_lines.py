"""The screen of `reflexd top` as lines of text, for a terminal program and for `--once`."""

from __future__ import annotations

from typing import NamedTuple

from agent.field import actuators, board, format, status
from agent.field.actuators import ActuatorStatus
from agent.field.lanes import SPARK_S, LaneStatus
from agent.field.status import Status

BAR = 8
HEAD = f"{status.LANE_HEAD:<{61}} P99 OF {SPARK_S} s"


class Line(NamedTuple):
    """tone: "", "head", "bad" or "dim"."""

    text: str
    tone: str = ""


def lines(current: Status) -> list[Line]:
    """At most 80 columns; two lines a lane, so that eight lanes fit on 24 lines."""
    head, config = status.head(current)
    good = status.exit_code(current) == status.RUNNING
    screen = [Line(head, "head" if good else "bad"), Line(board.line(current.board), "dim"), Line(HEAD, "head")]
    for lane in current.lanes:
        screen += _lane_lines(lane)
    screen += [_clipped(f"! {reason}", "bad") for reason in current.reasons]
    if current.actuators:
        screen.append(Line(actuators.HEAD, "head"))
    for actuator in current.actuators:
        screen += _actuator_lines(actuator)
    off = ", ".join(setting.name for setting in current.settings if not setting.on)
    if off:
        screen.append(_clipped(f"off    {off}: see 'reflexd doctor'", "dim"))
    screen += [_clipped(f"note   {text}", "dim") for text in current.view.troubles]
    return [*screen, Line(config, "dim")]


def _clipped(text: str, tone: str) -> Line:
    return Line(format.clip(format.plain(text)), tone)


def _actuator_lines(actuator: ActuatorStatus) -> list[Line]:
    bad = actuator.host == 0 or actuator.troubles
    answers = [_clipped(answer, "dim") for answer in actuators.answers(actuator)[:1]]
    return [Line(actuators.line(actuator), "bad" if bad else ""), *answers]


def _lane_lines(lane: LaneStatus) -> list[Line]:
    slow = lane.budget_ms > 0 and (lane.p99_ms or 0.0) > lane.budget_ms
    first = f"{status.figures(lane, BAR)} {format.sparkline(lane.spark, lane.budget_ms or 1.0)}"
    second = f"  {status.evidence(lane)}; {status.drops(lane)}"
    tone = "" if lane.state == "running" and not slow else "bad"
    return [Line(first.rstrip(), tone), Line(format.clip(second), "dim")]
