"""The CARD.md of robot-stop, shipped or not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from agent.box.machine import processor
from agent.data import Array
from models.train import card
from models.train.network import Network, NetworkFiles
from models.train.robot_stop import score
from models.train.robot_stop.recording import HORIZON, LENGTH, STOP, TARGETS, Recording, ahead, incidents

CLOCK, BOOSTING, NO_TEMPERATURES = "cycle's clock alone", "gradient boosting", "gradient boosting without temperatures"
FORMS = {"full": "network, float", "pruned": "network, pruned", "int8": "network, pruned, INT8"}
NETWORK = FORMS["int8"]
RETRY = 16  # s after the loss of a part within which the robot has tried again

DATA = f"""
UR3 CobotOps: Tyrovolas, M., Aliev, K., Antonelli, D., & Stylios, C. (2024), UCI Machine Learning Repository, doi
10.24432/C5J891; CC BY 4.0. One robot, one day, 7,409 rows at 1 Hz. An empty cell (at most 54 a column) repeats the
value above it.

An *incident* is a protective stop or a lost part; one that begins within {HORIZON} s of another's end belongs to that
one. Rows in an incident and up to {HORIZON} s after it are not used: a stop that has begun is no prediction. The
question is whether an incident begins in the next 1 to {HORIZON} s, from the last {LENGTH} s: a UR3 brakes within 1 s
and a person looks up within 2; 10 s would be 40 % of a cycle, and the answer a matter of its phase.
"""

TUNED = """
Channels, network, epochs and the settings of gradient boosting were chosen inside the first part, by cross-validation
over periods of time; horizon and window were fixed before. The rule below was written before the last part was
evaluated.
"""

LIMITS = f"""
- The stops come at similar seconds of a cycle, and nothing in the recording shows why. Many may have external causes,
  which show in no current or speed before something touches the robot.
- At 1 Hz a blow of 50 ms is over before the next row: it shows in the currents together with `{STOP}`, not before.
- One robot, one job, one day: for another robot record and measure again; the recipe reads any log of the same layout.
"""


class Result(NamedTuple):
    """Scores and figures. validated: cross-validated scores of `known`, by method; tested: of `last`, by target,
    method.

    alarms, gain: of the INT8 network on `last` at `threshold`.
    """

    recording: Recording
    known: Array
    last: Array
    validated: Mapping[str, Array]
    tested: Mapping[str, Mapping[str, Array]]
    alarms: score.Alarms
    gain: tuple[float, float]
    threshold: float


def write(place: Path, result: Result, files: NetworkFiles) -> None:
    tables = [_table(result, result.last, *tested) for tested in result.tested.items()]
    sections = {
        "Data": DATA,
        "Split": _split_text(result),
        "Useful?": _verdict(result),
        "First part, cross-validated": _table(result, result.known, TARGETS[0], result.validated),
        "Last part, unseen": "\n\n".join(tables),
        "What can be predicted": _findings_text(result),
        "Size and time": _sizes_text(result, files),
        "Limits": LIMITS,
    }
    card.write(place, _summary(result), sections)


def _summary(result: Result) -> str:
    question = f"a protective stop or the loss of the part begins within {HORIZON} s"
    if score.useful(result.alarms, result.gain):
        return f"Predicts whether {question}. Reads {LENGTH} s of a UR3 at 1 Hz."
    return (
        f"**Not shipped: there is no model here.** The question was whether {question},\n"
        "from a UR3's currents, speeds and temperatures at 1 Hz. Its predictions are too weak to act on."
    )


def _split_text(result: Result) -> str:
    trouble = result.recording.trouble(TARGETS[0])
    truth, starts, lines = ahead(trouble), incidents(trouble), []
    for name, rows in (("First part", result.known), ("Last part", result.last)):
        count = int(((starts > rows[0]) & (starts <= rows[-1] + HORIZON)).sum())
        lines.append(
            f"- {name}: rows {rows[0] + 1:,} to {rows[-1] + 1:,} of the recording, {len(rows):,} of them used, "
            f"{100 * truth[rows].mean():.1f} % before an incident; {count} incidents."
        )
    lines += [f"- In order of time, {LENGTH + HORIZON} rows (a window and a horizon) apart.", "", TUNED.strip()]
    return "\n".join(lines)


def _verdict(result: Result) -> str:
    alarms, (low, high) = result.alarms, result.gain
    verdict = "Useful" if score.useful(alarms, result.gain) else "Not useful"
    return (
        f"{score.RULE.strip()}\n\n"
        f"Measured at that threshold ({result.threshold:.3f}): precision {100 * alarms.precision:.1f} %, "
        f"incidents announced {card.percent(alarms.announced, alarms.incidents)},\n"
        f"{alarms.false_per_hour:.1f} false alarms per hour.\n"
        f"Average precision minus that of the clock: {low:+.3f} to {high:+.3f}. **{verdict}.**\n\n"
        f"{_matrix(result)}"
    )


def _matrix(result: Result) -> str:
    """Confusion matrix as text: without a package there is no picture."""
    truth = ahead(result.recording.trouble(TARGETS[0]))[result.last].astype(int)
    alarmed = (result.tested[TARGETS[0]][NETWORK] >= result.threshold).astype(int)
    counts = card.confusion(truth, alarmed, 2)
    names = "no incident ahead", "incident ahead"
    return card.table(("rows of the last part", "no alarm", "alarm"), [(names[n], *counts[n]) for n in range(2)])


def _table(result: Result, rows: Array, target: str, methods: Mapping[str, Array]) -> str:
    truth = ahead(result.recording.trouble(target))[rows]
    lines = [score.row(name, score.figures(rows, truth, scores)) for name, scores in methods.items()]
    header = (
        f"{target}: base rate {100 * truth.mean():.1f} %",
        "average precision",
        "ROC AUC",
        "recall at precision 50 %",
    )
    return card.table(header, lines)


def _findings_text(result: Result) -> str:
    """Which stops can be predicted, and from what."""
    stops, losses = (_starts_in_last(result, target) for target in TARGETS[1:])
    interval = np.median(np.diff(stops))
    retries = sum(result.recording.lost[max(0, row - RETRY) : row - HORIZON].any() for row in losses)
    truth = ahead(result.recording.trouble(TARGETS[2]))[result.last]
    low, high = score.figures(result.last, truth, result.tested[TARGETS[2]][NO_TEMPERATURES])["interval_95"]
    return (
        f"- Half of the {len(stops)} protective stops of the last part come at most {interval:g} s after the last,\n"
        "  at similar seconds of a cycle. A clock predicts that; no method that reads the sensors did better.\n"
        f"- The loss of a part, {len(losses)} in the last part, deserves further work: gradient boosting predicts\n"
        f"  some of them. It was not the question fixed before, though, {retries} of the {len(losses)} are "
        f"a retry that fails {HORIZON + 1} to {RETRY} s after a loss,\n  and the interval is {low:.2f} to {high:.2f}. "
        "Record more of them before acting on it."
    )


def _starts_in_last(result: Result, target: str) -> Array:
    """Rows of the last part in which an incident begins."""
    rows = incidents(result.recording.trouble(target))
    return np.asarray(rows[(rows > result.last[0]) & (rows <= result.last[-1] + HORIZON)])


def _sizes_text(result: Result, networks: NetworkFiles) -> str:
    truth = ahead(result.recording.trouble(TARGETS[0]))[result.last]
    files = [getattr(networks, form) for form in FORMS]
    samples = np.random.default_rng(0).normal(size=(50, *Network(files[0]).input["shape"][1:])).astype(np.float32)
    times = [Network(content).median_ms(samples) for content in files]
    scores = [score.average_precision(truth, result.tested[TARGETS[0]][name]) for name in FORMS.values()]
    rows = zip(FORMS.values(), files, times, scores)
    lines = [(name, f"{len(content):,}", f"{ms:.4f}", f"{precision:.3f}") for name, content, ms, precision in rows]
    slower = "\nOn this machine INT8 is slower than float." if times[2] > times[0] else ""
    tradeoff = (
        "Target: at least 60 % smaller than float, at most 2 points lost. INT8 of the pruned network is "
        f"{100 * (1 - len(files[2]) / len(files[0])):.1f} % smaller\nand changes the average precision by "
        f"{100 * (scores[2] - scores[0]):+.1f} points."
    )
    header = ("", "bytes", "ms per inference", "average precision, last part")
    return f"{card.table(header, lines)}\n\n{tradeoff}{slower}\nOne thread, {processor()}."
