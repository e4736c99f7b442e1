"""How well stops are predicted: over all thresholds, at one threshold, against chance; and when that is useful."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from agent.data import Array
from models.train.robot_stop.recording import HORIZON, incidents

BLOCK = 120  # rows, about five cycles: neighbouring rows are alike, so the bootstrap draws whole blocks
PRECISION = 0.5  # half of the alarms are right: below that people learn to ignore them
RECALL = 0.5  # half of the incidents announced
RULE = f"""
The model is useful if, on the last part of the recording, at the threshold that gave a precision of {100 * PRECISION:g}
% in cross-validation inside the first part, the INT8 network's alarms are right in at least {100 * PRECISION:g} % of
their rows and announce at least {100 * RECALL:g} % of the incidents; and if its average precision is above that of the
cycle's clock alone, with the 95 % interval of the difference (block bootstrap) above 0.
"""


class Alarms(NamedTuple):
    """Alarms at one threshold. false_per_hour: periods of false alarms, per hour of evaluated rows."""

    precision: float
    recall: float
    announced: int
    incidents: int
    false_per_hour: float


def average_precision(truth: Array, scores: Array) -> float:
    """Sum of precision times the rise of recall over falling thresholds; equal scores form one threshold."""
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.diff(scores[order], append=-np.inf))
    hits = np.cumsum(truth[order])[last]
    return float((hits / (last + 1) * np.diff(hits, prepend=0)).sum() / max(hits[-1], 1))


def roc_auc(truth: Array, scores: Array) -> float:
    """Probability that a row before an incident scores above another row; a tie counts half."""
    below, above = np.sort(scores[~truth]), scores[truth]
    wins = np.searchsorted(below, above, "left") + np.searchsorted(below, above, "right")
    return float(wins.sum() / 2 / max(len(below) * len(above), 1))


def recall_at(truth: Array, scores: Array, precision: float = PRECISION) -> tuple[float, float]:
    """The highest recall at this precision and its threshold; 0 and infinity if no threshold reaches the precision."""
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.diff(scores[order], append=-np.inf))
    hits = np.cumsum(truth[order])[last]
    sufficient = np.flatnonzero(hits / (last + 1) >= precision)
    if not len(sufficient):
        return 0.0, np.inf
    return float(hits[sufficient[-1]] / max(truth.sum(), 1)), float(scores[order][last[sufficient[-1]]])


def alarms(scores: Array, rows: Array, truth: Array, trouble: Array, threshold: float) -> Alarms:
    """Count alarms. scores, truth: of these rows; trouble: bool of all rows."""
    alarmed = scores >= threshold
    hits = int((alarmed & truth).sum())
    starts = [row for row in incidents(trouble) if ((rows < row) & (rows >= row - HORIZON)).any()]
    announced = sum(bool(alarmed[(rows < row) & (rows >= row - HORIZON)].any()) for row in starts)
    wrong = rows[alarmed & ~truth]
    runs = int((np.diff(wrong, prepend=-HORIZON) > 1).sum())
    precision, recall = hits / max(int(alarmed.sum()), 1), hits / max(int(truth.sum()), 1)
    false_per_hour = runs / max(len(rows), 1) * 3600
    return Alarms(precision, recall, announced, len(starts), false_per_hour)


def _bootstrap(rows: Array, statistic: Callable[[Array], float], times: int = 1000) -> tuple[float, float]:
    """95 % interval; statistic: of indices into rows. Blocks of time are drawn with replacement, not rows."""
    random = np.random.default_rng(0)
    blocks = (rows - rows[0]) // BLOCK
    parts = [np.flatnonzero(blocks == block) for block in np.unique(blocks)]
    picks = random.integers(len(parts), size=(times, len(parts)))
    values = [statistic(np.concatenate([parts[number] for number in pick])) for pick in picks]
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def gain(rows: Array, truth: Array, scores: Array, other: Array) -> tuple[float, float]:
    """95 % interval of the average precision above another's on the same rows."""
    return _bootstrap(
        rows, lambda at: average_precision(truth[at], scores[at]) - average_precision(truth[at], other[at])
    )


def useful(at_threshold: Alarms, gained: tuple[float, float]) -> bool:
    """RULE, fixed before the last part of the recording was evaluated."""
    share = at_threshold.announced / max(at_threshold.incidents, 1)
    return at_threshold.precision >= PRECISION and share >= RECALL and gained[0] > 0


def figures(rows: Array, truth: Array, scores: Array) -> dict[str, Any]:
    """The figures that need no threshold."""
    return {
        "average_precision": round(average_precision(truth, scores), 4),
        "interval_95": [round(end, 4) for end in _bootstrap(rows, lambda at: average_precision(truth[at], scores[at]))],
        "roc_auc": round(roc_auc(truth, scores), 4),
        "recall_at_half_precision": round(recall_at(truth, scores)[0], 4),
    }


def row(name: str, figures: Mapping[str, Any]) -> list[str]:
    """A row of the card's table."""
    low, high = figures["interval_95"]
    return [
        name,
        f"{figures['average_precision']:.3f} ({low:.3f} to {high:.3f})",
        f"{figures['roc_auc']:.3f}",
        f"{100 * figures['recall_at_half_precision']:.1f} %",
    ]
