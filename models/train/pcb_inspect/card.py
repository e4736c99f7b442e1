"""Writes the CARD.md of pcb-inspect."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from agent.box.machine import processor
from agent.data import Array
from models.train import card
from models.train.network import Network
from models.train.pcb_inspect.boards import FOLDS, HELD_OUT, KINDS
from models.train.pcb_inspect.evaluate import PUBLISHED
from models.train.pcb_inspect.score import OVERLAP, TILE, Score, interval, kind_tally, total

FORMS = ("float", "pruned, float", "pruned, INT8 (ships)")

AUTHORS = "a GPU, 1,000 pairs to train on, split by picture, not by board"

SUMMARY = """
What is wrong with a circuit board, and where? Compares the camera's picture with the picture of a good board (the
lane's `reference`), 640 x 640 pixels in grey each, and boxes `open`, `short`, `mousebite`, `spur`, `copper` and
`pin-hole` to 8 pixels.
"""

DATA = """
DeepPCB (MIT, (c) 2018 tangsanli5201): pairs of a good and a bad board, in black and white and in register to a few
pixels, defects boxed; many of them were drawn by its authors. 63 of its pairs, ten groups; a group is a board. Its
LICENSE is MIT, yet its README adds "only for research purpose": ask its authors before you sell what has learned from
it.

Training turned and zoomed them, shifted the two pictures against each other by up to 8 pixels, varied the etching of
the edges, made a third of them grey and noisy, swapped copper and gap (an open is then a short), and drew further
defects of all six kinds into good and bad boards. In some, the bad board was its own reference, so that only the drawn
defects were to be found.

Split by board:
"""

READING = f"""
F is the harmonic mean of precision and recall. *Box*: kind right and overlap (intersection over union) {OVERLAP:g} or
more, as DeepPCB's authors count. *Place*: the same, whatever the kind. *Tile*: of {TILE} x {TILE} pixels; the
kinds of the defects that reach into it. In brackets the 95 % interval, pairs resampled 2,000 times; pairs of a board
are alike, so the truth may lie outside.
"""

LIMITS = """
- It is far from the authors' figure for lack of training, not of boards: on its own boards it is hardly better. 2,500
  steps gave 0.883 where these 8,000 give 0.927 (F box, left out in turn); they take nine minutes on one idle core, and
  more were not tried.
- The two pictures must be in register to a few pixels of 640, as the set's mostly are (of the 51, four are off by 3 or
  more). They are flat, black and white pictures of bare boards: with solder, parts and shadows train again with your
  own pairs.
- The reference has to be a good board: a defect that it shows is not reported.
- One scale: 48 pixels a millimetre, as in the set, within a quarter. Pictures that are not square get black edges.
- Two defects closer than their margins (10 pixels) become one box with one kind.
- Defects smaller than 5 pixels count as rough edges.
"""


class Figures(NamedTuple):
    """Scores of pairs. folds, held_out: of each of FORMS. training: of the shipped network, on its training pairs."""

    folds: Sequence[Sequence[Sequence[Score]]]
    held_out: Sequence[Sequence[Score]]
    training: Sequence[Score]

    def left_out(self, form: int) -> list[Score]:
        """The pairs of all folds."""
        return [score for fold in self.folds for score in fold[form]]


def write(place: Path, files: Sequence[bytes], figures: Figures, samples: Array) -> None:
    """files: of FORMS. samples: inputs for the timing."""
    held_out = total(figures.held_out[-1])
    card.draw_confusion(held_out.matrix, (*KINDS, "nothing"), place / "confusion.png")
    file_ms = [Network(content).median_ms(samples, 100) for content in files]
    sections = {
        "Data and split": f"{DATA.strip()}\n{_split(figures)}",
        "Held-out boards": f"{READING.strip()}\n\n{_board_table(figures)}\n\n{_kind_table(held_out)}\n\n"
        "![confusion of kinds](confusion.png)",
        "Size and time": f"{_trade(files, file_ms, figures)}\n\nOne thread, {processor()}; "
        "a whole board an inference. Medians of 100, on a machine that was busy with other work, too.",
        "Limits": f"{_confused_kinds(total(figures.left_out(-1)))}\n{LIMITS.strip()}",
    }
    card.write(place, SUMMARY, sections)


def _split(figures: Figures) -> str:
    """Which board was used for what."""
    held_out, training = len(figures.held_out[-1]), len(figures.training)
    folds = "; ".join(_names(fold) for fold in FOLDS)
    return (
        f"- {_names(HELD_OUT)} ({held_out} pairs) are held out: not trained on, and judged when the recipe was fixed.\n"
        "  (Once, by a test, an early network had been judged on them; nothing was chosen by that.)\n"
        f"- The network that ships is trained on the other six boards ({training} pairs).\n"
        f"- By cross-validation inside these six (left out in turn: {folds}) were chosen:\n"
        "  network, crops, how pictures are varied, number of steps, threshold. So the figures of the folds are a\n"
        "  little too good."
    )


def _names(groups: Sequence[str]) -> str:
    return ", ".join(group.removeprefix("group") for group in groups)


def _board_table(figures: Figures) -> str:
    """What ships, on the held-out boards and in cross-validation, beside the authors' figure."""
    rows = [("**held out**: " + _names(HELD_OUT), *_cells(figures.held_out[-1]))]
    rows += [(f"left out: {_names(groups)}", *_cells(fold[-1])) for groups, fold in zip(FOLDS, figures.folds)]
    rows.append(("all left out in turn", *_cells(figures.left_out(-1))))
    rows.append(("what ships, on the boards it was trained on", *_cells(figures.training)))
    rows.append((f"DeepPCB's authors: {AUTHORS}", 499, "", f"{PUBLISHED:.3f}", "", "", ""))
    return card.table(("boards", "pairs", "defects", "F box", "F place", "F tile", "F tile, any kind"), rows)


def _cells(scores: Sequence[Score]) -> list[object]:
    """A row of the table."""
    score = total(scores)
    intervals = [
        "{:.3f} ({:.3f} to {:.3f})".format(getattr(score, field).f, *interval(scores, field))
        for field in ("box", "place", "tile", "tile_place")
    ]
    return [score.pairs, score.box.right + score.box.missed, *intervals]


def _kind_table(score: Score) -> str:
    """Held-out defects, kind by kind."""
    rows = []
    for number, kind in enumerate(KINDS):
        tally = kind_tally(score, number)
        defects = tally.right + tally.missed
        recall, precision = card.percent(tally.right, defects), card.percent(tally.right, tally.right + tally.false)
        rows.append((kind, defects, recall, precision, f"{tally.f:.3f}"))
    return card.table(("held out", "defects", "found with this kind", "of boxes of this kind, right", "F"), rows)


def _confused_kinds(score: Score) -> str:
    """The kind that is mistaken most often, and for which."""
    wrong = score.matrix[:-1, :-1] * (1 - np.eye(len(KINDS), dtype=int))
    true, detected = np.unravel_index(wrong.argmax(), wrong.shape)
    count, of = wrong[true, detected], score.matrix[true].sum()
    return (
        f"- Kinds are harder than places: left out in turn, {count} of {of} {KINDS[true]}s were taken for "
        f"{KINDS[detected]}s.\n"
        "  The last fold, worst at that, was trained on three boards only: it gets better with more boards like yours."
    )


def _trade(files: Sequence[bytes], file_ms: Sequence[float], figures: Figures) -> str:
    """Float, pruned, INT8; and the target of the size."""
    left_out = [total(figures.left_out(form)).box.f for form in range(len(FORMS))]
    held_out = [total(scores).box.f for scores in figures.held_out]
    rows = [
        (name, f"{len(file):,}", f"{ms:.2f}", f"{left_out_f:.3f}", f"{held_out_f:.3f}")
        for name, file, ms, left_out_f, held_out_f in zip(FORMS, files, file_ms, left_out, held_out)
    ]
    table = card.table(("", "bytes", "ms per inference", "F box, left out in turn", "F box, held out"), rows)
    right = int(round(1e4 * left_out[0])), int(round(1e4 * left_out[-1]))
    target = card.int8_tradeoff((len(files[0]), len(files[-1])), right, 10_000, (file_ms[0], file_ms[-1]))
    lost = 100 * (held_out[0] - held_out[-1])
    return (
        f"{table}\n\n{target}\nPoints are of F box, left out in turn; on the few held-out boards it loses {lost:.1f}."
    )
