"""The CARD.md of pose-fall."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from agent.benches.falls import FALLING, HITS, IN_TIME_S, LABELS, OF, SCORE, SLACK_S
from agent.box.machine import processor
from agent.data import Array
from models.train import card
from models.train.data import SHARED, DataError
from models.train.network import Network
from models.train.pose_fall.camera import PoseRecording
from models.train.pose_fall.evaluate import evaluate
from models.train.pose_fall.windows import TEST, TRAIN, simulate, windows

FILES = ("float", "pruned", "pruned, INT8")

SUMMARY = """
What does a person do: walking, standing, sitting, lying, or just falling? Reads 2.4 s of MoveNet's 17 keypoints, at any
rate from 10 to 30 pictures a second, from any side. Used as a lane's `then`; when no person is detected any more after
a person lay still, `lying` stays (`poses.lasting`), since pose networks lose people on the floor.
"""

DATA = f"""
Simulated (Apache-2.0, `models/train/pose_fall`): a stick figure with measured limb lengths walks, sits, bends,
lies down on beds and floors, exercises and falls, before a pinhole camera at a random place; then MoveNet's
errors are added: noise, low scores, points that jump to furniture, persons lost. {len(TRAIN):,} recordings,
half of them with a fall. **No real recording was used for training**, so every person and every room below is
unseen, which is stricter than leaving out one subject at a time.

Real clips for the figures: GMDCSA24 (MIT, (c) 2024 Ekram Alam), falls and daily activity of adults, annotated by its
authors.
"""

LIMITS = f"""
- Few real clips; their intervals are wide, as the tables show. They were not used for training, but the authors of the
  simulation knew these clips: its ways to fall (crumpling, toppling, over the knees) and MoveNet's errors follow them.
- The alarm's score ({SCORE:g} in {HITS} of {OF} pictures) was chosen on simulated recordings with other seeds than
  those of the test.
- Staged falls of healthy adults, one person in the picture. Falling onto a bed looks like going to bed in a hurry;
  dropping to the floor to sit looks like a fall that ends well. Long exposure at night blurs the fall itself.
- A posture is derived from the picture alone: sitting and standing look alike from the front or from above.
- It supports carers; it is no medical device, and no protection of persons by itself.
"""


class Alarms(NamedTuple):
    """Recordings with and without a fall, and the alarms in them.

    early: falls with an alarm before the fall; disturbed: daily recordings with an alarm; hours: of daily recordings.
    """

    falls: int
    in_time: int
    early: int
    daily: int
    disturbed: int
    hours: float


def write(place: Path, files: tuple[bytes, bytes, bytes]) -> None:
    """files: float, pruned, pruned INT8. Needs the package in `place`."""
    card.write(
        place,
        SUMMARY,
        {
            "Data": DATA,
            "Real clips, none of them in the training data": _real(place),
            "Simulated recordings with other seeds": _simulated(place, files),
            "Limits": LIMITS,
        },
    )


def _simulated(place: Path, files: tuple[bytes, bytes, bytes]) -> str:
    """Compare the three networks; draws the confusion of the shipped one."""
    recordings = [simulate(seed) for seed in tqdm(TEST, "test", mininterval=2)]
    inputs = [windows(recording, np.arange(len(recording.times))) for recording in recordings]
    truth = np.concatenate([recording.labels for recording in recordings])
    known = truth >= 0
    networks = [Network(content) for content in files]
    scores = [[network(samples) for samples in tqdm(inputs, "infer", mininterval=2)] for network in networks]
    predictions = [np.concatenate(parts).argmax(axis=1) for parts in scores]
    correct = [int((predicted == truth)[known].sum()) for predicted in predictions]
    times = [network.median_ms(np.concatenate(inputs[:20])) for network in networks]
    alarms = [_count(recordings, parts) for parts in scores]
    matrix = card.confusion(truth[known], predictions[2][known], len(LABELS))
    card.draw_confusion(matrix, LABELS, place / "confusion.png")
    of = int(known.sum())
    rows = [
        (name, f"{len(content):,}", f"{ms:.3f}", card.percent(hits, of), *_shares(counts))
        for name, content, ms, hits, counts in zip(FILES, files, times, correct, alarms)
    ]
    in_time = f"falls with an alarm within {IN_TIME_S:g} s"
    header = ("", "bytes", "ms", "pictures with the right label", in_time, "daily recordings with an alarm")
    sizes = (len(files[0]), len(files[2]))
    tradeoff = card.int8_tradeoff(sizes, (correct[0], correct[2]), of, (times[0], times[2]))
    return f"{card.table(header, rows)}\n\n{_note(alarms[2])}\n\n{tradeoff}\n\n![confusion matrix](confusion.png)"


def _count(recordings: list[PoseRecording], scores: list[Array]) -> Alarms:
    """Alarms of the rule over recordings at their own rate."""
    falls = in_time = early = daily = disturbed = 0
    seconds = 0.0
    for recording, rows in zip(recordings, scores):
        times = recording.times[_starts(rows)]
        if np.isnan(recording.onset):
            daily, disturbed, seconds = daily + 1, disturbed + bool(len(times)), seconds + recording.times[-1]
        else:
            after = times[times >= recording.onset - SLACK_S]
            falls, early = falls + 1, early + bool((times < recording.onset - SLACK_S).any())
            in_time += bool(len(after) and after[0] <= recording.onset + IN_TIME_S)
    hours = seconds / 3600
    return Alarms(falls=falls, in_time=in_time, early=early, daily=daily, disturbed=disturbed, hours=hours)


def _starts(scores: Array) -> Array:
    """Rows at which the rule begins to be met."""
    met = np.convolve(scores[:, FALLING] >= SCORE, np.ones(OF))[: len(scores)] >= HITS
    return np.flatnonzero(met & ~np.concatenate([[False], met[:-1]]))


def _shares(alarms: Alarms) -> tuple[str, str]:
    return card.percent(alarms.in_time, alarms.falls), card.percent(alarms.disturbed, alarms.daily)


def _note(alarms: Alarms) -> str:
    return (
        f"One thread, {processor()}. {alarms.early} of {alarms.falls} falls also had an alarm before the fall.\n"
        f"The daily activity, {60 * alarms.hours:.0f} minutes, consists of changes of posture, one after another; "
        "a real day has fewer."
    )


def _real(place: Path) -> str:
    try:
        figures = evaluate(place, SHARED)
    except DataError as error:
        return f"Not measured in this run: {error}"
    every = figures["unseen"]
    falls = card.percent(every["falls_in_time"], every["falls"])
    return (
        f"Rule: {figures['rule']}. Falls in time: {falls}.\n\n{_subjects(figures)}\n\n"
        f"{_folds(figures['cross_validation'])}\n\n{_clips(figures)}\n\n"
        f"The same clips with a change: {_robustness(figures)}.\n\n{_matrix(every)}"
    )


def _subjects(figures: dict[str, Any]) -> str:
    rows = [
        (
            name,
            f"{subject['falls_in_time']} of {subject['falls']}",
            f"{subject['daily_clips_with_false_alarm']} of {subject['daily_clips']}",
            f"{100 * subject['posture_accuracy']:.1f} %",
        )
        for name, subject in [*figures["subjects"].items(), ("together", figures["unseen"])]
    ]
    return card.table(("subject", "falls in time", "daily clips with a false alarm", "right postures"), rows)


def _folds(figures: dict[str, Any]) -> str:
    scores = ", ".join(f"{name} {score:g}" for name, score in figures["scores"].items())
    falls = card.percent(figures["falls_in_time"], figures["falls"])
    daily = card.percent(figures["daily_clips_with_false_alarm"], figures["daily_clips"])
    early = figures["alarms_before_a_fall"]
    return (
        "Cross-validation over whole subjects: the alarm's score chosen on the clips of all others, from 0.3 to 0.9,\n"
        f"where the fewest clips are wrong ({scores}), then counted on the subject left out.\n"
        f"Falls in time {falls}; daily clips with a false alarm {daily}; alarms before a fall {early}."
    )


def _clips(figures: dict[str, Any]) -> str:
    rows = [
        (name, clip["pictures"], clip.get("fall_s", "-"), clip.get("alarm_s", "-"), clip["false_alarms"])
        for name, clip in figures["clips"].items()
    ]
    return card.table(("clip", "pictures", "fall begins at, s", "alarm after, s", "false alarms"), rows)


def _robustness(figures: dict[str, Any]) -> str:
    return "; ".join(
        f"{name.replace('_', ' ')}: {changed['falls_in_time']} of {figures['unseen']['falls']} falls in time, "
        f"{changed['daily_clips_with_false_alarm'] + changed['alarms_before_a_fall']} clips with a false alarm"
        for name, changed in figures["robustness"].items()
    )


def _matrix(figures: dict[str, Any]) -> str:
    """Confusion of the real pictures, as a table."""
    names = figures["posture_labels"]
    rows = [(name, *counts) for name, counts in zip(names, figures["posture_confusion"])]
    return card.table(("true, predicted", *names), rows)
