"""Decoder yolo: the same boxes as a plain float decoder with OpenCV's suppression, on known boxes and real models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from agent.backends.base import Tensor
from agent.cli import cli
from agent.data import Array
from agent.decoders import base as decoders
from agent.decoders.base import DecoderError, Finding
from agent.modeltools import labels
from agent.packages import package
from agent.prepare.pixels import Pixels
from tests.shared import PUBLIC, needs_recordings

NAMES = ["person", "car", "dog"]
SIDE = 96  # of a square input: 12 + 6 + 3 cells a side
PLACES = 144 + 36 + 9
CELLS = [(stride, x, y) for stride in (8, 16, 32) for y in range(SIDE // stride) for x in range(SIDE // stride)]


class Known(NamedTuple):
    """A box in shares, as a model must report it at a place of its output."""

    place: int
    label: int
    score: float
    box: tuple[float, float, float, float]


KNOWN = [
    Known(150, 0, 0.9, (0.10, 0.20, 0.40, 0.80)),
    Known(151, 0, 0.6, (0.11, 0.20, 0.41, 0.80)),  # the same person again
    Known(20, 1, 0.7, (0.12, 0.20, 0.42, 0.80)),  # a car at the same place is another object
    Known(188, 2, 0.5, (0.60, 0.55, 0.95, 0.90)),
    Known(3, 2, 0.1, (0.00, 0.00, 0.20, 0.20)),  # below the threshold
]
REPORTED = [KNOWN[0], KNOWN[2], KNOWN[3]]


def written(layout: str, in_pixels: bool) -> Array:
    """Rows by places, float32, as an exported model gives them: the opposite of decoding, written apart from it."""
    rows = np.zeros((4 + (layout != "v8") + len(NAMES), PLACES), np.float32)
    if layout == "yolox":
        rows[2:4] = -9.0
    for known in KNOWN:
        left, top, right, bottom = (side * (SIDE if in_pixels else 1.0) for side in known.box)
        centre_x, centre_y, width, height = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
        if layout == "yolox":
            stride, x, y = CELLS[known.place]
            centre_x, centre_y = centre_x / stride - x, centre_y / stride - y
            width, height = float(np.log(width / stride)), float(np.log(height / stride))
        rows[:4, known.place] = centre_x, centre_y, width, height
        if layout != "v8":
            rows[4, known.place] = 0.95
        rows[-len(NAMES) + known.label, known.place] = known.score / (1.0 if layout == "v8" else 0.95)
    return rows


def made(shape: tuple[int, ...], tensor: Tensor | None = None, **options: Any) -> decoders.Decoder:
    decoder = decoders.make("yolo", NAMES, options, [shape])
    decoder.tensors = [tensor] if tensor else []
    return decoder


def same(findings: list[Finding], expected: list[Known], box: float = 1e-4, score: float = 1e-4) -> None:
    assert [finding.label for finding in findings] == [NAMES[known.label] for known in expected]
    for finding, known in zip(findings, expected):
        assert finding.score == pytest.approx(known.score, abs=score)
        assert finding.box and np.abs(np.subtract(finding.box, known.box)).max() <= box


@pytest.mark.parametrize("exchanged", [False, True])
@pytest.mark.parametrize(
    ("layout", "in_pixels"), [("v5", False), ("v5", True), ("v8", False), ("v8", True), ("yolox", True)]
)
def test_known_boxes_are_reported_once_each_best_first(layout: str, exchanged: bool, in_pixels: bool) -> None:
    rows = written(layout, in_pixels)
    output = (rows.T if exchanged else rows)[np.newaxis]
    size = {"size": [SIDE, SIDE]} if in_pixels else {}
    same(made(output.shape, layout=layout, **size)([output]), REPORTED)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16])
@pytest.mark.parametrize("layout", ["v5", "v8"])
def test_quantised_outputs_differ_by_a_step_at_most(layout: str, dtype: type[np.generic]) -> None:
    rows = written(layout, in_pixels=False)
    limits = np.iinfo(dtype)  # type: ignore[type-var]  # one of the three above
    scale, zero_point = 1.0 / (limits.max - limits.min), int(limits.min)
    stored = np.clip(np.rint(rows / scale) + zero_point, limits.min, limits.max).astype(dtype)[np.newaxis]
    decoder = made(stored.shape, Tensor("output", stored.shape, dtype, scale, zero_point), layout=layout)
    same(decoder([stored]), REPORTED, box=1.5 * scale, score=2 * scale)


def test_boxes_after_the_models_own_suppression() -> None:
    """Not run on a real export."""
    output = np.zeros((1, 30, 6), np.float32)
    for place, known in enumerate(REPORTED):
        output[0, place] = *(side * SIDE for side in known.box), known.score, known.label
    output[0, 5] = 0, 0, 9, 9, 0.9, 7  # a label that nobody named
    output[0, 6] = 0, 0, 9, 9, 0.9, 1.5
    same(made(output.shape, layout="end-to-end", size=[SIDE, SIDE])([output]), REPORTED)


@pytest.mark.parametrize("layout", ["v5", "v8", "end-to-end"])
def test_groups_of_labels_are_one_label(layout: str) -> None:
    """Person and car at one place are one thing now; a dog is not reported."""
    if layout == "end-to-end":
        output = np.zeros((1, 30, 6), np.float32)
        for place, known in enumerate((KNOWN[0], KNOWN[3])):
            output[0, place] = *known.box, known.score, known.label
    else:
        output = written(layout, in_pixels=False)[np.newaxis]
    groups = {"traffic": ["car", "person"]}
    (finding,) = made(output.shape, layout=layout, groups=groups)([output])
    assert finding.label == "traffic" and finding.score == pytest.approx(0.9, abs=1e-4)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"a": ["persn"]}, "no label 'persn'; did you mean 'person'"),
        ({"a": []}, "at least one label"),
        ({"a": ["car"], "b": ["dog", "car"]}, "groups.b: a label belongs to another group, too"),
    ],
)
def test_groups_that_do_not_fit_are_refused(groups: dict[str, list[str]], message: str) -> None:
    with pytest.raises(DecoderError, match=message):
        made((1, 7, PLACES), layout="v8", groups=groups)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38])
@pytest.mark.parametrize("layout", ["v5", "v8", "yolox"])
def test_numbers_of_any_kind_are_no_boxes(layout: str, value: float) -> None:
    """In a box; and a score that is none is no detection, or no probability."""
    rows = written(layout, in_pixels=True)
    rows[:4, KNOWN[0].place] = value
    decoder = made((1, *rows.shape), layout=layout, size=[SIDE, SIDE])
    for finding in decoder([rows[np.newaxis]]):
        assert finding.box and min(finding.box) >= 0 and max(finding.box) <= 1 and 0 <= finding.score <= 1
        assert np.isfinite(value) or finding.score < 0.9
    rows[:, KNOWN[0].place] = value
    try:
        assert len(decoder([rows[np.newaxis]])) <= len(KNOWN)
    except DecoderError as error:
        assert value > 0 and "no probability" in str(error)


def test_thousands_of_boxes_above_the_threshold_are_bounded() -> None:
    random = np.random.default_rng(0)
    rows = random.uniform(0.3, 1.0, (4 + len(NAMES), 8400)).astype(np.float32)
    findings = made((1, *rows.shape), layout="v8", top=7)([rows[np.newaxis]])
    assert len(findings) == 7 and findings[0].score == pytest.approx(float(rows[4:].max()))


@pytest.mark.parametrize(
    ("options", "shapes", "message"),
    [
        ({"layout": "v8"}, [(1, 8, 189)], r"needs one output \[1, 7, places\]"),
        ({"layout": "v5"}, [(1, 7, 189)], r"needs one output \[1, 8, places\]"),
        ({"layout": "v8"}, [(2, 7, 189)], "the model gives"),
        ({"layout": "v8"}, [(1, 7, 189), (1, 3)], "the model gives"),
        ({"layout": "v8"}, [(7, 189)], "the model gives"),
        ({"layout": "yolox", "size": [128, 96]}, [(1, 189, 8)], "has 252 cells, the model 189"),
        ({"layout": "yolox"}, [(1, 189, 8)], "needs size"),
        ({"layout": "yolox", "size": [100, 96]}, [(1, 189, 8)], "multiples of 32"),
        ({}, [(1, 7, 189)], "layout"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(options: dict[str, Any], shapes: list[Any], message: str) -> None:
    with pytest.raises((DecoderError, ValueError), match=message):
        decoders.make("yolo", NAMES, options, shapes)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{0: 'person', 1: 'car'}", ["person", "car"]),
        ("{'stride': 32, 'names': {0: 'person'}, 'imgsz': [640, 640]}", ["person"]),
        ("['a', 'b']", ["a", "b"]),
        ("{1: 'person'}", []),
        ("{0: 5}", []),
        ("__import__('os').getcwd()", []),
        ("{" * 100_000, []),
        ("[" * 5_000 + "]" * 5_000, []),
        ("{0: 'a'" + " " * labels.MAX_BYTES + "}", []),
    ],
)
def test_names_in_a_models_metadata_are_values_only(tmp_path: Path, text: str, names: list[str]) -> None:
    assert labels.inside(tmp_path / "no.onnx", {"names": text}) == names


REAL = {
    "yolov5n-int8.tflite": ("v5", True),
    "yolov8n_full_integer_quant.tflite": ("v8", False),
    "yolo11n_full_integer_quant_224.tflite": ("v8", False),
    "yolox_nano.onnx": ("yolox", True),
}


@pytest.fixture(scope="module", params=REAL)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package that `model init` writes for it."""
    if request.param.endswith(".onnx"):
        pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("yolo") / "package"
    result = CliRunner().invoke(cli, ["model", "init", str(PUBLIC / request.param), "--into", str(folder)])
    assert result.exit_code == 0, result.output
    assert f"YOLO, layout {REAL[request.param][0]}" in result.output
    return folder


@needs_recordings
def test_real_models_give_the_boxes_of_an_independent_decoder(model: Path) -> None:
    opened = package.open_package(model)
    assert opened.manifest.picture and opened.manifest.picture.fit == "letterbox"
    assert opened.manifest.labels == labels.COCO
    picture = cv2.imread(str(PUBLIC / "cats_and_dogs.jpg"))
    Pixels(opened.manifest.picture, opened.engine.inputs[0], "bgr")(picture, opened.engine.input(0))
    findings = opened.infer()
    height, width = opened.engine.inputs[0].sides
    expected = list(_reference(opened.engine.real(0)[0], opened.manifest.options, width, height))
    step = opened.engine.outputs[0].scale
    assert {"cat", "dog", "teddy bear"} & {finding.label for finding in findings}
    assert len(findings) == len(expected) >= 4
    for finding in findings:
        assert any(_close(finding, each, (width, height), max(0.02, step)) for each in expected), (finding, expected)


def _close(finding: Finding, each: tuple[str, float, Array], size: tuple[int, int], score: float) -> bool:
    assert finding.box
    pixels = np.abs(np.subtract(finding.box, each[2])) * (*size, *size)
    return finding.label == each[0] and abs(finding.score - each[1]) <= score and bool(pixels.max() <= 2)


def _reference(output: Array, options: dict[str, Any], width: int, height: int) -> Iterator[tuple[str, float, Array]]:
    """(label, score, box in shares), by a loop over all places and OpenCV's suppression."""
    rows = output if output.shape[0] < output.shape[1] else output.T
    layout = options["layout"]
    cells = [(s, x, y) for s in (8, 16, 32) for y in range(height // s) for x in range(width // s)]
    boxes, scores, kinds = [], [], []
    for place in range(rows.shape[1]):
        x, y, w, h = map(float, rows[:4, place])
        values = rows[4:, place] if layout == "v8" else rows[5:, place] * rows[4, place]
        if values.max() < 0.25:
            continue
        if layout == "yolox":
            stride, column, row = cells[place]
            x, y, w, h = (x + column) * stride, (y + row) * stride, np.exp(w) * stride, np.exp(h) * stride
            x, y, w, h = x / width, y / height, w / width, h / height
        corners = np.clip([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 0, 1)
        boxes.append([*corners[:2], *(corners[2:] - corners[:2])])
        scores.append(float(values.max()))
        kinds.append(int(values.argmax()))
    for n in cv2.dnn.NMSBoxesBatched(boxes, scores, kinds, 0.25, 0.45):
        left, top, w, h = boxes[n]
        yield labels.COCO[kinds[n]], scores[n], np.array([left, top, left + w, top + h])


@needs_recordings
def test_a_model_without_named_labels_in_doubt_asks_for_them(tmp_path: Path) -> None:
    """[1, 3549, 85] is a YOLOX with 80 labels, or a YOLOv8 with 81."""
    pytest.importorskip("onnxruntime")
    for count, code in ((81, 0), (80, 0), (33, 2)):
        names = tmp_path / f"{count}.txt"
        names.write_text("\n".join(f"label {number}" for number in range(count)))
        command = ["model", "init", str(PUBLIC / "yolox_nano.onnx"), "--into", str(tmp_path / str(count))]
        result = CliRunner().invoke(cli, [*command, "--labels", str(names)])
        if code:
            assert isinstance(result.exception, Exception) and "YOLOX with 80 labels" in str(result.exception)
        else:
            assert f"layout {'v8' if count == 81 else 'yolox'}" in result.output or "probabilities" in str(
                result.exception
            )
