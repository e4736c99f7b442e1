"""What the CARD.md of pose-fall says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from agent.benches.falls import FALLING, HITS, IN_TIME_S, LABELS, OF, SCORE, SLACK_S
from agent.data import Array
from models.train import card
from models.train.data import SHARED, DataError
from models.train.network import Network
from models.train.pose_fall.evaluate import evaluate
from models.train.pose_fall.view import Seen
from models.train.pose_fall.windows import TEST, TRAIN, record, windows

SUMMARY = """
What is a person doing: walking, standing, sitting, lying, or falling just now? Reads 2.4 s of MoveNet's 17 keypoints, at any
pace from 10 to 30 pictures a second, from any side. Used as a lane's `then`; while nobody is seen any more, whoever lay still
lies (`poses.lasting`), since pose networks lose people on the floor.
"""

DATA = f"""
Simulated (Apache-2.0, `models/train/pose_fall`): a jointed figure with measured limb lengths walks, sits, bends, lies down on
beds and floors, exercises and falls, before a pinhole camera at a random place; then MoveNet's faults are added: noise, doubt,
points that jump to furniture, whole persons lost. {len(TRAIN):,} recordings, half of them with a fall. **No real recording
was trained on**, so every person and every room below is unseen, which is stricter than leaving out one subject at a time.

Real clips for the figures: GMDCSA24 (MIT, (c) 2024 Ekram Alam), falls and daily activity of adults, annotated by its authors.
"""

LIMITS = f"""
- Few real clips. Their intervals are wide, as the tables say. The figures were not trained on, but we looked at these clips
  while the simulation was written: the ways to fall (crumpling, toppling, over the knees) and MoveNet's faults are after them.
- The alarm's score ({SCORE:g} in {HITS} of {OF} pictures) was chosen on simulated recordings of other seeds than the test's.
- Staged falls by healthy adults, one person in the picture. Falling onto a bed looks like going to bed in a hurry; dropping to
  the floor to sit looks like a fall that ends well. Long exposure at night blurs the fall itself.
- A frame's posture is told from the picture alone: sitting and standing seen from the front or from above are alike.
- A help to carers, no medical device; not for protecting people by itself.
"""


class Alarms(NamedTuple):
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
            "Real clips, none of them trained on": _real(place),
            "Simulated recordings of other seeds": f"{_simulated(place, files)}\n\n![postures](confusion.png)",
            "Limits": LIMITS,
        },
    )


def _simulated(place: Path, files: tuple[bytes, bytes, bytes]) -> str:
    """The three networks side by side; draws the confusion of what ships."""
    recordings = [record(seed) for seed in tqdm(TEST, "test", mininterval=2)]
    inputs = [windows(seen, np.arange(len(seen.times))) for seen in recordings]
    truth = np.concatenate([seen.labels for seen in recordings])
    known = truth >= 0
    networks = [Network(content) for content in files]
    said = [[network(cut) for cut in tqdm(inputs, "judge", mininterval=2)] for network in networks]
    guesses = [np.concatenate(each).argmax(axis=1) for each in said]
    right = [int((guess == truth)[known].sum()) for guess in guesses]
    ms = [network.median_ms(np.concatenate(inputs[:20])) for network in networks]
    alarms = [_count(recordings, each) for each in said]
    card.draw_confusion(card.confusion(truth[known], guesses[2][known], len(LABELS)), LABELS, place / "confusion.png")
    rows = [
        (name, f"{len(content):,}", f"{took:.3f}", card.percent(hits, int(known.sum())), *_told(tally))
        for name, content, took, hits, tally in zip(("float", "pruned", "pruned, INT8"), files, ms, right, alarms)
    ]
    head = ("", "bytes", "ms", "pictures right", f"falls alarmed within {IN_TIME_S:g} s", "daily recordings disturbed")
    trade = card.int8_tradeoff((len(files[0]), len(files[2])), (right[0], right[2]), int(known.sum()), (ms[0], ms[2]))
    return f"{card.table(head, rows)}\n\n{_note(alarms[2])}\n\n{trade}"


def _count(recordings: list[Seen], said: list[Array]) -> Alarms:
    """The rule over recordings at their own pace."""
    falls = in_time = early = daily = disturbed = 0
    seconds = 0.0
    for seen, scores in zip(recordings, said):
        times = seen.times[_starts(scores)]
        if np.isnan(seen.onset):
            daily, disturbed, seconds = daily + 1, disturbed + bool(len(times)), seconds + seen.times[-1]
        else:
            after = times[times >= seen.onset - SLACK_S]
            falls, early = falls + 1, early + bool((times < seen.onset - SLACK_S).any())
            in_time += bool(len(after) and after[0] <= seen.onset + IN_TIME_S)
    return Alarms(falls, in_time, early, daily, disturbed, seconds / 3600)


def _starts(scores: Array) -> Array:
    """Rows at which the rule begins to hold."""
    hot = np.convolve(scores[:, FALLING] >= SCORE, np.ones(OF))[: len(scores)] >= HITS
    return np.flatnonzero(hot & ~np.concatenate([[False], hot[:-1]]))


def _told(alarms: Alarms) -> tuple[str, str]:
    return card.percent(alarms.in_time, alarms.falls), card.percent(alarms.disturbed, alarms.daily)


def _note(alarms: Alarms) -> str:
    return (
        f"One thread, {card.processor()}. {alarms.early} of the {alarms.falls} falls had an alarm before the fall, too.\n"
        f"The daily activity, {60 * alarms.hours:.0f} minutes, is all changes of posture, one after another: a day has fewer."
    )


def _real(place: Path, look: Callable[[Path, Path], dict] = evaluate) -> str:
    try:
        figures = look(place, SHARED)
    except DataError as error:
        return f"Not measured by this run: {error}"
    rows = [
        (name, one["pictures"], one.get("fall_s", "-"), one.get("alarm_s", "-"), one["false_alarms"])
        for name, one in figures["clips"].items()
    ]
    every = figures["unseen"]
    subjects = [
        (
            name,
            f"{one['falls_in_time']} of {one['falls']}",
            f"{one['daily_clips_with_false_alarm']} of {one['daily_clips']}",
            f"{100 * one['posture_accuracy']:.1f} %",
        )
        for name, one in [*figures["subjects"].items(), ("together", every)]
    ]
    clips = card.table(("clip", "pictures", "fall begins at, s", "alarm after, s", "false alarms"), rows)
    people = card.table(("subject", "falls in time", "daily clips with a false alarm", "right postures"), subjects)
    falls = card.percent(every["falls_in_time"], every["falls"])
    harder = "; ".join(
        f"{name.replace('_', ' ')}: {one['falls_in_time']} of {every['falls']} falls in time, "
        f"{one['daily_clips_with_false_alarm'] + one['alarms_before_a_fall']} clips with a false alarm"
        for name, one in figures["robustness"].items()
    )
    return (
        f"Rule: {figures['rule']}. Falls in time: {falls}.\n\n{people}\n\n{clips}\n\n"
        f"The same clips made harder: {harder}.\n\n{_matrix(every)}"
    )


def _matrix(every: dict) -> str:
    """Confusion of the real pictures, as a table."""
    names = every["posture_labels"]
    rows = [(name, *line) for name, line in zip(names, every["posture_confusion"])]
    return card.table(("it was, the model says", *names), rows)
