"""Decoder yolo, boxes and scores in two outputs, each with a scale of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from agent.backends.base import Tensor
from agent.cli import cli
from agent.data import Array
from agent.decoders import base as decoders
from agent.decoders.base import DecoderError
from agent.errors import PackageError
from agent.packages import package
from agent.packages.package import BUNDLED
from tests import onnx_models
from tests.onnx_models import FLOAT
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


def _exported(folder: Path, layout: str, labels: int, exchanged: bool, names: tuple[str, str]) -> list[str]:
    """The arguments of `model init` for a model whose scores are a little higher in a bright picture.

    names: of boxes and scores, and the order of the file.
    """
    rows = written(layout, in_pixels=True)
    rows = np.concatenate([rows, np.zeros((labels - len(NAMES), PLACES), np.float32)])
    rows = np.pad(rows, [(0, 0), (0, 2 * PLACES if layout == "v5" else 0)])  # three boxes at each place
    parts = [part if exchanged else part.T for part in (rows[:4], rows[4:])]
    boxes, scores = (part[np.newaxis] for part in parts)
    constants = [
        *(("all_boxes", boxes.ravel().tolist(), boxes.shape, FLOAT), ("gain", [0.05], [1], FLOAT)),
        ("all_scores", (scores * 0.95).ravel().tolist(), scores.shape, FLOAT),
    ]
    nodes: list[onnx_models.Node] = [
        *(("ReduceMean", ["x"], "mean", {"keepdims": 0}), ("Sigmoid", ["mean"], "level", {})),
        ("Mul", ["level", "gain"], "more", {}),
        *(("Mul", ["all_scores", "more"], "change", {}), ("Add", ["all_scores", "change"], names[1], {})),
        ("Identity", ["all_boxes"], names[0], {}),
    ]
    shapes = dict(zip(names, (boxes.shape, scores.shape)))
    outputs = {name: shapes[name] for name in sorted(names)}
    path = folder / "model.onnx"
    path.write_bytes(onnx_models.model(nodes, constants, (1, 3, SIDE, SIDE), outputs))
    (folder / "labels.txt").write_text("\n".join(LABELS[:labels]))
    return ["model", "init", str(path), "--into", str(folder / "made"), "--labels", str(folder / "labels.txt")]


@pytest.mark.parametrize(
    ("layout", "exchanged", "names"),
    [
        ("v5", False, ("boxes", "scores")),
        ("v5", True, ("b", "a")),
        ("v8", False, ("b", "a")),
        ("v8", True, ("a", "b")),
        ("yolox", False, ("b", "a")),
    ],
)
def test_model_init_recognises_two_outputs_by_their_shapes(
    tmp_path: Path, layout: str, exchanged: bool, names: tuple[str, str]
) -> None:
    pytest.importorskip("onnxruntime")
    result = CliRunner().invoke(cli, _exported(tmp_path, layout, len(LABELS), exchanged, names))
    assert result.exit_code == 0, result.exception
    sizes = (4, 5 if layout == "v8" else 6)
    places = 3 * PLACES if layout == "v5" else PLACES
    boxes, scores = ([1, rows, places] if exchanged else [1, places, rows] for rows in sizes)
    assert f"outputs boxes {boxes} ('{names[0]}') and scores {scores} ('{names[1]}') at 96 x 96: YOLO," in result.output
    assert f"layout {layout}, boxes in {'cells of its grids' if layout == 'yolox' else 'pixels'}" in result.output
    opened = package.open_package(tmp_path / "made")
    opened.engine.input(0)[...] = 0.0
    same(opened.infer(), REPORTED, score=0.06)


@pytest.mark.parametrize("names", [("boxes", "scores"), ("z_boxes", "scores"), ("a", "b")])
def test_two_outputs_of_four_rows_are_told_apart_by_their_names_or_by_the_user(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    """A YOLOX with three labels; in the file the scores may come first."""
    pytest.importorskip("onnxruntime")
    command = _exported(tmp_path, "yolox", 3, False, names)
    if names == ("a", "b"):
        refused = CliRunner().invoke(cli, command)
        assert isinstance(refused.exception, PackageError)
        assert "may both be the boxes of a YOLO: name them as --outputs BOXES,SCORES" in str(refused.exception)
        command += ["--outputs", ",".join(names)]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 0, result.exception
    opened = package.open_package(tmp_path / "made")
    opened.engine.input(0)[...] = 0.0
    same(opened.infer(), REPORTED, score=0.06)


def test_model_init_recognises_the_bundled_detector(tmp_path: Path) -> None:
    """A quantised export, whose names say nothing."""
    bundled = package.read(BUNDLED / "objects")
    command = ["model", "init", str(BUNDLED / "objects" / bundled.file), "--into", str(tmp_path / "made")]
    result = CliRunner().invoke(cli, command)
    assert "boxes [1, 3549, 4]" in result.output and "scores [1, 3549, 81]" in result.output, result.exception
    made = package.read(tmp_path / "made")
    assert (made.decoder, made.labels, made.picture) == (bundled.decoder, bundled.labels, bundled.picture)
    assert made.options == {key: bundled.options[key] for key in ("layout", "size")}
