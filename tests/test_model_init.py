"""`reflexd model`: a manifest written by reading the file gives a package that works."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from agent import package
from agent.backends import base as backends
from agent.cli import cli
from agent.errors import PackageError
from tests.shared import MOVENET, PUBLIC, SSD, needs_recordings


def call(*arguments: str) -> str:
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    return result.stdout


@needs_recordings
@pytest.mark.parametrize(
    "name, decoder",
    [
        ("coco_ssd_mobilenet_v1_1.0_quant_2018_06_29.tflite", "ssd"),
        ("movenet_single_pose_lightning_ptq.tflite", "movenet"),
        ("tf2_mobilenet_v2_1.0_224_ptq.tflite", "classify"),
        ("keras_lstm_mnist_ptq.tflite", "sequence"),
        ("vww_96_int8.tflite", "classify"),
    ],
)
def test_init_reads_what_the_file_says(name: str, decoder: str, tmp_path: Path) -> None:
    told = json.loads(call("model", "init", str(PUBLIC / name), "--into", str(tmp_path / "made"), "--json"))
    assert told["ok"]
    opened = package.open_package(tmp_path / "made")
    assert opened.manifest.decoder == decoder
    assert json.loads(call("model", "verify", str(tmp_path / "made"), "--json"))["ok"]
    assert name in call("model", "show", str(tmp_path / "made"), "--json") or opened.name == "made"


@needs_recordings
def test_init_gives_pixels_the_way_the_hand_written_manifests_do(tmp_path: Path) -> None:
    for folder in (MOVENET, SSD):
        wanted = package.read(folder)
        file = folder / wanted.file
        call("model", "init", str(file), "--into", str(tmp_path / folder.name))
        made = package.read(tmp_path / folder.name)
        assert made.sha256 == wanted.sha256 and made.picture == wanted.picture
        assert [one for one in made.labels if one] == [one for one in wanted.labels if one]


@needs_recordings
@pytest.mark.parametrize(
    "bad", ["audio_preprocessor_int8", "person_detect", "posenet_mobilenet_v1_075_353_481_16_quant_decoder"]
)
def test_init_refuses_what_no_lane_can_run(bad: str, tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="LiteRT refuses"):
        call("model", "init", str(PUBLIC / f"bad/{bad}.tflite"), "--into", str(tmp_path / "made"))
    assert not (tmp_path / "made").exists()


def test_init_survives_noise(tmp_path: Path) -> None:
    noise = tmp_path / "noise.tflite"
    noise.write_bytes(np.random.default_rng(3).bytes(5000))
    with pytest.raises(PackageError, match="noise.tflite"):
        call("model", "init", str(noise))


def test_a_bundled_package_is_shown_and_proven(tmp_path: Path) -> None:
    assert json.loads(call("model", "verify", "arm-deviation", "--json"))["golden"] <= 1.0
    shown = json.loads(call("model", "show", "arm-deviation", "--json"))
    assert shown["labels"][0] == "normal" and shown["decoder"] == "sequence"
    copy = shutil.copytree(package.find("arm-deviation"), tmp_path / "damaged")
    model = copy / package.read(copy).file
    raw = bytearray(model.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    model.write_bytes(raw)
    told = json.loads(call("model", "verify", str(copy), "--json"))
    assert told["ok"] is False and "sha256" in told["mistakes"][0]


@needs_recordings
def test_onnx_runs_in_place_and_twice_the_same() -> None:
    pytest.importorskip("onnxruntime")
    engine = backends.load("onnx", PUBLIC / "object_detection_nanodet_2022nov_int8.onnx")
    engine.input(0)[...] = 0.0
    engine.invoke()
    empty = engine.output(0).copy()
    engine.input(0)[...] = np.random.default_rng(1).random(engine.inputs[0].shape, np.float32) * 255
    engine.invoke()
    assert engine.output(0).shape == (1, 2704, 80) and not np.array_equal(engine.output(0), empty)
    engine.input(0)[...] = 0.0
    engine.invoke()
    assert np.array_equal(engine.output(0), empty)


@needs_recordings
def test_the_cpu_does_not_stand_in_for_another_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ONNX Runtime does by itself, with a warning, where CUDA's libraries are missing."""
    onnx = pytest.importorskip("agent.backends.onnx", reason="needs onnxruntime")
    monkeypatch.setattr(onnx, "choose", lambda *_: ["CPUExecutionProvider"])
    with pytest.raises(
        backends.EngineError, match="provider 'cuda' does not start here, and CPUExecutionProvider must not"
    ):
        backends.load("onnx", PUBLIC / "object_detection_nanodet_2022nov_int8.onnx", provider="cuda")


@needs_recordings
def test_onnx_names_the_providers_that_are_there() -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(backends.EngineError, match="TensorrtExecutionProvider; it has .*CPUExecutionProvider"):
        backends.load("onnx", PUBLIC / "object_detection_nanodet_2022nov_int8.onnx", provider="tensorrt")
