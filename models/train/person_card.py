"""What the CARD.md of person-coarse says."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from agent.data import Array, Box
from agent.decoders.grid import boxes
from models.train import card
from models.train.clips import JOINTS, MAYBE, SURE, Clip, area, common
from models.train.engine import Network
from models.train.views import grid, mapped

THRESHOLD, MIN_CELLS = 0.5, 2
OVERLAP = 0.3  # of two boxes' area that they share, from which they mean the same person

SUMMARY = """
Where in the picture is a person? Takes 96 x 96 pixels, gives a score for each of 12 x 12 cells. Small and fast rather than
sharp: made for waking larger networks, for zones and for measuring a camera lane.
"""

DATA = f"""
- GMDCSA24 (MIT, (c) 2024 Ekram Alam): staged falls and daily activity of two adults in two rooms.
- Intel IoT DevKit sample-videos (CC BY 4.0): persons one by one in a hall, a worker in a factory, cars from above.

No frame was labelled by hand. Teachers: SSD-MobileNet-v1 (COCO) where it sees a person with {SURE:g} or more; in the staged
clips together with MoveNet where it sees {JOINTS} keypoints. Elsewhere nobody is there when the SSD's best person stays below
{MAYBE:g}. Frames in which they are not sure are left out. Split by clip. Faces of volunteers are in the data, not in this
package; its golden pictures are random blots.
"""

LIMITS = """
- Four scenes, one person at a time. Expect it to be worse in other rooms, from other heights, in the dark, with crowds:
  look at the clip from a scene that training never saw.
- The teachers' mistakes are its own: it was compared with them, not with the truth.
- A box is as coarse as a cell, a twelfth of the picture, and drawn around the cells that are surely person.
- Not for protecting persons by itself.
"""


class Score(NamedTuple):
    """Over the frames of a clip: persons there and found, boxes where nobody is, cells right."""

    frames: int
    there: int
    found: int
    false: int


def score(network: Network, clip: Clip) -> Score:
    outputs = network((clip.inputs / 255.0).astype(np.float32))
    there = found = false = 0
    for cells, people in zip(outputs, clip.boxes):
        guesses = [box for _, box in boxes(cells[..., 0], THRESHOLD, MIN_CELLS)]
        there += len(people)
        found += sum(any(shared(box, guess) >= OVERLAP for guess in guesses) for box in people)
        false += sum(all(inside(guess, box) < OVERLAP for box in people) for guess in guesses)
    return Score(len(outputs), there, found, false)


def shared(a: Box, b: Box) -> float:
    """Intersection over union."""
    return common(a, b) / max(area(a) + area(b) - common(a, b), 1e-9)


def inside(a: Box, b: Box) -> float:
    """The part of a that lies in b."""
    return common(a, b) / max(area(a), 1e-9)


def write(
    place: Path,
    files: tuple[bytes, bytes],
    networks: tuple[Network, Network],
    known: list[Clip],
    unseen: list[Clip],
) -> None:
    """files, networks: float and INT8."""
    scores = [[score(network, clip) for clip in unseen] for network in networks]
    sums = [Score(*np.sum(each, axis=0).tolist()) for each in scores]
    inputs = (unseen[0].inputs[:100] / 255.0).astype(np.float32)
    rows = [
        (name, f"{len(file):,}", f"{network.median_ms(inputs, 500):.3f}", card.percent(total.found, total.there), rate(total))
        for name, file, network, total in zip(("float", "INT8"), files, networks, sums)
    ]
    per_clip = [
        (clip.name, each.frames, card.percent(each.found, each.there) if each.there else "nobody", rate(each))
        for clip, each in zip(unseen, scores[1])
    ]
    card.draw(cells(networks[1], unseen), ("nobody", "person"), place / "confusion.png")
    total = card.table(("", "bytes", "ms an inference", "persons found", "false boxes a frame"), rows)
    clips = card.table(("held-out clip", "frames", "persons found", "false boxes a frame"), per_clip)
    trained = ", ".join(f"{clip.name} ({len(clip.boxes)})" for clip in known)
    note = (
        f"One thread, {card.processor()}. Found: a box shares {OVERLAP:g} of its area with the teacher's\n"
        f"(intersection over union). Threshold {THRESHOLD:g}, groups of {MIN_CELLS} cells or more.\n"
        "Frames of a clip are alike, so the truth may lie outside the intervals."
    )
    card.write(place, SUMMARY, {
        "Data and split": f"{DATA.strip()}\n\nTrained on (frames): {trained}.",
        "Held-out clips": f"{total}\n\n{clips}\n\n{note}\n\n![cells](confusion.png)",
        "Limits": LIMITS,
    })


def rate(each: Score) -> str:
    return f"{each.false / each.frames:.3f}"


def cells(network: Network, clips: list[Clip]) -> Array:
    """Confusion of single cells that the teachers are sure about."""
    matrix = np.zeros((2, 2), int)
    for clip in clips:
        outputs = network((clip.inputs / 255.0).astype(np.float32))
        truth = np.stack([grid(mapped(people)) for people in clip.boxes])
        sure = truth >= 0
        matrix += card.confusion(truth[sure].astype(int), (outputs[sure] >= THRESHOLD).astype(int), 2)
    return matrix
