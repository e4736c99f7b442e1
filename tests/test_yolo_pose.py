"""Decoder yolo with layout pose: several persons with their keypoints. Not run on a real export: pose_writer.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from agent.backends.base import Tensor
from agent.cli import cli
from agent.data import Array
from agent.decoders import base as decoders
from agent.decoders.base import DecoderError, Finding
from agent.errors import PackageError
from agent.packages import package
from tests.pose_writer import ROWS, SIDE, network, person, written

LEFT = person(0.05, 0.10, 0.35, 0.95, seed=1, place=150)
RIGHT = person(0.55, 0.20, 0.90, 0.90, seed=2, place=20)
AGAIN = LEFT._replace(place=151, score=0.31, box=(0.06, 0.11, 0.36, 0.94))  # the left one a second time
FAINT = person(0.4, 0.4, 0.5, 0.6, seed=3, place=7)._replace(score=0.1)
PEOPLE = [LEFT, RIGHT, AGAIN, FAINT]
FOUND = sorted([LEFT, RIGHT], key=lambda known: -known.score)
MIN = float(np.finfo(np.float32).min)


def made(shape: tuple[int, ...], tensor: Tensor | None = None, **options: Any) -> decoders.Decoder:
    decoder = decoders.make("yolo", ["person"], {"layout": "pose", **options}, [shape])
    decoder.tensors = [tensor] if tensor else []
    return decoder


def same(decoder: decoders.Decoder, findings: list[Finding], step: float) -> None:
    assert [finding.label for finding in findings] == ["person"] * len(FOUND)
    for finding, known in zip(findings, FOUND):
        assert finding.score == pytest.approx(known.score, abs=step)
        assert finding.box and np.abs(np.subtract(finding.box, known.box)).max() <= 1.5 * step
        assert finding.keypoints is not None and np.abs(finding.keypoints - known.keypoints).max() <= step
    assert np.array_equal(decoder.keypoints, np.array([finding.keypoints for finding in findings]))


@pytest.mark.parametrize("exchanged", [False, True])
@pytest.mark.parametrize("pixels", [1.0, SIDE])
def test_each_person_has_the_keypoints_that_were_written(pixels: float, exchanged: bool) -> None:
    rows = written(PEOPLE, pixels=pixels)
    output = (rows.T if exchanged else rows)[np.newaxis]
    decoder = made(output.shape, **({} if pixels == 1 else {"size": [SIDE, SIDE]}))
    same(decoder, decoder([output]), 1e-5)
    assert decoder.mistake([output]) == ""


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("exchanged", [False, True])
def test_quantised_outputs_differ_by_a_step_at_most(exchanged: bool, dtype: type[np.generic]) -> None:
    rows = written(PEOPLE)
    limits = np.iinfo(dtype)  # type: ignore[type-var]  # one of the two above
    scale, zero_point = 1.0 / 255, int(limits.min)
    stored = np.clip(np.rint(rows / scale) + zero_point, limits.min, limits.max).astype(dtype)
    output = (stored.T if exchanged else stored)[np.newaxis]
    decoder = made(output.shape, Tensor("output", output.shape, dtype, scale, zero_point))
    same(decoder, decoder([output]), scale)


def test_sides_of_an_input_that_is_not_square() -> None:
    rows = written([LEFT])
    rows[[0, 2]] *= 128
    rows[[1, 3]] *= 96
    rows[5::3] *= 128
    rows[6::3] *= 96
    (finding,) = made((1, *rows.shape), size=[128, 96])([rows[np.newaxis]])
    assert finding.keypoints is not None and np.abs(finding.keypoints - LEFT.keypoints).max() < 1e-5


def test_nobody_after_somebody_leaves_no_keypoints() -> None:
    rows = written(PEOPLE)[np.newaxis]
    decoder = made(rows.shape)
    assert len(decoder([rows])) == 2
    assert (
        decoder([np.zeros_like(rows)]) == [] and decoder.keypoints is not None and decoder.keypoints.shape == (0, 17, 3)
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38, MIN])
def test_a_keypoint_that_is_no_number_is_not_detected(value: float) -> None:
    rows = written(PEOPLE, pixels=SIDE)
    rows[5, LEFT.place] = value  # x of the nose
    findings = made((1, *rows.shape), size=[SIDE, SIDE])([rows[np.newaxis]])
    nose = next(f.keypoints for f in findings if f.score == pytest.approx(LEFT.score))[0]
    assert nose.tolist() == [0, 0, 0] if not np.isfinite(value) else abs(nose[1] - 0.5) <= 1.5
    assert len(findings) == 2


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(np.float32, (1, ROWS, 21), elements=st.floats(width=32) | st.sampled_from([0.5, 1.0, 1e38])))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_any_numbers_give_limited_keypoints(output: Array) -> None:
    try:
        findings = made(output.shape)([output])
    except DecoderError as error:
        assert "no probability" in str(error)
        return
    for finding in findings:
        assert finding.keypoints is not None and finding.keypoints.shape == (17, 3)
        assert np.abs(finding.keypoints).max() <= 2 and 0 <= finding.score <= 1


def test_8400_places_above_the_threshold_are_bounded() -> None:
    rows = np.random.default_rng(0).uniform(0.3, 1.0, (ROWS, 8400)).astype(np.float32)
    compared: list[int] = []
    decoder = made((1, *rows.shape), top=7)
    suppressed = decoder._corners  # type: ignore[attr-defined]
    decoder._corners = lambda rows, at: compared.append(len(at)) or suppressed(rows, at)  # type: ignore[attr-defined]
    assert len(decoder([rows[np.newaxis]])) == 7 and compared == [300]


def test_logits_in_place_of_probabilities_are_a_mistake() -> None:
    rows = written(PEOPLE)
    rows[7, LEFT.place] = -3.0
    assert "no probabilities" in made((1, *rows.shape)).mistake([rows[np.newaxis]])


@pytest.mark.parametrize("shape", [(1, 55, 189), (1, 5, 189), (1, 189, 57), (2, 56, 189)])
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DecoderError, match=r"layout pose and 1 labels needs one output \[1, 56, places\]"):
        made(shape)


def init(tmp_path: Path, content: bytes, *more: str) -> str:
    pytest.importorskip("onnxruntime")
    (tmp_path / "pose.onnx").write_bytes(content)
    command = ["model", "init", str(tmp_path / "pose.onnx"), "--into", str(tmp_path / "made"), *more]
    return CliRunner().invoke(cli, command, catch_exceptions=False).output


def test_init_recognises_a_pose_head(tmp_path: Path) -> None:
    text = init(tmp_path, network([LEFT, RIGHT], 0.02))
    assert "YOLO, layout pose, boxes in pixels" in text
    opened = package.open_package(tmp_path / "made")
    assert opened.manifest.options == {"layout": "pose", "size": [SIDE, SIDE]} and opened.manifest.labels == ["person"]
    assert opened.manifest.picture and opened.manifest.picture.fit == "letterbox"
    verified = CliRunner().invoke(cli, ["model", "verify", str(tmp_path / "made"), "--json"])
    assert json.loads(verified.output)["ok"], verified.output


def test_init_of_exchanged_sizes_asks_for_the_label(tmp_path: Path) -> None:
    """[1, 189, 56] is a pose head, or a YOLOX with 51 labels, or a YOLOv8 with 52."""
    content = network([LEFT, RIGHT], 0.02, exchanged=True)
    with pytest.raises(PackageError, match="or of a pose head with 1: name them"):
        init(tmp_path, content)
    (tmp_path / "names.txt").write_text("person\n")
    assert "layout pose" in init(tmp_path, content, "--labels", str(tmp_path / "names.txt"))
