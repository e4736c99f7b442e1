"""Backbone and heads in training: a file is cut in two, and views of a spoiled camera are what their label says."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from agent.data import Array
from agent.packages import package
from tests.tflite_models import scorer

pytest.importorskip("flatbuffers")

from models.train.cut import cut  # noqa: E402 - needs flatbuffers
from models.train.network import Network  # noqa: E402
from models.train.view_head.views import LABELS, LEAST_GREY, view  # noqa: E402


def test_both_parts_together_compute_what_the_whole_does() -> None:
    folder = package.find("person-coarse")
    whole = (folder / package.read(folder).file).read_bytes()
    networks = [Network(content) for content in (whole, *cut(whole, "CONCATENATION"))]
    for picture in np.random.default_rng(0).integers(-128, 128, (5, 128, 128, 3), np.int8):
        assert np.array_equal(networks[2].run(networks[1].run(picture)), networks[0].run(picture))
    assert networks[1].output["quantization"] == networks[2].input["quantization"]


def test_a_part_has_only_what_it_needs() -> None:
    folder = package.find("person-coarse")
    whole = (folder / package.read(folder).file).read_bytes()
    trunk, head = cut(whole, "CONCATENATION")
    assert len(trunk) + len(head) < len(whole) * 1.1 and len(head) < len(whole) / 5


def test_a_cut_must_be_at_one_place() -> None:
    with pytest.raises(ValueError, match="0 operators CONCATENATION, not one"):
        cut(scorer(), "CONCATENATION")
    mean, rest = map(Network, cut(scorer(), "MEAN"))
    picture = np.full((32, 32, 3), 0.5, np.float32)
    assert np.array_equal(rest.run(mean.run(picture)), Network(scorer()).run(picture))


def room() -> Array:
    """A wall with things on it, in daylight."""
    tiles = np.random.default_rng(3).integers(30, 225, (24, 32, 3), np.uint8)
    return np.asarray(cv2.resize(tiles, (640, 480), interpolation=cv2.INTER_NEAREST))


def views(label: str, count: int = 20) -> list[Array]:
    random = np.random.default_rng(5)
    return [view(room(), LABELS.index(label), random).astype(float) for _ in range(count)]


def detail(picture: Array) -> float:
    """Without the sensor's grain."""
    grey = cv2.GaussianBlur(picture.mean(axis=2), (0, 0), 1.0)
    return float(np.abs(cv2.Laplacian(grey, cv2.CV_64F)).mean())


def test_views_are_what_their_label_says() -> None:
    clear, blurred, dark, covered = map(views, LABELS)
    assert max(map(detail, blurred)) < min(map(detail, clear))
    assert max(picture.mean() for picture in dark) < 25 < min(picture.mean() for picture in clear)
    for picture in covered:
        smooth = np.abs(cv2.GaussianBlur(picture - cv2.GaussianBlur(picture, (0, 0), 8), (0, 0), 3)).mean(axis=2) < 8
        assert smooth.mean() > 0.5 and picture[smooth].mean() > LEAST_GREY - 10
