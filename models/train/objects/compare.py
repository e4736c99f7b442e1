"""How much the INT8 network differs from the float one it was made from, on frames that calibration did not see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime

from agent.backends.litert import Engine
from agent.data import Array
from agent.decoders import yolo
from agent.decoders.base import Finding
from agent.modeltools.labels import COCO
from models.train.objects.frames import Letterbox

SCORE, NEAR, LEAST = 0.4, 0.25, 0.15  # a box of one network; the same in the other; without even that it is extra
OVERLAP = 0.5
VEHICLES = ["bicycle", "car", "motorcycle", "bus", "truck"]
GROUPS = {"person": ["person"], "vehicle": VEHICLES, "other": [each for each in COCO[1:] if each not in VEHICLES]}
Boxes = list[Finding]


class Agreement(NamedTuple):
    """Boxes of the float network above SCORE; of these found by the other; boxes that only the other has.

    overlaps, scores: of those found, intersection over union, and the other's score less the float one's.
    """

    boxes: int
    found: int
    extra: int
    overlaps: Array
    scores: Array


def float_boxes(network: Path, side: int, frames: Sequence[Array]) -> list[Boxes]:
    """Of the ONNX file."""
    session = onnxruntime.InferenceSession(str(network))
    decoder = _decoder(side, [session.get_outputs()[0].shape])
    letterbox = Letterbox(side, side)
    pictures = (letterbox(frame).transpose(2, 0, 1)[np.newaxis] for frame in frames)
    return [decoder(session.run(None, {session.get_inputs()[0].name: picture})) for picture in pictures]


def int8_boxes(file: Path, frames: Sequence[Array]) -> list[Boxes]:
    engine = Engine(file, 1)
    side, _ = engine.inputs[0].sides
    decoder = _decoder(side, [tensor.shape for tensor in engine.outputs])
    decoder.tensors = engine.outputs
    letterbox, boxes = Letterbox(side, side), []
    for frame in frames:
        engine.input(0)[0] = (letterbox(frame) + engine.inputs[0].zero_point).astype(np.int8)
        engine.invoke()
        boxes.append(decoder([engine.output(number) for number in range(len(engine.outputs))]))
    return boxes


def _decoder(side: int, shapes: Sequence[tuple[int, ...]]) -> yolo.Decoder:
    options = {"layout": "yolox", "size": (side, side), "min_score": LEAST, "groups": GROUPS, "top": 100}
    return yolo.Decoder(COCO, yolo.Options.model_validate(options), shapes)


def agreement(label: str, reference: Sequence[Boxes], other: Sequence[Boxes]) -> Agreement:
    boxes = extra = 0
    matches: list[tuple[float, float]] = []
    for expected, given in zip(reference, other):
        expected, given = ([each for each in side if each.label == label] for side in (expected, given))
        strong = [each for each in expected if each.score >= SCORE]
        boxes += len(strong)
        matches += _matches(strong, [each for each in given if each.score >= NEAR])
        ours = [each for each in given if each.score >= SCORE]
        extra += len(ours) - len(list(_matches(ours, expected)))
    overlaps, scores = np.array(matches).reshape(-1, 2).T
    return Agreement(boxes, len(matches), extra, overlaps, scores)


def _matches(wanted: Sequence[Finding], given: Sequence[Finding]) -> Iterator[tuple[float, float]]:
    """(overlap, score less the wanted one's) of each that is there."""
    for each in wanted:
        overlap, best = max(
            ((_overlap(each, one), one) for one in given), key=lambda pair: pair[0], default=(0.0, each)
        )
        if overlap >= OVERLAP:
            yield overlap, best.score - each.score


def _overlap(first: Finding, second: Finding) -> float:
    """Intersection over union."""
    assert first.box and second.box
    a, b = np.array(first.box), np.array(second.box)
    common = (np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])).clip(0.0).prod()
    return float(common / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - common))
