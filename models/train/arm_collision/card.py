"""What the CARD.md of arm-collision says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from agent.data import Array
from models.train import card
from models.train.arm_collision import score
from models.train.arm_collision.windows import LABELS, Windows, inputs
from models.train.network import Network

if TYPE_CHECKING:
    from models.train.arm_collision.make import Trained

METHODS = ("network, float", "network, pruned", "network, pruned, INT8 (ships)", "random forest")
SHIPS, FOREST = 2, 3
PHASES = {1: "approach to grasp (lp1)", 2: "transfer of a part (lp2)", 4: "approach to ungrasp (lp4)"}

SUMMARY = """
Is the robot's hand free, has it hit something, or does it press against something? Reads the last 15 readings (315 ms,
one every 21 ms) of the force and torque sensor at the wrist (fx fy fz tx ty tz, in the set's units) and says `normal`,
`collision` or `obstruction`. A temporal convolutional network.
"""

DATA = """
Robot Execution Failures: L. Seabra Lopes and L. M. Camarinha-Matos, Universidade Nova de Lisboa, 1999; UCI Machine
Learning Repository, data set 138; CC BY 4.0. Five files, 463 windows of 15 x 6 whole numbers that begin when a failure
was noticed.

**{distinct} windows are left when each counts once**: lp3 is lp2 again under other names, and lp5 is nearly all of lp2
and lp4. Folds over the 463 would test on windows that were trained on. Some of the {distinct} were cut from one recording
a few readings apart; such windows are always in one fold ({groups} groups).

| label | windows | classes of the set |
| --- | --- | --- |
| normal | {normal} | normal, ok |
| collision | {collision} | collision, fr_, bottom_collision, collision_in_part, _in_tool, front_, back_, left_, right_col |
| | | of lp3 moved, slightly_moved, lost |
| obstruction | {obstruction} | obstruction, bottom_obstruction |

From where the blow came (front, left, bottom, part, tool) is another question, so these are collisions all. lp3 asks
where the part was afterwards, which no force tells; its windows are lp2's, where all but "ok" are collisions, and so they
are here.
"""

METHOD = """
Cross-validation: 5 folds stratified by label, {repeats} times over, each time another split; the same folds for all
methods. Mean of the repeats; in brackets the 95 % interval (bootstrap, whole groups drawn {times:,} times). The forest
sees the 90 readings and 42 statistics (mean, deviation, least, most, change, mean and largest step of each channel), 400
trees; with readings or statistics alone it was worse. The network is taught by the labels and by a forest grown on the
same folds, whose trees say of windows that they did not see how doubtful they are. **The network that ships is trained on
all windows; these are the figures of the same recipe in the folds.**
"""

TUNED = """
Chosen on two other splits of the same windows: kind of network, two views of each channel, amount of variation, the teacher
(with labels alone the float network had 93.2 % there, with the teacher 94.2, the forest 92.6). Mirroring the sideways axes
made it worse: the hand is not symmetrical. Then a first form, with 3 heads of 5 and half of the channels pruned, was judged
on three more splits: 92.83 % (INT8) against the forest's 93.09. It got more heads and channels, untuned, and the table above
is of three splits drawn after that. They are splits of the same 251 windows, though, and about a dozen settings were tried:
a point of difference means nothing here.
"""

LIMITS = """
- A phase of work that it never saw is another matter: see above. Record your own windows, some dozens of each kind, train
  again.
- The weight in the hand is part of the input: fz of a free hand is 15 to 80 in the set. Tare alike, or train again.
- What is a collision and what an obstruction was decided by the set's authors. Most mistakes are between these two.
- The set's windows begin when a failure was noticed, by what means it does not say.
- 21 ms between readings are too slow to stop an arm within 10 ms: `arm-deviation` shows the way for that. At another rate
  than 48 Hz it sees windows unlike those it learned from.
- It is no safety function in the sense of ISO 10218 or ISO 13849.
"""


class Result(NamedTuple):
    """guesses: int [METHODS, repeats, windows]. phases, by file left out: truth, and int [METHODS, windows]."""

    windows: Windows
    group: Array
    guesses: Array
    streams: Sequence[score.Stream]
    phases: Mapping[int, tuple[Array, Array]]


def write(place: Path, trained: Trained, result: Result) -> None:
    matrix = score.pooled(result.windows.labels, result.guesses[SHIPS]).sum(axis=0)
    card.draw(matrix, LABELS, place / "confusion.png")
    counts = dict(zip(LABELS, np.bincount(result.windows.labels)))
    data = DATA.format(distinct=len(result.group), groups=len(np.unique(result.group)), **counts)
    method = METHOD.format(repeats=result.guesses.shape[1], times=score.TIMES)
    card.write(
        place,
        SUMMARY,
        {
            "Data": data,
            "Beside a random forest": f"{method.strip()}\n\n{_beside(result)}\n\n{TUNED.strip()}\n\n"
            "Confusion of the folds, repeats added up:\n\n![what was taken for what](confusion.png)",
            "A phase of work it never saw": phases(result),
            "In a lane": stream(result),
            "Size and time": _sizes(trained, result),
            "Limits": LIMITS,
        },
    )


def _beside(result: Result) -> str:
    truth, lines, drawn = result.windows.labels, [], []
    for name, guesses in zip(METHODS, result.guesses):
        matrices = score.pooled(truth, guesses)
        draws = [score.drawn(truth, guesses, result.group, measure) for measure in (score.accuracy, score.macro_f1)]
        means = score.accuracy(matrices).mean(), score.macro_f1(matrices).mean()
        lines.append((name, *(_with_interval(mean, draw) for mean, draw in zip(means, draws))))
        drawn.append((means, draws))
    (ours, our_draws), (theirs, their_draws) = drawn[SHIPS], drawn[FOREST]
    pairs = zip(ours, theirs, our_draws, their_draws)
    apart = [_with_interval(our - their, draw - other, "+") for our, their, draw, other in pairs]
    lines.append(("ships, above the forest", *apart))
    above = [100 * (our - their) for our, their in zip(ours, theirs)]
    word = "a draw" if max(map(abs, above)) < 0.05 else "met" if min(above) >= 0 else "not met"
    verdict = (
        "Asked: at least as good as the forest on the same folds. "
        f"The means differ by {above[0]:+.2f} and {above[1]:+.2f} points: {word}."
    )
    return f"{card.table(('', 'accuracy', 'macro-F1'), lines)}\n\n{verdict}"


def _with_interval(mean: float, draws: Array, sign: str = "") -> str:
    """In percent or points."""
    low, high = score.interval(draws)
    return f"{100 * mean:{sign}.2f} ({100 * low:{sign}.2f} to {100 * high:{sign}.2f})"


def phases(result: Result) -> str:
    lines = []
    for number, (truth, said) in result.phases.items():
        for method in (SHIPS, FOREST):
            matrix = card.confusion(truth, said[method], len(LABELS))
            hits = card.percent(int(np.trace(matrix)), len(truth))
            lines.append((PHASES[number], METHODS[method], hits, f"{100 * score.macro_f1(matrix):.2f}"))
    header = ("left out", "", "accuracy", "macro-F1")
    return f"Trained on the other files' windows, without any of this phase.\n\n{card.table(header, lines)}"


def stream(result: Result) -> str:
    """The windows of a lane do not begin with the event."""
    late = np.concatenate([stream.late for stream in result.streams])
    joints, false = sum(stream.joints for stream in result.streams), sum(stream.false for stream in result.streams)
    found = late[late > 0]
    return (
        "A lane infers at every reading, so an event enters the window from its end. Joined from windows held out in the\n"
        "folds (a normal one, then an event of the same file; a seam that no real recording has), the INT8 network:\n\n"
        f"- says no longer `normal` (score below 0.5) from reading {int(np.median(found))} on in half of the events,\n"
        f"  {int(np.percentile(found, 90))} in nine of ten; never within the 15 in {int((late == 0).sum())} of {len(late)};\n"
        f"- of normal readings, backwards and then forwards, calls {card.percent(false, joints)} of the windows not normal."
    )


def _sizes(trained: Trained, result: Result) -> str:
    samples, truth = inputs(result.windows.readings), result.windows.labels
    took = [Network(content).median_ms(samples) for content in trained]
    right = [int((guesses == truth).sum()) for guesses in result.guesses]
    of = result.guesses[0].size
    lines = [
        (name, f"{len(content):,}", f"{ms:.4f}", f"{100 * hits / of:.2f}")
        for name, content, ms, hits in zip(METHODS, trained, took, right)
    ]
    trade = card.trade((len(trained[0]), len(trained[2])), (right[0], right[SHIPS]), of, (took[0], took[2]))
    header = ("", "bytes", "ms an inference", "accuracy in the folds, %")
    return f"{card.table(header, lines)}\n\n{trade}\nOne thread, {card.processor()}."
