"""`python -m agent.benches.drift.plot`: draws agent/drift/drift.png, a camera that is darkened and then pushed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from agent.benches.drift.changes import Case, cases
from agent.benches.drift.loops import feed, generated
from agent.data import Array
from agent.drift.detector import DRIFTING, Detector, Limits
from agent.drift.lane import LaneDrift

PICTURE = Path(__file__).resolve().parents[2] / "drift/drift.png"
SECONDS, DARK, PUSHED = 1900, (1050, 1200), (1500, 1650)
SHOWN = ("brightness", "view")
WIDTH, HEIGHT, LEFT, RIGHT = 1000, 130, 190, 20  # of a row
BLACK, GREY, PALE, BLUE, RED, GREEN = (
    (30, 30, 30),
    (140, 140, 140),
    (235, 235, 235),
    (170, 90, 30),
    (40, 40, 200),
    (80, 150, 60),
)
FONT = cv2.FONT_HERSHEY_SIMPLEX


class Row(NamedTuple):
    """Of each second, NaN where there is none yet. limit: a line across."""

    title: str
    values: Array
    limit: float | None = None


class Report(NamedTuple):
    """A report: when it began and ended, and of which statistic."""

    began: int
    ended: int
    statistic: str


def played() -> tuple[dict[str, Array], dict[str, Array], list[Report], LaneDrift]:
    """Values and levels of each statistic that is shown, and the reports."""
    room, drift = generated()[0], LaneDrift(Limits())
    dark, pushed = _case(cases(room), "darkened"), _case(cases(room), "shifted")
    values = {name: np.full(SECONDS, np.nan) for name in SHOWN}
    levels = {name: np.zeros(SECONDS) for name in SHOWN}
    began: dict[str, int] = {}
    reports: list[Report] = []
    for number in range(SECONDS):
        second = room.second(number)
        second = dark.apply(second) if DARK[0] <= number < DARK[1] else second
        second = pushed.apply(second) if PUSHED[0] <= number < PUSHED[1] else second
        for statistic, state in feed(drift, room, number, second):
            if state == DRIFTING:
                began[statistic] = number
            elif statistic in began:
                reports.append(Report(began.pop(statistic), number, statistic))
        for name, detector in drift.inputs.items():
            if name in SHOWN:
                values[name][number], levels[name][number] = detector.value, min(detector.level, 1.0)
    return values, levels, reports, drift


def _case(known: Sequence[Case], beginning: str) -> Case:
    return next(case for case in known if case.name.startswith(beginning))


def draw() -> Array:
    """uint8 bgr."""
    values, levels, reports, drift = played()
    rows = [Row(name, values[name]) for name in SHOWN]
    rows += [Row(f"sum / threshold, of {name}", levels[name], 1.0) for name in SHOWN]
    parts = [_row(row, reports, drift.inputs.get(row.title)) for row in rows]
    return np.concatenate([_header(), *parts, _axis()])


def _x(second: float) -> int:
    return LEFT + round(second / SECONDS * (WIDTH - LEFT - RIGHT))


def _row(row: Row, reports: Sequence[Report], learnt: Detector | None) -> Array:
    canvas = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    for first, last in (DARK, PUSHED):
        cv2.rectangle(canvas, (_x(first), 8), (_x(last), HEIGHT - 8), PALE, -1)
    good = row.values[np.isfinite(row.values)]
    lowest, highest = float(good.min()), float(max(good.max(), row.limit or -np.inf))

    def y(value: float) -> int:
        return HEIGHT - 14 - round((value - lowest) / (highest - lowest) * (HEIGHT - 30))

    if learnt:
        band = learnt.reference.mean - learnt.deviation, learnt.reference.mean + learnt.deviation
        cv2.rectangle(canvas, (LEFT, y(min(band[1], highest))), (WIDTH - RIGHT, y(band[0])), (225, 240, 220), -1)
    points = [(_x(at), y(value)) for at, value in enumerate(row.values) if np.isfinite(value)]
    cv2.polylines(canvas, [np.array(points, np.int32)], False, BLUE, 1, cv2.LINE_AA)
    for line, part in enumerate(row.title.split(", ")):
        _text(canvas, part, (8, 26 + 18 * line), BLACK)
    for value in (lowest, highest):
        _text(canvas, f"{value:.3g}", (LEFT - 56, y(value) + 5), GREY)
    for report in reports:
        if report.statistic in row.title:
            cv2.line(canvas, (_x(report.began), 8), (_x(report.began), HEIGHT - 8), RED, 2)
            cv2.line(canvas, (_x(report.ended), 8), (_x(report.ended), HEIGHT - 8), GREEN, 2)
    return canvas


def _header() -> Array:
    canvas = np.full((34, WIDTH, 3), 255, np.uint8)
    _text(canvas, "reported", (LEFT, 22), RED)
    _text(canvas, "ended", (LEFT + 90, 22), GREEN)
    _text(canvas, "green band: what was learnt", (LEFT + 160, 22), GREY)
    _text(canvas, "darkened to 60 %", (_x(DARK[0]) - 6, 22), BLACK)
    _text(canvas, "pushed by 8 %", (_x(PUSHED[0]) - 6, 22), BLACK)
    return canvas


def _axis() -> Array:
    canvas = np.full((34, WIDTH, 3), 255, np.uint8)
    for second in range(0, SECONDS + 1, 300):
        cv2.line(canvas, (_x(second), 0), (_x(second), 6), GREY, 1)
        _text(canvas, f"{second} s", (_x(second) - 16, 24), GREY)
    return canvas


def _text(canvas: Array, text: str, at: tuple[int, int], colour: tuple[int, int, int]) -> None:
    cv2.putText(canvas, text, at, FONT, 0.45, colour, 1, cv2.LINE_AA)


def main() -> None:
    cv2.imwrite(str(PICTURE), draw(), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    print(f"wrote {PICTURE}")


if __name__ == "__main__":
    main()
