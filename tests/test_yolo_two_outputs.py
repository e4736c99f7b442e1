"""Decoder yolo, boxes and scores in two outputs, each with a scale of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agent.backends.base import Tensor
from agent.data import Array
from agent.decoders import base as decoders
from agent.decoders.base import DecoderError
from tests.test_yolo import NAMES, PLACES, REPORTED, SIDE, same, written

LABELS = [*NAMES, "cat", "cow"]  # with three labels, boxes and scores of YOLOX have the same shape


def _quantised(layout: str) -> list[tuple[Array, Tensor]]:
    """Boxes, then scores, [1, places, rows]."""
    rows = written(layout, in_pixels=layout == "yolox")
    rows = np.concatenate([rows, np.zeros((2, PLACES), np.float32)])
    boxes = np.rint(rows[:4] / 0.001).astype(np.int16).T[np.newaxis]
    scores = np.clip(np.rint(rows[4:] * 256) - 128, -128, 127).astype(np.int8).T[np.newaxis]
    return [
        (boxes, Tensor("boxes", boxes.shape, np.int16, 0.001)),
        (scores, Tensor("scores", scores.shape, np.int8, 1 / 256, -128)),
    ]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("exchanged", [False, True])
@pytest.mark.parametrize("layout", ["v5", "v8", "yolox"])
def test_each_output_has_its_own_scale_in_any_order(layout: str, exchanged: bool, order: int) -> None:
    values, tensors = zip(*_quantised(layout)[::order])
    outputs = [each.transpose(0, 2, 1) if exchanged else each for each in values]
    options: dict[str, Any] = {"layout": layout, **({"size": [SIDE, SIDE]} if layout == "yolox" else {})}
    decoder = decoders.make("yolo", LABELS, options, [output.shape for output in outputs])
    decoder.tensors = tensors
    same(decoder(outputs), REPORTED, box=0.002, score=2 / 256)
    assert not decoder.mistake(outputs)


@pytest.mark.parametrize(
    ("layout", "shapes"),
    [
        ("v8", [(1, 4, 189), (1, 4, 189)]),
        ("v8", [(1, 4, 189), (1, 3, 190)]),
        ("v8", [(1, 4, 189), (1, 3, 189), (1, 1, 189)]),
        ("end-to-end", [(1, 30, 4), (1, 30, 2)]),
    ],
)
def test_two_outputs_that_do_not_fit_are_refused(layout: str, shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(
        DecoderError, match=r"or boxes \[1, places, 4\] and scores \[1, places, [32]\]; the model gives"
    ):
        decoders.make("yolo", NAMES, {"layout": layout}, shapes)
