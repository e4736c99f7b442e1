"""What the CARD.md of robot-stop says, shipped or not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from agent.data import Array
from models.train import card
from models.train.network import Network
from models.train.robot_stop import score
from models.train.robot_stop.recording import HORIZON, LENGTH, STOP, TARGETS, Recording, ahead, incidents

if TYPE_CHECKING:
    from models.train.robot_stop.make import Trained

CLOCK, BOOSTING, COLD = "cycle's clock alone", "gradient boosting", "gradient boosting without temperatures"
FORMS = {"full": "network, float", "pruned": "network, pruned", "int8": "network, pruned, INT8"}
NETWORK = FORMS["int8"]
RETRY = 16  # s after the loss of a part within which the robot has tried again

DATA = f"""
UR3 CobotOps: Tyrovolas, M., Aliev, K., Antonelli, D., & Stylios, C. (2024), UCI Machine Learning Repository, doi
10.24432/C5J891; CC BY 4.0. One robot, one day, 7,409 rows at 1 Hz. An empty cell (at most 54 a column) repeats the value
above it.

An *incident* is a protective stop or a lost part; one that begins within {HORIZON} s of another's end belongs to that.
Rows in an incident and up to {HORIZON} s after it do not count: a stop that is already there is not foreseen. Asked is
whether an incident begins in the next 1 to {HORIZON} s, from the last {LENGTH} s: a UR3 brakes within 1 s and a person
looks up within 2; 10 s would be 40 % of a cycle, and the answer a matter of its phase.
"""

TUNED = """
Channels, network, epochs and gradient boosting's settings were chosen inside the first part, by cross-validation over
stretches of time; horizon and window were set beforehand. The rule below was written before the last part was looked at.
"""


class Result(NamedTuple):
    """crossed: scores of `known` out of fold, by method. judged: of `last`, by target and method."""

    recording: Recording
    known: Array
    last: Array
    crossed: Mapping[str, Array]
    judged: Mapping[str, Mapping[str, Array]]
    called: score.Alarms
    gained: tuple[float, float]
    threshold: float


def write(place: Path, result: Result, trained: Trained) -> None:
    sections = {
        "Data": DATA,
        "Split": _split_text(result),
        "Useful?": _verdict(result),
        "First part, cross-validated": _block(result, result.known, TARGETS[0], result.crossed),
        "Last part, never seen": "\n\n".join(_block(result, result.last, *judged) for judged in result.judged.items()),
        "What is in it": _reading(result),
        "Size and time": _sizes(result, trained),
        "Limits": LIMITS,
    }
    card.write(place, _summary(result), sections)


def _summary(result: Result) -> str:
    if score.useful(result.called, result.gained):
        return (
            f"Is a protective stop or the loss of the part ahead within {HORIZON} s? Reads {LENGTH} s of a UR3 at 1 Hz."
        )
    return (
        "**Not shipped: there is no model here.** Asked was whether a protective stop or the loss of the part is ahead\n"
        f"within {HORIZON} s, from a UR3's currents, speeds and temperatures at 1 Hz. What it foresees is too little to "
        "act on."
    )


def _split_text(result: Result) -> str:
    trouble = result.recording.trouble(TARGETS[0])
    truth, inside, lines = ahead(trouble), incidents(trouble), []
    for name, rows in (("First part", result.known), ("Last part", result.last)):
        count = int(((inside > rows[0]) & (inside <= rows[-1] + HORIZON)).sum())
        lines.append(
            f"- {name}: rows {rows[0] + 1:,} to {rows[-1] + 1:,} of the recording, {len(rows):,} of them count, "
            f"{100 * truth[rows].mean():.1f} % before an incident; {count} incidents."
        )
    lines += [f"- In order of time, {LENGTH + HORIZON} rows (a window and a horizon) apart.", "", TUNED.strip()]
    return "\n".join(lines)


def _verdict(result: Result) -> str:
    called, (low, high) = result.called, result.gained
    yes = score.useful(called, result.gained)
    return (
        f"{score.RULE}\n\nMeasured at that threshold ({result.threshold:.3f}): precision {100 * called.precision:.1f} %, "
        f"incidents announced {card.percent(called.announced, called.incidents)},\n"
        f"{called.false_per_hour:.1f} alarms an hour that nothing follows.\n"
        f"Average precision above the clock's: {low:+.3f} to {high:+.3f}. **{'Useful' if yes else 'Not useful'}.**\n\n"
        f"{_matrix(result)}"
    )


def _matrix(result: Result) -> str:
    """Counts as text: without a package there is no picture."""
    truth = ahead(result.recording.trouble(TARGETS[0]))[result.last].astype(int)
    loud = (result.judged[TARGETS[0]][NETWORK] >= result.threshold).astype(int)
    counts = card.confusion(truth, loud, 2)
    names = "nothing ahead", "incident ahead"
    return card.table(("rows of the last part", "no alarm", "alarm"), [(names[n], *counts[n]) for n in range(2)])


def _block(result: Result, rows: Array, target: str, found: Mapping[str, Array]) -> str:
    truth = ahead(result.recording.trouble(target))[rows]
    lines = [score.row(name, score.figures(rows, truth, scores)) for name, scores in found.items()]
    header = (
        f"{target}: base rate {100 * truth.mean():.1f} %",
        "average precision",
        "ROC AUC",
        "recall at precision 50 %",
    )
    return card.table(header, lines)


def _reading(result: Result) -> str:
    """Where the foresight comes from."""
    stops, losses = (_of_last(result, target) for target in TARGETS[1:])
    apart = np.median(np.diff(stops))
    again = sum(result.recording.lost[max(0, row - RETRY) : row - HORIZON].any() for row in losses)
    truth = ahead(result.recording.trouble(TARGETS[2]))[result.last]
    low, high = score.figures(result.last, truth, result.judged[TARGETS[2]][COLD])["interval_95"]
    return (
        f"- Half of the {len(stops)} protective stops of the last part come {apart:g} s or less after the one before, "
        "at like seconds of a\n  cycle. A clock tells that; no method that reads the sensors did better.\n"
        f"- The loss of a part, {len(losses)} in the last part, is the lead to follow: gradient boosting sees some of it "
        f"coming.\n  It was not the question fixed beforehand, though, {again} of the {len(losses)} are a retry that fails "
        f"{HORIZON + 1} to {RETRY} s after a loss,\n  and the interval goes from {low:.2f} to {high:.2f}. "
        "Record more of them before acting on it."
    )


def _of_last(result: Result, target: str) -> Array:
    """Rows of the last part in which an incident begins."""
    rows = incidents(result.recording.trouble(target))
    return rows[(rows > result.last[0]) & (rows <= result.last[-1] + HORIZON)]


def _sizes(result: Result, trained: Trained) -> str:
    truth = ahead(result.recording.trouble(TARGETS[0]))[result.last]
    files = [getattr(trained, form) for form in FORMS]
    samples = np.random.default_rng(0).normal(size=(50, *Network(files[0]).input["shape"][1:])).astype(np.float32)
    took = [Network(content).median_ms(samples) for content in files]
    scores = [score.average_precision(truth, result.judged[TARGETS[0]][name]) for name in FORMS.values()]
    rows = zip(FORMS.values(), files, took, scores)
    lines = [(name, f"{len(content):,}", f"{ms:.4f}", f"{got:.3f}") for name, content, ms, got in rows]
    slower = "\nOn this machine INT8 is slower than float." if took[2] > took[0] else ""
    trade = (
        f"Asked (R12): at least 60 % smaller than float, at most 2 points lost. INT8 of the pruned one is "
        f"{100 * (1 - len(files[2]) / len(files[0])):.1f} % smaller\nand changes the average precision by "
        f"{100 * (scores[2] - scores[0]):+.1f} points."
    )
    header = ("", "bytes", "ms an inference", "average precision, last part")
    return f"{card.table(header, lines)}\n\n{trade}{slower}\nOne thread, {card.processor()}."


LIMITS = f"""
- The stops come at like seconds of a cycle, and nothing in the recording says why. Many may have been caused from
  outside, and what is outside is in no current or speed before it touches the robot.
- At 1 Hz a blow of 50 ms is over before the next row: it shows in the currents together with `{STOP}`, not before.
- One robot, one job, one day: for another robot record and measure anew; the recipe reads any log laid out alike.
"""
