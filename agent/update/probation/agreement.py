"""Whether two versions of a model say the same of one input, as far as the rules can tell.

Of what rules ask for, or of every label where none names one of this model's:

- a decoder of labels (classify, sequence, reconstruction, heart, grid): a label that one version finds clearly, the
  other finds, too;
- one of boxes (yolo, nanodet, ssd, blobs): so it does for each box, in the same place, and so in the same number;
- one of keypoints (movenet, yolo poses): so it does for each person, and the points that both see are close.

"Clearly" is above the lowest score that a rule asks for by more than MARGIN, and "too" is not below it by more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from agent.config.models import Config
from agent.data import Array
from agent.decoders.base import Finding
from agent.vision.tracks import overlap

USUAL_SCORE = 0.5  # of a condition that names none
MARGIN = 0.1
SAME_PLACE = 0.3  # overlap of two boxes
SEEN, POINTS, FAR = 0.3, 5, 0.05  # keypoints: score, how many are a person, mean distance in shares of the input


def asked_scores(config: Config, lane: str) -> dict[str, float]:
    """The lowest score that a rule asks for, of each label that rules read from a lane."""
    scores: dict[str, float] = {}
    for rule in config.rules.values():
        for condition in rule.conditions:
            if condition.lane == lane:
                scores[condition.label] = min(condition.score, scores.get(condition.label, 1.0))
    return scores


def agree(
    findings: tuple[Sequence[Finding], Sequence[Finding]],
    keypoints: tuple[Array | None, Array | None],
    asked: Mapping[str, float],
) -> bool:
    """findings, keypoints: of both, on the model's input. asked: as of `asked_scores`, for labels of the model."""
    first, second = findings
    return _covers(first, second, asked) and _covers(second, first, asked) and _same_points(*keypoints)


def _covers(first: Sequence[Finding], second: Sequence[Finding], asked: Mapping[str, float]) -> bool:
    """Everything that the first finds clearly, the second finds; each finding of it counts once."""
    left = list(second)
    for finding in first:
        if asked and finding.label not in asked:
            continue
        score = asked.get(finding.label, USUAL_SCORE)
        if finding.score < min(score + MARGIN, 1.0):
            continue
        twin = next((each for each in left if _matches(finding, each, score)), None)
        if twin is None:
            return False
        left.remove(twin)
    return True


def _matches(finding: Finding, other: Finding, score: float) -> bool:
    if finding.label != other.label or other.score < score - MARGIN:
        return False
    return not (finding.box and other.box) or overlap(finding.box, other.box) >= SAME_PLACE


def _same_points(first: Array | None, second: Array | None) -> bool:
    """Of one person; those of several are compared by their boxes."""
    if first is None or second is None or first.ndim != 2 or second.ndim != 2:
        return True
    seen = first[:, 2] >= SEEN, second[:, 2] >= SEEN
    counts = [int(np.count_nonzero(each)) for each in seen]
    if min(counts) < POINTS:
        return max(counts) < 2 * POINTS  # a few points more or less are no person more or less
    both = seen[0] & seen[1]
    if np.count_nonzero(both) < POINTS:
        return False
    return float(np.abs(first[both, :2] - second[both, :2]).mean()) <= FAR
