"""Public models give the results that their authors published, through our own preparation and decoders."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.decoders.base import Finding
from agent.packages import package
from agent.packages.package import Package
from agent.prepare.pixels import Pixels
from tests.shared import PUBLIC, SSD, needs_recordings, stretched_movenet

pytestmark = needs_recordings


def infer(folder: Path, picture: Path) -> tuple[list[Finding], Package]:
    opened = package.open_package(folder)
    assert opened.manifest.picture
    pixels = Pixels(opened.manifest.picture, opened.engine.inputs[0], "bgr")
    pixels(cv2.imread(str(picture)), opened.engine.input(0))
    opened.engine.invoke()
    return opened.decoder([opened.engine.real(index) for index in range(len(opened.engine.outputs))]), opened


def test_movenet_keypoints_within_three_hundredths_of_the_reference(tmp_path: Path) -> None:
    findings, opened = infer(stretched_movenet(tmp_path), PUBLIC / "squat.bmp")
    with open(PUBLIC / "movenet_single_pose_lightning_ptq_reference.csv", encoding="utf-8") as file:
        expected = np.array([[float(row["keypoint_y"]), float(row["keypoint_x"])] for row in csv.DictReader(file)])
    assert opened.decoder.keypoints is not None
    assert np.abs(opened.decoder.keypoints[:, :2] - expected).max() <= 0.03
    assert findings[0].label == "person"


def test_ssd_boxes_within_four_pixels_of_the_published_ones() -> None:
    # Label, score, left, top, width, height in pixels of the 1200x600 picture: upstream object_detector_test.cc
    expected = [
        ("cat", 0.64, 54, 396, 393, 196),
        ("cat", 0.61, 602, 157, 394, 447),
        ("cat", 0.56, 260, 394, 180, 209),
        ("dog", 0.50, 389, 197, 278, 409),
    ]
    findings, _ = infer(SSD, PUBLIC / "cats_and_dogs.jpg")
    for finding, (label, score, left, top, width, height) in zip(findings, expected, strict=False):
        box = finding.box
        assert box and finding.label == label and finding.score == pytest.approx(score, abs=0.02)
        pixels = np.rint([box.left * 1200, box.top * 600, box.right * 1200, box.bottom * 600])
        assert np.abs(pixels - [left, top, left + width, top + height]).max() <= 4
    assert len(findings) >= len(expected)
