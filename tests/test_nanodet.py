"""NanoDet's decoder: distributions to boxes, suppression, any numbers; and the public model itself."""

from __future__ import annotations

import numpy as np
import pytest

from agent.data import Array
from agent.decoders import base as decoders
from agent.decoders import nanodet
from agent.decoders.base import Decoder, DecoderError, Finding
from agent.modeltools.init import Request, make_manifest
from tests.shared import NANODET, PUBLIC, needs_recordings
from tests.test_public_models import infer

BINS = 8
SHAPES = [(1, 16, 2), (1, 4, 2), (1, 16, 4 * BINS), (1, 4, 4 * BINS)]  # levels of 4 x 4 and 2 x 2 places, two labels


def make(**options: object) -> Decoder:
    return decoders.make("nanodet", ["person", "cat"], {"min_score": 0.35, **options}, SHAPES)


def outputs() -> list[Array]:
    """No detection; every distance certainly 0."""
    empty = [np.zeros(shape, np.float32) for shape in SHAPES]
    for sides in empty[2:]:
        sides.reshape(-1, BINS)[:, 0] = 50.0
    return empty


def add_detection(
    tensors: list[Array], level: int, place: int, label: int, score: float, cells: tuple[int, ...]
) -> None:
    """A detection whose sides are certainly `cells` away."""
    tensors[level][0, place, label] = score
    tensors[level + 2][0, place] = 0.0
    for side, off in enumerate(cells):
        tensors[level + 2][0, place, side * BINS + off] = 50.0


def test_a_distance_is_the_mean_of_its_distribution() -> None:
    flat, certain = np.zeros(BINS), np.where(np.arange(BINS) == 5, 50.0, 0.0)
    two = np.where(np.isin(np.arange(BINS), (1, 2)), 50.0, 0.0)
    huge = certain * 1e30  # no overflow
    assert nanodet.distances(np.concatenate([flat, certain, two, huge])[None])[0] == pytest.approx([3.5, 5.0, 1.5, 5.0])


def test_a_box_is_around_the_middle_of_its_cell_on_every_level() -> None:
    tensors = outputs()
    add_detection(tensors, 0, 6, 0, 0.9, (1, 1, 1, 1))  # row 1, column 2 of 4 x 4: x 0.625, y 0.375
    add_detection(tensors, 1, 2, 1, 0.8, (0, 1, 0, 0))  # row 1, column 0 of 2 x 2: x 0.25, y 0.75
    person, cat = make()(tensors)
    assert (person.label, person.score) == ("person", pytest.approx(0.9))
    assert person.box == pytest.approx((0.375, 0.125, 0.875, 0.625))
    assert (cat.label, cat.box) == ("cat", pytest.approx((0.25, 0.25, 0.25, 0.75)))


def test_boxes_end_at_the_picture() -> None:
    tensors = outputs()
    add_detection(tensors, 1, 0, 0, 0.9, (7, 7, 7, 7))
    assert make()(tensors)[0].box == (0.0, 0.0, 1.0, 1.0)


def test_of_boxes_of_one_object_the_best_stays() -> None:
    tensors = outputs()
    add_detection(tensors, 0, 5, 0, 0.6, (1, 1, 1, 1))
    add_detection(tensors, 0, 6, 0, 0.7, (2, 1, 1, 1))  # contains the other one: two thirds in common
    add_detection(tensors, 0, 9, 1, 0.5, (1, 2, 1, 1))  # over both, of another label
    add_detection(tensors, 0, 15, 0, 0.4, (0, 0, 0, 0))
    assert [(finding.label, round(finding.score, 2)) for finding in make()(tensors)] == [
        ("person", 0.7),
        ("cat", 0.5),
        ("person", 0.4),
    ]
    assert len(make(overlap=0.7)(tensors)) == 4
    assert [finding.score for finding in make(top=1)(tensors)] == [pytest.approx(0.7)]
    assert len(make(candidates=2)(tensors)) == 1  # the two best are one object
    assert make(min_score=0.75)(tensors) == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3.4e38])
@pytest.mark.parametrize("at", [0, 2])
def test_any_numbers_are_accepted(value: float, at: int) -> None:
    tensors = outputs()
    add_detection(tensors, 1, 3, 0, 0.9, (1, 1, 1, 1))
    tensors[at][...] = value
    if at == 0 and value > 1:
        with pytest.raises(DecoderError, match="is no probability"):
            make()(tensors)
        return
    for finding in make()(tensors):
        assert isinstance(finding, Finding) and 0.0 <= finding.score <= 1.0 and finding.box
        assert np.isfinite(finding.box).all() and min(finding.box) >= 0.0 and max(finding.box) <= 1.0
    if value != value:
        assert [finding.score for finding in make()(tensors)] == [pytest.approx(0.9)]


def test_at_most_top_detections_are_reported() -> None:
    tensors = outputs()
    for level in (0, 1):
        tensors[level][...] = 0.99
    assert len(make(top=3)(tensors)) == 3


@pytest.mark.parametrize(
    "shapes",
    [
        [(1, 16, 2)],
        [(1, 16, 2), (1, 4, 4 * BINS)],
        [(1, 15, 2), (1, 15, 4 * BINS)],
        [(1, 16, 3), (1, 16, 4 * BINS)],
        [(1, 16, 2), (1, 16, 30)],
        [(1, 16, 2), (1, 4, 2), (1, 16, 4 * BINS), (1, 4, 8)],
        [(4, 16, 2), (4, 16, 4 * BINS)],
        [(1, 2), (1, 4 * BINS)],
        [()],
    ],
)
def test_other_outputs_are_refused(shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(DecoderError, match="nanodet needs scores"):
        decoders.make("nanodet", ["person", "cat"], {}, shapes)


@needs_recordings
def test_the_public_model_finds_cats_and_dogs_where_the_ssd_does() -> None:
    """Boxes as the SSD's authors publish them, left, top, width, height; the two networks differ on cat or dog."""
    pytest.importorskip("onnxruntime")
    published = [(54, 396, 393, 196), (602, 157, 394, 447), (389, 197, 278, 409)]
    findings, _ = infer(NANODET, PUBLIC / "cats_and_dogs.jpg")
    assert {finding.label for finding in findings} <= {"cat", "dog"}
    boxes = [np.array(finding.box) * [1200, 600, 1200, 600] for finding in findings if finding.box]
    for left, top, width, height in published:
        assert max(overlap(box, np.array([left, top, left + width, top + height])) for box in boxes) >= 0.7


@needs_recordings
def test_model_init_recognises_it() -> None:
    pytest.importorskip("onnxruntime")
    text = make_manifest(PUBLIC / "object_detection_nanodet_2022nov_int8.onnx", Request()).text
    assert 'decoder: "nanodet"' in text and text.count("class-") == 80


def overlap(a: Array, b: Array) -> float:
    common = (np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])).clip(0).prod()
    return float(common / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - common))
