"""Decoder reconstruction: the error is that of the interpreter, and its score is recorded and replayed.

The accuracy of the public model (AUC) is not measured: no sounds of ToyCar are here.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from agent.decoders import base as decoders
from agent.decoders.base import DecoderError
from agent.errors import PackageError
from agent.modeltools.trial import trial
from agent.packages import package
from agent.packages.comparison import ComparingEngine
from agent.packages.outputs import ModelFault
from agent.packages.package import Package
from agent.recorder.recording import read
from tests import onnx_models
from tests.processes import Cell
from tests.reconstruction_fixtures import READINGS, listening, machine_sounds, repeating, written
from tests.recordings import files, recorded, replayed
from tests.shared import PUBLIC, needs_recordings
from tests.waiting import until


def of_readings(folder: Path, threshold: float | None = 0.01) -> Package:
    pytest.importorskip("onnxruntime")
    options = {} if threshold is None else {"threshold": threshold}
    return package.open_package(repeating(folder, (1, 8, 2), options, window=READINGS))


@pytest.mark.parametrize(("error", "score"), [(0.0, 0.0), (1.0, 0.05), (10.0, 0.5), (19.0, 0.95), (1e30, 1.0)])
def test_the_score_is_a_half_at_the_threshold_and_one_at_twice_that(error: float, score: float) -> None:
    decoder = decoders.make("reconstruction", [], {"threshold": 10.0}, [(1, 640)])
    (finding,) = decoder([np.array([error], np.float32)])
    assert finding.label == "anomaly" and finding.score == pytest.approx(score) and f"{error:.3g}" in finding.mark


def test_the_error_is_the_mean_squared_difference_of_output_and_input(tmp_path: Path) -> None:
    opened = of_readings(tmp_path / "arm")
    values = np.random.default_rng(0).normal(0, 1, (1, 8, 2)).astype(np.float32)
    opened.engine.input(0)[...] = values
    (finding,) = opened.infer()
    error = 0.01 * float((values**2).mean())
    assert finding.score == pytest.approx(error / 0.02, rel=1e-4)
    assert opened.engine.output(0) == pytest.approx(error, rel=1e-4)


def test_without_a_threshold_the_package_says_how_to_learn_it(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="threshold is missing: learn it .* reflexd model fit"):
        of_readings(tmp_path / "arm", None)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_an_input_that_is_no_number_is_a_fault_of_the_model(tmp_path: Path, value: float) -> None:
    """Also one whose square is none."""
    opened = of_readings(tmp_path / "arm")
    opened.engine.input(0)[...] = value
    with pytest.raises(ModelFault, match="'comparison' has values that are NaN or infinite"):
        opened.infer()
    opened.engine.input(0)[...] = 1.0
    assert opened.infer()[0].score == pytest.approx(0.5, rel=1e-4)


def test_an_output_of_another_size_than_the_input_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    model = tmp_path / "scores.onnx"
    model.write_bytes(onnx_models.scorer((1, 8, 2)))
    with pytest.raises(PackageError, match=r"as large as the input: its input is \[1, 8, 2\], its output \[1, 4\]"):
        package.open_package(written(tmp_path / "arm", model, {"threshold": 1.0}, window=READINGS))
    with pytest.raises(DecoderError, match="needs one output"):
        decoders.make("reconstruction", [], {"threshold": 1.0}, [(1, 4), (1, 4)])


def test_golden_outputs_are_those_of_the_network(tmp_path: Path) -> None:
    opened = of_readings(tmp_path / "arm")
    assert isinstance(opened.engine, ComparingEngine) and opened.network.outputs[0].shape == (1, 8, 2)
    values = np.random.default_rng(0).normal(0, 1, (4, 8, 2)).astype(np.float32)
    np.savez(tmp_path / "arm/golden.npz", input_0=values, output_0=values * np.float32(0.9))
    opened.manifest = opened.manifest.model_copy(update={"golden": "golden.npz"})
    assert package.compare_golden(opened) == pytest.approx(0, abs=1e-3)
    np.savez(tmp_path / "arm/golden.npz", input_0=values, output_0=values)
    worst = package.compare_golden(opened)
    assert worst and worst > 1


@needs_recordings
def test_the_public_model_has_the_error_that_the_interpreter_gives(tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    opened = package.open_package(machine_sounds(tmp_path / "toycar", threshold=10.0))
    plain = Interpreter(str(PUBLIC / "ad01_int8.tflite"))
    plain.allocate_tensors()
    given, result = plain.get_input_details()[0], plain.get_output_details()[0]
    assert trial(opened) >= 10
    random = np.random.default_rng(1)
    for level in (-60, -30, -10):
        stored = np.clip(np.rint(random.normal(level, 6, (1, 640)) / 0.39101523 + 89), -128, 127).astype(np.int8)
        plain.set_tensor(given["index"], stored)
        plain.invoke()
        pair = [
            (values.astype(np.float64) - detail["quantization"][1]) * detail["quantization"][0]
            for values, detail in ((stored, given), (plain.get_tensor(result["index"]), result))
        ]
        opened.engine.input(0)[...] = stored
        (finding,) = opened.infer()
        error = ((pair[0] - pair[1]) ** 2).mean()
        assert opened.engine.output(0)[0] == pytest.approx(error, rel=1e-5) and error > 1
        assert finding.score == pytest.approx(min(error / 20, 1), rel=1e-5)


@pytest.mark.parametrize("pictures", [False, True])
@pytest.mark.slow
def test_a_recording_has_the_error_and_replays_to_the_same_decisions(tmp_path: Path, pictures: bool) -> None:
    """With pictures the input is recorded, and the network runs again; without, only the error is there."""
    pytest.importorskip("onnxruntime")
    folder = listening(tmp_path / "hum", threshold=7.0)
    source = {"driver": "audio.sim", "rate_hz": 16_000}
    with Cell(tmp_path, {"mic": {"source": source, "model": str(folder)}}) as cell:
        condition = {"lane": "mic", "label": "anomaly", "score": 0.5, "hits": 1, "of": 1}
        cell.config["rules"] = {"odd": {"any": [condition], "actuator": "robot", "verb": "stop"}}
        cell.config["recorder"] = {"pictures": pictures}
        cell.config["state_dir"] = str(cell.folder / "state")
        host, daemon = cell.actuate(), cell.run()
        until(lambda: files(cell.folder / "state"), cell.logs)
        cell.wait_for_count("mic", "inferences", 60)
        daemon.stop()
        host.stop()
        code, text = replayed(recorded(cell), "--json")
        messages = [message for _, message in read(recorded(cell)).messages if message["inferred"]]
    assert code == 0 and json.loads(text)["differences"] == [], text
    assert len(messages) >= 60 and {item["label"] for message in messages for item in message["evidence"]} == {
        "anomaly"
    }
    assert {len(message["inputs"]) for message in messages} == {int(pictures)}
    assert {tuple(message["outputs"][0]["shape"]) for message in messages} == {(1,)}
