"""The card: what the network is, and how far INT8 is from the float network, on clips that calibration did not see."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agent.backends.litert import Engine
from models.train.card import percent, table
from models.train.data import SHARED
from models.train.objects import compare, frames

TUNED = "Weights and ranges were fine-tuned in {steps} steps to answer as the float network (`tune.py`)."
TEXT = """\
# objects
Boxes of the 80 labels of COCO in a picture of {side} x {side} pixels: person, bicycle, car, motorcycle, bus, truck and
others. {file_bytes:,} bytes, INT8; the float file has {float_bytes:,}.

For groups, add to the options of a copy's manifest
`groups: {{person: [person], vehicle: [bicycle, car, motorcycle, bus, truck]}}`;
then labels in no group are not reported.

## Where it comes from
YOLOX-Nano by Megvii (https://github.com/Megvii-BaseDetection/YOLOX, Apache-2.0, Copyright (c) 2021-2022 Megvii Inc.;
the licence's text is this project's LICENSE), trained on COCO 2017; Ge, Liu, Wang, Li, Sun: YOLOX: Exceeding YOLO
Series in 2021, arXiv:2107.08430. Published average precision 25.8, in float at 416 x 416.

Changed here: two outputs in place of one, and INT8, with ranges chosen by the error that they make in the next layers
(`models/train/objects/ranges.py`). {tuned}

## Data
For ranges: {shown} frames of {clips}, every other one mirrored. The comparison
uses other clips, and the end of `car-detection`.

## INT8 against float
Boxes of the float network with a score of {score} or more. Found: INT8 has one of the same label with a score of
{near} or more and an intersection over union of {overlap} or more. Extra: an INT8 box with a score of {score} or more
where the float network has none above {least}.

{table}

This is agreement with the float network, not with the truth.

## Persons on frames labelled by eye
`reflexd bench objects` compares with 75 frames of ten clips (`tests/data/objects`; four of the clips also gave the
ranges). At the package's threshold of 0.15 it finds 47 of 56 persons (84 %) with 0.13 false boxes a frame, at 0.3
45 with 0.05; the float network 48 with 0.16 at 0.15. Missed are persons who lie or bend, in dark clothes before a
bed: walking ones in the hall and the factory 25 of 27. Cars from straight above: none of 16, in float one: that
view is `motion-blobs`'.

## Limits
- As its training data: persons and vehicles as photographers take them. Seen from straight above, lying, small (below
  15 pixels of the {side}) or in the dark it finds less.
- Ranges come from two places. Elsewhere, and for labels that they do not show, INT8 may be further from
  float than here.
- Not for protecting persons by itself.

Made by `python -m models.train objects` (`python -m models.train.objects.make --help`: another size, file or clips).
"""


def write(place: Path, network: Path, clips: Sequence[str], shown: int, steps: int) -> None:
    file = place / f"{place.name}.tflite"
    side, _ = Engine(file, 1).inputs[0].sides
    text = TEXT.format(
        side=side,
        file_bytes=file.stat().st_size,
        float_bytes=network.stat().st_size,
        shown=shown,
        tuned=TUNED.format(steps=steps) if steps else "The weights are Megvii's, rounded.",
        clips=", ".join(clips),
        score=compare.SCORE,
        near=compare.NEAR,
        least=compare.LEAST,
        overlap=compare.OVERLAP,
        table=_agreement(file, network, side),
    )
    (place / "CARD.md").write_text(text)


def _agreement(file: Path, network: Path, side: int) -> str:
    clips = frames.read(SHARED, frames.COMPARISON)
    images = [frame for clip in clips.values() for frame in clip]
    exact, rounded = compare.float_boxes(network, side, images), compare.int8_boxes(file, images)
    rows = []
    for label in compare.GROUPS:
        agreement = compare.agreement(label, exact, rounded)
        if agreement.boxes:
            rows.append([label, percent(agreement.found, agreement.boxes), agreement.extra, *_differences(agreement)])
    header = [f"{len(images)} frames", "found", "extra", "overlap: mean, 10th percentile", "score less float's"]
    return table(header, rows)


def _differences(agreement: compare.Agreement) -> tuple[str, str]:
    """Of boxes, of scores."""
    if not agreement.found:
        return "", ""
    overlaps = f"{np.mean(agreement.overlaps):.3f}, {np.percentile(agreement.overlaps, 10):.3f}"
    return overlaps, f"{np.mean(agreement.scores):+.3f} (deviation {np.std(agreement.scores):.3f})"
