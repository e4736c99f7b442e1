"""Models that look good and are not: `model init`, `verify` and `check` say what was found and what would fit."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from agent.cli import cli
from agent.decoders import base as decoders
from agent.errors import PackageError
from agent.modeltools import init as init_tool
from agent.packages import package
from agent.packages.checksums import digest, weight_files
from agent.packages.outputs import ModelFault
from tests import onnx_models, tflite_models
from tests.shared import PUBLIC, needs_recordings

pytest.importorskip("onnxruntime", reason="needs onnxruntime")
RGB = "picture: {colour: rgb, mean: 0, std: 255, fit: stretch}"
FOUR = ["a", "b", "c", "d"]


def call(*arguments: object) -> tuple[Any, str]:
    """Exit code and what it says."""
    result = CliRunner().invoke(cli, ["model", *map(str, arguments)], standalone_mode=False)
    if result.exception and not isinstance(result.exception, PackageError):
        raise result.exception
    return (2 if result.exception else result.return_value), result.output + str(result.exception or "")


def init(folder: Path, content: bytes, *options: str, suffix: str = "onnx") -> tuple[Any, str]:
    """The package `made`, of a file."""
    folder.mkdir(exist_ok=True)
    file = folder / f"model.{suffix}"
    file.write_bytes(content)
    shutil.rmtree(folder / "made", ignore_errors=True)
    code, text = call("init", file, "--into", folder / "made", *options)
    assert (folder / "made").exists() == (code == 0), text
    assert code == 0 or text.startswith((str(file), "--")), text
    return code, text


def write(folder: Path, content: bytes, decoder: str, labels: Sequence[str] = FOUR, more: str = "") -> Path:
    """A package with a manifest of a user's own."""
    onnx_models.package(folder, content, decoder, RGB)
    path = folder / "manifest.yaml"
    text = path.read_text().replace("labels: [person]", f"labels: {json.dumps(list(labels))}")
    path.write_text(text + more)
    return folder


def refused_everywhere(folder: Path) -> str:
    """By verify, and by check as a lane's model; returns what is said."""
    code, text = call("verify", folder)
    assert code == 2
    configuration = folder / "reflexd.yaml"
    actuator = {"device": {"driver": "actuator.log", "path": str(folder / "log")}, "rest": "run"}
    lane = {"source": {"driver": "camera.sim", "width": 64, "height": 48, "fps": 10}, "model": str(folder)}
    rule = {"any": [{"lane": "eye", "label": "a", "score": 0.5, "hits": 1, "of": 1}], "actuator": "arm", "verb": "stop"}
    sections = {"node": "cell", "lanes": {"eye": lane}, "actuators": {"arm": actuator}, "rules": {"r": rule}}
    configuration.write_text(json.dumps(sections))
    result = CliRunner().invoke(cli, ["check", "-c", str(configuration), "--json"], standalone_mode=False)
    report = json.loads(result.output)
    assert not report["ok"] and any(text.splitlines()[0][-60:] in mistake for mistake in report["mistakes"]), report
    return text


@pytest.mark.parametrize("engine", ["onnx", "tflite"])
@pytest.mark.slow
def test_kind_open_sizes_are_asked_for_and_not_taken_as_1(tmp_path: Path, engine: str) -> None:
    if engine == "onnx":
        content, shape = onnx_models.scorer(["batch", 3, "height", "width"]), "1,3,32,48"
    else:
        content, shape = tflite_models.scorer([1, 1, 1, 3], [-1, -1, -1, 3]), "1,32,48,3"
    code, text = init(tmp_path, content, suffix=engine)
    assert code == 2 and "leaves sizes open" in text and "--shape 1," in text
    code, text = init(tmp_path, content, "--shape", shape, suffix=engine)
    assert code == 0 and "48 x 32 pixels" in text, text
    opened = package.open_package(tmp_path / "made")
    assert opened.engine.inputs[0].shape == tuple(map(int, shape.split(",")))
    assert call("verify", tmp_path / "made")[0] == 0
    others = ("1,3,32", "4,3,32,48", "1,5,32,48") if engine == "onnx" else ("1,3,32", "4,32,48,3", "1,32,48,5")
    for wrong in others:
        code, text = init(tmp_path / "wrong", content, "--shape", wrong, suffix=engine)
        assert code == 2 and "does not fit input 'x'" in text


def test_an_open_size_in_a_package_written_by_hand(tmp_path: Path) -> None:
    folder = write(tmp_path / "hand", onnx_models.scorer([1, 3, "h", "w"]), "classify")
    assert "input 'x' [1, 3, h, w] leaves sizes open" in refused_everywhere(folder)


@pytest.mark.parametrize("engine", ["onnx", "tflite"])
@pytest.mark.parametrize("count", [2, 3])
def test_kind_more_than_one_input(tmp_path: Path, engine: str, count: int) -> None:
    others: dict[str, Sequence[int | str]] = {f"other{number}": [1, "n"] for number in range(count - 1)}
    content = onnx_models.scorer(others=others) if engine == "onnx" else tflite_models.scorer(inputs=count)
    code, text = init(tmp_path, content, suffix=engine)
    assert code == 2 and f"the model has {count} inputs ('x' [1, " in text and "a lane fills one" in text
    if engine == "onnx":
        assert "'other0'" in refused_everywhere(write(tmp_path / "hand", content, "classify"))


def test_kind_weights_beside_the_model_are_copied_and_hashed(tmp_path: Path) -> None:
    content, weights = onnx_models.scorer(weights="model.onnx.data"), tmp_path / "model.onnx.data"
    weights.write_bytes(onnx_models.raw_values([9.0, 4.0, -1.0, -6.0]))
    assert init(tmp_path, content)[0] == 0
    made = tmp_path / "made"
    assert (made / weights.name).read_bytes() == weights.read_bytes()
    manifest = package.read(made)
    assert manifest.files == {weights.name: digest(weights)} and manifest.checksum != manifest.sha256
    assert call("verify", made)[0] == 0
    (made / weights.name).write_bytes(onnx_models.raw_values([1.0, 4.0, -1.0, -6.0]))
    assert "model.onnx.data: sha256 is" in refused_everywhere(made)
    (made / weights.name).unlink()
    assert "does not exist: copy it there or correct 'files'" in refused_everywhere(made)
    hand = write(tmp_path / "hand", content, "classify")
    shutil.copy(weights, hand)
    assert "'model.onnx.data' is read, too, and 'files' has no sha256 of it" in refused_everywhere(hand)


def test_weights_of_a_subgraph_and_in_a_folder_below_are_found(tmp_path: Path) -> None:
    """However deep, after an unknown group, and named in another way."""
    tensor = onnx_models.external_tensor("w", "./sub//weights.bin")
    content = onnx_models.group(99) + onnx_models.scorer() + onnx_models.nested(tensor, 20)
    (tmp_path / "model.onnx").write_bytes(content)
    assert weight_files(tmp_path / "model.onnx") == ["sub/weights.bin"]
    hand = write(tmp_path / "hand", content, "classify")
    with pytest.raises(PackageError, match="sub/weights.bin: cannot be read"):
        package.open_package(hand)


@pytest.mark.parametrize("place", ["../outside", "/etc/hostname", "link"])
def test_weights_outside_of_the_folder_are_not_read(tmp_path: Path, place: str) -> None:
    (tmp_path / "outside").write_bytes(onnx_models.raw_values([9.0, 4.0, -1.0, -6.0]))
    folder = tmp_path / "inner"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "outside")
    code, text = init(folder, onnx_models.scorer(weights=place))
    assert code == 2 or place == "link"
    assert code == 0 or "is outside of the folder, or a link out of it" in text


@pytest.mark.parametrize("engine", ["onnx", "tflite"])
def test_kind_logits(tmp_path: Path, engine: str) -> None:
    if engine == "onnx":
        content = onnx_models.scorer(last="Identity")
    else:
        content = tflite_models.scorer(last="ABS")
    code, text = init(tmp_path, content, suffix=engine)
    assert code == 2 and "which are no probabilities: if they are logits" in text and "--activation softmax" in text
    assert init(tmp_path, content, "--activation", "softmax", suffix=engine)[0] == 0
    assert call("verify", tmp_path / "made")[0] == 0
    opened = package.open_package(tmp_path / "made")
    opened.engine.input(0)[...] = 1.0
    best, *others = (finding.score for finding in opened.infer())
    assert 0.9 < best < 1.0 and best + sum(others) < 1.0
    if engine == "onnx":
        assert "no probabilities" in refused_everywhere(write(tmp_path / "hand", content, "classify"))


def test_logits_are_a_fault_on_a_lane(tmp_path: Path) -> None:
    opened = package.open_package(write(tmp_path / "hand", onnx_models.scorer(last="Identity"), "classify"))
    opened.engine.input(0)[...] = 1.0
    with pytest.raises(ModelFault, match="a score of 9 is no probability"):
        opened.infer()


@pytest.mark.parametrize("engine", ["onnx", "tflite"])
@pytest.mark.parametrize("order", ["bcsn", "bscn", "sbnc", "nscb"])
@pytest.mark.slow
def test_kind_detections_in_another_order(tmp_path: Path, order: str, engine: str) -> None:
    content = onnx_models.detections(order) if engine == "onnx" else tflite_models.detections(order)
    assert init(tmp_path, content, suffix=engine)[0] == 0
    opened = package.open_package(tmp_path / "made")
    assert bool(opened.manifest.outputs) == (order != "bcsn")
    opened.engine.input(0)[...] = 1.0
    findings = opened.infer()
    assert {finding.label for finding in findings} == {"class-2"} and 0.6 < findings[0].score < 0.95
    if order != "bcsn" and engine == "onnx":
        hand = write(tmp_path / "hand", content, "ssd")
        assert "'outputs'" in refused_everywhere(hand)
        good = write(tmp_path / "good", content, "ssd", more="outputs: [b, c, s, n]\n")
        assert call("verify", good)[0] == 0


def test_outputs_by_the_names_of_the_signature(tmp_path: Path) -> None:
    content = tflite_models.detections("sbnc", ["scores", "boxes", "number", "classes"])
    options = "--outputs", "boxes,classes,scores,number"
    assert init(tmp_path, content, *options, suffix="tflite")[0] == 0
    assert package.read(tmp_path / "made").outputs == ["boxes", "classes", "scores", "number"]
    assert "(signature: scores)" in call("show", tmp_path / "made")[1]
    code, text = init(tmp_path, content, "--outputs", "boxes,scores,classes,number", suffix="tflite")
    assert code == 2 and "are the outputs in another order?" in text
    code, text = init(tmp_path, content, "--outputs", "boxes,kinds", suffix="tflite")
    assert code == 2 and "no output 'kinds'; the model has Call:0 or scores, Call:1 or boxes" in text


def test_kind_an_answer_that_does_not_depend_on_the_input(tmp_path: Path) -> None:
    code, text = init(tmp_path, onnx_models.detections("bcsn", moving=False))
    assert code == 2 and "the answer is the same for 40 different inputs" in text


def test_the_nearest_decoders_are_named() -> None:
    def named(*shapes: tuple[int, ...]) -> list[str]:
        return [need.split(":")[0] for need in decoders.nearest(shapes).split("; ")]

    assert named((1, 84, 8400)) == ["grid", "blobs", "classify"]
    assert named((1, 100, 4), (1, 100), (1, 100))[0] == "ssd"
    assert named((1, 1, 17, 3))[0] == "movenet"


def test_only_keys_that_the_manifest_has_are_to_be_checked() -> None:
    assert init_tool._to_check("decoder: x\nsound: {hop: 1}\n") == "decoder, rate_hz and hop"
    assert init_tool._to_check("decoder: x\nwindow: {hop: 1}\n") == "decoder, mean and std"
    assert init_tool._to_check("picture: {fit: stretch}\nlabels: [sound]\n") == "decoder, colour, mean and std"


@pytest.mark.parametrize("shape", [(1, 6, 2100), (1, 84, 8400), (1, 2100, 6), (1, 3549, 85)])
@pytest.mark.slow
def test_kind_a_detector_without_a_decoder(tmp_path: Path, shape: tuple[int, ...]) -> None:
    content = onnx_models.scorer(output=shape)
    code, text = init(tmp_path, content)
    assert code == 2 and f"no decoder fits its outputs ('y' {list(shape)} float32)" in text
    assert "classify: one output [1, labels]" in text and "--decoder" in text and len(text) < 500
    labels = ["a", *(f"l{number}" for number in range(1, shape[-1]))]
    assert "one score per label" in refused_everywhere(write(tmp_path / "hand", content, "classify", labels))


@pytest.mark.parametrize("shape", [(1, 49, 10, 1), (1, 98, 40, 1), (1, 1, 40, 101), (1, 640)])
@pytest.mark.slow
def test_kind_features_of_sound_as_a_picture(tmp_path: Path, shape: tuple[int, ...]) -> None:
    code, text = init(tmp_path, onnx_models.scorer(shape))
    assert code == 2 and ("looks like features of sound" in text or "neither a picture" in text)
    if shape == (1, 98, 40, 1):
        assert init(tmp_path, onnx_models.scorer(shape), "--picture")[0] == 0
    code, text = init(tmp_path / "named", onnx_models.scorer((1, 64, 64, 1), name="log_mel_spectrogram"))
    assert code == 2 and "(its name)" in text


@needs_recordings
def test_a_public_keyword_model_is_no_picture(tmp_path: Path) -> None:
    raw = (PUBLIC / "kws_ref_model.tflite").read_bytes()
    for options in ((), ("--picture",)):
        code, text = init(tmp_path, raw, *options, suffix="tflite")
        assert code == 2 and "looks like features of sound" in text


@pytest.mark.parametrize("engine", ["onnx", "tflite"])
def test_kind_a_batch_of_4(tmp_path: Path, engine: str) -> None:
    content = onnx_models.scorer([4, 3, 32, 32]) if engine == "onnx" else tflite_models.scorer([4, 32, 32, 3])
    code, text = init(tmp_path, content, suffix=engine)
    assert code == 2 and "takes 4 samples at a time, and a lane has one: export" in text


def test_kind_a_huge_input_is_refused_before_its_memory_is_allocated(tmp_path: Path) -> None:
    content = onnx_models.scorer([1, 3, 200_000, 200_000])
    assert "480,000,000,000 bytes; at most" in refused_everywhere(write(tmp_path / "hand", content, "classify"))


def test_kind_an_unknown_decoder_is_refused_at_once_with_the_list(tmp_path: Path) -> None:
    code, text = init(tmp_path, onnx_models.scorer(), "--decoder", "yollo")
    assert code == 2 and text.startswith(
        "--decoder: no decoder 'yollo'; there is blobs, classify, climb, evidence, features, grid, "
    )


def test_kind_pixels_that_the_model_cannot_tell_apart(tmp_path: Path) -> None:
    if not PUBLIC.is_dir():
        pytest.skip("../shared/data is not here")
    folder = tmp_path / "vww"
    assert call("init", PUBLIC / "vww_96_int8.tflite", "--into", folder)[0] == 0
    path = folder / "manifest.yaml"
    path.write_text(path.read_text().replace("mean: 0, std: 255", "mean: 0, std: 25500"))
    code, text = call("verify", folder)
    assert code == 2 and "of a pixel's 256 values apart" in text


def test_a_model_fifo_and_a_file_in_the_way(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.onnx")
    code, text = call("init", tmp_path / "fifo.onnx")
    assert code == 2 and "is no regular file" in text
    (tmp_path / "made").mkdir()
    (tmp_path / "made/model.onnx").write_bytes(b"another")
    (tmp_path / "model.onnx").write_bytes(onnx_models.scorer())
    code, text = call("init", tmp_path / "model.onnx", "--into", tmp_path / "made")
    assert code == 2 and "exists already and is another file" in text
    assert not (tmp_path / "made/manifest.yaml").exists()


@pytest.mark.slow
def test_kind_many_values_without_labels_are_no_classes(tmp_path: Path) -> None:
    """Boxes in one row look like scores; ImageNet has 1,001 classes at most."""
    content, names = onnx_models.scorer(output=(1, 1764)), tmp_path / "names.txt"
    code, text = init(tmp_path, content)
    assert code == 2 and "1,764 values without labels" in text and "--labels FILE" in text and "--decoder" in text
    assert len(text.splitlines()) == 1
    assert init(tmp_path, content, "--decoder", "classify")[0] == 0
    names.write_text("".join(f"thing {number}\r\n" for number in range(1764)))
    assert init(tmp_path, content, "--labels", str(names))[0] == 0
    assert package.labels(tmp_path / "made")[1763] == "thing 1763"
    assert call("verify", tmp_path / "made")[0] == 0
    assert init(tmp_path, onnx_models.scorer(output=(1, 1001)))[0] == 0


@pytest.mark.parametrize(
    "raw, words", [(b"a\nb\n", "has 2 lines, and the model 4 labels"), (b"\xff\xfe", "not UTF-8"), (None, "cannot be")]
)
def test_labels_that_do_not_fit(tmp_path: Path, raw: bytes | None, words: str) -> None:
    names = tmp_path / "names.txt"
    if raw is not None:
        names.write_bytes(raw)
    code, text = init(tmp_path, onnx_models.scorer(), "--labels", str(names))
    assert code == 2 and words in text and f"--labels: {names}" in text
