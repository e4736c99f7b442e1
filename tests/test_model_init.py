"""`reflexd model init`: a manifest written by reading the file gives a package that works."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from agent.cli import cli
from agent.errors import PackageError
from agent.packages import package
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
@pytest.mark.slow
def test_init_reads_decoder_and_labels_from_the_file(name: str, decoder: str, tmp_path: Path) -> None:
    report = json.loads(call("model", "init", str(PUBLIC / name), "--into", str(tmp_path / "made"), "--json"))
    assert report["ok"]
    opened = package.open_package(tmp_path / "made")
    assert opened.manifest.decoder == decoder
    assert json.loads(call("model", "verify", str(tmp_path / "made"), "--json"))["ok"]
    assert name in call("model", "show", str(tmp_path / "made"), "--json") or opened.name == "made"


@needs_recordings
def test_init_scales_pixels_as_the_hand_written_manifests_do(tmp_path: Path) -> None:
    for folder in (MOVENET, SSD):
        expected = package.read(folder)
        file = folder / expected.file
        call("model", "init", str(file), "--into", str(tmp_path / folder.name))
        made = package.read(tmp_path / folder.name)
        assert made.sha256 == expected.sha256 and made.picture == expected.picture
        assert [label for label in made.labels if label] == [label for label in expected.labels if label]


@needs_recordings
@pytest.mark.parametrize(
    "bad", ["audio_preprocessor_int8", "person_detect", "posenet_mobilenet_v1_075_353_481_16_quant_decoder"]
)
def test_init_refuses_models_that_no_lane_can_run(bad: str, tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="LiteRT refuses"):
        call("model", "init", str(PUBLIC / f"bad/{bad}.tflite"), "--into", str(tmp_path / "made"))
    assert not (tmp_path / "made").exists()


def test_init_survives_noise(tmp_path: Path) -> None:
    noise = tmp_path / "noise.tflite"
    noise.write_bytes(np.random.default_rng(3).bytes(5000))
    with pytest.raises(PackageError, match="noise.tflite"):
        call("model", "init", str(noise))
