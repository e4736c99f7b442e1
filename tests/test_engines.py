"""`backend: auto`, and OpenVINO against LiteRT and ONNX Runtime."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from agent import yamlfile
from agent.backends import base
from agent.backends.base import EngineError, TensorSpec
from agent.cli import cli
from agent.errors import PackageError
from agent.packages import engines, package
from agent.packages.engines import Comparison
from agent.recorder.recording import read
from agent.replay.compare import replay
from agent.replay.header import read_header
from tests.processes import arm as arm_lane
from tests.recordings import arm_cell, recorded, start_recording
from tests.shared import PUBLIC, needs_recordings

pytest.importorskip("openvino", reason="OpenVINO is not installed: scripts/setup dev")

ARM = package.BUNDLED / "arm-deviation"
PERSON = package.BUNDLED / "person-coarse"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is remembered yet."""
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path / "cache"))
    return tmp_path / "cache/engines.json"


@pytest.fixture
def arm(tmp_path: Path, cache: Path) -> Path:
    shutil.copytree(ARM, tmp_path / "arm")
    return tmp_path / "arm"


def change(folder: Path, **keys: Any) -> None:
    path = folder / "manifest.yaml"
    fields = YAML(typ="safe").load(path.read_text()) | keys
    YAML(typ="safe").dump({key: value for key, value in fields.items() if value is not None}, path)


def among(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setitem(engines.BY_SUFFIX, ".tflite", dict.fromkeys(names, "numpy"))


def choose(folder: Path) -> str:
    return engines.choose(folder, package.read(folder), 1)


# -- the choice -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p50_ms", "refused", "chosen"),
    [
        ({"litert": 8.4, "openvino": 6.3}, {}, "openvino"),
        ({"litert": 8.4, "openvino": 8.0}, {}, "litert"),  # 4.8 %: noise
        ({"litert": 8.4}, {"openvino": "refuses it"}, "litert"),
        ({"openvino": 9.0}, {"litert": "refuses it"}, "openvino"),
        ({}, {"litert": "refuses it", "openvino": "refuses it"}, "litert"),  # which says why, when it is opened
    ],
)
def test_the_fastest_engine_is_chosen_and_the_usual_one_in_doubt(p50_ms: Any, refused: Any, chosen: str) -> None:
    assert engines._choice(["litert", "openvino"], p50_ms, refused).backend == chosen


def test_a_slow_engine_is_not_chosen(arm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    among(monkeypatch, "tests.engine_slow", "litert")
    assert choose(arm) == "litert"
    among(monkeypatch, "litert", "tests.engine_slow")
    assert choose(arm) == "litert"


def test_an_engine_that_computes_another_model_is_out(arm: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    among(monkeypatch, "tests.engine_slow", "tests.engine_other")
    assert choose(arm) == "tests.engine_slow"
    (entry,) = json.loads(cache.read_text()).values()
    assert entry["refused"]["tests.engine_other"].startswith("golden outputs differ by ")


def test_without_golden_outputs_engines_must_agree_on_noise(
    arm: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(arm, golden=None, files=None)
    among(monkeypatch, "tests.engine_slow", "tests.engine_other", "litert")
    assert choose(arm) == "litert"
    (entry,) = json.loads(cache.read_text()).values()
    assert "on noise it differs from tests.engine_slow" in entry["refused"]["tests.engine_other"]


def test_an_engine_that_ends_its_process_is_out_and_the_daemon_goes_on(
    arm: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    among(monkeypatch, "litert", "tests.engine_ends")
    assert choose(arm) == "litert"
    (entry,) = json.loads(cache.read_text()).values()
    assert entry["refused"] == {"tests.engine_ends": "an engine ended the process that timed it"}


def test_an_engine_that_hangs_is_out(arm: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: Any, **options: Any) -> Any:
        raise subprocess.TimeoutExpired("", options["timeout"])

    monkeypatch.setattr(subprocess, "run", run)
    assert choose(arm) == "litert"
    (entry,) = json.loads(cache.read_text()).values()
    assert entry["refused"] == {"openvino": "not timed within 60 s"}


# -- what is remembered ---------------------------------------------------------------------------------


def test_the_choice_is_remembered_for_this_model_these_engines_and_this_processor(
    arm: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = package.read(arm)
    with caplog.at_level(logging.INFO):
        assert choose(arm) in ("litert", "openvino")
    assert "model arm: engine litert (litert 0." in caplog.text or "model arm: engine openvino (" in caplog.text
    ((key, entry),) = json.loads(cache.read_text()).items()
    assert manifest.sha256 in key and "openvino 20" in key
    cache.write_text(json.dumps({key: {**entry, "backend": "openvino"}}))
    monkeypatch.setattr(engines, "compare", None)  # it is not timed again
    assert choose(arm) == "openvino"
    monkeypatch.setattr(engines, "processor", lambda: "another processor")
    with pytest.raises(TypeError):
        choose(arm)


@pytest.mark.parametrize("content", [b"{", b"[1]", b'{"KEY": 1}', b'{"KEY": {"backend": "litert"}}', b"\xff"])
def test_a_damaged_memory_is_written_again(arm: Path, cache: Path, content: bytes) -> None:
    manifest = package.read(arm)
    key = engines._key(manifest, engines.installed(arm, manifest), 1)
    cache.parent.mkdir()
    cache.write_bytes(content.replace(b"KEY", key.encode()))
    assert choose(arm) in ("litert", "openvino")
    assert json.loads(cache.read_text())[key]["p50_ms"]


def test_a_cache_that_cannot_be_written_is_said_once_and_harms_nothing(
    arm: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.parent.write_text("a file in place of the folder")
    engines.remember(package.read(arm), ["litert"], 1, Comparison("litert", {}, {}))
    (record,) = caplog.records
    assert record.getMessage().startswith("engines are timed again at the next start: ")


# -- the manifest ---------------------------------------------------------------------------------------


def test_auto_is_the_default_and_a_named_backend_is_not_timed(arm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "compare", None)
    change(arm, backend="openvino")
    assert package.open_package(arm).backend == "openvino"
    change(arm, backend=None)
    assert package.read(arm).backend == "auto"
    with pytest.raises(TypeError):
        package.open_package(arm)


def test_a_provider_without_its_backend_and_an_unknown_kind_of_file_are_refused(arm: Path) -> None:
    change(arm, provider="gpu")
    with pytest.raises(PackageError, match="provider 'gpu' is one of a backend: set 'backend', too"):
        package.read(arm)
    change(arm, provider=None, file="model.pt")
    (arm / "arm-deviation.tflite").rename(arm / "model.pt")
    with pytest.raises(PackageError, match=r"backend auto reads .tflite and .onnx, not '.pt'"):
        package.open_package(arm)


def test_a_recording_names_its_engines_and_a_replay_uses_them(tmp_path: Path, cache: Path) -> None:
    manifest = package.read(ARM)
    names = engines.installed(ARM, manifest)
    engines.remember(manifest, names, 1, Comparison("openvino", {"openvino": 0.1}, {}))
    with arm_cell(tmp_path) as cell:
        daemon = start_recording(cell)
        cell.wait_for("stop")
        assert daemon.stop() == 0
        contents = read(recorded(cell))
    assert json.loads(contents.header["engines"]) == {"arm-deviation": "openvino"}
    engines.remember(manifest, names, 1, Comparison("litert", {}, {}))  # now another one would be chosen
    assert replay(contents).differences == []
    missing = {**contents.header, "engines": '{"arm-deviation": "tensorrt"}', "lane_engines": "{}"}
    with pytest.raises(PackageError, match="no backend 'tensorrt'"):
        replay(contents._replace(header=missing))


def test_two_lanes_with_one_model_on_two_engines_replay_each_on_its_own(tmp_path: Path, cache: Path) -> None:
    engines_of = {"arm": ["openvino"], "belt": ["litert"]}
    with arm_cell(tmp_path) as cell:
        cell.config["lanes"] = {
            lane: {**arm_lane(rate_hz=200), "backend": backend} for lane, (backend,) in engines_of.items()
        }
        daemon = start_recording(cell)
        for lane in engines_of:
            cell.wait_for_count(lane, "inferences", 100)
        assert daemon.stop() == 0
        contents = read(recorded(cell))
    assert json.loads(contents.header["lane_engines"]) == engines_of
    report = replay(contents)
    assert report.differences == [] and report.inferences >= 100
    for lane in engines_of:
        changed = {**contents.header, "lane_engines": json.dumps({**engines_of, lane: ["tensorrt"]})}
        with pytest.raises(PackageError, match="no backend 'tensorrt'"):
            replay(contents._replace(header=changed))
    before = {name: text for name, text in contents.header.items() if name != "lane_engines"}
    header = read_header(contents._replace(header=before))
    assert header.engines_of("arm") == header.engines_of("belt") == list(header.engines.values()), "as it was before"


def test_the_engines_of_a_package_are_printed(arm: Path) -> None:
    result = CliRunner().invoke(cli, ["model", "bench", "--engines", str(arm), "--json"], standalone_mode=False)
    rows = json.loads(result.stdout)["engines"]
    assert [row["engine"] for row in rows] == ["litert", "openvino"]
    assert all(row["p50_ms"] > 0 and not row["refused"] for row in rows)
    assert sum(row["chosen"] for row in rows) == 1
    chosen = next(row["engine"] for row in rows if row["chosen"])
    shown = CliRunner().invoke(cli, ["model", "show", str(arm), "--json"], standalone_mode=False)
    assert json.loads(shown.stdout)["backend"] == chosen


# -- OpenVINO -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", [ARM, PERSON, package.BUNDLED / "pose-fall"], ids=lambda folder: folder.name)
def test_openvino_computes_the_golden_outputs_of_bundled_models(folder: Path) -> None:
    ours = package.open_package(folder, backend="openvino")
    usual = package.open_package(folder, backend="litert")
    assert ours.golden is not None and ours.golden <= 1
    assert list(map(str, ours.engine.inputs)) == list(map(str, usual.engine.inputs))
    assert [t[:5] for t in ours.engine.outputs] == [t[:5] for t in usual.engine.outputs]


@needs_recordings
def test_openvino_computes_what_onnx_runtime_does() -> None:
    picture = cv2.resize(cv2.imread(str(PUBLIC / "cats_and_dogs.jpg")), (416, 416)).transpose(2, 0, 1)
    results = []
    for backend in ("onnx", "openvino"):
        engine = base.load(backend, PUBLIC / "yolox_nano.onnx")
        engine.input(0)[0] = picture
        engine.invoke()
        results.append(engine.output(0).copy())
    scores = results[0][0, :, 4] * results[0][0, :, 5:].max(axis=1)
    assert (scores > 0.5).any()
    np.testing.assert_allclose(results[1], results[0], rtol=1e-3, atol=1e-3)


@needs_recordings
def test_outputs_come_in_the_order_of_the_manifest() -> None:
    names = ["839", "792"]  # not the file's
    path, spec = PUBLIC / "object_detection_nanodet_2022nov_int8.onnx", TensorSpec(outputs=names)
    ours, theirs = base.load("openvino", path, spec=spec), base.load("onnx", path, spec=spec)
    ours.invoke()
    for engine in (ours, theirs):
        assert [tensor.name for tensor in engine.outputs] == names
    assert [ours.output(index).shape for index in range(2)] == [tensor.shape for tensor in theirs.outputs]


def refused(path: Path, provider: str = "") -> str:
    with pytest.raises(EngineError) as error:
        base.load("openvino", path, provider=provider)
    return str(error.value)


def test_openvino_says_what_it_refuses(tmp_path: Path) -> None:
    model = ARM / "arm-deviation.tflite"
    assert refused(model, "npu").startswith("OpenVINO finds no NPU here; it finds CPU")
    assert refused(model, "cuda") == "no provider 'cuda': use one of cpu, gpu, npu"
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"\x08\x07nonsense")
    assert refused(broken).startswith("OpenVINO refuses broken.onnx: ")


def test_a_box_without_memory_for_openvino_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Core:
        available_devices: tuple[str, ...] = ()

    monkeypatch.setattr("agent.backends.openvino._CORE", Core())
    with pytest.raises(MemoryError, match="finds not even the CPU"):  # which exits with 1
        base.load("openvino", ARM / "arm-deviation.tflite")


@needs_recordings
def test_an_operator_that_openvino_lacks_is_named() -> None:
    text = refused(PUBLIC / "coco_ssd_mobilenet_v1_1.0_quant_2018_06_29.tflite")
    assert "No translator found for TFLite_Detection_PostProcess" in text


def test_every_manifest_of_a_network_on_board_leaves_the_engine_open() -> None:
    """But for a backbone and its heads: the tensor between them is as LiteRT stores it."""
    for path in package.BUNDLED.glob("*/manifest.yaml"):
        content = yamlfile.read(path).data
        if "backbone" in content or content["decoder"] == "features":
            assert content["backend"] == "litert", path
            continue
        assert (content["backend"] == "auto") == content["file"].endswith((".tflite", ".onnx")), path
