"""Foreground into objects: which parts belong together, their kind and their score."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydantic import ValidationError

from agent.data import Array, Box
from agent.decoders import base as decoders
from agent.decoders.base import DecoderError, Finding

KINDS = {"person": {"area": [0.001, 0.02], "aspect": [0.1, 2.0]}, "vehicle": {"area": [0.02, 0.6]}}


def decoder(shape: tuple[int, ...] = (1, 100, 200, 1), **options: Any) -> Any:
    return decoders.make("blobs", ["person", "vehicle"], {"kinds": KINDS, "join": 0.02, **options}, [shape])


def picture(*boxes: tuple[int, int, int, int], level: float = 1.0) -> Array:
    """Foreground of 100 x 200 pixels: left, top, right, bottom."""
    canvas = np.zeros((1, 100, 200, 1), np.float32)
    for left, top, right, bottom in boxes:
        canvas[0, top:bottom, left:right, 0] = level
    return canvas


def test_the_size_gives_the_kind() -> None:
    findings = decoder()([picture((20, 10, 28, 25), (60, 20, 100, 60), (150, 50, 153, 52), (120, 80, 150, 84))])
    assert findings == [
        Finding("person", 1.0, Box(0.1, 0.1, 0.14, 0.25)),
        Finding("vehicle", 1.0, Box(0.3, 0.2, 0.5, 0.6)),
    ]
    # the third is too small; the fourth too wide for a person and too small for a vehicle


def test_parts_that_nearly_touch_are_one_object() -> None:
    near, far = picture((60, 20, 80, 60), (82, 20, 100, 60)), picture((60, 20, 80, 60), (90, 20, 110, 60))
    (whole,) = decoder()([near])
    assert whole.box == Box(0.3, 0.2, 0.5, 0.6)
    assert whole.score == pytest.approx(0.95**0.5)
    assert len(decoder()([far])) == 2


def test_an_object_cut_by_the_edge_can_only_be_of_the_largest_kind() -> None:
    assert decoder()([picture((0, 10, 8, 25))]) == []
    assert [finding.label for finding in decoder()([picture((0, 10, 40, 60))])] == ["vehicle"]


def test_faint_and_ragged_objects_score_less() -> None:
    checked = picture((60, 20, 100, 60))
    checked[0, ::3] = 0
    scores = [
        decoder()([foreground])[0].score
        for foreground in (picture((60, 20, 100, 60)), picture((60, 20, 100, 60), level=0.5), checked)
    ]
    assert scores == [1.0, pytest.approx(0.5**0.5), pytest.approx((27 / 39) ** 0.5, abs=0.02)]
    assert decoder(min_score=0.9)([picture((60, 20, 100, 60), level=0.5)]) == []


def test_at_most_top_objects_are_reported() -> None:
    many = picture(*[(10 * n, 20, 10 * n + 5, 30) for n in range(1, 19)])
    assert len(decoder(top=12)([many])) == 12


FOREGROUND = arrays.arrays(np.float32, (1, 12, 17, 1), elements=st.floats(width=32) | st.sampled_from([0.0, 1.0]))


@given(FOREGROUND, st.floats(0, 0.2))
def test_any_numbers_are_accepted(foreground: Array, join: float) -> None:
    findings = decoder((1, 12, 17, 1), join=join, min_score=0.0)([foreground])
    assert len(findings) <= 12
    for _, score, box, *_ in findings:
        assert 0 <= score <= 1
        assert 0 <= box.left < box.right <= 1 and 0 <= box.top < box.bottom <= 1


@pytest.mark.parametrize(
    "labels, shapes, message",
    [
        (["person"], [(1, 9, 9, 1)], "labels are person, options.kinds has person, vehicle"),
        (["person", "vehicle"], [(1, 9, 9, 2)], "one output"),
        (["person", "vehicle"], [(1, 9, 9, 1), (1, 4)], "one output"),
    ],
)
def test_labels_or_outputs_that_do_not_fit_are_refused(
    labels: list[str], shapes: list[tuple[int, ...]], message: str
) -> None:
    with pytest.raises(DecoderError, match=message):
        decoders.make("blobs", labels, {"kinds": KINDS}, shapes)


@pytest.mark.parametrize(
    "kinds", [{}, {"a": {"area": [0.5, 0.1]}}, {"a": {"area": [-1, 1]}}, {"a": {"area": [0.1]}}, {"a": {}}]
)
def test_impossible_kinds_are_refused(kinds: Any) -> None:
    with pytest.raises(ValidationError):
        decoders.make("blobs", list(kinds), {"kinds": kinds}, [(1, 9, 9, 1)])
